import { expect, test } from "vitest";

import { StreamedMarkdown } from "./streaming";

const ANSWERS = [
  "# Title\n\nA paragraph with **bold** and a [link](https://example.org).\n\n- a\n- b\n  - c\n\n1. x\n2. y\n\n```py\nprint(1)\n\nprint(2)\n```\n\nThe end.",
  "1. a\n\n2. b\n\n3. c\n\nText\n====\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> q\nlazy\n\n$$\nx\n$$\n\nend",
  "- a\n\n\n- b\n\n  c\n\nd\n***\ne\r\n\r\nf\n\n~~~\ng\n\n\nh",
  "- [ ] a\n- [x] b\n\n\\[\na\n\\]\n\n    code\n\n    more\n\nend\n\n***\n\n***\n",
];

test.each(ANSWERS)("whatever has come so far is as if it came at once: %#", (answer) => {
  const streamed = new StreamedMarkdown();
  for (let length = 1; length <= answer.length; length += 1) {
    const soFar = answer.slice(0, length);
    expect(streamed.grow(soFar), JSON.stringify(soFar)).toEqual(new StreamedMarkdown().finish(soFar, []));
  }
});

test("blocks that are settled stay the same objects", () => {
  const streamed = new StreamedMarkdown();
  const before = streamed.grow("a\n\nb\n\nc\n\nd");
  const after = streamed.grow("a\n\nb\n\nc\n\nd and more\n\ne");
  expect(after[0]).toBe(before[0]);
  expect(after[1]).toBe(before[1]);
});

test("another text begins anew", () => {
  const streamed = new StreamedMarkdown();
  streamed.grow("a\n\nb\n\nc\n\nd");
  expect(streamed.grow("x")).toMatchObject([{ children: [{ text: "x" }] }]);
});

test("a long answer costs no more for each word than a short one", () => {
  const streamed = new StreamedMarkdown();
  const paragraph = `${"word ".repeat(60)}\n\n`;
  const begun = performance.now();
  let answer = "";
  for (let number = 0; number < 1000; number += 1) streamed.grow((answer += paragraph));
  expect(performance.now() - begun).toBeLessThan(15_000); // a machine may be busy; without what is settled it is minutes
}, 30_000);
