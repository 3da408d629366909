import { beforeAll, expect, test } from "vitest";

import { setLanguage } from "../../../i18n";
import { addConsoleMessages } from "../../../i18n/console";
import { ANYWHERE, policyText, reachOf } from "./policy";

beforeAll(async () => {
  await setLanguage("en");
  await addConsoleMessages();
});

test("a list of regions is one of four choices", () => {
  expect([null, ["EU"], ["EEA"], ["EU", "CH"], []].map(reachOf)).toEqual(["anywhere", "eu", "eea", "own", "own"]);
});

test("a policy in words, and none is the one that allows everything", () => {
  expect(policyText(null)).toBe("Anywhere · any company · the cheapest first");
  expect(policyText(null)).toBe(policyText(ANYWHERE));
  expect(policyText({ regions: ["EU"], operators: ["OVH", "Scaleway"], order: "latency" })).toBe("EU only · OVH, Scaleway · the quickest first");
  expect(policyText({ regions: ["CH", "EU"], operators: null, order: "listed" })).toContain("Switzerland (CH), European Union (EU)");
});
