// Quotations in an answer. Each stands in it as «text» [n]; the server says where, in code points. Before the Markdown
// is read, one character takes the place of each, so that nothing in a quoted text is taken for Markdown.
import type { Schemas } from "../api/client";
import type { Inline } from "./nodes";

export type Quote = Schemas["QuoteBody"];

// A private area of Unicode: what an answer itself has of these is shown as unknown.
const FIRST = 0xe000;
const MOST = 0x1000;
const PRIVATE = /[\uE000-\uEFFF]/g;

export interface Marked {
  source: string;
  /** The texts of the quotations, by their characters' places in the private area. */
  texts: Map<number, string>;
}

/** The answer with a character for each quotation. A quote that is not where it should be is left as text. */
export function markCitations(answer: string, quotes: readonly Quote[]): Marked {
  const clean = answer.replace(PRIVATE, "\uFFFD");
  const texts = new Map<number, string>();
  const order = quotes.slice(0, MOST).map((quote, index) => ({ quote, index }));
  order.sort((one, other) => one.quote.text_start - other.quote.text_start);
  const unitOf = unitsOf(clean, order.flatMap(({ quote }) => [quote.text_start, quote.text_end]));
  let source = "";
  let done = 0;
  for (const { quote, index } of order) {
    const start = unitOf.get(quote.text_start);
    const end = unitOf.get(quote.text_end);
    if (start === undefined || end === undefined || start >= end || start < done) continue;
    const begin = clean.charAt(start - 1) === "«" && start - 1 >= done ? start - 1 : start;
    const closing = clean.startsWith("»", end) ? end + 1 : end;
    const number = new RegExp(`^ ?\\[${quote.number}\\]`).exec(clean.slice(closing, closing + 16));
    source += clean.slice(done, begin) + String.fromCharCode(FIRST + index);
    texts.set(index, clean.slice(begin, closing));
    done = closing + (number?.[0].length ?? 0);
  }
  return { source: source + clean.slice(done), texts };
}

/** Offsets in code points, as places in a JavaScript string, which counts units of UTF-16. */
export function unitsOf(text: string, offsets: readonly number[]): Map<number, number> {
  const wanted = new Set(offsets);
  const found = new Map<number, number>();
  let points = 0;
  let units = 0;
  if (wanted.has(0)) found.set(0, 0);
  for (const character of wanted.size > 0 ? text : "") {
    points += 1;
    units += character.length;
    if (wanted.has(points)) found.set(points, units);
  }
  return found;
}

/** A text with its quotations as nodes of their own. */
export function splitCitations(text: string, texts: ReadonlyMap<number, string>): Inline[] {
  if (texts.size === 0) return [{ kind: "text", text }];
  const nodes: Inline[] = [];
  let done = 0;
  for (const match of text.matchAll(PRIVATE)) {
    const index = match[0].charCodeAt(0) - FIRST;
    if (match.index > done) nodes.push({ kind: "text", text: text.slice(done, match.index) });
    nodes.push({ kind: "citation", index, text: texts.get(index) ?? "" });
    done = match.index + 1;
  }
  if (done < text.length) nodes.push({ kind: "text", text: text.slice(done) });
  return nodes;
}

/** Where no node can stand, in code or in a link's address: the quotations' words. */
export function unmark(text: string, texts: ReadonlyMap<number, string>): string {
  return texts.size === 0 ? text : text.replace(PRIVATE, (mark) => texts.get(mark.charCodeAt(0) - FIRST) ?? "");
}
