import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { eventsPath, followAnswer, LONGEST_WAIT, SILENCE } from "./events";

const PATH = eventsPath("c", "a/b");

interface Wire {
  send: (event: string, data: unknown) => void;
  raw: (text: string) => void;
  close: () => void;
  break: () => void;
  signal: AbortSignal;
}

let wires: Wire[];
let refuse: ((attempt: number) => Response | Error | null) | undefined;
let attempts: number;

beforeEach(() => {
  vi.useFakeTimers();
  wires = [];
  attempts = 0;
  refuse = undefined;
  vi.stubGlobal("fetch", (path: string, { signal }: { signal: AbortSignal }) => {
    expect(path).toBe("/v1/conversations/c/answers/a%2Fb/events");
    const refused = refuse?.(attempts++);
    if (refused instanceof Error) return Promise.reject(refused);
    if (refused) return Promise.resolve(refused);
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        const raw = (text: string): void => controller.enqueue(encoder.encode(text));
        signal.addEventListener("abort", () => controller.error(new DOMException("", "AbortError")));
        wires.push({
          raw,
          send: (event, data) => raw(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
          close: () => controller.close(),
          break: () => controller.error(new TypeError("network")),
          signal,
        });
      },
    });
    return Promise.resolve(new Response(body));
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function follow(): { log: string[]; stop: () => void; over: Promise<void> } {
  const log: string[] = [];
  const controller = new AbortController();
  const over = followAnswer(
    PATH,
    {
      snapshot: (message) => log.push(`snapshot ${message.content}`),
      delta: (delta) => log.push(`delta ${delta.content ?? delta.thinking ?? delta.tool_call?.name ?? ""}`),
      end: (message) => log.push(`end ${message.content}`),
      lost: () => log.push("lost"),
      back: () => log.push("back"),
      failed: (error) => log.push(`failed ${error.status} ${error.type}`),
    },
    controller.signal,
  );
  return { log, stop: () => controller.abort(), over };
}

const pass = (milliseconds = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);

test("an answer from its beginning to its end", async () => {
  const { log, over } = follow();
  await pass();
  wires[0]?.send("snapshot", { content: "a" });
  wires[0]?.raw(": still here\n\n");
  wires[0]?.raw('event: delta\r\ndata: {"content":\r\n');
  wires[0]?.raw('data: "é👍"}\r\n\r\n');
  wires[0]?.send("delta", { thinking: "hm" });
  wires[0]?.send("delta", { tool_call: { id: "1", name: "f", arguments: "{}" } });
  wires[0]?.send("end", { content: "aé👍" });
  await over;
  expect(log).toEqual(["snapshot a", "delta é👍", "delta hm", "delta f", "end aé👍"]);
  expect(wires[0]?.signal.aborted).toBe(true); // the connection is let go
});

test("a lost connection is opened again, and what was missed comes with the snapshot", async () => {
  const { log, over } = follow();
  await pass();
  wires[0]?.send("snapshot", { content: "a" });
  await pass();
  wires[0]?.break();
  await pass();
  expect(log).toEqual(["snapshot a", "lost"]);
  await pass(1000);
  wires[1]?.send("snapshot", { content: "ab" });
  wires[1]?.send("end", { content: "abc" });
  await over;
  expect(log).toEqual(["snapshot a", "lost", "back", "snapshot ab", "end abc"]);
});

test("a stream that closes before its end was lost", async () => {
  const { log } = follow();
  await pass();
  wires[0]?.close();
  await pass(1000);
  expect(log).toEqual(["lost"]);
  expect(wires).toHaveLength(2);
});

test("waits grow, up to a bound, and start small again after a success", async () => {
  refuse = (attempt) => (attempt < 20 ? new TypeError("Failed to fetch") : null);
  const { log } = follow();
  await pass(2000);
  expect(attempts).toBeGreaterThanOrEqual(2);
  expect(attempts).toBeLessThan(5);
  for (let seconds = 0; attempts < 21; seconds += 1) {
    await pass(1000);
    expect(seconds * 1000).toBeLessThan(20 * 1.25 * LONGEST_WAIT);
  }
  expect(log).toEqual(["lost"]); // said once
  wires[0]?.send("snapshot", { content: "" });
  await pass();
  wires[0]?.break();
  await pass(700);
  expect(attempts).toBe(22);
});

test("while there is no network nothing is tried; once it is back, at once", async () => {
  const onLine = vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
  refuse = (attempt) => (attempt === 0 ? new TypeError("Failed to fetch") : null);
  follow();
  await pass(10 * LONGEST_WAIT);
  expect(attempts).toBe(1);
  onLine.mockReturnValue(true);
  window.dispatchEvent(new Event("online"));
  await pass();
  expect(attempts).toBe(2);
});

test("a silent connection is opened again without a word", async () => {
  const { log } = follow();
  await pass();
  wires[0]?.send("snapshot", { content: "a" });
  await pass(SILENCE - 10);
  expect(wires).toHaveLength(1);
  wires[0]?.raw(": still here\n\n");
  await pass(SILENCE + 10);
  expect(wires).toHaveLength(2);
  expect(log).toEqual(["snapshot a"]);
});

test.each([
  [401, "unauthorized"],
  [404, "not_found"],
])("a refusal with %i is final", async (status, type) => {
  refuse = () => Response.json({ type, message: "no" }, { status });
  const { log, over } = follow();
  await over;
  expect(log).toEqual([`failed ${status} ${type}`]);
});

test("a server that is ending is asked again when it says", async () => {
  refuse = (attempt) => (attempt === 0 ? Response.json({ type: "draining" }, { status: 503, headers: { "retry-after": "5" } }) : null);
  const { log } = follow();
  await pass(4900);
  expect(attempts).toBe(1);
  await pass(200);
  expect(attempts).toBe(2);
  expect(log).toEqual(["lost"]);
});

test("who stops hears nothing more", async () => {
  const { log, stop, over } = follow();
  await pass();
  wires[0]?.send("snapshot", { content: "a" });
  await pass();
  stop();
  await over;
  expect(log).toEqual(["snapshot a"]);
  expect(wires[0]?.signal.aborted).toBe(true);
});
