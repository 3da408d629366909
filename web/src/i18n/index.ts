// What the rest of the app imports: messages, and values as the reader's language writes them.
import * as formats from "./formats";
import { language } from "./i18n.svelte";

export { LANGUAGES, LANGUAGE_NAMES, language, m, setLanguage, startLanguage, type Language } from "./i18n.svelte";

export const number = (value: number, digits = 0): string => formats.formatNumber(language(), value, digits);
export const percent = (share: number, digits = 0): string => formats.formatPercent(language(), share, digits);
export const bytes = (value: number): string => formats.formatBytes(language(), value);
export const seconds = (value: number): string => formats.formatSeconds(language(), value);
export const dateTime = (value: Date | string): string => formats.formatDateTime(language(), value);
