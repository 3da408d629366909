import { expect, test } from "vitest";

import { addressOf, choiceOf } from "./choice";

const TODAY = "2026-11-26";

test("the usual is the last thirty days by model, in euros", () => {
  expect(choiceOf("", TODAY)).toEqual({ range: "30", start: "2026-10-28", end: TODAY, by: "model", measure: "cost", filter: {} });
  expect(addressOf(choiceOf("", TODAY))).toBe("/console/usage");
});

test.each(["?days=7", "?days=90&by=key&measure=tokens", "?start=2026-01-01&end=2026-01-31&by=day", "?measure=requests&model=brise&key_id=a&workspace_id=b"])(
  "%s is a choice and its address",
  (search) => {
    expect(addressOf(choiceOf(search, TODAY))).toBe(`/console/usage${search}`);
  },
);

test.each(["?days=8", "?by=colour", "?start=2026-02-01&end=2026-01-01", "?start=2026-02-99&end=2026-03-01", "?start=x", "?model="])("%s is as usual", (search) => {
  expect(choiceOf(search, TODAY)).toEqual(choiceOf("", TODAY));
});
