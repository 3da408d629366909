import { expect, test } from "vitest";

import { LANGUAGES } from "../../../i18n";
import type { Limit } from "../../billing";
import { changeOf, draftOf } from "./draft";

const LIMIT: Limit = {
  scope: "key",
  scope_id: "a",
  name: "A",
  requests_per_second: 5,
  tokens_per_minute: 1_000_000,
  tokens_per_month: null,
  spend_per_month: 1_234_567_890_123,
  month_tokens: 0,
  month_spend: 0,
};

test.each(LANGUAGES)("in %s an untouched draft changes nothing", (language) => {
  const { requests_per_second, tokens_per_minute, tokens_per_month, spend_per_month } = LIMIT;
  expect(changeOf(language, draftOf(language, LIMIT))).toEqual({ change: { requests_per_second, tokens_per_minute, tokens_per_month, spend_per_month }, wrong: [] });
});

test("an empty field lifts a limit, and no money at all is one", () => {
  const { change } = changeOf("en", { ...draftOf("en", LIMIT), requests_per_second: " ", spend_per_month: "0" });
  expect(change).toMatchObject({ requests_per_second: null, spend_per_month: 0 });
});

test("what is no number is said", () => {
  const draft = { requests_per_second: "0", tokens_per_minute: "1.5", tokens_per_month: "many", spend_per_month: "-1" };
  expect(changeOf("en", draft).wrong).toEqual(["requests_per_second", "tokens_per_minute", "tokens_per_month", "spend_per_month"]);
});
