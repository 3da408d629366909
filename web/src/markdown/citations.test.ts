import { describe, expect, test } from "vitest";

import { markCitations, unitsOf, type Quote } from "./citations";
import type { Inline } from "./nodes";
import { StreamedMarkdown } from "./streaming";

/** A quote of the text between two marks, as the server counts. */
function quote(answer: string, text: string, number = 1): Quote {
  const start = [...answer.slice(0, answer.indexOf(text))].length;
  return { number, document_id: "d", text_start: start, text_end: start + [...text].length, spans: [{ start: 0, end: 1 }] };
}

function inline(answer: string, quotes: Quote[]): Inline[] {
  const [block] = new StreamedMarkdown().finish(answer, quotes);
  return block?.kind === "paragraph" ? block.children : [];
}

const text = (value: string): Inline => ({ kind: "text", text: value });
const citation = (value: string, index = 0): Inline => ({ kind: "citation", index, text: value });

test("a quotation is a node, with its number", () => {
  const answer = "It says «the mistral blows» [1], and so.";
  expect(inline(answer, [quote(answer, "the mistral blows")])).toEqual([text("It says "), citation("«the mistral blows»"), text(", and so.")]);
});

test.each(["🌬️ It is cold", "Cafe\u0301, naïve", "a family 👩‍👩‍👧 says 👍🏽", "東京は寒い"])("offsets are code points: %s", (quoted) => {
  const answer = `👍🏽 e\u0301 «${quoted}» [2] 👩‍👩‍👧 «${quoted}» [2]`;
  const first = quote(answer, quoted, 2);
  const second = { ...first, text_start: first.text_start + [...`${quoted}» [2] 👩‍👩‍👧 «`].length };
  second.text_end = second.text_start + [...quoted].length;
  expect(inline(answer, [first, second])).toEqual([text("👍🏽 e\u0301 "), citation(`«${quoted}»`), text(" 👩‍👩‍👧 "), citation(`«${quoted}»`, 1)]);
});

test("what is quoted is not read as Markdown", () => {
  const quoted = "# **a** | `b` $c$ <i>d</i> [e](https://example.org) - [ ] f";
  const answer = `«${quoted}» [1]`;
  expect(inline(answer, [quote(answer, quoted)])).toEqual([citation(`«${quoted}»`)]);
});

test("quotes may come in any order, and their numbers need not", () => {
  const answer = "«a» [7] «b» [3]";
  expect(inline(answer, [quote(answer, "b", 3), quote(answer, "a", 7)])).toEqual([citation("«a»", 1), text(" "), citation("«b»", 0)]);
});

test("one that was cut at the end has no closing mark and no number", () => {
  const answer = "So: «the mist";
  expect(inline(answer, [quote(answer, "the mist")])).toEqual([text("So: "), citation("«the mist")]);
});

test("in code its words stay", () => {
  const answer = "`«a» [1]`";
  expect(inline(answer, [quote(answer, "a")])).toEqual([{ kind: "code", text: "«a»" }]);
});

test.each([
  [5, 3],
  [-1, 2],
  [0, 99],
  [2, 2],
])("one at %i to %i is none", (text_start, text_end) => {
  expect(inline("«a» [1]", [{ ...quote("«a» [1]", "a"), text_start, text_end }])).toEqual([text("«a» [1]")]);
});

test("of two that overlap the first counts", () => {
  const answer = "«abc» [1]";
  expect(inline(answer, [quote(answer, "abc"), quote(answer, "bc")])).toEqual([citation("«abc»")]);
});

test("an answer's own private characters are no quotations", () => {
  expect(markCitations("\uE000 a \uEFFF", []).source).toBe("\uFFFD a \uFFFD");
});

describe("code points", () => {
  test("are found at both ends and between", () => {
    expect([...unitsOf("a👍b", [0, 1, 2, 3, 4])]).toEqual([
      [0, 0],
      [1, 1],
      [2, 3],
      [3, 4],
    ]);
  });
});
