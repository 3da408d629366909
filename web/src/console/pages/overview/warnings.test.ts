import { beforeAll, expect, test } from "vitest";

import { setLanguage } from "../../../i18n";
import { addConsoleMessages } from "../../../i18n/console";
import type { Model } from "../../../state/server";
import type { CatalogueModel } from "../../admin";
import type { BillingOverview, Budget, Lot, UsageGroup } from "../../billing";
import { warningsOf } from "./warnings";

const LOT = { id: "a", kind: "commitment", name: "Year", amount: 1000, balance: 10, ends_at: null, state: "active" } as Lot;
const OVERVIEW = { available: 10, lots: [LOT] } as BillingOverview;
const BUDGET = { name: "Team", amount: 100, spend: 60, warned_percent: 50 } as Budget;
const NOTHING = { overview: null, budgets: [], used: [], catalogue: [], models: [] };

function ending(stage: CatalogueModel["lifecycle"]["stage"], retired_at: string | null): CatalogueModel {
  return { name: "old", lifecycle: { stage, retired_at, replacement: "new" } } as CatalogueModel;
}

const used = [{ group: "old" } as UsageGroup];

beforeAll(async () => {
  await setLanguage("en");
  await addConsoleMessages();
});

test("nothing to tell, nothing is told", () => {
  expect(warningsOf(NOTHING)).toEqual([]);
  expect(warningsOf({ ...NOTHING, catalogue: [ending("deprecated", null)] })).toEqual([]); // nobody uses it
});

test("what is worst comes first, each with where it is put right", () => {
  const warnings = warningsOf({
    overview: { ...OVERVIEW, available: 0 },
    budgets: [BUDGET, { ...BUDGET, name: "Lab", spend: 100 }],
    used,
    catalogue: [ending("deprecated", "2031-05-06T12:00:00Z")],
    models: [{ id: "big", state: "failed" } as Model],
  });
  expect(warnings.map((warning) => [warning.kind, warning.text])).toEqual([
    ["bad", "The money is used up: models that have a price are refused."],
    ["bad", "The budget Lab is exceeded."],
    ["bad", "big could not be loaded."],
    ["wait", "Year is running out: €0.000 000 01 are left.".replaceAll(/(?<=\d) (?=\d)/g, "\u202f")],
    ["wait", "More than 50% of the budget Team are spent."],
    ["wait", "old, which is in use, ends on May 6, 2031. Use new instead."],
  ]);
  expect(warnings.every((warning) => warning.href.startsWith("/console/"))).toBe(true);
});

test("a model that is retired already was", () => {
  const [warning] = warningsOf({ ...NOTHING, used, catalogue: [ending("retired", "2025-05-06T12:00:00Z")] });
  expect(warning?.text).toBe("old, which was used lately, was retired on May 6, 2025. Use new instead.");
});
