import { expect, test } from "vitest";

import { labelled, ticks } from "./scale";

test.each([
  [0, [0, 1]],
  [1, [0, 1]],
  [3, [0, 1, 2, 3]],
  [7, [0, 2, 4, 6, 8]],
  [100, [0, 25, 50, 75, 100]],
  [1234, [0, 500, 1000, 1500]],
  [9e15, [0, 2.5e15, 5e15, 7.5e15, 1e16]],
])("lines up to %d", (most, lines) => {
  expect(ticks(most)).toEqual(lines);
});

test("every line is a whole number, evenly apart, and the last is not below the most", () => {
  for (let most = 1; most < 1e15; most = Math.ceil(most * 1.37)) {
    const lines = ticks(most);
    const step = lines[1] ?? 0;
    expect(lines.every((line, at) => Number.isInteger(line) && line === at * step)).toBe(true);
    expect(lines.at(-1)).toBeGreaterThanOrEqual(most);
    expect(lines.length).toBeLessThanOrEqual(6);
  }
});

test("an axis may begin above nothing", () => {
  expect(ticks(1000, 997)).toEqual([997, 998, 999, 1000]);
  expect(ticks(100_000_000_000, 99_998_712_500)).toEqual([99_998_500_000, 99_999_000_000, 99_999_500_000, 100_000_000_000]);
  expect(ticks(5, 5)).toEqual([5, 6]);
});

test("labels have room, and the last is one of them", () => {
  expect(labelled(7, 10)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(labelled(30, 5)).toEqual([5, 11, 17, 23, 29]);
  expect(labelled(0, 5)).toEqual([]);
  expect(labelled(3, 0)).toEqual([2]);
});
