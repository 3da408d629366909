// What asks for attention, the most urgent first.
import { m, percent } from "../../../i18n";
import type { Model } from "../../../state/server";
import type { CatalogueModel } from "../../admin";
import type { BillingOverview, Budget, UsageGroup } from "../../billing";
import { isRunningOut } from "../../lots";
import { money } from "../../money";
import { day } from "../../when";

export interface Warning {
  text: string;
  href: string;
  kind: "wait" | "bad";
}

interface Known {
  overview: BillingOverview | null;
  budgets: Budget[];
  used: UsageGroup[];
  catalogue: CatalogueModel[];
  models: Model[];
}

export function warningsOf({ overview, budgets, used, catalogue, models }: Known): Warning[] {
  const all = [...ofMoney(overview), ...budgets.flatMap(ofBudget), ...models.flatMap(ofRunning), ...ofLifecycles(used, catalogue)];
  return all.sort((one, other) => Number(other.kind === "bad") - Number(one.kind === "bad"));
}

function ofMoney(overview: BillingOverview | null): Warning[] {
  if (overview === null) return [];
  const spent: Warning[] = overview.lots.length > 0 && overview.available <= 0 ? [{ text: m.warning_no_money(), href: "/console/billing", kind: "bad" }] : [];
  const low = overview.lots.filter((lot) => isRunningOut(lot));
  return [
    ...spent,
    ...low.map((lot): Warning => ({ text: m.warning_lot({ name: lot.name, left: money(lot.balance) }), href: `/console/billing/lots/${lot.id}`, kind: "wait" })),
  ];
}

function ofBudget(budget: Budget): Warning[] {
  const href = "/console/billing/budgets";
  if (budget.spend >= budget.amount) return [{ text: m.warning_budget_over({ name: budget.name }), href, kind: "bad" }];
  return budget.warned_percent > 0 ? [{ text: m.warning_budget({ name: budget.name, percent: percent(budget.warned_percent / 100) }), href, kind: "wait" }] : [];
}

function ofRunning(model: Model): Warning[] {
  return model.state === "failed" ? [{ text: m.warning_model_failed({ name: model.id }), href: "/console/deployments", kind: "bad" }] : [];
}

/** Of models that were asked lately and are on their way out. */
function ofLifecycles(used: UsageGroup[], catalogue: CatalogueModel[]): Warning[] {
  const names = new Set(used.map((group) => group.group));
  return catalogue
    .filter((model) => names.has(model.name) && ["deprecated", "retired"].includes(model.lifecycle.stage))
    .map((model): Warning => {
      const { retired_at, replacement } = model.lifecycle;
      const until = retired_at === null ? m.warning_deprecated({ name: model.name }) : endOf(model, retired_at);
      return { text: replacement ? `${until} ${m.warning_replacement({ name: replacement })}` : until, href: `/console/catalogue/${encodeURIComponent(model.name)}`, kind: "wait" };
    });
}

function endOf({ name, lifecycle }: CatalogueModel, retired_at: string): string {
  const places = { name, date: day(retired_at) };
  return lifecycle.stage === "retired" ? m.warning_retired(places) : m.warning_deprecated_until(places);
}
