// What an answer is made of, once its Markdown is read. There is no node for HTML: what looks like it is text.

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "break" }
  | { kind: "code"; text: string }
  | { kind: "strong"; children: Inline[] }
  | { kind: "emphasis"; children: Inline[] }
  | { kind: "deleted"; children: Inline[] }
  | { kind: "link"; href: string; children: Inline[] }
  /** Never loaded: an address that a model writes may carry what it has read. */
  | { kind: "image"; href: string | null; alt: string }
  | { kind: "math"; tex: string; display: boolean }
  /** The quotation with this place in the list of quotes; `text` is what the answer says, with its marks. */
  | { kind: "citation"; index: number; text: string };

export interface Item {
  /** Of a list of tasks: whether it is done. */
  task: boolean | null;
  children: Block[];
}

export type Align = "left" | "center" | "right" | null;

export interface Cell {
  align: Align;
  children: Inline[];
}

export type Block =
  | { kind: "paragraph"; children: Inline[] }
  | { kind: "heading"; level: number; children: Inline[] }
  /** `closed` is false for a fence whose end has not been written yet. */
  | { kind: "code"; text: string; language: string; closed: boolean }
  | { kind: "math"; tex: string }
  | { kind: "quotation"; children: Block[] }
  | { kind: "list"; start: number | null; tight: boolean; items: Item[] }
  | { kind: "table"; head: Cell[]; rows: Cell[][] }
  | { kind: "rule" };
