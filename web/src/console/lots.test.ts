import { expect, test } from "vitest";

import type { Lot } from "./billing";
import { endOfTerm, isRunningOut } from "./lots";

const NOW = Date.UTC(2026, 10, 26);
const LOT: Lot = {
  id: "a",
  kind: "commitment",
  name: "2027",
  amount: 1000,
  balance: 500,
  held: 0,
  starts_at: "2026-01-01T00:00:00Z",
  ends_at: "2027-01-01T00:00:00Z",
  models: null,
  state: "active",
  created_at: "2026-01-01T00:00:00Z",
};

test.each([
  [{}, false],
  [{ balance: 99 }, true],
  [{ balance: 0 }, true],
  [{ ends_at: "2026-12-05T00:00:00Z" }, true],
  [{ ends_at: "2026-12-05T00:00:00Z", balance: 0, amount: 0 }, false],
  [{ balance: 99, state: "completed" as const }, false],
  [{ balance: 99, kind: "pay_as_you_go" as const }, false],
  [{ ends_at: null }, false],
])("%j runs out: %s", (change, expected) => {
  expect(isRunningOut({ ...LOT, ...change }, NOW)).toBe(expected);
});

test("a term ends on the same day of the month, or on its last", () => {
  expect(endOfTerm(new Date(2026, 0, 31), 1)).toEqual(new Date(2026, 1, 28));
  expect(endOfTerm(new Date(2026, 10, 26, 12), 12)).toEqual(new Date(2027, 10, 26, 12));
  expect(endOfTerm(new Date(2028, 1, 29), 12)).toEqual(new Date(2029, 1, 28));
});
