// The list of conversations, or what a search finds in them.
import * as server from "./server";
import type { ConversationHead } from "./server";

class ConversationList {
  heads = $state<ConversationHead[]>([]);
  query = $state("");
  next = $state<string | null>(null);
  isLoading = $state(false);
  private asked = 0;

  async read(): Promise<void> {
    const turn = ++this.asked; // an answer to an earlier query must not replace a later one's
    this.isLoading = true;
    try {
      const page = await server.conversations(this.query.trim());
      if (turn === this.asked) [this.heads, this.next] = [page.data, page.next ?? null];
    } finally {
      if (turn === this.asked) this.isLoading = false;
    }
  }

  async readMore(): Promise<void> {
    if (this.next === null || this.isLoading) return;
    const turn = ++this.asked;
    const page = await server.conversations(this.query.trim(), this.next);
    if (turn !== this.asked) return;
    const known = new Set(this.heads.map((head) => head.id)); // one may have gone to the top meanwhile
    this.heads = [...this.heads, ...page.data.filter((head) => !known.has(head.id))];
    this.next = page.next ?? null;
  }

  /** After an answer, a new title, a new conversation: it goes to the top. */
  touch(head: ConversationHead): void {
    if (this.query.trim()) return;
    this.heads = [head, ...this.heads.filter((other) => other.id !== head.id)];
  }

  rename(id: string, title: string): void {
    this.heads = this.heads.map((head) => (head.id === id ? { ...head, title } : head));
  }

  forget(id: string): void {
    this.heads = this.heads.filter((head) => head.id !== id);
  }
}

export const list = new ConversationList();
