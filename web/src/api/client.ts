// The API with the types of its own description; what it refuses comes as an ApiError.
import createClient, { type Middleware } from "openapi-fetch";

import type { components, paths } from "./schema";

export type Schemas = components["schemas"];

/** What went wrong. `type` is the server's word for it; of our own there is "unreachable", with status 0. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    readonly type: string,
    message: string,
    /** Seconds after which to try again, where the server says so. */
    readonly retryAfter: number | null = null,
    /** Under which the server's log tells more. */
    readonly correlationId: string | null = null,
  ) {
    super(message);
  }

  static unreachable(): ApiError {
    return new ApiError(0, "unreachable", "The server does not answer.");
  }

  /** Of an answer that is not a success. */
  static async of(response: Response): Promise<ApiError> {
    if (response.status === 401) signedOut();
    const body: unknown = await response.json().catch(() => null);
    const { type, message } = read(body, response.status);
    const seconds = Number.parseFloat(response.headers.get("retry-after") ?? "");
    const retryAfter = Number.isFinite(seconds) ? seconds : null;
    return new ApiError(response.status, type, message, retryAfter, response.headers.get("mistral-correlation-id"));
  }
}

let signedOut = (): void => undefined;

/** What is to be done when any answer says that nobody is signed in. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

// Three shapes: {"type", "message": text}, {"type", "message": {"detail": [field, …]}}, and {"detail": text}.
function read(body: unknown, status: number): { type: string; message: string } {
  const fields = isRecord(body) ? body : {};
  const type = typeof fields["type"] === "string" ? fields["type"] : status === 401 ? "unauthorized" : "unknown";
  return { type, message: words(fields["message"]) ?? words(fields["detail"]) ?? `The server answered with ${status}.` };
}

function words(message: unknown): string | null {
  if (typeof message === "string") return message;
  const entries = isRecord(message) ? message["detail"] : message;
  if (!Array.isArray(entries)) return null;
  const texts = entries.map((entry: unknown) => (isRecord(entry) ? entry["msg"] : null));
  return texts.filter((text) => typeof text === "string").join("; ") || null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

const errors: Middleware = {
  async onResponse({ response }) {
    if (!response.ok) throw await ApiError.of(response);
  },
  onError({ error }) {
    return isAbort(error) ? undefined : ApiError.unreachable();
  },
};

// `fetch` is looked up at each call: tests put another one in its place.
export const client = createClient<paths>({ baseUrl: location.origin, fetch: (request) => fetch(request) });
client.use(errors);

/** The data of an answer: `await ok(client.GET("/v1/me"))`. What is no success was thrown as an ApiError. */
export async function ok<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T;
}
