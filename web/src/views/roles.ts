// The roles of members, in the reader's language.
import type { Schemas } from "../api/client";
import { m } from "../i18n";

export type Role = Schemas["Me"]["role"];

const NAMES: Record<Role, () => string> = {
  owner: m.role_owner,
  admin: m.role_admin,
  developer: m.role_developer,
  member: m.role_member,
  billing: m.role_billing,
};

export const roleOf = (role: Role): string => NAMES[role]();
