import { afterEach, beforeEach, expect, test, vi } from "vitest";

import type { Conversation, DocumentHead, Message } from "./server";
import { opened } from "./conversation.svelte";
import { router } from "./router.svelte";

// A server in small: what it was asked, and answers that come when the test says so.
interface Asked {
  path: string;
  method: string;
  body: Record<string, unknown>;
  answer: (body: unknown, status?: number) => Promise<void>;
}
let asked: Asked[] = [];

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

Blob.prototype.arrayBuffer ??= async () => new ArrayBuffer(0); // which jsdom lacks

beforeEach(() => {
  asked = [];
  vi.stubGlobal("fetch", async (input: Request | string, init?: RequestInit) => {
    const request = new Request(typeof input === "string" ? new URL(input, location.origin) : input, {
      ...init,
      ...(init?.body ? { body: "{}" } : {}),
      signal: null, // of another realm
    });
    const text = request.method === "GET" ? "{}" : await request.text();
    return new Promise<Response>((resolve) => {
      const answer = async (body: unknown, status = 200): Promise<void> => {
        resolve(new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } }));
        await settled();
      };
      const { pathname, search } = new URL(request.url);
      asked.push({ path: pathname + search, method: request.method, body: JSON.parse(text || "{}"), answer });
    });
  });
  opened.startAnew();
  router.go("/");
});

afterEach(() => vi.unstubAllGlobals());

async function next(method: string, path: string): Promise<Asked> {
  for (let tries = 0; tries < 50; tries++) {
    const place = asked.findIndex((one) => one.method === method && one.path.startsWith(path));
    if (place >= 0) return asked.splice(place, 1)[0] as Asked;
    await settled();
  }
  throw new Error(`${method} ${path} was not asked, but ${asked.map((one) => one.path).join()}`);
}

function message(id: string, parent_id: string | null, more: Partial<Message> = {}): Message {
  const author = parent_id?.startsWith("q") ? "assistant" : "user";
  return {
    id, parent_id, author, state: "done", content: id, thinking: "", tool_calls: [], quotes: [], given: [], not_given: [],
    model: "brise", left_out: 0, created_at: "2026-11-25T12:00:00Z", siblings: [id], compared_with: null, ...more,
  } as Message; // prettier-ignore
}

const head = (id: string): DocumentHead => ({ id, name: `${id}.txt` }) as DocumentHead;

const body = (id: string, documents: DocumentHead[] = []): Conversation =>
  ({ id, title: id, documents, shares: [], model: "brise", system_prompt: "", quotes: true, tools: [] }) as unknown as Conversation;

async function openKept(id: string, messages: Message[] = [], compared: Message[] = []): Promise<void> {
  const opening = opened.open(id);
  await (await next("GET", `/v1/conversations/${id}/messages`)).answer({ data: messages, compared, has_earlier: false });
  await (await next("GET", `/v1/conversations/${id}`)).answer(body(id));
  await opening;
}

test("a question whose conversation was left is asked where it was written, and shown nowhere else", async () => {
  const first = opened.conversation;
  const asking = first.ask("Question");
  const creating = await next("POST", "/v1/conversations");
  await openKept("b", [message("q0", null)]);
  router.go("/c/b");
  await creating.answer(body("a"));
  const question = await next("POST", "/v1/conversations/a/questions");
  expect(question.body).toMatchObject({ content: "Question", parent_id: null });
  await question.answer({ question: message("q1", null), answers: [message("a1", "q1", { state: "writing" })] });
  expect(await asking).toBe(true);
  expect(opened.conversation.id).toBe("b");
  expect(opened.conversation.messages.map(({ id }) => id)).toEqual(["q0"]);
  expect(opened.conversation.isFree).toBe(true);
  expect(router.place).toEqual({ view: "chat", conversation: "b" });
  expect(asked.filter(({ path }) => path.endsWith("/events"))).toEqual([]);
});

test("a first question does not call its reader back from another view", async () => {
  void opened.conversation.ask("Question");
  const creating = await next("POST", "/v1/conversations");
  router.go("/library");
  await creating.answer(body("a"));
  expect(router.place).toEqual({ view: "library" });
});

