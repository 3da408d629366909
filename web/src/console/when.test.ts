import { beforeAll, expect, test } from "vitest";

import { setLanguage } from "../i18n";
import { ago, beginOf, dayField, endOf } from "./when";

beforeAll(() => setLanguage("en"));

const NOW = Date.parse("2027-03-10T12:00:00Z");
const before = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();

test("moments are told from now, and those far away are dates", () => {
  const told = [3, 100, 3 * 3600, 86_400, -5 * 86_400].map((seconds) => ago(before(seconds), NOW));
  expect(told).toEqual(["3 seconds ago", "2 minutes ago", "3 hours ago", "yesterday", "in 5 days"]);
  expect(ago(before(60 * 86_400), NOW)).toContain("2027");
});

test("a field's day begins and ends where the reader is", () => {
  const begin = beginOf("2027-03-10");
  expect(begin && dayField(begin)).toBe("2027-03-10");
  expect(Date.parse(endOf("2027-03-10") ?? "") - Date.parse(begin ?? "")).toBe(86_399_000);
  expect([beginOf(""), endOf(""), dayField(null)]).toEqual([null, null, ""]);
});
