import { expect, test } from "vitest";

import type { UsageRequest } from "../../billing";
import { extended } from "./requests";

const all = (...ids: number[]): UsageRequest[] => ids.map((id) => ({ id: String(id) }) as UsageRequest);
const ids = (requests: UsageRequest[]): number[] => requests.map((request) => Number(request.id));

test("new requests come on top, and pages that were read stay", () => {
  const listed = { requests: all(5, 4, 3, 2), next: "2" };
  const now = extended(listed, { data: all(7, 6, 5), next: "5" });
  expect(ids(now.requests)).toEqual([7, 6, 5, 4, 3, 2]);
  expect(now.next).toBe("2");
});

test("after a gap the list begins anew", () => {
  expect(extended({ requests: all(2, 1), next: null }, { data: all(9, 8), next: "8" })).toEqual({ requests: all(9, 8), next: "8" });
});

test("a list that was all of them stays so", () => {
  const listed = { requests: all(2, 1), next: null };
  expect(extended(listed, { data: all(3, 2, 1), next: null })).toEqual({ requests: all(3, 2, 1), next: null });
});
