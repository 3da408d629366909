// What the server has a word for, in the reader's language.
import { bytes, m } from "../i18n";
import type { CatalogueModel, Lifecycle, MemoryFit, Offering } from "./admin";

const STAGES: Record<Lifecycle["stage"], () => string> = {
  preview: m.stage_preview,
  available: m.stage_available,
  legacy: m.stage_legacy,
  deprecated: m.stage_deprecated,
  retired: m.stage_retired,
};

export const STAGE_NAMES = Object.keys(STAGES) as readonly Lifecycle["stage"][];

export const stageOf = (stage: Lifecycle["stage"]): string => STAGES[stage]();

export const STAGE_KINDS = { preview: "wait", available: "good", legacy: "wait", deprecated: "bad", retired: "quiet" } as const;

const ABILITIES: Record<string, () => string> = {
  chat: m.ability_chat,
  tools: m.ability_tools,
  fim: m.ability_fim,
  reasoning: m.ability_thinking,
  embeddings: m.ability_embeddings,
  vision: m.ability_vision,
  code: m.ability_code,
  audio: m.ability_audio,
  ocr: m.ability_ocr,
  moderation: m.ability_moderation,
};

export const abilityOf = (ability: string): string => ABILITIES[ability]?.() ?? ability;

/** This machine is called so in the reader's language; others by the name that they were given. */
export const providerOf = (kind: Offering["kind"], name: string): string => (kind === "local" ? m.machine() : name);

const QUANTIZATIONS: Record<MemoryFit["quantization"], () => string> = {
  none: m.quantization_none,
  int8: m.quantization_int8,
  int4: m.quantization_int4,
};

export const quantizationOf = (quantization: string): string =>
  QUANTIZATIONS[quantization as MemoryFit["quantization"]]?.() ?? quantization;

/** Whether it fits in this machine's memory, and how much that is. */
export function fitText(fit: MemoryFit): string {
  const sizes = { needed: bytes(fit.needed), free: bytes(fit.available) };
  return fit.fits ? m.fit_yes(sizes) : m.fit_no(sizes);
}

/** Whether requests would be sent there now, and if not, why: in the order in which it has to be put right. */
export function offeringState(offering: Offering): { kind: "good" | "wait" | "bad" | "quiet"; text: string } {
  if (!offering.enabled) return { kind: "quiet", text: m.offering_disabled() };
  if (offering.price === null) return { kind: "bad", text: m.offering_no_price() };
  if (offering.kind === "local" && !offering.is_running) return { kind: "quiet", text: m.offering_not_running() };
  if (offering.health.state === "open") return { kind: "bad", text: m.health_open() };
  if (offering.health.state === "failing") return { kind: "wait", text: m.health_failing() };
  return { kind: "good", text: m.offering_served() };
}

export const isServed = (offering: Offering): boolean => ["good", "wait"].includes(offeringState(offering).kind);

export const isServedHere = (model: CatalogueModel): boolean => model.offerings.some(isServed);
