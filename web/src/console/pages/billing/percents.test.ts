import { expect, test } from "vitest";

import { percentsOf } from "./percents";

test.each([
  ["50, 80, 100", [50, 80, 100]],
  ["100 % 50 % 50 %", [50, 100]],
  ["1;1000", [1, 1000]],
  ["", null],
  ["0", null],
  ["1001", null],
  ["12.5", null],
  ["half", null],
  ["1 2 3 4 5 6 7 8 9 10 11", null],
])("%j", (text, percents) => {
  expect(percentsOf(text)).toEqual(percents);
});
