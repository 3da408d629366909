// The document that lies open beside the conversation, and what is marked in it.
import type { GivenDocument, Quote, Span } from "./server";

export interface OpenDocument {
  id: string;
  name: string;
  quotes: Span[][]; // each a quotation, one or more pieces of the text
  current: number; // which of them is shown
  read: Span[] | null; // what the model read; null: all of it, or not known
}

class Panel {
  open = $state<OpenDocument | null>(null);
  private opener: HTMLElement | null = null;

  show(document: { id: string; name: string }, quotes: Quote[] = [], chosen?: Quote, given?: GivenDocument): void {
    this.opener = window.document.activeElement as HTMLElement | null;
    const inside = quotes.filter((quote) => quote.document_id === document.id);
    this.open = {
      id: document.id,
      name: document.name,
      quotes: inside.map((quote) => quote.spans),
      current: Math.max(0, chosen ? inside.indexOf(chosen) : 0),
      read: given && !given.whole ? given.passages : null,
    };
  }

  close(): void {
    this.open = null;
    if (this.opener?.isConnected) this.opener.focus();
  }
}

export const panel = new Panel();
