// Numbers, dates, sizes and durations as a language writes them.
const cache = new Map<string, Intl.NumberFormat>();

/** A formatter of numbers; made once, as making one is slow. */
export function numberFormat(language: string, options: Intl.NumberFormatOptions = {}): Intl.NumberFormat {
  const key = language + JSON.stringify(options);
  let format = cache.get(key);
  if (format === undefined) {
    format = new Intl.NumberFormat(language, options);
    cache.set(key, format);
  }
  return format;
}

export function formatNumber(language: string, value: number, digits = 0): string {
  return numberFormat(language, { maximumFractionDigits: digits }).format(value);
}

/** 0.62 as 62 %. */
export function formatPercent(language: string, share: number, digits = 0): string {
  return numberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(share);
}

/** 1.2 kB, 34 MB: as users of files know them, in steps of a thousand. */
export function formatBytes(language: string, bytes: number): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  const value = bytes / 1000 ** step;
  const unit = units[step] ?? "byte";
  const style = { style: "unit", unit, unitDisplay: step === 0 ? "long" : "short" } as const;
  return numberFormat(language, { ...style, maximumFractionDigits: step > 0 && value < 10 ? 1 : 0 }).format(value);
}

/** 1.3 s, 340 ms. */
export function formatSeconds(language: string, seconds: number): string {
  const short = seconds < 1;
  const unit = short ? "millisecond" : "second";
  const value = short ? seconds * 1000 : seconds;
  const digits = short ? 0 : 1;
  return numberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format(value);
}

/** A day in full, and the time. */
export function formatDateTime(language: string, date: Date | string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(new Date(date));
}
