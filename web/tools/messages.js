// From messages/*.json to the types of `m`: which messages there are, and what each has to be given.
// Run by Vite, and before checks; fails where a language lacks a message or a place that English has.
import { readFileSync, writeFileSync } from "node:fs";
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

/**
 * @param {string} language
 * @returns {Catalogue}
 */
export function read(language) {
  return JSON.parse(readFileSync(join(ROOT, "messages", `${language}.json`), "utf-8"));
}

/** Writes src/i18n/messages.gen.ts, where it would change. */
export function generate() {
  const source = read(SOURCE);
  const wrong = LANGUAGES.flatMap((language) => mistakes(language, read(language), source));
  if (wrong.length > 0) throw new Error(`messages:\n  ${wrong.join("\n  ")}`);
  const lines = Object.entries(source).map(([key, message]) => {
    const given = places(message).map((place) => `${place}: ${place === "count" ? "number" : "string | number"}`);
    const text = typeof message === "string" ? message : message["other"];
    return `  /** ${String(text).replaceAll("*/", "* /")} */\n  ${key}(${given.length > 0 ? `places: { ${given.join("; ")} }` : ""}): string;`;
  });
  const made = `// Made by tools/messages.js from messages/*.json.\n\nexport interface Messages {\n${lines.join("\n")}\n}\n`;
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
