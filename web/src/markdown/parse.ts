// Markdown to nodes, by markdown-it. HTML is off: it is text like any other.
import MarkdownIt, { type Token } from "markdown-it";

import { splitCitations, unmark } from "./citations";
import { safeHref } from "./links";
import { mathPlugin } from "./math";
import type { Align, Block, Cell, Inline, Item } from "./nodes";

const parser = new MarkdownIt("default", { html: false, linkify: true, breaks: true, typographer: false, maxNesting: 40 });
parser.validateLink = (address) => safeHref(address) !== null;
// Only what says that it is an address: README.md is not a site of Moldova.
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
parser.use(mathPlugin);
// The one tag that models write in tables, where Markdown has nothing else for it.
parser.inline.ruler.before("html_inline", "line_break", (state, silent) => {
  const found = /^<br\s*\/?>/i.exec(state.src.slice(state.pos, state.pos + 8));
  if (found === null) return false;
  if (!silent) state.push("hardbreak", "br", 0);
  state.pos += found[0].length;
  return true;
});

const NO_TEXTS: ReadonlyMap<number, string> = new Map();

export interface Piece {
  block: Block;
  /** The line where it begins. */
  line: number;
}

/** The blocks of a text, each with the line where it begins. `texts` are those of its quotations. */
export function parse(source: string, texts = NO_TEXTS): Piece[] {
  const reader = new Reader(parser.parse(source, {}), source.split(/\r\n?|\n/), texts);
  return reader.pieces();
}

/** Goes through the parser's flat list of tokens. */
class Reader {
  private at = 0;

  constructor(
    private readonly tokens: Token[],
    private readonly lines: string[],
    private readonly texts: ReadonlyMap<number, string>,
  ) {}

  pieces(): Piece[] {
    const found: Piece[] = [];
    while (this.at < this.tokens.length) {
      const line = this.tokens[this.at]?.map?.[0] ?? 0;
      const block = this.block();
      if (block !== null) found.push({ block, line });
    }
    return found;
  }

  /** What stands until the token that closes it, which is passed over. */
  private until(closing: string): Block[] {
    const found: Block[] = [];
    for (let token = this.tokens[this.at]; token && token.type !== closing; token = this.tokens[this.at]) {
      const block = this.block();
      if (block !== null) found.push(block);
    }
    this.at += 1;
    return found;
  }

  private block(): Block | null {
    const token = this.tokens[this.at++];
    if (token === undefined) return null;
    switch (token.type) {
      case "paragraph_open":
        return { kind: "paragraph", children: this.inlineUntil("paragraph_close") };
      case "heading_open":
        return { kind: "heading", level: Number(token.tag.slice(1)), children: this.inlineUntil("heading_close") };
      case "blockquote_open":
        return { kind: "quotation", children: this.until("blockquote_close") };
      case "bullet_list_open":
        return this.list(null, "bullet_list_close");
      case "ordered_list_open":
        return this.list(Number(token.attrGet("start") ?? 1), "ordered_list_close");
      case "fence":
      case "code_block":
        return this.code(token);
      case "math_block":
        return { kind: "math", tex: unmark(token.content, this.texts) };
      case "table_open":
        return this.table();
      case "hr":
        return { kind: "rule" };
      case "inline":
        return { kind: "paragraph", children: this.inline(token) };
      default:
        // A kind that is not known here is shown as the text that it was.
        return token.content === "" ? null : { kind: "paragraph", children: [{ kind: "text", text: token.content }] };
    }
  }

