import { expect, test } from "vitest";

import { shortcut } from "./shortcuts";

const press = (key: string, held: KeyboardEventInit = {}) => new KeyboardEvent("keydown", { key, ...held });

test("keys stand for commands, with Ctrl or ⌘", () => {
  expect(shortcut(press("k", { ctrlKey: true }))).toBe("search");
  expect(shortcut(press("k", { metaKey: true }))).toBe("search");
  expect(shortcut(press("O", { ctrlKey: true, shiftKey: true }))).toBe("new");
  expect(shortcut(press("Escape"))).toBe("escape");
  expect(shortcut(press("k"))).toBeNull();
  expect(shortcut(press("k", { ctrlKey: true, altKey: true }))).toBeNull(); // AltGr
});

test("a slash in a field is a slash", () => {
  const found: (string | null)[] = [];
  const field = document.createElement("textarea");
  for (const target of [field, document.body]) {
    target.addEventListener("keydown", (event) => found.push(shortcut(event)));
    target.dispatchEvent(press("/"));
  }
  expect(found).toEqual([null, "focus"]);
});
