// Amounts: integers of nano-euros, 10⁻⁹ €, never fractions of a euro. Shown to the last digit, read as people write them.
import { language, type Language } from "../i18n";
import { numberFormat } from "../i18n/formats";

export const EURO = 1_000_000_000; // in nano-euros
/** What the server takes at most: below 2⁵³, so that numbers hold it exactly. */
export const MOST = 9_000_000 * EURO;
const MOST_DIGITS = 9;
const THIN_SPACE = "\u202f"; // that does not break

export interface MoneyParts {
  /** Sign, currency where it comes first, euros and cents. */
  main: string;
  /** What is below the cents. */
  tail: string;
  /** The currency where it comes last. */
  after: string;
}

/** How many digits after the point show an amount wholly: two at least. */
export function digitsOf(nano: number): number {
  const fraction = String(Math.abs(nano) % EURO).padStart(MOST_DIGITS, "0");
  return Math.max(2, fraction.replace(/0+$/, "").length);
}

/** For a column: as many digits as the amount with the most of them needs, so that all points stand in one line. */
export function digitsOfAll(amounts: readonly number[]): number {
  return amounts.reduce((most, nano) => Math.max(most, digitsOf(nano)), 2);
}

export function moneyParts(language: Language, nano: number, digits = digitsOf(nano)): MoneyParts {
  const format = numberFormat(language, {
    style: "currency",
    currency: "EUR",
    minimumFractionDigits: digits,
    maximumFractionDigits: MOST_DIGITS,
    useGrouping: "always", // in a column, all or none
  });
  const written = format.formatToParts(decimal(nano)).map(({ type, value }) => (type === "fraction" ? inThrees(value) : value));
  const text = written.join("");
  const end = text.search(/\D*$/); // where the digits end
  const isTiny = nano !== 0 && Math.abs(nano) < EURO / 100; // then all digits count
  const shown = isTiny ? end : endOfCents(language, text, end);
  return { main: text.slice(0, shown), tail: text.slice(shown, end), after: text.slice(end) };
}

function endOfCents(language: Language, text: string, end: number): number {
  const point = text.lastIndexOf(pointOf(language));
  return point === -1 ? end : Math.min(point + 3, end);
}

/** 12.5 € and 0.000 012 5 €, as the language writes them; exactly. */
export function formatMoney(language: Language, nano: number, digits = digitsOf(nano)): string {
  const { main, tail, after } = moneyParts(language, nano, digits);
  return main + tail + after;
}

/** As somebody would type it: for a field. */
export const typedMoney = (language: Language, nano: number): string => formatMoney(language, nano).replaceAll(/[€\s]/g, "");

/** In the reader's language. */
export const money = (nano: number, digits?: number): string => formatMoney(language(), nano, digits);

/** Of a price that there may not be. */
export const moneyOrNone = (nano: number | undefined): string => (nano === undefined ? "–" : money(nano));

/** For an axis: without cents where all its lines are whole euros. */
export function axisMoney(lines: readonly number[]): (nano: number) => string {
  const digits = lines.every((line) => line % EURO === 0) ? 0 : digitsOfAll(lines);
  return (nano) => formatMoney(language(), nano, digits);
}

/** As text without rounding, which Intl reads as it stands. */
function decimal(nano: number): `${number}` {
  const size = Math.abs(nano);
  return `${nano < 0 ? "-" : ""}${Math.trunc(size / EURO)}.${String(size % EURO).padStart(MOST_DIGITS, "0")}` as `${number}`;
}

function inThrees(fraction: string): string {
  return fraction.length > 3 ? fraction.replaceAll(/(\d{3})(?=\d)/g, `$1${THIN_SPACE}`) : fraction;
}

/**
 * Nano-euros of "1.000,50", "1,000.50", "12.5", "0,000 012 5 €"; null where it is no amount, could mean two, has parts
 * of a nano-euro, or is more than the server takes.
 */
export function parseMoney(language: Language, text: string): number | null {
  const bare = text.replaceAll(/€|EUR/gi, "").replaceAll(/[\s'’]/g, " ").trim();
  if (!/^[\d., ]*\d[\d., ]*$/.test(bare)) return null;
  const mark = decimalMark(language, bare);
  if (mark === null) return null;
  const at = mark === "" ? bare.length : bare.lastIndexOf(mark);
  const whole = digitsOfWhole(bare.slice(0, at));
  const fraction = digitsOfFraction(bare.slice(at + 1));
  if (whole === null || fraction === null) return null;
  const nano = BigInt(whole) * BigInt(EURO) + BigInt(fraction.padEnd(MOST_DIGITS, "0"));
  return nano <= BigInt(MOST) ? Number(nano) : null;
}

/** The point or comma before the fraction; "": there is none; null: it cannot be told. */
function decimalMark(language: Language, bare: string): "." | "," | "" | null {
  const marks = [...bare].filter((character) => character === "." || character === ",") as ("." | ",")[];
  const [first] = marks;
  const last = marks.at(-1);
  if (first === undefined || last === undefined) return "";
  if (first !== last) return marks.filter((mark) => mark === last).length === 1 ? last : null;
  if (marks.length > 1) return "";
  if (last === pointOf(language) || !/^[1-9]\d{0,2}[.,]\d{3}$/.test(bare)) return last;
  return last === markOf(language, "group") ? "" : null; // "1.000" is a thousand in German, and in French either
}

const pointOf = (language: Language): string => markOf(language, "decimal");

function markOf(language: Language, type: "decimal" | "group"): string {
  return numberFormat(language).formatToParts(12345.5).find((part) => part.type === type)?.value ?? "";
}

/** Digits, alone or in threes with one kind of mark between them. */
function digitsOfWhole(text: string): string | null {
  if (text === "") return "0";
  if (!/^(\d+|[1-9]\d{0,2}([., ])\d{3}(\2\d{3})*)$/.test(text)) return null;
  return text.replaceAll(/\D/g, "");
}

function digitsOfFraction(text: string): string | null {
  if (!/^(\d*|(\d{3} )+\d{1,3})$/.test(text)) return null;
  const digits = text.replaceAll(" ", "");
  return digits.length <= MOST_DIGITS ? digits : null;
}
