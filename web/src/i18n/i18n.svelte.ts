// The reader's language: `m.some_key({count: 3})` is the message, and whatever shows it changes with the language.
import { remember, remembered } from "../lib/storage";
import { numberFormat } from "./formats";
import type { Messages } from "./messages.gen";

export type Language = "en" | "fr" | "de" | "es" | "it";

type Message = string | Partial<Record<Intl.LDMLPluralRule, string>>;
type Catalogue = Record<string, Message>;
/** All languages have all messages: what lacks one is no module of this type. */
type Complete = Record<keyof Messages, Message>;

// Only the reader's language is loaded.
const LOADERS: Record<Language, () => Promise<{ default: Complete }>> = {
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

async function show(wanted: Language): Promise<void> {
  const messages = (await LOADERS[wanted]()).default;
  current = { language: wanted, messages };
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
