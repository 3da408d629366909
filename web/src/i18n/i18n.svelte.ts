// The reader's language: `m.some_key({count: 3})` is the message, and whatever shows it changes with the language.
import { remember, remembered } from "../lib/storage";
import { numberFormat } from "./formats";
import type { Groups } from "./messages.gen";

export type Language = "en" | "fr" | "de" | "es" | "it";

type Message = string | Partial<Record<Intl.LDMLPluralRule, string>>;
type Catalogue = Record<string, Message>;
/** All languages have all messages of a group: what lacks one is no module of this type. */
type Loaders<Group extends keyof Groups> = Record<Language, () => Promise<{ default: Record<keyof Groups[Group], Message> }>>;
type Every<Group extends keyof Groups> = { [Name in Group]: (messages: Groups[Name]) => void }[Group] extends (messages: infer All) => void
  ? All
  : never;
/** What `m` says, of all groups together. */
export type Messages = Every<keyof Groups>;

// Only the reader's language is loaded.
const MAIN: Loaders<"main"> = {
  en: () => import("../../messages/en.json"),
  fr: () => import("../../messages/fr.json"),
  de: () => import("../../messages/de.json"),
  es: () => import("../../messages/es.json"),
  it: () => import("../../messages/it.json"),
};

/** Each language under its own name. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = {
  en: "English",
  fr: "Français",
  de: "Deutsch",
  es: "Español",
  it: "Italiano",
};

export const LANGUAGES = Object.keys(LANGUAGE_NAMES) as readonly Language[];

const loaded: Record<Language, () => Promise<{ default: Catalogue }>>[] = [MAIN];
let current = $state.raw<{ language: Language; messages: Catalogue }>({ language: "en", messages: {} });

/** The language that is shown. */
export function language(): Language {
  return current.language;
}

/** Shows another language, and remembers it in this browser. */
export async function setLanguage(wanted: Language): Promise<void> {
  await show(wanted);
  remember("language", wanted);
}

/** Before anything is shown: the language chosen here before, else the browser's, else English. */
export async function startLanguage(): Promise<void> {
  const chosen = remembered("language");
  await show(isLanguage(chosen) ? chosen : (match(navigator.languages) ?? "en"));
}

/** The first of the languages that there are messages for, by its first part: `fr-CH` is `fr`. */
export function match(wanted: readonly string[]): Language | undefined {
  return wanted.map((tag) => tag.toLowerCase().split("-")[0]).find(isLanguage);
}

/** For a part of the app that has a group of its own: before anything of it is shown. */
export async function addMessages<Group extends keyof Groups>(loaders: Loaders<Group>): Promise<void> {
  if (!loaded.includes(loaders)) loaded.push(loaders);
  await show(current.language);
}

let asked = 0;

async function show(wanted: Language): Promise<void> {
  const turn = ++asked; // who changes the language twice in a moment means the second
  const groups = await Promise.all(loaded.map((loaders) => loaders[wanted]()));
  if (turn !== asked) return;
  current = { language: wanted, messages: Object.assign({}, ...groups.map((group) => group.default)) };
  document.documentElement.lang = wanted;
}

function isLanguage(tag: string | undefined | null): tag is Language {
  return LANGUAGES.includes(tag as Language);
}

function render(key: string, places: Record<string, string | number> = {}): string {
  const { language, messages } = current;
  const message = messages[key];
  if (message === undefined) return key;
  return fill(typeof message === "string" ? message : plural(message, places["count"], language), places, language);
}

function plural(message: Exclude<Message, string>, count: string | number | undefined, language: Language): string {
  const form = new Intl.PluralRules(language).select(Number(count));
  return message[form] ?? message.other ?? "";
}

function fill(text: string, places: Record<string, string | number>, language: Language): string {
  return text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => {
    const value = places[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? numberFormat(language).format(value) : value;
  });
}

/** The messages, each a function of what it has to be given. */
export const m: Messages = new Proxy({} as Messages, {
  get: (_, key) => (places?: Record<string, string | number>) => render(String(key), places),
});
