import { expect, test } from "vitest";

import { LANGUAGES } from "../i18n";
import { numberFormat } from "../i18n/formats";
import { wholeOf } from "./whole";

test.each([
  ["0", 0],
  [" 1000 ", 1000],
  ["1,000,000", 1_000_000],
  ["1.000.000", 1_000_000],
  ["12 000", 12_000],
  ["1.5", null],
  ["1,00", null],
  ["1,000.000", null],
  ["-1", null],
  ["1e6", null],
  ["", null],
  ["99999999999999999999", null],
])("%j", (text, number) => {
  expect(wholeOf(text)).toBe(number);
});

test.each(LANGUAGES)("in %s what is written is read", (language) => {
  for (let number = 1; number < 1e15; number = number * 7 + 3) expect(wholeOf(numberFormat(language).format(number))).toBe(number);
});
