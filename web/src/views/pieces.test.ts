import { expect, test } from "vitest";

import { piecesOf } from "./pieces";

const whole = (blocks: ReturnType<typeof piecesOf>): string => blocks.flat().map((piece) => piece.text).join("");

test("pieces are the text, whatever is marked in it", () => {
  const text = "One line.\nAnother line.\n".repeat(400);
  const blocks = piecesOf(text, [[{ start: 2, end: 15 }], [{ start: 5000, end: 5100 }]], [{ start: 0, end: 3000 }]);
  expect(whole(blocks)).toBe(text);
  expect(blocks.length).toBeGreaterThan(3);
});

test("a quotation is marked, also where it runs over a gap", () => {
  const blocks = piecesOf("abcdefghij", [[{ start: 1, end: 3 }, { start: 6, end: 8 }]], null);
  const marked = blocks.flat().filter((piece) => piece.quote === 0);
  expect(marked.map((piece) => piece.text)).toEqual(["bc", "gh"]);
  expect(blocks.flat().every((piece) => piece.isRead)).toBe(true);
});

test("offsets count characters, not UTF-16 units", () => {
  const text = "🌬️ Wind 🌊 Meer";
  const points = [...text];
  const start = points.indexOf("M");
  const blocks = piecesOf(text, [[{ start, end: start + 4 }]], null);
  expect(blocks.flat().find((piece) => piece.quote === 0)?.text).toBe("Meer");
  expect(whole(blocks)).toBe(text);
});

test("what the model was not given is told apart", () => {
  const pieces = piecesOf("abcdef", [], [{ start: 2, end: 4 }]).flat();
  expect(pieces.map(({ text, isRead }) => [text, isRead])).toEqual([
    ["ab", false],
    ["cd", true],
    ["ef", false],
  ]);
});

test("a text without lines is cut too, and no character of it in two", () => {
  for (const text of ["word ".repeat(20_000), "x".repeat(50_000), `x${"🌬".repeat(30_000)}`]) {
    const blocks = piecesOf(text, [], null);
    expect(whole(blocks)).toBe(text);
    expect(blocks.length).toBeGreaterThan(2);
    expect(blocks.flat().every((piece) => !/^[\udc00-\udfff]|[\ud800-\udbff]$/.test(piece.text))).toBe(true);
  }
});
