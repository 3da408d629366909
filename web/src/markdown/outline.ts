// An answer stands below the title of its page. Whatever levels its headings have, those that are shown begin at the second
// and leave none out: who goes from heading to heading by ear would look for what is not there.
import type { Block } from "./nodes";

const HIGHEST = 2;
const LOWEST = 6;

/** The level at which each heading is shown. */
export function outline(blocks: readonly Block[]): Map<Block, number> {
  const levels = new Map<Block, number>();
  const above: number[] = []; // levels of the headings under which one is, as they were written
  for (const heading of headings(blocks)) {
    while ((above.at(-1) ?? 0) >= heading.level) above.pop();
    levels.set(heading, Math.min(HIGHEST + above.length, LOWEST));
    above.push(heading.level);
  }
  return levels;
}

function* headings(blocks: readonly Block[]): Generator<Block & { kind: "heading" }> {
  for (const block of blocks) {
    if (block.kind === "heading") yield block;
    else if (block.kind === "quotation") yield* headings(block.children);
    else if (block.kind === "list") for (const item of block.items) yield* headings(item.children);
  }
}
