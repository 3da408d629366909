// Formulas in Markdown: $…$ and \(…\) in a line; $$…$$ and \[…\] by themselves.
import type { MarkdownIt } from "markdown-it";

interface Delimiters {
  open: string;
  close: string;
  display: boolean;
}

// The longer of two that begin alike comes first.
const DELIMITERS: Delimiters[] = [
  { open: "$$", close: "$$", display: true },
  { open: "\\[", close: "\\]", display: true },
  { open: "\\(", close: "\\)", display: false },
  { open: "$", close: "$", display: false },
];
const LONGEST = 10_000; // characters of one formula
const MOST_LINES = 100;

/** The formula that begins at a place of a text, and where it ends. */
export function formulaAt(text: string, at: number): { tex: string; display: boolean; end: number } | null {
  const kind = DELIMITERS.find(({ open }) => text.startsWith(open, at));
  if (kind === undefined) return null;
  const begin = at + kind.open.length;
  const end = closingAt(text, begin, kind.close);
  if (end < 0 || end - begin > LONGEST) return null;
  const tex = text.slice(begin, end);
  if (tex.trim() === "" || /\n\s*\n/.test(tex)) return null;
  // As in Pandoc: "5 $ and 6 $" and "$5 or $6" are prices.
  if (kind.close === "$" && (/^\s|\s$/.test(tex) || /\d/.test(text.charAt(end + 1)))) return null;
  return { tex: tex.trim(), display: kind.display, end: end + kind.close.length };
}

// Where a text was last found to hold no further closing mark: without this, thousands of opening ones would each be
// looked for an end through all of it.
const misses = new Map<string, { text: string; from: number }>();

function closingAt(text: string, from: number, close: string): number {
  const miss = misses.get(close);
  if (miss?.text === text && from >= miss.from) return -1;
  for (let at = text.indexOf(close, from); at >= 0; at = text.indexOf(close, at + 1)) {
    let escapes = 0;
    while (at - escapes > from && text.charAt(at - escapes - 1) === "\\") escapes += 1;
    if (escapes % 2 === 0) return at;
  }
  misses.set(close, { text, from });
  return -1;
}

/** Teaches a parser the tokens `math_inline` and `math_block`; `content` is the formula, `markup` "$$" for one that stands by itself. */
export function mathPlugin(parser: MarkdownIt): void {
  parser.inline.ruler.before("escape", "math_inline", (state, silent) => {
    const found = formulaAt(state.src, state.pos);
    if (found === null || found.end > state.posMax) return false;
    if (!silent) {
      const token = state.push("math_inline", "", 0);
      token.content = found.tex;
      token.markup = found.display ? "$$" : "$";
    }
    state.pos = found.end;
    return true;
  });

  parser.block.ruler.before(
    "fence",
    "math_block",
    (state, startLine, endLine, silent) => {
      const begin = (state.bMarks[startLine] ?? 0) + (state.tShift[startLine] ?? 0);
      const kind = DELIMITERS.find(({ open, display }) => display && state.src.startsWith(open, begin));
      if (kind === undefined || (state.sCount[startLine] ?? 0) - state.blkIndent >= 4) return false;
      const lines: string[] = [];
      for (let line = startLine; line < Math.min(endLine, startLine + MOST_LINES); line += 1) {
        const from = (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0) + (line === startLine ? kind.open.length : 0);
        const text = state.src.slice(from, state.eMarks[line]);
        const close = closingAt(text, 0, kind.close);
        if (text.trim() === "" && line > startLine) return false; // a formula has no empty lines
        if (close < 0) {
          lines.push(text);
          continue;
        }
        if (text.slice(close + kind.close.length).trim() !== "") return false;
        lines.push(text.slice(0, close));
        const tex = lines.join("\n").trim();
        if (tex === "" || tex.length > LONGEST) return false;
        if (silent) return true;
        const token = state.push("math_block", "", 0);
        token.content = tex;
        token.map = [startLine, line + 1];
        state.line = line + 1;
        return true;
      }
      return false;
    },
    { alt: ["paragraph", "reference", "blockquote", "list"] },
  );
}
