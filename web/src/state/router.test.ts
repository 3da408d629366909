import { expect, test } from "vitest";

import { placeOf } from "./router.svelte";

test.each([
  ["/", { view: "chat", conversation: null }],
  ["/c/0123abc", { view: "chat", conversation: "0123abc" }],
  ["/c/", { view: "chat", conversation: null }],
  ["/library", { view: "library" }],
  ["/models", { view: "models" }],
  ["/shared/a-token", { view: "shared", token: "a-token" }],
  ["/nothing", { view: "chat", conversation: null }],
])("%s is a place", (path, place) => {
  expect(placeOf(path)).toEqual(place);
});
