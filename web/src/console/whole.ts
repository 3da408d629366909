/** A whole number of "1000000", "1,000,000", "1.000.000" or "1 000 000"; null where it is none, or could be a fraction. */
export function wholeOf(text: string): number | null {
  const bare = text.trim();
  if (!/^(\d+|[1-9]\d{0,2}(?:([.,\s'’])\d{3})(?:\2\d{3})*)$/.test(bare)) return null;
  const number = Number(bare.replaceAll(/\D/g, ""));
  return Number.isSafeInteger(number) ? number : null;
}
