// A workspace's rules on where its requests may go: as a choice, and in words.
import { m } from "../../../i18n";
import type { Policy } from "../../admin";
import { regionOf } from "../../regions";

export type Reach = "anywhere" | "eu" | "eea" | "own";

export const ANYWHERE: Readonly<Policy> = { regions: null, operators: null, order: "price" };

export function reachOf(regions: Policy["regions"]): Reach {
  if (regions == null) return "anywhere";
  if (regions.length === 1 && regions[0] === "EU") return "eu";
  if (regions.length === 1 && regions[0] === "EEA") return "eea";
  return "own";
}

/** An empty list would allow nothing. */
export const isComplete = ({ regions, operators }: Policy): boolean => regions?.length !== 0 && operators?.length !== 0;

const ORDERS: Record<Policy["order"], () => string> = {
  price: m.policy_order_price,
  latency: m.policy_order_latency,
  listed: m.policy_order_listed,
};

export const orderOf = (order: Policy["order"]): string => ORDERS[order]();

const REACHES: Record<Exclude<Reach, "own">, () => string> = {
  anywhere: m.policy_anywhere,
  eu: m.policy_eu,
  eea: m.policy_eea,
};

/** "EU only · any company · cheapest first" */
export function policyText(policy: Policy | null): string {
  const { regions, operators, order } = policy ?? ANYWHERE;
  const reach = reachOf(regions);
  const where = reach === "own" ? (regions ?? []).map(regionOf).join(", ") : REACHES[reach]();
  return [where, operators?.join(", ") ?? m.policy_any_operator(), m.policy_first({ order: orderOf(order) })].join(" · ");
}
