// The conversation that is open: its settings, the branch that is shown, and the answers that are being written.
import { tick } from "svelte";
import * as server from "./server";
import type { AnswerDelta, Conversation, DocumentHead, Message, Settings } from "./server";
import type { AnswerHandlers } from "../api/events";
import { list } from "./list.svelte";
import { router } from "./router.svelte";
import { session } from "./session.svelte";

export type Link = "open" | "lost";

/** Answers to one question that stand side by side; most often one. */
export interface Turn {
  question: Message | null;
  answers: Message[];
}

function freshSettings(): Settings {
  return {
    model: session.preferred,
    system_prompt: "",
    temperature: null,
    max_tokens: null,
    quotes: true,
    tools: [],
  };
}

export class OpenConversation {
  id = $state<string | null>(null);
  title = $state("");
  settings = $state<Settings>(freshSettings());
  documents = $state<DocumentHead[]>([]);
  shares = $state<Conversation["shares"]>([]);
  messages = $state<Message[]>([]); // the branch, in the order of reading
  beside = $state<Message[]>([]); // answers that stand beside one of them
  hasEarlier = $state(false);
  isLoading = $state(false);
  isAsking = $state(false);
  link = $state<Link>("open");
  problem = $state<unknown>(null);
  private followed = new Map<string, AbortController>();

  get isWriting(): boolean {
    return [...this.messages, ...this.beside].some((message) => message.state === "writing");
  }

  get head(): Message | undefined {
    return this.messages.at(-1);
  }

  /** Every answer is shown with those it was compared with, the one that the conversation goes on with among them. */
  besidesOf(answer: Message): Message[] {
    const first = answer.compared_with ?? answer.id;
    const others = this.beside.filter((other) => (other.compared_with ?? other.id) === first && other.id !== answer.id);
    return [answer, ...others].sort((one, other) => (one.id < other.id ? -1 : 1)); // ids sort by age
  }

  // ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────

  startAnew(): void {
    this.leave();
    Object.assign(this, { id: null, title: "", documents: [], shares: [], messages: [], beside: [], hasEarlier: false });
    this.settings = freshSettings();
    this.problem = null;
  }

  async open(id: string): Promise<void> {
    if (id === this.id) return;
    this.startAnew();
    this.id = id;
    this.isLoading = true;
    try {
      const [body] = await Promise.all([server.conversation(id), this.readBranch(id)]);
      if (this.id === id) this.take(body);
    } catch (error) {
      if (this.id === id && !session.noteSignedOut(error)) this.problem = error;
    } finally {
      if (this.id === id) this.isLoading = false;
    }
  }

  private take(body: Conversation): void {
    this.title = body.title;
    this.documents = body.documents;
    this.shares = body.shares;
    const { model, system_prompt, temperature = null, max_tokens = null, quotes, tools } = body;
    this.settings = { model, system_prompt, temperature, max_tokens, quotes, tools };
  }

  private async readBranch(id: string): Promise<void> {
    const page = await server.messages(id);
    if (this.id !== id) return;
    [this.messages, this.beside, this.hasEarlier] = [page.data, page.compared, page.has_earlier];
    for (const message of [...page.data, ...page.compared]) if (message.state === "writing") this.follow(message.id);
  }

  async readEarlier(): Promise<void> {
    const [id, first] = [this.id, this.messages[0]];
    if (id === null || first === undefined || !this.hasEarlier) return;
    const page = await server.messages(id, first.id);
    if (this.id !== id || this.messages[0]?.id !== first.id) return;
    this.messages = [...page.data, ...this.messages];
    this.beside = [...page.compared, ...this.beside];
    this.hasEarlier = page.has_earlier;
  }

  /** Stops listening; what is being written goes on at the server. */
  leave(): void {
    for (const following of this.followed.values()) following.abort();
    this.followed.clear();
  }

  // ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks at the end of the branch, or in the place of an earlier question. False where it could not be asked. */
  async ask(content: string, { inPlaceOf, models = [] }: { inPlaceOf?: Message; models?: string[] } = {}): Promise<boolean> {
    this.isAsking = true;
    this.problem = null;
    try {
      const id = await this.ensureKept();
      const parent_id = inPlaceOf ? inPlaceOf.parent_id : (this.head?.id ?? null);
      const asked = await server.ask(id, { content, parent_id, models });
      if (this.id !== id) return true;
      this.cutAt(inPlaceOf);
      if (inPlaceOf) asked.question.siblings = [...new Set([...inPlaceOf.siblings, asked.question.id])];
      const [first, ...others] = asked.answers;
      this.messages.push(asked.question, ...(first ? [first] : []));
      this.beside.push(...others);
      for (const answer of asked.answers) this.follow(answer.id);
      this.noteTouched();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    } finally {
      this.isAsking = false;
    }
  }

  async answerAnew(answer: Message, model?: string): Promise<void> {
    if (this.id === null || answer.parent_id === null) return;
    await this.attempt(async (id) => {
      const anew = await server.answerAnew(id, answer.parent_id as string, model);
      const place = this.messages.findIndex((message) => message.parent_id === answer.parent_id);
      this.messages = [...this.messages.slice(0, place), anew];
      this.beside = this.beside.filter((other) => other.parent_id !== answer.parent_id);
      this.follow(anew.id);
    });
  }

