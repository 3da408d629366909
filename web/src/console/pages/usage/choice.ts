// What of the usage is shown, as the address says it: so it can be linked to, and "back" goes back.
import { daysLater } from "../../days";
import type { GroupedBy, UsageFilter } from "../../billing";
import type { Measure } from "../../usage_parts";

const RANGES = ["7", "30", "90"] as const;
export type Range = (typeof RANGES)[number] | "custom";

export interface Choice {
  range: Range;
  start: string;
  end: string;
  by: GroupedBy;
  measure: Measure;
  filter: UsageFilter;
}

const FILTERS = ["model", "key_id", "workspace_id"] as const;

export function choiceOf(search: string, today: string): Choice {
  const asked = new URLSearchParams(search);
  const [start, end] = [dayIn(asked.get("start")), dayIn(asked.get("end"))];
  const isCustom = start !== null && end !== null && start <= end;
  const range = isCustom ? "custom" : oneOf(asked.get("days"), RANGES, "30");
  return {
    range,
    start: isCustom ? start : daysLater(today, 1 - Number(range)),
    end: isCustom ? end : today,
    by: oneOf(asked.get("by"), ["model", "key", "workspace", "day"] as const, "model"),
    measure: oneOf(asked.get("measure"), ["cost", "tokens", "requests"] as const, "cost"),
    filter: Object.fromEntries(FILTERS.flatMap((name) => (asked.get(name) ? [[name, asked.get(name)]] : []))),
  };
}

/** The address of a choice; what is as usual is not in it. */
export function addressOf(choice: Choice): string {
  const said = new URLSearchParams();
  if (choice.range === "custom") {
    said.set("start", choice.start);
    said.set("end", choice.end);
  } else if (choice.range !== "30") said.set("days", choice.range);
  if (choice.by !== "model") said.set("by", choice.by);
  if (choice.measure !== "cost") said.set("measure", choice.measure);
  for (const name of FILTERS) if (choice.filter[name]) said.set(name, choice.filter[name]);
  return `/console/usage${said.size > 0 ? `?${said.toString()}` : ""}`;
}

function dayIn(text: string | null): string | null {
  return text !== null && /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : null;
}

function oneOf<T extends string>(text: string | null, all: readonly T[], usual: T): T {
  return all.find((one) => one === text) ?? usual;
}
