// Days and months as the server has them, "2026-11-26" and "2026-11": of UTC, whatever the reader's clock says.
import { language } from "../i18n";

export const DAY_MILLISECONDS = 86_400_000;

export const today = (now = Date.now()): string => new Date(now).toISOString().slice(0, 10);

export function daysLater(day: string, count: number): string {
  return new Date(Date.parse(day) + count * DAY_MILLISECONDS).toISOString().slice(0, 10);
}

/** All days from the first to the last, both with them. */
export function daysFrom(first: string, last: string): string[] {
  const count = Math.round((Date.parse(last) - Date.parse(first)) / DAY_MILLISECONDS) + 1;
  return Array.from({ length: Math.max(0, count) }, (_, at) => daysLater(first, at));
}

function written(day: string, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(language(), { ...options, timeZone: "UTC" }).format(new Date(day));
}

/** Thursday, 26 November 2026. */
export const dayInFull = (day: string): string => written(day, { dateStyle: "full" });
/** 26 Nov. */
export const dayShort = (day: string): string => written(day, { day: "numeric", month: "short" });
/** 26 November 2026. */
export const dayLong = (day: string): string => written(day, { dateStyle: "long" });
/** 26 Nov 2026. */
export const dayMedium = (day: string): string => written(day, { dateStyle: "medium" });
/** November 2026. */
export const monthInFull = (month: string): string => written(`${month}-01`, { month: "long", year: "numeric" });
