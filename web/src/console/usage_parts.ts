// From the server's sums to what a chart draws.
import { daysFrom } from "./days";
import type { UsageGroup, UsageReport } from "./billing";

export type Measure = "cost" | "tokens" | "requests";

const MOST_PARTS = 5; // that have a colour of their own

export function measured(group: UsageGroup, measure: Measure): number {
  if (measure === "requests") return group.requests;
  return measure === "cost" ? group.amount : group.prompt_tokens + group.output_tokens;
}

export interface Part {
  name: string;
  values: number[];
}

/**
 * Each group's values by day, the largest group first; of more than five, all but those are one. The server, too, tells
 * the days of some groups only, and of the others together.
 */
export function partsOf(report: UsageReport, measure: Measure, names: { all: string; rest: string; nameOf: (group: UsageGroup) => string }): Part[] {
  const days = daysFrom(report.start, report.end);
  if (report.by === "day") return [{ name: names.all, values: days.map((day) => sumOf(report.days.filter((group) => group.day === day), measure)) }];
  const told = new Set(report.days.map((group) => group.group));
  const groups = report.groups.filter((group) => told.has(group.group)).sort((one, other) => measured(other, measure) - measured(one, measure));
  const largest = groups.slice(0, MOST_PARTS);
  const ids = new Set(largest.map((group) => group.group));
  const values = (isMeant: (group: UsageGroup) => boolean): number[] =>
    days.map((day) => sumOf(report.days.filter((group) => group.day === day && isMeant(group)), measure));
  const parts = largest.map((group) => ({ name: names.nameOf(group), values: values((other) => other.group === group.group) }));
  if (report.groups.length === largest.length) return parts;
  return [...parts, { name: names.rest, values: values((group) => !ids.has(group.group)) }];
}

const sumOf = (groups: UsageGroup[], measure: Measure): number => groups.reduce((sum, group) => sum + measured(group, measure), 0);
