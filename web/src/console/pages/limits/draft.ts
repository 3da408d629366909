// Limits while they are typed: texts, of which an empty one is no limit.
import type { Schemas } from "../../../api/client";
import type { Language } from "../../../i18n";
import { formatNumber } from "../../../i18n/formats";
import type { Limit } from "../../billing";
import { parseMoney, typedMoney } from "../../money";
import { wholeOf } from "../../whole";

const FIELDS = ["requests_per_second", "tokens_per_minute", "tokens_per_month", "spend_per_month"] as const;
export type LimitField = (typeof FIELDS)[number];
export type LimitDraft = Record<LimitField, string>;

export function draftOf(language: Language, limit: Limit): LimitDraft {
  const written = (field: LimitField): string => {
    const value = limit[field];
    if (value === null) return "";
    return field === "spend_per_month" ? typedMoney(language, value) : formatNumber(language, value);
  };
  return Object.fromEntries(FIELDS.map((field) => [field, written(field)])) as LimitDraft;
}

/** What is asked of the server, or which fields it cannot be asked for. */
export function changeOf(language: Language, draft: LimitDraft): { change: Schemas["LimitChange"]; wrong: LimitField[] } {
  const read = (field: LimitField): number | null => {
    const text = draft[field].trim();
    const value = field === "spend_per_month" ? parseMoney(language, text) : wholeOf(text);
    return value === 0 && field !== "spend_per_month" ? null : value; // none at all is no rate; no money is a limit
  };
  const values = FIELDS.map((field) => [field, read(field)] as const);
  const wrong = values.filter(([field, value]) => value === null && draft[field].trim() !== "").map(([field]) => field);
  return { change: Object.fromEntries(values) as Schemas["LimitChange"], wrong };
}
