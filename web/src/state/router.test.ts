import { expect, test } from "vitest";

import { placeOf } from "./router.svelte";

test.each([
  ["/", { view: "chat", conversation: null }],
  ["/c/0123abc", { view: "chat", conversation: "0123abc" }],
  ["/c/", { view: "chat", conversation: null }],
  ["/library", { view: "library" }],
  ["/models", { view: "models" }],
  ["/shared/a-token", { view: "shared", token: "a-token" }],
  ["/console", { view: "console", page: "overview", item: null }],
  ["/console/billing", { view: "console", page: "billing", item: null }],
  ["/console/catalogue/owner%2Fname", { view: "console", page: "catalogue", item: "owner/name" }],
  ["/console/catalogue/owner/name", { view: "console", page: "catalogue", item: "owner/name" }],
  ["/console/keys/100%", { view: "console", page: "keys", item: "100%" }],
  ["/join/a-token", { view: "join", token: "a-token" }],
  ["/register", { view: "register" }],
  ["/nothing", { view: "chat", conversation: null }],
])("%s is a place", (path, place) => {
  expect(placeOf(path)).toEqual(place);
});
