import { describe, expect, test } from "vitest";

import { LANGUAGES, mistakes, places, read } from "./messages.js";

test.each(LANGUAGES)("%s has every message, place, and plural form", (language) => {
  expect(mistakes(language, read(language), read("en"))).toEqual([]);
});

test.each(LANGUAGES)("%s has no message that is empty or has stray spaces", (language) => {
  for (const [key, message] of Object.entries(read(language))) {
    for (const text of typeof message === "string" ? [message] : Object.values(message)) expect(text.trim() === text && text !== "", key).toBe(true);
  }
});

describe("mistakes are found", () => {
  const source = { a: "A {name}", b: { one: "{count} b", other: "{count} b" } };

  test.each([
    [{ b: source.b }, 'fr: "a" is missing'],
    [{ ...source, a: "A {nom}" }, 'fr: "a" has other places'],
    [{ ...source, c: "C" }, 'fr: "c" is not in en.json'],
    [source, 'fr: "b" lacks the form "many"'],
  ])("%j", (messages, mistake) => {
    expect(mistakes("fr", messages, source)).toContain(mistake);
  });
});

test("a plural has the place `count` whether or not it is written", () => {
  expect(places({ one: "one", other: "many {what}" })).toEqual(["count", "what"]);
});
