// The facts of a model, in the reader's language.
import { language, m } from "../i18n";
import type { Model } from "../state/server";

export interface Fact {
  name: string;
  value: string;
}

/** 7.2 billion, 5 million: as the language writes them. */
export function parameters(count: number): string {
  return new Intl.NumberFormat(language(), { notation: "compact", compactDisplay: "long", maximumFractionDigits: 1 }).format(count);
}

export function languageNames(codes: string[]): string {
  const names = new Intl.DisplayNames([language()], { type: "language" });
  return codes.map((code) => names.of(code) ?? code).join(", ");
}

export function stateOf(model: Model): string {
  if (model.state === "ready") return m.model_ready();
  if (model.state === "failed") return m.model_failed();
  const percent = new Intl.NumberFormat(language(), { style: "percent" }).format(model.progress ?? 0);
  return m.model_loading({ percent });
}

export function abilitiesOf(model: Model): string {
  const { completion_chat, function_calling, completion_fim, reasoning } = model.capabilities;
  const can = [
    completion_chat && m.ability_chat(),
    function_calling && m.ability_tools(),
    completion_fim && m.ability_fim(),
    reasoning && m.ability_thinking(),
  ].filter((ability) => ability !== false);
  return can.join(", ");
}

export function factsOf(model: Model): Fact[] {
  const facts: Fact[] = [
    { name: m.fact_size(), value: m.fact_parameters({ size: parameters(model.parameters) }) },
    { name: m.fact_context(), value: m.fact_tokens({ count: model.max_context_length }) },
    { name: m.fact_licence(), value: model.licence ?? m.unknown() },
    { name: m.fact_languages(), value: model.languages.length ? languageNames(model.languages) : m.unknown() },
    { name: m.fact_location(), value: model.location === "local" ? m.location_local() : model.location },
  ];
  if (model.state !== "ready") facts.unshift({ name: m.model(), value: stateOf(model) });
  return facts;
}
