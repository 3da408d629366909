// What the server's words for kinds and states are called in the reader's language.
import { m } from "../i18n";
import { dayMedium } from "./days";
import type { GroupedBy, Lot, Transfer, UsageGroup, UsageRequest } from "./billing";

const LOT_KINDS: Record<Lot["kind"], () => string> = {
  commitment: m.lot_commitment,
  credit: m.lot_credit,
  pay_as_you_go: m.pay_as_you_go,
  free: m.lot_free,
};

const LOT_STATES: Record<Lot["state"], () => string> = {
  active: m.lot_active,
  completed: m.lot_completed,
  expired: m.lot_expired,
  cancelled: m.lot_cancelled,
};

const TRANSFERS: Record<Transfer["kind"], () => string> = {
  top_up: m.transfer_top_up,
  charge: m.transfer_charge,
  expiry: m.transfer_expiry,
  shortfall: m.transfer_shortfall,
  cancellation: m.transfer_cancellation,
  return: m.transfer_return,
};

const OUTCOMES: Record<UsageRequest["outcome"], () => string> = {
  done: m.outcome_done,
  hung_up: m.outcome_hung_up,
  failed: m.outcome_failed,
  interrupted: m.outcome_interrupted,
};

export const kindOfLot = (lot: Pick<Lot, "kind">): string => LOT_KINDS[lot.kind]();
export const stateOfLot = (lot: Lot): string => LOT_STATES[lot.state]();
export const kindOfTransfer = (transfer: Transfer): string => TRANSFERS[transfer.kind]();
export const outcomeOf = (request: UsageRequest): string => OUTCOMES[request.outcome]();

/** Of a group of a report: a day is written as one; requests from a browser have no key. */
export function nameOfGroup(by: GroupedBy, group: UsageGroup): string {
  if (by === "day") return dayMedium(group.group);
  if (by === "key" && group.group === "") return m.usage_no_key();
  return group.name || group.group;
}

const ACCOUNTS: Record<string, () => string> = {
  revenue: m.account_revenue,
  funding: m.account_funding,
  receivable: m.account_receivable,
  breakage: m.account_breakage,
  shortfall: m.account_shortfall,
  promotion: m.account_promotion,
};

/** An account of the ledger: one of the platform's own, or a lot by its name. */
export function accountOf(account: string, lots: Lot[]): string {
  const lot = lots.find((one) => account.endsWith(one.id));
  return ACCOUNTS[account]?.() ?? lot?.name ?? account;
}
