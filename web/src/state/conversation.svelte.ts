// The conversation that is open: its settings, the branch that is shown, and the answers that are being written.
import { ApiError } from "../api/client";
import type { AnswerHandlers } from "../api/events";
import { m } from "../i18n";
import { list } from "./list.svelte";
import { notices } from "./notices.svelte";
import { panel } from "./panel.svelte";
import { router } from "./router.svelte";
import * as server from "./server";
import type { AnswerDelta, Conversation, DocumentHead, Message, Settings } from "./server";
import { session } from "./session.svelte";
import { Uploads } from "./uploads.svelte";

/** Documents of one conversation; the server says the same. */
const MOST_DOCUMENTS = 100;

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

/** One conversation, for as long as it is open. What arrives after that finds this object, and not what was opened next. */
export class OpenConversation {
  id = $state<string | null>(null); // null until the first question: then the server keeps it
  title = $state("");
  settings = $state<Settings>(freshSettings());
  second = $state<string | null>(null); // the model that answers beside the conversation's own
  documents = $state<DocumentHead[]>([]);
  shares = $state<Conversation["shares"]>([]);
  messages = $state<Message[]>([]); // the branch, in the order of reading
  beside = $state<Message[]>([]); // answers that stand beside one of them
  hasEarlier = $state(false);
  isLoading = $state(false);
  isUnread = $state(false); // it could not be loaded
  isAsking = $state(false);
  problem = $state<unknown>(null);
  readonly uploads = new Uploads();

  readonly isWriting = $derived([...this.messages, ...this.beside].some((message) => message.state === "writing"));
  /** Whether a question can be asked now. */
  readonly isFree = $derived(!this.isLoading && !this.isUnread && !this.isAsking && !this.isWriting);

  private lost = $state<string[]>([]); // answers whose connection is being tried again
  private followed = new Map<string, AbortController>();
  private isOpen = true;
  private reads = 0;
  private beingKept: Promise<string | null> | null = null;
  private keepingDocuments: Promise<void> = Promise.resolve();
  private areDocumentsKept = true;

  constructor(id: string | null = null, documents: DocumentHead[] = []) {
    this.id = id;
    this.documents = documents;
  }

