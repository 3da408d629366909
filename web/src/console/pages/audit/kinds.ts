// What the entries of the audit log are about: an action's name begins with one of these.
import { m } from "../../../i18n";
import type { Option } from "../../Field.svelte";

const KINDS: readonly [string, () => string][] = [
  ["session", m.audit_sessions],
  ["user", m.audit_users],
  ["member", m.nav_members],
  ["invitation", m.invitations],
  ["key", m.nav_keys],
  ["workspace", m.nav_workspaces],
  ["organisation", m.customers],
  ["limit", m.nav_limits],
  ["budget", m.billing_budgets],
  ["lot", m.audit_lots],
  ["pay_as_you_go", m.pay_as_you_go],
  ["deployment", m.nav_deployments],
  ["licence", m.audit_licences],
  ["lifecycle", m.lifecycle],
  ["provider", m.nav_providers],
  ["offering", m.offerings],
  ["price", m.audit_prices],
  ["settings", m.nav_settings],
];

export const kindsOfActions = (): Option[] => [{ value: "", label: m.all() }, ...KINDS.map(([value, name]) => ({ value, label: name() }))];
