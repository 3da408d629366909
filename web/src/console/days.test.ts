import { expect, test } from "vitest";

import { setLanguage } from "../i18n";
import { dayInFull, daysFrom, daysLater, dayShort, monthInFull, today } from "./days";

test("days are counted over months, leap days and changes of clocks", () => {
  expect(daysLater("2026-12-31", 1)).toBe("2027-01-01");
  expect(daysLater("2028-02-28", 1)).toBe("2028-02-29");
  expect(daysFrom("2026-03-28", "2026-03-31")).toEqual(["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]);
  expect(daysFrom("2026-03-02", "2026-03-01")).toEqual([]);
  expect(today(Date.UTC(2026, 10, 26, 23, 59))).toBe("2026-11-26");
});

test("days are written in the reader's language", async () => {
  await setLanguage("de");
  expect([dayInFull("2026-11-26"), dayShort("2026-11-26"), monthInFull("2026-11")]).toEqual(["Donnerstag, 26. November 2026", "26. Nov.", "November 2026"]);
});
