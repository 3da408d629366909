import { expect, test } from "vitest";

import { ageOf, grouped } from "./grouping";

const NOW = new Date(2026, 10, 25, 0, 30); // half an hour after midnight

test("an age is counted in days of the calendar, not in hours", () => {
  expect(ageOf(new Date(2026, 10, 25, 0, 0), NOW)).toBe("today");
  expect(ageOf(new Date(2026, 10, 24, 23, 59), NOW)).toBe("yesterday");
  expect(ageOf(new Date(2026, 10, 18, 0, 0), NOW)).toBe("last_week");
  expect(ageOf(new Date(2026, 10, 17, 23, 59), NOW)).toBe("older");
  expect(ageOf(new Date(2026, 10, 25, 9, 0), NOW)).toBe("today"); // a clock of the server that is ahead
});

test("groups keep the order of what they are made of", () => {
  const days = [25, 24, 24, 20, 1].map((day) => new Date(2026, 10, day));
  const groups = grouped(days, (day) => day, NOW);
  expect(groups.map(({ age, items }) => [age, items.length])).toEqual([
    ["today", 1],
    ["yesterday", 2],
    ["last_week", 1],
    ["older", 1],
  ]);
  expect(groups.flatMap(({ items }) => items)).toEqual(days);
});
