// What is to be seen of lots at a glance.
import type { Lot } from "./billing";
import { DAY_MILLISECONDS } from "./days";

const LOW = 0.1; // of the amount
const SOON = 14 * DAY_MILLISECONDS;

/** Whether an active lot is nearly used up, or ends soon with something left. Pay-as-you-go does so each month. */
export function isRunningOut(lot: Lot, now = Date.now()): boolean {
  if (lot.state !== "active" || lot.kind === "pay_as_you_go" || lot.kind === "free") return false;
  const endsSoon = lot.ends_at !== null && Date.parse(lot.ends_at) - now < SOON && lot.balance > 0;
  return lot.balance < LOW * lot.amount || endsSoon;
}

/** The end of a term that begins at `start`: the same day so many months later, or that month's last. */
export function endOfTerm(start: Date, months: number): Date {
  const end = new Date(start);
  end.setMonth(end.getMonth() + months);
  if (end.getDate() !== start.getDate()) end.setDate(0);
  return end;
}
