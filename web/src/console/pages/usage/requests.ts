// A list that is read in pages and grows at its head.
import type { UsageRequest } from "../../billing";

export interface Listed {
  requests: UsageRequest[];
  /** Where the page after the last one begins. */
  next: string | null;
}

/** With the first page as it is now. Where it does not reach what was listed, there is a gap: the list begins anew. */
export function extended(listed: Listed, first: { data: UsageRequest[]; next: string | null }): Listed {
  const fresh = new Set(first.data.map((request) => request.id));
  const older = listed.requests.filter((request) => !fresh.has(request.id));
  const overlaps = older.length < listed.requests.length;
  if (!overlaps) return { requests: first.data, next: first.next };
  return { requests: [...first.data, ...older], next: listed.next };
}