  get isConnectionLost(): boolean {
    return this.lost.length > 0;
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

  /** Reads what the server has of it. */
  async read(): Promise<void> {
    const { id } = this;
    if (id === null) return;
    Object.assign(this, { isOpen: true, isLoading: true, isUnread: false, problem: null });
    try {
      const [body] = await Promise.all([server.conversation(id), this.readBranch(id)]);
      this.take(body);
    } catch (error) {
      this.isUnread = true;
      this.stopFollowing();
      this.fail(error);
    } finally {
      this.isLoading = false;
    }
  }

  private take(body: Conversation): void {
    this.title = body.title;
    if (!this.uploads.areRunning) this.documents = body.documents;
    this.shares = body.shares;
    const { model, system_prompt, temperature = null, max_tokens = null, quotes, tools } = body;
    this.settings = { model, system_prompt, temperature, max_tokens, quotes, tools };
  }

  private async readBranch(id: string): Promise<void> {
    const turn = ++this.reads;
    const page = await server.messages(id);
    if (turn !== this.reads) return;
    [this.messages, this.beside, this.hasEarlier] = [page.data, page.compared, page.has_earlier];
    for (const message of [...page.data, ...page.compared]) if (message.state === "writing") this.follow(message.id);
  }

  async readEarlier(): Promise<void> {
    const first = this.messages[0]?.id;
    if (first === undefined || !this.hasEarlier) return;
    await this.attempt(async (id) => {
      const page = await server.messages(id, first);
      if (this.messages[0]?.id !== first) return;
      this.messages = [...page.data, ...this.messages];
      this.beside = [...page.compared, ...this.beside];
      this.hasEarlier = page.has_earlier;
    });
  }

  /** Stops listening; what is being written goes on at the server. */
  leave(): void {
    this.isOpen = false;
    this.stopFollowing();
  }

  // ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks at the end of the branch, or in the place of an earlier question. False where it could not be asked. */
  async ask(content: string, inPlaceOf?: Message): Promise<boolean> {
    if (this.isAsking) return false;
    this.isAsking = true;
    this.problem = null;
    try {
      const parent_id = inPlaceOf ? inPlaceOf.parent_id : (this.head?.id ?? null);
      const models = this.second === null ? [] : [this.settings.model, this.second];
      const id = await this.ensureKept();
      const asked = await server.ask(id, { content, parent_id, models });
      this.cutAt(inPlaceOf);
      if (inPlaceOf) asked.question.siblings = [...new Set([...inPlaceOf.siblings, asked.question.id])];
      const [first, ...others] = asked.answers;
      this.messages.push(asked.question, ...(first ? [first] : []));
      this.beside.push(...others);
      for (const answer of asked.answers) this.follow(answer.id);
      void this.noteTouched();
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    } finally {
      this.isAsking = false;
    }
  }

  async answerAnew(answer: Message, model?: string): Promise<void> {
    const question = answer.parent_id;
    if (question === null) return;
    await this.attempt(async (id) => {
      const anew = await server.answerAnew(id, question, model);
      const place = this.messages.findIndex((message) => message.id === question);
      if (place < 0) return; // another branch is shown by now
      this.messages = [...this.messages.slice(0, place + 1), anew];
      this.beside = this.beside.filter((other) => other.parent_id !== question);
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
    await this.attempt((id) => Promise.all(writing.map((message) => server.stop(id, message.id))));
  }

  /** Shows another version of a message, with what was said after it. */
  async switchTo(message: string): Promise<void> {
    await this.attempt(async (id) => {
      await server.change(id, { head_id: message });
      this.stopFollowing();
      await this.readBranch(id);
    });
  }

  /** The conversation as a kept one, with its documents: before the first question it is not. */
  private async ensureKept(): Promise<string> {
    if (this.id === null) {
      const document_ids = this.documents.map((document) => document.id);
      const keeping = server.create({ ...this.settings, title: "", document_ids });
      this.beingKept = keeping.then(({ id }) => id).catch(() => null);
      this.id = (await keeping).id;
      if (opened.conversation === this && router.place.view === "chat") router.go(`/c/${this.id}`, { replace: true });
    }
    if (!this.areDocumentsKept) await this.sendDocuments(this.id);
    return this.id;
  }

  private cutAt(message: Message | undefined): void {
    const place = message ? this.messages.findIndex((other) => other.id === message.id) : -1;
    if (place < 0) return;
    const gone = new Set(this.messages.slice(place).map((other) => other.id));
    this.messages = this.messages.slice(0, place);
    this.beside = this.beside.filter((other) => !gone.has(other.parent_id ?? ""));
  }

  // ── answers that are being written ──────────────────────────────────────────────────────────────────────────────

  private follow(answer: string): void {
    const { id } = this;
    if (id === null || !this.isOpen) return;
    this.followed.get(answer)?.abort();
    const following = new AbortController();
    this.followed.set(answer, following);
    const found = (): void => void (this.lost = this.lost.filter((other) => other !== answer));
    const handlers: AnswerHandlers = {
      snapshot: (message) => this.replace(message),
      delta: (delta) => this.add(answer, delta),
      end: (message) => {
        this.replace(message);
        this.followed.delete(answer);
        void this.noteTouched();
      },
      lost: () => (this.lost = [...this.lost, answer]),
      back: () => {
        found();
        void session.readModels().catch(() => undefined); // a server that was started anew may have others
      },
      failed: (error) => {
        found();
        this.followed.delete(answer);
        const message = this.find(answer);
        if (message) Object.assign(message, { state: "failed", problem: error.type });
      },
    };
    void server.follow(id, answer, handlers, following.signal);
  }

  private stopFollowing(): void {
    for (const following of this.followed.values()) following.abort();
    this.followed.clear();
    this.lost = [];
  }

  private find(id: string): Message | undefined {
    const isIt = (message: Message): boolean => message.id === id;
    return this.messages.findLast(isIt) ?? this.beside.findLast(isIt);
  }

  private replace(message: Message): void {
    for (const shown of [this.messages, this.beside]) {
      const place = shown.findLastIndex((other) => other.id === message.id);
      const known = shown[place];
      if (known) {
        const siblings = message.siblings.length >= known.siblings.length ? message.siblings : known.siblings;
        shown[place] = { ...message, siblings };
      }
    }
  }

  private add(answer: string, delta: AnswerDelta): void {
    const message = this.find(answer);
    if (!message) return;
    if (delta.content) message.content += delta.content;
    if (delta.thinking) message.thinking += delta.thinking;
    if (delta.tool_call) message.tool_calls.push(delta.tool_call);
  }

  // ── settings, documents, name ───────────────────────────────────────────────────────────────────────────────────

  /** False where the server did not take it: then all is as before. */
  async set(change: Partial<Settings>): Promise<boolean> {
    const before = { ...this.settings };
    Object.assign(this.settings, change);
    const isKept = await this.attempt((id) => server.change(id, change));
    if (!isKept) this.settings = before;
    else if (change.model) session.prefer(change.model);
    return isKept;
  }

  /** Sends files and attaches what is read of them, here, whatever is opened meanwhile. Returns how many were attached. */
  attachFiles(files: File[]): Promise<number> {
    return this.uploads.send(files, async (document) => {
      await this.attach([document]);
      notices.speak(m.attached({ name: document.name }));
    });
  }

  async attach(documents: DocumentHead[]): Promise<void> {
    const known = new Set(this.documents.map((document) => document.id));
    const fresh = documents.filter((document) => !known.has(document.id));
    const added = fresh.slice(0, Math.max(0, MOST_DOCUMENTS - known.size));
    this.documents = [...this.documents, ...added];
    if (added.length > 0) await this.keepDocuments();
    if (added.length < fresh.length) this.fail(new ApiError(400, "too_many_documents", ""));
  }

  async detach(document: DocumentHead): Promise<void> {
    this.forget(document);
    await this.keepDocuments();
  }

  /** Of a document that is no longer in the library: the server has taken it from all conversations. */
  forget(document: DocumentHead): void {
    this.documents = this.documents.filter((other) => other.id !== document.id);
  }

  /** One after another: the list that is sent last must be the one that is kept. */
  private keepDocuments(): Promise<void> {
    this.keepingDocuments = this.keepingDocuments.then(async () => {
      await this.attempt((id) => this.sendDocuments(id));
    });
    return this.keepingDocuments;
  }

  /** What could not be sent is sent with the next question; what was refused is as the server has it. */
  private async sendDocuments(id: string): Promise<void> {
    this.areDocumentsKept = false;
    try {
      await server.change(id, { document_ids: this.documents.map((document) => document.id) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status < 400 || error.status >= 500) throw error;
      this.documents = (await server.conversation(id)).documents;
      this.areDocumentsKept = true;
      throw error;
    }
    this.areDocumentsKept = true;
  }

  async rename(title: string): Promise<void> {
    const before = this.title;
    this.title = title;
    const isKept = await this.attempt(async (id) => {
      await server.change(id, { title });
      list.rename(id, title);
    });
    if (!isKept) this.title = before;
  }

  async share(): Promise<{ id: string; path: string } | null> {
    let made: { id: string; path: string } | null = null;
    await this.attempt(async (id) => {
      const { id: share, path, created_at, head_id } = await server.share(id);
      made = { id: share, path };
      this.shares = [...this.shares, { id: share, created_at, head_id }];
    });
    return made;
  }

  /** False where it could not be revoked: the link can still be read. */
  revoke(share: string): Promise<boolean> {
    return this.attempt(async (id) => {
      await server.revoke(id, share);
      this.shares = this.shares.filter((other) => other.id !== share);
    });
  }

  // ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Does something at the server, if the conversation is kept there already. A failure is shown, and false returned. */
  private async attempt(work: (id: string) => Promise<unknown>): Promise<boolean> {
    const id = this.id ?? (await this.beingKept);
    if (id === null) return true;
    this.problem = null;
    try {
      await work(id);
      return true;
    } catch (error) {
      this.fail(error);
      return false;
    }
  }

  private fail(error: unknown): void {
    this.problem = error;
    if (error instanceof ApiError && error.type === "invalid_model") void session.readModels().catch(() => undefined);
  }

  private async noteTouched(): Promise<void> {
    if (this.id === null) return;
    try {
      const { id, title, model, created_at, updated_at } = await server.conversation(this.id);
      this.title = title;
      list.touch({ id, title, model, created_at, updated_at });
    } catch {
      // The list is read anew at the next visit.
    }
  }
}

/** Which conversation is open. */
class Opened {
  conversation = $state.raw(new OpenConversation());
  private left: OpenConversation[] = []; // with files on their way

  startAnew(documents: DocumentHead[] = []): void {
    this.show(new OpenConversation(null, documents));
  }

  async open(id: string): Promise<void> {
    if (id === this.conversation.id) return;
    this.show(this.left.find((conversation) => conversation.id === id) ?? new OpenConversation(id));
    await this.conversation.read();
  }

  private show(next: OpenConversation): void {
    const before = this.conversation;
    before.leave();
    this.left = [...this.left, before].filter((other) => other !== next && other.uploads.areRunning);
    panel.open = null;
    this.conversation = next;
  }
}

export const opened = new Opened();
