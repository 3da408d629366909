import { expect, test } from "vitest";

import type { UsageGroup, UsageReport } from "./billing";
import { partsOf } from "./usage_parts";

const group = (name: string, requests: number, day: string | null = null): UsageGroup => ({
  day,
  group: name,
  name,
  requests,
  prompt_tokens: 10 * requests,
  cached_tokens: 4 * requests,
  output_tokens: requests,
  amount: 1000 * requests,
});

const NAMES = { all: "all", rest: "others", nameOf: (one: UsageGroup) => one.name };

function report(by: UsageReport["by"], days: UsageGroup[]): UsageReport {
  const sums = new Map<string, number>();
  for (const one of days) sums.set(one.group, (sums.get(one.group) ?? 0) + one.requests);
  const groups = [...sums].map(([name, requests]) => group(name, requests));
  return { start: "2026-11-24", end: "2026-11-26", by, total: group("", 0), groups, days };
}

test("days without requests are there, and the largest group comes first", () => {
  const parts = partsOf(report("model", [group("a", 1, "2026-11-24"), group("b", 5, "2026-11-26")]), "requests", NAMES);
  expect(parts).toEqual([
    { name: "b", values: [0, 0, 5] },
    { name: "a", values: [1, 0, 0] },
  ]);
});

test("more than five groups lose nothing", () => {
  const days = Array.from({ length: 9 }, (_, at) => group(`model-${at}`, at + 1, "2026-11-25"));
  const parts = partsOf(report("model", days), "tokens", NAMES);
  expect(parts.map((part) => part.name)).toEqual(["model-8", "model-7", "model-6", "model-5", "model-4", "others"]);
  expect(parts.flatMap((part) => part.values).reduce((sum, value) => sum + value, 0)).toBe(45 * 11);
});

test("what the server tells of all others together is among the others", () => {
  const days = ["a", "b", "c", "d", "e", "f"].map((name, at) => group(name, 9 - at, "2026-11-25"));
  const told = report("key", [...days, group("*", 7, "2026-11-26")]);
  const parts = partsOf({ ...told, groups: told.groups.map((one) => (one.group === "*" ? { ...one, group: "g" } : one)) }, "requests", NAMES);
  expect(parts.map((part) => part.name)).toEqual(["a", "b", "c", "d", "e", "others"]);
  expect(parts.at(-1)?.values).toEqual([0, 4, 7]);
});

test("by day there is one part", () => {
  expect(partsOf(report("day", [group("2026-11-25", 3, "2026-11-25")]), "cost", NAMES)).toEqual([{ name: "all", values: [0, 3000, 0] }]);
});
