import { beforeAll, expect, test } from "vitest";

import { setLanguage } from "../i18n";
import { addConsoleMessages } from "../i18n/console";
import type { Offering } from "./admin";
import { isServed, offeringState } from "./words";

beforeAll(async () => {
  await setLanguage("en");
  await addConsoleMessages();
});

const price = { id: "p", offering_id: "o", currency: "EUR", input: 0, cached_input: 0, output: 0, batch_percent: 50, valid_from: "2026-01-01T00:00:00Z", valid_until: null };
const health = { state: "healthy", failures: 0, latency_ms: 12, last_problem: null } as const;
const served: Offering = {
  id: "o", model: "brise", provider_id: "x", provider_name: "Other house", kind: "openai_compatible", operator: "Example SA", region: "FR",
  upstream_model: "brise", max_context: null, enabled: true, is_running: false, price, health,
};

test("an offering is served only where nothing stands against it, and the first thing that does is said", () => {
  expect(offeringState(served)).toEqual({ kind: "good", text: "served" });
  const local = { ...served, kind: "local" } as const;
  const cases: [Offering, string, boolean][] = [
    [{ ...served, price: null }, "not served: no price", false],
    [{ ...served, price: null, enabled: false }, "switched off", false],
    [local, "not loaded", false],
    [{ ...local, is_running: true }, "served", true],
    [{ ...served, health: { ...health, state: "open" } }, "does not answer", false],
    [{ ...served, health: { ...health, state: "failing" } }, "failed lately", true],
    [{ ...served, health: { ...health, state: "unknown" } }, "served", true],
  ];
  for (const [offering, text, isUp] of cases) {
    expect(offeringState(offering).text).toBe(text);
    expect(isServed(offering)).toBe(isUp);
  }
});
