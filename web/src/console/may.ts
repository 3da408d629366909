// What the role of who is signed in allows: what it does not is not shown. The server decides all the same.
import { session } from "../state/session.svelte";

export type Permission =
  | "infer"
  | "own_keys"
  | "keys"
  | "usage"
  | "members"
  | "workspaces"
  | "limits"
  | "audit"
  | "billing"
  | "spend"
  | "operate"
  | "sell";

/** Whether any of them is allowed. */
export function may(...permissions: Permission[]): boolean {
  const allowed = session.me?.permissions ?? [];
  return permissions.some((permission) => allowed.includes(permission));
}
