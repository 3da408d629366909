// What a screen reader hears of an answer that grows: whole sentences, each once, and that it is complete.

const SENTENCE = /[.!?…:](?=\s)|\n/g;

export class Speaker {
  private heard = 0;
  private wasWriting = false;

  constructor(private readonly speak: (text: string) => void) {}

  hear(content: string, isWriting: boolean, complete: () => string): void {
    if (!isWriting && !this.wasWriting) {
      this.heard = content.length; // it was there already
      return;
    }
    this.wasWriting = isWriting;
    const end = isWriting ? endOfSentences(content, this.heard) : content.length;
    const fresh = content.slice(this.heard, end).trim();
    this.heard = Math.max(this.heard, end);
    if (!isWriting) this.speak(`${fresh} ${complete()}`.trim());
    else if (fresh) this.speak(fresh);
  }
}

function endOfSentences(text: string, from: number): number {
  let end = from;
  for (const match of text.slice(from).matchAll(SENTENCE)) end = from + match.index + match[0].length;
  return end;
}
