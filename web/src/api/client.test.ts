import { afterEach, expect, test, vi } from "vitest";

import { ApiError, client, isAbort, ok } from "./client";

afterEach(() => vi.unstubAllGlobals());

function answer(response: Response | Error): void {
  vi.stubGlobal("fetch", () => (response instanceof Response ? Promise.resolve(response) : Promise.reject(response)));
}

async function failure(): Promise<unknown> {
  return ok(client.GET("/v1/me")).then(
    () => null,
    (error: unknown) => error,
  );
}

test("a success is its data", async () => {
  answer(Response.json({ user_name: "Ada" }));
  expect(await ok(client.GET("/v1/me"))).toEqual({ user_name: "Ada" });
});

test.each([
  [404, { type: "not_found", message: "No." }, { type: "not_found", message: "No." }],
  [422, { type: "invalid_request_error", message: { detail: [{ msg: "a" }, { msg: "b" }] } }, { message: "a; b" }],
  [401, { detail: "Unauthorized" }, { type: "unauthorized", message: "Unauthorized" }],
  [502, "<html>", { type: "unknown", message: "The server answered with 502." }],
])("%i is an ApiError", async (status, body, expected) => {
  const headers = { "retry-after": "7", "mistral-correlation-id": "x" };
  answer(new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }));
  const error = await failure();
  expect(error).toBeInstanceOf(ApiError);
  expect(error).toMatchObject({ status, retryAfter: 7, correlationId: "x", ...expected });
});

test("without a connection the status is 0", async () => {
  answer(new TypeError("Failed to fetch"));
  expect(await failure()).toMatchObject({ status: 0, type: "unreachable", retryAfter: null });
});

test("what the caller gave up is no error of the server", async () => {
  answer(new DOMException("", "AbortError"));
  expect(isAbort(await failure())).toBe(true);
});
