// What a key may do, as a choice of three, and in words.
import type { Schemas } from "../../../api/client";
import { m } from "../../../i18n";

type Scopes = Schemas["ApiKey"]["scopes"];

const CHOICES = {
  inference: ["inference"],
  read: ["inference", "read"],
  all: null,
} as const satisfies Record<string, Scopes | readonly string[]>;

export type ScopeChoice = keyof typeof CHOICES;

export function scopesOf(choice: ScopeChoice): Scopes {
  const scopes = CHOICES[choice];
  return scopes === null ? null : [...scopes];
}

/** "asks models", "asks models, reads usage and billing", "all that its user may". */
export function mayDo(scopes: Scopes): string {
  if (scopes === null || scopes.includes("manage")) return m.scope_all();
  const words = [scopes.includes("inference") && m.scope_inference(), scopes.includes("read") && m.scope_read()];
  return words.filter((word) => word !== false).join(", ");
}
