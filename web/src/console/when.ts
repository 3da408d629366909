// Moments as people speak of them.
import { dateTime, language } from "../i18n";

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 14],
];

/** "5 minutes ago", "in 3 days"; what is more than two weeks away is a date. */
export function ago(moment: string, now = Date.now()): string {
  let distance = (new Date(moment).getTime() - now) / 1000;
  for (const [unit, most] of STEPS) {
    if (Math.abs(distance) < most) return new Intl.RelativeTimeFormat(language(), { numeric: "auto" }).format(Math.round(distance), unit);
    distance /= most;
  }
  return dateTime(moment);
}

/** 26 Nov 2026, 21:54:12; in one line. */
export function toTheSecond(moment: string): string {
  return new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "medium" }).format(new Date(moment)).replaceAll(" ", "\u00a0");
}

/** 21:54. */
export function timeOf(moment: string): string {
  return new Intl.DateTimeFormat(language(), { timeStyle: "short" }).format(new Date(moment));
}

/** A day without a time: 3 March 2027. */
export function day(moment: string): string {
  return new Intl.DateTimeFormat(language(), { dateStyle: "long" }).format(new Date(moment));
}

/** The day of a moment where the reader is, as a field of dates takes it. */
export function dayField(moment: string | null): string {
  if (moment === null) return "";
  const date = new Date(moment);
  const two = (number: number): string => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The first moment of a field's day, where the reader is; null for an empty field. */
export function beginOf(field: string): string | null {
  return field === "" ? null : new Date(`${field}T00:00:00`).toISOString();
}

/** The last moment of a field's day. */
export function endOf(field: string): string | null {
  return field === "" ? null : new Date(`${field}T23:59:59`).toISOString();
}
