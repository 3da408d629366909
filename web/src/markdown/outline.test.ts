import { expect, test } from "vitest";

import { outline } from "./outline";
import { parse } from "./parse";

test.each([
  ["# a\n## b\n### c\n# d", [2, 3, 4, 2]],
  ["### a\n# b\n#### c\n## d", [2, 2, 3, 3]],
  ["## a\n\n> ###### b\n\n- # c", [2, 3, 2]],
  ["# a\n## b\n### c\n#### d\n##### e\n###### f", [2, 3, 4, 5, 6, 6]],
])("%j", (source, levels) => {
  expect([...outline(parse(source).map((piece) => piece.block)).values()]).toEqual(levels);
});
