import { describe, expect, test } from "vitest";

import { groups, LANGUAGES, mistakes, mistakesOf, places, read } from "./messages.js";

const ALL = groups().flatMap((group) => LANGUAGES.map((language): [string, string] => [group, language]));

test.each(groups())("group %j has every message, place, and plural form in each language", (group) => {
  expect(mistakesOf(group)).toEqual([]);
});

test.each(ALL)("group %j in %s has no message that is empty or has stray spaces", (group, language) => {
  for (const [key, message] of Object.entries(read(language, group))) {
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
