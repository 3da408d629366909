import { expect, test, vi } from "vitest";

import { ApiError } from "../api/client";
import { notices } from "./notices.svelte";
import { MOST_AT_ONCE, MOST_BYTES, Uploads } from "./uploads.svelte";

Blob.prototype.arrayBuffer ??= async () => new ArrayBuffer(0); // which jsdom lacks

test("what cannot be sent stays with its reason, and what is left out is said", async () => {
  vi.stubGlobal("fetch", async (path: string) => new Response(JSON.stringify({ id: path })));
  const uploads = new Uploads();
  const huge = new File([], "huge.txt");
  Object.defineProperty(huge, "size", { value: MOST_BYTES + 1 });
  const folder = new File([], "folder");
  folder.slice = () => ({ arrayBuffer: () => Promise.reject(new Error("NotFoundError")) }) as unknown as Blob;
  const many = Array.from({ length: MOST_AT_ONCE }, (_, index) => new File(["text"], `${index}.txt`));
  const handed: string[] = [];
  const count = await uploads.send([huge, folder, ...many], (document) => void handed.push(document.id));
  vi.unstubAllGlobals();
  expect(count).toBe(MOST_AT_ONCE - 2);
  expect(handed).toEqual(many.slice(0, -2).map(({ name }) => `/v1/documents?name=${name}`));
  expect(uploads.current.map(({ problem }) => (problem as ApiError).type)).toEqual(["document_too_large", "document_broken"]);
  expect(uploads.areRunning).toBe(false);
  expect(notices.current.map(({ kind }) => kind)).toEqual(["problem"]);
});
