// From messages/*.json and messages/{group}/*.json to the types of `m`: which messages there are, and what each has to be given.
// Run by Vite, and before checks; fails where a language lacks a message or a place that English has.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** @typedef {string | Record<string, string>} Message a text, or one text for each plural form of `count` */
/** @typedef {Record<string, Message>} Catalogue */

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const SOURCE = "en";
const PLURALS = ["zero", "one", "two", "few", "many", "other"];
export const LANGUAGES = ["en", "fr", "de", "es", "it"];

/**
 * The names of the places in a message, sorted.
 * @param {Message} message
 */
export function places(message) {
  const forms = typeof message === "string" ? [message] : Object.values(message);
  const found = forms.flatMap((form) => [...form.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? ""));
  if (typeof message !== "string") found.push("count");
  return [...new Set(found)].sort();
}

/**
 * What is wrong with a language's messages, in sentences.
 * @param {string} language
 * @param {Catalogue} messages
 * @param {Catalogue} source
 */
export function mistakes(language, messages, source) {
  const found = [];
  for (const key of Object.keys(source)) if (!(key in messages)) found.push(`${language}: "${key}" is missing`);
  for (const [key, message] of Object.entries(messages)) {
    const original = source[key];
    if (!/^[a-z][a-z0-9_]*$/.test(key)) found.push(`${language}: "${key}" is no name in lower_case`);
    if (original === undefined) found.push(`${language}: "${key}" is not in ${SOURCE}.json`);
    else if (places(original).join() !== places(message).join()) found.push(`${language}: "${key}" has other places`);
    if (typeof message === "string") continue;
    const needed = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const form of needed) if (!(form in message)) found.push(`${language}: "${key}" lacks the form "${form}"`);
    for (const form of Object.keys(message)) if (!PLURALS.includes(form)) found.push(`${language}: "${key}": "${form}" is no plural form`);
  }
  return found;
}

/** The messages of the first load, "", and the groups that are loaded with a part of the app: a folder each. */
export function groups() {
  const folders = readdirSync(join(ROOT, "messages"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return ["", ...folders.map((folder) => folder.name).sort()];
}

/**
 * @param {string} language
 * @param {string} group
 * @returns {Catalogue}
 */
export function read(language, group = "") {
  return JSON.parse(readFileSync(join(ROOT, "messages", group, `${language}.json`), "utf-8"));
}

/**
 * What is wrong with a group in any language. All groups are read as one `m`: no key may be in two of them.
 * @param {string} group
 */
export function mistakesOf(group) {
  const source = read(SOURCE, group);
  const elsewhere = groups().filter((other) => other !== group).flatMap((other) => Object.keys(read(SOURCE, other)));
  const twice = Object.keys(source).filter((key) => elsewhere.includes(key)).map((key) => `"${key}" is in another group too`);
  return [...twice, ...LANGUAGES.flatMap((language) => mistakes(language, read(language, group), source))];
}

/** @param {string} group */
function typesOf(group) {
  const lines = Object.entries(read(SOURCE, group)).map(([key, message]) => {
    const given = places(message).map((place) => `${place}: ${place === "count" ? "number" : "string | number"}`);
    const text = typeof message === "string" ? message : message["other"];
    return `    /** ${String(text).replaceAll("*/", "* /")} */\n    ${key}(${given.length > 0 ? `places: { ${given.join("; ")} }` : ""}): string;`;
  });
  return `  "${group || "main"}": {\n${lines.join("\n")}\n  };`;
}

/** Writes src/i18n/messages.gen.ts, where it would change. */
export function generate() {
  const wrong = groups().flatMap((group) => mistakesOf(group).map((mistake) => `${group || "messages"}: ${mistake}`));
  if (wrong.length > 0) throw new Error(`messages:\n  ${wrong.join("\n  ")}`);
  const made = `// Made by tools/messages.js from messages/.\n\nexport interface Groups {\n${groups().map(typesOf).join("\n")}\n}\n`;
  const path = join(ROOT, "src", "i18n", "messages.gen.ts");
  let before = "";
  try {
    before = readFileSync(path, "utf-8");
  } catch {
    // there was none
  }
  if (before !== made) writeFileSync(path, made);
}

/** @returns {import("vite").Plugin} */
export function messages() {
  return {
    name: "messages",
    buildStart: generate,
    handleHotUpdate({ file }) {
      if (file.startsWith(join(ROOT, "messages"))) generate();
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) generate();
