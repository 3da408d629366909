import { flushSync } from "svelte";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { load, type Resource } from "./load.svelte";

/** A server that answers when it is told to. */
class Server {
  asked: { question: string; answer: (data: string) => void; refuse: (error: Error) => void }[] = [];
  ask = (question: string): Promise<string> => new Promise((answer, refuse) => this.asked.push({ question, answer, refuse }));
}

const settled = async (): Promise<void> => {
  await vi.advanceTimersByTimeAsync(0);
};

let end = (): void => undefined;

function mounted<T>(make: () => Resource<T>): Resource<T> {
  let made: Resource<T> | undefined;
  end = $effect.root(() => {
    made = make();
  });
  flushSync();
  if (made === undefined) throw new Error("nothing was made");
  return made;
}

function see(state: "visible" | "hidden"): void {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(state);
  document.dispatchEvent(new Event("visibilitychange"));
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  end();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("what the question depends on is asked anew, and an earlier answer that comes late is dropped", async () => {
  const server = new Server();
  let filter = $state("a");
  const resource = mounted(() => load(() => server.ask(filter)));
  filter = "b";
  flushSync();
  expect(server.asked.map((one) => one.question)).toEqual(["a", "b"]);
  server.asked[1]?.answer("of b");
  server.asked[0]?.answer("of a");
  await settled();
  expect([resource.data, resource.isLoading]).toEqual(["of b", false]);
});

test("a problem is told, the former answer stays, and the next answer ends it", async () => {
  const server = new Server();
  const resource = mounted(() => load(() => server.ask("a")));
  server.asked[0]?.answer("first");
  await settled();
  const again = resource.reload();
  server.asked[1]?.refuse(new Error("gone"));
  await again;
  expect([resource.data, String(resource.problem)]).toEqual(["first", "Error: gone"]);
  void resource.reload();
  server.asked[2]?.answer("second");
  await settled();
  expect([resource.data, resource.problem]).toEqual(["second", null]);
});

test("it is read again and again while the page is seen, and no more once its component is gone", async () => {
  const read = vi.fn(async () => "data");
  mounted(() => load(read, { every: 1000 }));
  await vi.advanceTimersByTimeAsync(3500);
  expect(read).toHaveBeenCalledTimes(4);
  see("hidden");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(read).toHaveBeenCalledTimes(4);
  see("visible"); // at once
  await settled();
  expect(read).toHaveBeenCalledTimes(5);
  end();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(read).toHaveBeenCalledTimes(5);
});

test("the pace may change with what was read", async () => {
  let pace = $state(10_000);
  const read = vi.fn(async () => "data");
  mounted(() => load(read, { every: () => pace }));
  pace = 1000;
  flushSync();
  await vi.advanceTimersByTimeAsync(2500);
  expect(read).toHaveBeenCalledTimes(3);
});

test("a slow server is not asked again before it has answered", async () => {
  const server = new Server();
  mounted(() => load(() => server.ask("a"), { every: 1000 }));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(server.asked).toHaveLength(1);
});