test("nothing can be asked before a conversation is there, nor where it could not be read", async () => {
  const opening = opened.open("c");
  expect(opened.conversation.isFree).toBe(false);
  await (await next("GET", "/v1/conversations/c/messages")).answer({ type: "internal_server_error" }, 500);
  await (await next("GET", "/v1/conversations/c")).answer(body("c"));
  await opening;
  expect(opened.conversation.isUnread).toBe(true);
  expect(opened.conversation.isFree).toBe(false);
  const again = opened.conversation.read();
  await (await next("GET", "/v1/conversations/c/messages")).answer({ data: [], compared: [], has_earlier: false });
  await (await next("GET", "/v1/conversations/c")).answer(body("c"));
  await again;
  expect(opened.conversation.isFree).toBe(true);
});

test("documents go to the conversation that they were given to, in the order of their files", async () => {
  await openKept("d");
  const before = opened.conversation;
  const sending = before.attachFiles([new File(["1"], "one.txt"), new File(["2"], "two.txt")]);
  const one = await next("POST", "/v1/documents?name=one.txt");
  const two = await next("POST", "/v1/documents?name=two.txt");
  await openKept("e");
  await two.answer(head("two"));
  await one.answer(head("one"));
  const first = await next("PATCH", "/v1/conversations/d");
  expect(first.body).toEqual({ document_ids: ["one"] });
  await first.answer(body("d"));
  const second = await next("PATCH", "/v1/conversations/d");
  expect(second.body).toEqual({ document_ids: ["one", "two"] });
  await second.answer(body("d"));
  expect(await sending).toBe(2);
  expect(opened.conversation.documents).toEqual([]);
  expect(opened.conversation.uploads.current).toEqual([]);
});

test("a list of documents that could not be sent goes with the next question", async () => {
  await openKept("f");
  const attaching = opened.conversation.attach([head("one")]);
  await (await next("PATCH", "/v1/conversations/f")).answer({ type: "internal_server_error" }, 500);
  await attaching;
  expect(opened.conversation.documents.map(({ id }) => id)).toEqual(["one"]);
  void opened.conversation.ask("Question");
  const sent = await next("PATCH", "/v1/conversations/f");
  expect(sent.body).toEqual({ document_ids: ["one"] });
  await sent.answer(body("f"));
  await next("POST", "/v1/conversations/f/questions");
});

test("a setting that is refused is as it was before", async () => {
  await openKept("g");
  const setting = opened.conversation.set({ model: "gone" });
  expect(opened.conversation.settings.model).toBe("gone");
  await (await next("PATCH", "/v1/conversations/g")).answer({ type: "invalid_model" }, 404);
  expect(await setting).toBe(false);
  expect(opened.conversation.settings.model).toBe("brise");
});

test("a link that could not be revoked is still shown as one", async () => {
  await openKept("h");
  opened.conversation.shares = [{ id: "s", created_at: "2026-11-25T12:00:00Z", head_id: "a1" }];
  const revoking = opened.conversation.revoke("s");
  await (await next("DELETE", "/v1/conversations/h/shares/s")).answer({ type: "internal_server_error" }, 500);
  expect(await revoking).toBe(false);
  expect(opened.conversation.shares).toHaveLength(1);
});

test("an answer in the middle takes the place of what was said after it", async () => {
  const [a1, b1] = [message("a1", "q1"), message("b1", "q1", { compared_with: "a1" })];
  await openKept("i", [message("q1", null), a1, message("q2", "a1"), message("a2", "q2")], [b1]);
  expect(opened.conversation.besidesOf(opened.conversation.messages[1] as Message)).toHaveLength(2);
  const answering = opened.conversation.answerAnew(a1);
  const anew = message("c1", "q1", { state: "writing", siblings: ["a1", "b1", "c1"] });
  await (await next("POST", "/v1/conversations/i/answers")).answer(anew);
  await answering;
  expect(opened.conversation.messages.map(({ id }) => id)).toEqual(["q1", "c1"]);
  expect(opened.conversation.beside).toEqual([]);
});

test("an answer that is refused while it is written is not waited for", async () => {
  await openKept("j", [message("q1", null), message("a1", "q1", { state: "writing" })]);
  expect(opened.conversation.isWriting).toBe(true);
  await (await next("GET", "/v1/conversations/j/answers/a1/events")).answer({ type: "not_found" }, 404);
  await settled();
  expect(opened.conversation.isWriting).toBe(false);
  expect(opened.conversation.head).toMatchObject({ state: "failed", problem: "not_found" });
});
