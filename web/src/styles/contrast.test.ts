import { describe, expect, test } from "vitest";

import tokens from "./tokens.css?raw";

const TOKENS = new Map(
  [...tokens.matchAll(/--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)/g)].map(
    ([, name, light, dark]) => [name ?? "", { light: light ?? "", dark: dark ?? "" }],
  ),
);
const TEXT = 4.5;
const SHAPES = 3;
const GROUNDS = ["ground", "side", "card", "hover", "chosen", "question", "code"];
const PAIRS: [string, string, number][] = [
  ...GROUNDS.flatMap((ground) => ["ink", "soft", "accent"].map((ink): [string, string, number] => [ink, ground, TEXT])),
  ...["good", "wait", "bad"].flatMap((ink) => ["ground", "card", "side"].map((ground): [string, string, number] => [ink, ground, TEXT])),
  ...["comment", "keyword", "string", "number", "name", "type"].map((kind): [string, string, number] => [`code-${kind}`, "code", TEXT]),
  ["on-accent", "accent", TEXT],
  ["ground", "bad", TEXT],
  ["wait", "wait-ground", TEXT],
  ["ink", "mark", TEXT],
  ["accent", "mark", TEXT],
  ["ink", "mark-current", TEXT],
  ["edge", "card", SHAPES],
  ["edge", "ground", SHAPES],
];

function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

describe.each(["light", "dark"] as const)("in the %s theme", (theme) => {
  test.each(PAIRS)("%s on %s", (ink, ground, least) => {
    const [one, other] = [ink, ground].map((name) => luminance(TOKENS.get(name)?.[theme] ?? "?")).sort((a, b) => b - a);
    expect(((one ?? 0) + 0.05) / ((other ?? 0) + 0.05)).toBeGreaterThanOrEqual(least);
  });
});
