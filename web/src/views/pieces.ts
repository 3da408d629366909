// A document's text cut for display: into blocks that the browser may skip while they are out of sight, and within
// them into pieces that are quoted, read by the model, or neither.
import type { Span } from "../state/server";

export interface Piece {
  text: string;
  quote: number | null; // which quotation it belongs to
  isRead: boolean;
}

const BLOCK = 2000; // characters, and on to the end of the line
const LONGEST_BLOCK = 20_000; // in a text that has no lines, on to the end of a word

/** `quotes` and `read` count Unicode code points, strings of JavaScript UTF-16 units. `read` null: all of it was read. */
export function piecesOf(text: string, quotes: Span[][], read: Span[] | null): Piece[][] {
  const unit = unitsOf(text);
  const marks = quotes.flatMap((spans, quote) => spans.map((span) => ({ ...inUnits(span, unit), quote })));
  const known = (read ?? [{ start: 0, end: Infinity }]).map((span) => inUnits(span, unit));
  const cuts = new Set<number>([0, text.length]);
  for (const { start, end } of [...marks, ...known]) {
    cuts.add(Math.min(start, text.length));
    cuts.add(Math.min(end, text.length));
  }
  const blockEnds = endsOfBlocks(text);
  for (const end of blockEnds) cuts.add(end);
  const sorted = [...cuts].sort((one, other) => one - other);

  const blocks: Piece[][] = [];
  let block: Piece[] = [];
  for (let index = 0; index + 1 < sorted.length; index++) {
    const [start, end] = [sorted[index] as number, sorted[index + 1] as number];
    const quote = marks.find((mark) => mark.start <= start && end <= mark.end)?.quote ?? null;
    const isRead = known.some((span) => span.start <= start && end <= span.end);
    block.push({ text: text.slice(start, end), quote, isRead });
    if (blockEnds.has(end)) {
      blocks.push(block);
      block = [];
    }
  }
  if (block.length > 0) blocks.push(block);
  return blocks;
}

function endsOfBlocks(text: string): Set<number> {
  const ends = new Set<number>();
  for (let start = 0; start < text.length; ) {
    start = endOfBlock(text, start);
    ends.add(start);
  }
  return ends;
}

function endOfBlock(text: string, start: number): number {
  const line = text.indexOf("\n", start + BLOCK);
  const end = line < 0 ? text.length : line + 1;
  if (end <= start + LONGEST_BLOCK) return end;
  const word = text.lastIndexOf(" ", start + LONGEST_BLOCK - 1) + 1;
  if (word > start + BLOCK) return word;
  const isInsideCharacter = /[\udc00-\udfff]/.test(text.charAt(start + LONGEST_BLOCK));
  return start + LONGEST_BLOCK + (isInsideCharacter ? 1 : 0);
}

function inUnits(span: Span, unit: (point: number) => number): Span {
  return { start: unit(span.start), end: unit(span.end) };
}

/** From a count of code points to one of UTF-16 units: the same, unless there are characters of two units. */
function unitsOf(text: string): (point: number) => number {
  const wide: number[] = []; // code points before which a character of two units ends
  let points = 0;
  for (const character of /[\ud800-\udbff]/.test(text) ? text : "") {
    points++;
    if (character.length === 2) wide.push(points);
  }
  return (point) => {
    let [low, high] = [0, wide.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((wide[middle] as number) <= point) low = middle + 1;
      else high = middle;
    }
    return point + low;
  };
}
