// Markdown that grows. Text that is added can change the last block, and whether the one before it is a block of its own
// ("1. a", then a line "2", which becomes "2. b"); what stands before those stays, and so do its nodes.
import { markCitations, type Quote } from "./citations";
import type { Block } from "./nodes";
import { parse } from "./parse";

const UNSETTLED = 2; // blocks at the end

export class StreamedMarkdown {
  private settled: Block[] = [];
  private settledSource = "";

  /** The blocks of an answer that is being written: `answer` is all of it so far. */
  grow(answer: string): Block[] {
    const source = answer.includes("\r") ? answer.replace(/\r\n?/g, "\n") : answer;
    if (!source.startsWith(this.settledSource)) this.forget();
    const rest = source.slice(this.settledSource.length);
    const pieces = parse(rest);
    const firstUnsettled = pieces[pieces.length - UNSETTLED];
    const blocks = [...this.settled, ...pieces.map((piece) => piece.block)];
    if (firstUnsettled !== undefined && firstUnsettled.line > 0) {
      this.settled = blocks.slice(0, -UNSETTLED);
      this.settledSource += upToLine(rest, firstUnsettled.line);
    }
    return blocks;
  }

  /** The blocks of a whole answer, with its quotations. */
  finish(answer: string, quotes: readonly Quote[]): Block[] {
    this.forget();
    const { source, texts } = markCitations(answer, quotes);
    return parse(source, texts).map((piece) => piece.block);
  }

  private forget(): void {
    this.settled = [];
    this.settledSource = "";
  }
}

function upToLine(text: string, line: number): string {
  let at = 0;
  for (let passed = 0; passed < line; passed += 1) at = text.indexOf("\n", at) + 1;
  return text.slice(0, at);
}
