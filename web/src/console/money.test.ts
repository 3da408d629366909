import { describe, expect, test } from "vitest";

import { LANGUAGES } from "../i18n";
import { axisMoney, digitsOf, digitsOfAll, EURO, formatMoney, MOST, moneyParts, parseMoney } from "./money";

const plain = (text: string): string => text.replaceAll(/[\u202f\u00a0]/g, " ");

/** Numbers that are the same in each run, of all sizes. */
function* amounts(count: number): Generator<number> {
  let seed = 7;
  for (let at = 0; at < count; at++) {
    seed = (seed * 48_271) % 2_147_483_647;
    yield Math.floor((seed / 2_147_483_647) * 10 ** (at % 17)) % MOST;
  }
}

describe("amounts are shown exactly", () => {
  test.each([
    ["en", 12_500_000_000, "€12.50"],
    ["en", 1_234_567_890_000_000, "€1,234,567.89"],
    ["en", 0, "€0.00"],
    ["en", 1, "€0.000 000 001"],
    ["en", -1_500_000_000, "-€1.50"],
    ["de", 12_500, "0,000 012 5 €"],
    ["de", 1_234_500_000_000, "1.234,50 €"],
    ["fr", 1_234_500_000_000, "1 234,50 €"],
    ["it", 99_998_712_500, "99,998 712 5 €"],
    ["es", 125_000_000, "0,125 €"],
    ["es", 1_234_500_000_000, "1.234,50 €"],
  ] as const)("in %s %d", (language, nano, text) => {
    expect(plain(formatMoney(language, nano))).toBe(text);
  });

  test("with as many digits as the column has", () => {
    const column = [500_000_000, 12_500, EURO];
    expect(digitsOfAll(column)).toBe(7);
    expect(column.map((nano) => plain(formatMoney("en", nano, 7)))).toEqual(["€0.500 000 0", "€0.000 012 5", "€1.000 000 0"]);
    expect([0, EURO, 10_000_000, 1_000_000, 1].map(digitsOf)).toEqual([2, 2, 2, 3, 9]);
  });

  test("on an axis of whole euros without cents", () => {
    expect([0, 2000 * EURO].map(axisMoney([0, 2000 * EURO]))).toEqual(["€0", "€2,000"]);
    expect([0, EURO / 2].map(axisMoney([0, EURO / 2]))).toEqual(["€0.00", "€0.50"]);
  });

  test("what is below the cents is apart, unless it is all there is", () => {
    expect(moneyParts("en", 99_998_712_500)).toEqual({ main: "€99.99", tail: "8\u202f712\u202f5", after: "" });
    expect(moneyParts("de", 99_998_712_500)).toEqual({ main: "99,99", tail: "8\u202f712\u202f5", after: "\u00a0€" });
    expect(moneyParts("en", 12_500).tail).toBe("");
    expect(moneyParts("en", 0, 7)).toEqual({ main: "€0.00", tail: "0\u202f000\u202f0", after: "" });
  });
});

test.each(LANGUAGES)("in %s whatever is shown is read as the same amount", (language) => {
  for (const nano of amounts(2000)) {
    expect(parseMoney(language, formatMoney(language, nano))).toBe(nano);
    expect(parseMoney(language, formatMoney(language, nano, 9))).toBe(nano);
  }
});

describe("amounts are read as they are written", () => {
  test.each([
    ["de", "1.000,50", 1000.5],
    ["de", "1.000", 1000],
    ["de", "12.5", 12.5],
    ["de", "1.000.000", 1_000_000],
    ["en", "1,000.50", 1000.5],
    ["en", "1,000", 1000],
    ["en", "12,5", 12.5],
    ["en", "1.000,50", 1000.5],
    ["en", " € 5000 ", 5000],
    ["fr", "1 000,50 €", 1000.5],
    ["fr", "12.50", 12.5],
    ["it", "1’000.50", 1000.5],
    ["es", ",5", 0.5],
    ["es", "5,", 5],
    ["de", "0.125", 0.125],
    ["de", "20 EUR", 20],
  ] as const)("in %s %j", (language, text, euros) => {
    expect(parseMoney(language, text)).toBe(euros * EURO);
  });

  test.each([
    ["fr", "1.000"], // a thousand, or one
    ["en", ""],
    ["en", "."],
    ["en", "ten"],
    ["en", "-5"],
    ["en", "1e5"],
    ["en", "1,00,000"],
    ["en", "1.000.50"],
    ["en", "1,000,50.5"],
    ["en", "12 34"],
    ["en", "1.2,3.4"],
    ["en", "0.0000000001"],
    ["en", "9000000.000000001"],
    ["en", "99999999999999999999"],
  ] as const)("in %s %j is none", (language, text) => {
    expect(parseMoney(language, text)).toBeNull();
  });

  test("the most that the server takes is taken", () => {
    expect(parseMoney("en", "9,000,000")).toBe(MOST);
    expect(Number.isSafeInteger(MOST)).toBe(true);
  });
});