  async goOn(answer: Message): Promise<void> {
    await this.attempt(async (id) => {
      this.replace(await server.goOn(id, answer.id));
      this.follow(answer.id);
    });
  }

  async stop(): Promise<void> {
    const writing = [...this.messages, ...this.beside].filter((message) => message.state === "writing");
    await this.attempt(async (id) => {
      await Promise.all(writing.map((message) => server.stop(id, message.id)));
    });
  }

  /** Shows another version of a message, with what was said after it. */
  async switchTo(message: string): Promise<void> {
    await this.attempt(async (id) => {
      await server.change(id, { head_id: message });
      this.leave();
      await this.readBranch(id);
    });
  }

  /** The conversation that is shown as a kept one: before the first question there is none. */
  private async ensureKept(): Promise<string> {
    if (this.id !== null) return this.id;
    const document_ids = this.documents.map((document) => document.id);
    const body = await server.create({ ...this.settings, title: "", document_ids });
    this.id = body.id;
    router.go(`/c/${body.id}`, { replace: true });
    return body.id;
  }

  private cutAt(message: Message | undefined): void {
    if (!message) return;
    const place = this.messages.findIndex((other) => other.id === message.id);
    if (place >= 0) this.messages = this.messages.slice(0, place);
  }

  // ── answers that are being written ──────────────────────────────────────────────────────────────────────────────

  private follow(answer: string): void {
    const id = this.id as string;
    this.followed.get(answer)?.abort();
    const following = new AbortController();
    this.followed.set(answer, following);
    const handlers: AnswerHandlers = {
      snapshot: (message) => this.replace(message),
      delta: (delta) => this.add(answer, delta),
      end: (message) => {
        this.replace(message);
        this.followed.delete(answer);
        this.noteTouched();
      },
      lost: () => (this.link = "lost"),
      back: () => (this.link = "open"),
      failed: (error) => this.fail(error),
    };
    void server.follow(id, answer, handlers, following.signal);
  }

  private replace(message: Message): void {
    for (const shown of [this.messages, this.beside]) {
      const place = shown.findIndex((other) => other.id === message.id);
      const known = shown[place];
      if (known) {
        const siblings = message.siblings.length >= known.siblings.length ? message.siblings : known.siblings;
        shown[place] = { ...message, siblings };
      }
    }
  }

  private add(answer: string, delta: AnswerDelta): void {
    const message = [...this.messages, ...this.beside].find((other) => other.id === answer);
    if (!message) return;
    if (delta.content) message.content += delta.content;
    if (delta.thinking) message.thinking += delta.thinking;
    if (delta.tool_call) message.tool_calls.push(delta.tool_call);
  }

  // ── settings, documents, name ───────────────────────────────────────────────────────────────────────────────────

  async set(change: Partial<Settings>): Promise<void> {
    Object.assign(this.settings, change);
    if (change.model) session.prefer(change.model);
    await this.attempt(async (id) => {
      await server.change(id, change);
    });
  }

  async attach(documents: DocumentHead[]): Promise<void> {
    const known = new Set(this.documents.map((document) => document.id));
    const added = documents.filter((document) => !known.has(document.id));
    if (added.length === 0) return;
    this.documents = [...this.documents, ...added];
    await this.keepDocuments();
  }

  async detach(document: DocumentHead): Promise<void> {
    this.documents = this.documents.filter((other) => other.id !== document.id);
    await this.keepDocuments();
  }

  private async keepDocuments(): Promise<void> {
    const document_ids = this.documents.map((document) => document.id);
    await this.attempt(async (id) => {
      await server.change(id, { document_ids });
    });
  }

  async rename(title: string): Promise<void> {
    this.title = title;
    await this.attempt(async (id) => {
      await server.change(id, { title });
      list.rename(id, title);
    });
  }

  async share(): Promise<string | null> {
    let path: string | null = null;
    await this.attempt(async (id) => {
      const made = await server.share(id);
      path = made.path;
      this.shares = [...this.shares, { id: made.id, created_at: made.created_at, head_id: made.head_id }];
    });
    return path;
  }

  async revoke(share: string): Promise<void> {
    await this.attempt(async (id) => {
      await server.revoke(id, share);
      this.shares = this.shares.filter((other) => other.id !== share);
    });
  }

  // ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Does something at the server, if the conversation is kept there already; a failure is shown. */
  private async attempt(work: (id: string) => Promise<void>): Promise<void> {
    if (this.id === null) return;
    this.problem = null;
    try {
      await work(this.id);
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (!session.noteSignedOut(error)) this.problem = error;
  }

  private noteTouched(): void {
    const id = this.id;
    if (id === null) return;
    void tick().then(async () => {
      try {
        const body = await server.conversation(id);
        if (this.id === id) this.title = body.title;
        list.touch({ id, title: body.title, model: body.model, created_at: body.created_at, updated_at: body.updated_at });
      } catch {
        // The list is read anew at the next visit.
      }
    });
  }
}

export const conversation = new OpenConversation();
