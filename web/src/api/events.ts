// An answer while it is being written. The stream begins with what is there so far, so that a reader who lost the
// connection opens it again and has missed nothing.
import { ApiError, isAbort, type Schemas } from "./client";
import { serverEvents } from "./sse";

export type Message = Schemas["MessageBody"];

export interface AnswerDelta {
  content?: string;
  thinking?: string;
  tool_call?: Schemas["ToolCallBody"];
}

export interface AnswerHandlers {
  /** The whole answer so far: takes the place of what was received before. */
  snapshot: (message: Message) => void;
  delta: (delta: AnswerDelta) => void;
  /** The finished answer; nothing follows. */
  end: (message: Message) => void;
  /** The connection was lost; it is being tried again. */
  lost?: () => void;
  /** It is there again. */
  back?: () => void;
  /** The server refused, and trying again will not help; nothing follows. */
  failed: (error: ApiError) => void;
}

export const FIRST_WAIT = 500; // milliseconds
export const LONGEST_WAIT = 15_000;
/** A connection from which nothing has come for so long may be dead without anybody saying so. */
export const SILENCE = 45_000;

/** The address of an answer's events. */
export function eventsPath(conversation: string, answer: string): string {
  return `/v1/conversations/${encodeURIComponent(conversation)}/answers/${encodeURIComponent(answer)}/events`;
}

/** Reads an answer's events until it is finished, refused, or the signal is given. Never rejects. */
export async function followAnswer(path: string, handlers: AnswerHandlers, signal: AbortSignal): Promise<void> {
  let failures = 0;
  let isLost = false;
  while (!signal.aborted) {
    const outcome = await readOnce(path, signal, handlers, () => {
      failures = 0;
      if (isLost) handlers.back?.();
      isLost = false;
    });
    if (outcome.kind === "done" || signal.aborted) return;
    if (outcome.kind === "refused") {
      handlers.failed(outcome.error);
      return;
    }
    if (outcome.kind === "silent") continue; // opened again at once: if that fails, the connection is lost
    if (!isLost) handlers.lost?.();
    isLost = true;
    await pause(Math.max(outcome.atLeast, wait(failures)), signal);
    failures += 1;
  }
}

type Outcome =
  | { kind: "done" }
  | { kind: "refused"; error: ApiError }
  | { kind: "silent" }
  | { kind: "dropped"; atLeast: number };

async function readOnce(path: string, signal: AbortSignal, handlers: AnswerHandlers, begun: () => void): Promise<Outcome> {
  const attempt = new AbortController();
  const stop = (): void => attempt.abort();
  signal.addEventListener("abort", stop);
  let isSilent = false;
  let clock: number | undefined;
  const heard = (): void => {
    window.clearTimeout(clock);
    clock = window.setTimeout(() => {
      isSilent = true;
      attempt.abort();
    }, SILENCE);
  };
  heard();
  try {
    const response = await fetch(path, { signal: attempt.signal, headers: { accept: "text/event-stream" } });
    if (!response.ok || response.body === null) return refusal(await ApiError.of(response));
    for await (const { event, data } of serverEvents(response.body, heard)) {
      if (signal.aborted) return { kind: "done" };
      if (event === "snapshot") {
        begun();
        handlers.snapshot(JSON.parse(data) as Message);
      } else if (event === "delta") handlers.delta(JSON.parse(data) as AnswerDelta);
      else if (event === "end") {
        handlers.end(JSON.parse(data) as Message);
        return { kind: "done" };
      }
    }
    return { kind: "dropped", atLeast: 0 };
  } catch (error) {
    if (isSilent && isAbort(error)) return { kind: "silent" };
    return { kind: "dropped", atLeast: 0 };
  } finally {
    window.clearTimeout(clock);
    signal.removeEventListener("abort", stop);
    attempt.abort();
  }
}

function refusal(error: ApiError): Outcome {
  const mayPass = error.status === 429 || error.status >= 500;
  return mayPass ? { kind: "dropped", atLeast: (error.retryAfter ?? 0) * 1000 } : { kind: "refused", error };
}

/** Twice as long each time, and spread: a server that comes back is not met by everybody at once. */
function wait(failures: number): number {
  return Math.min(FIRST_WAIT * 2 ** failures, LONGEST_WAIT) * (0.75 + Math.random() / 2);
}

/** Waits, but not once the network is back; nor tries anything while there is none. */
async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const over = (): void => {
      window.clearTimeout(timer);
      window.removeEventListener("online", over);
      signal.removeEventListener("abort", over);
      resolve();
    };
    const timer = window.setTimeout(() => {
      if (navigator.onLine) over();
    }, milliseconds);
    window.addEventListener("online", over);
    signal.addEventListener("abort", over);
  });
}
