/** "50, 80 %; 100" as numbers in order, each once; null where one of them is none from 1 to 1000, or there is none or more than ten. */
export function percentsOf(text: string): number[] | null {
  const words = text.split(/[\s,;%]+/).filter(Boolean);
  if (words.some((word) => !/^\d{1,4}$/.test(word))) return null;
  const numbers = [...new Set(words.map(Number))].sort((one, other) => one - other);
  if (numbers.length === 0 || numbers.length > 10) return null;
  return numbers.every((number) => number >= 1 && number <= 1000) ? numbers : null;
}
