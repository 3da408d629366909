import { expect, test } from "vitest";

import { Speaker } from "./speaker";

function listen(states: [string, boolean][]): string[] {
  const heard: string[] = [];
  const speaker = new Speaker((text) => heard.push(text));
  for (const [content, isWriting] of states) speaker.hear(content, isWriting, () => "Complete.");
  return heard;
}

test("sentences are heard once, when they are whole, and the rest at the end", () => {
  const heard = listen([
    ["", true],
    ["The notice is", true],
    ["The notice is three months. It", true],
    ["The notice is three months. It begins", true],
    ["The notice is three months. It begins today", false],
  ]);
  expect(heard).toEqual(["The notice is three months.", "It begins today Complete."]);
});

test("an answer that was there already is not read out", () => {
  expect(listen([["All of it. ", false], ["All of it. ", false]])).toEqual([]);
});