  private code(token: Token): Block {
    const language = unmark(token.info, this.texts).trim().split(/\s+/)[0] ?? "";
    const text = unmark(token.content, this.texts).replace(/\n$/, "");
    const [first, end] = token.map ?? [0, 0];
    const last = this.lines[end - 1]?.trim().replace(/^(>\s?)+/, "") ?? "";
    const closed = token.type === "code_block" || (end - first > 1 && /^(`{3,}|~{3,})$/.test(last));
    return { kind: "code", text, language, closed };
  }

  private list(start: number | null, closing: string): Block {
    const items: Item[] = [];
    let tight = false;
    for (let token = this.tokens[this.at]; token && token.type !== closing; token = this.tokens[this.at]) {
      this.at += 1;
      tight ||= this.tokens[this.at]?.hidden ?? false;
      items.push(asTask(this.until("list_item_close")));
    }
    this.at += 1;
    return { kind: "list", start, tight, items };
  }

  private table(): Block {
    const rows: Cell[][] = [];
    for (let token = this.tokens[this.at]; token && token.type !== "table_close"; token = this.tokens[this.at]) {
      this.at += 1;
      if (token.type === "tr_open") rows.push([]);
      if (token.type !== "th_open" && token.type !== "td_open") continue;
      const content = this.tokens[this.at];
      const children = content?.type === "inline" ? this.inline(content) : [];
      rows.at(-1)?.push({ align: alignOf(token), children });
    }
    this.at += 1;
    const [head = [], ...body] = rows;
    return { kind: "table", head, rows: body };
  }

  private inlineUntil(closing: string): Inline[] {
    const found: Inline[] = [];
    for (let token = this.tokens[this.at]; token && token.type !== closing; token = this.tokens[this.at]) {
      this.at += 1;
      found.push(...this.inline(token));
    }
    this.at += 1;
    return found;
  }

  private inline(token: Token): Inline[] {
    return inlineNodes(token.children ?? [], this.texts);
  }
}

const WRAPPERS: Record<string, "strong" | "emphasis" | "deleted"> = {
  strong_open: "strong",
  em_open: "emphasis",
  s_open: "deleted",
};

function inlineNodes(tokens: Token[], texts: ReadonlyMap<number, string>): Inline[] {
  const root: Inline[] = [];
  const open: Inline[][] = [root];
  const add = (...nodes: Inline[]): void => void open.at(-1)?.push(...nodes);
  for (const token of tokens) {
    const wrapper = WRAPPERS[token.type];
    if (wrapper !== undefined || token.type === "link_open") {
      const children: Inline[] = [];
      add(wrapper === undefined ? link(token, children, texts) : { kind: wrapper, children });
      open.push(children);
    } else if (token.nesting < 0) {
      if (open.length > 1) open.pop();
    } else add(...leaf(token, texts));
  }
  return root;
}

function link(token: Token, children: Inline[], texts: ReadonlyMap<number, string>): Inline {
  const href = safeHref(unmark(String(token.attrGet("href") ?? ""), texts));
  return href === null ? { kind: "emphasis", children } : { kind: "link", href, children };
}

function leaf(token: Token, texts: ReadonlyMap<number, string>): Inline[] {
  switch (token.type) {
    case "softbreak":
    case "hardbreak":
      return [{ kind: "break" }];
    case "code_inline":
      return [{ kind: "code", text: unmark(token.content, texts) }];
    case "math_inline":
      return [{ kind: "math", tex: unmark(token.content, texts), display: token.markup === "$$" }];
    case "image":
      return [{ kind: "image", href: safeHref(String(token.attrGet("src") ?? "")), alt: unmark(token.content, texts) }];
    default:
      return token.content === "" ? [] : splitCitations(token.content, texts);
  }
}

function alignOf(cell: Token): Align {
  const found = /text-align:(left|center|right)/.exec(String(cell.attrGet("style") ?? ""));
  return (found?.[1] as Align | undefined) ?? null;
}

function asTask(children: Block[]): Item {
  const first = children[0];
  const text = first?.kind === "paragraph" ? first.children[0] : undefined;
  const box = text?.kind === "text" ? /^\[([ xX])\]\s+/.exec(text.text) : null;
  if (box === null || text?.kind !== "text") return { task: null, children };
  text.text = text.text.slice(box[0].length);
  return { task: box[1] !== " ", children };
}
