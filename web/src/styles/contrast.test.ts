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
  ...["1", "2", "3", "4", "5", "rest"].flatMap((series) => ["card", "ground"].map((ground): [string, string, number] => [`series-${series}`, ground, SHAPES])),
];

type Light = readonly [number, number, number];

/** Linear red, green and blue. */
function light(colour: string): Light {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return [red, green, blue];
}

const luminance = (colour: string): number => dot([0.2126, 0.7152, 0.0722], light(colour));
const dot = (one: Light, other: Light): number => one[0] * other[0] + one[1] * other[1] + one[2] * other[2];

// How the light of a screen reaches each kind of eye (Machado, Oliveira, Fernandes 2009).
const EYES: Record<string, readonly [Light, Light, Light]> = {
  usual: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

/** In Oklab, where distances are as large as they look. */
function seen(colour: string, eye: readonly [Light, Light, Light]): Light {
  const given = light(colour);
  const reached = eye.map((row) => Math.max(0, dot(row, given))) as unknown as Light;
  const cones = [
    Math.cbrt(dot([0.4122214708, 0.5363325363, 0.0514459929], reached)),
    Math.cbrt(dot([0.2119034982, 0.6806995451, 0.1073969566], reached)),
    Math.cbrt(dot([0.0883024619, 0.2817188376, 0.6299787005], reached)),
  ] as const;
  return [
    dot([0.2104542553, 0.793617785, -0.0040720468], cones),
    dot([1.9779984951, -2.428592205, 0.4505937099], cones),
    dot([0.0259040371, 0.7827717662, -0.808675766], cones),
  ];
}

describe.each(["light", "dark"] as const)("in the %s theme", (theme) => {
  test.each(PAIRS)("%s on %s", (ink, ground, least) => {
    const [one, other] = [ink, ground].map((name) => luminance(TOKENS.get(name)?.[theme] ?? "?")).sort((a, b) => b - a);
    expect(((one ?? 0) + 0.05) / ((other ?? 0) + 0.05)).toBeGreaterThanOrEqual(least);
  });
});

describe.each(["light", "dark"] as const)("in the %s theme", (theme) => {
  test.each(Object.keys(EYES))("to the %s eye no two parts of a chart look alike", (name) => {
    const eye = EYES[name];
    if (eye === undefined) throw new Error(name);
    const colours = ["1", "2", "3", "4", "5"].map((series) => seen(TOKENS.get(`series-${series}`)?.[theme] ?? "?", eye));
    for (const [at, one] of colours.entries()) {
      for (const other of colours.slice(at + 1)) expect(Math.hypot(one[0] - other[0], one[1] - other[1], one[2] - other[2])).toBeGreaterThan(0.1);
    }
  });
});
