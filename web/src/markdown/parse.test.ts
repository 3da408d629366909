import { describe, expect, test } from "vitest";

import type { Block, Inline } from "./nodes";
import { parse } from "./parse";

const blocks = (source: string): Block[] => parse(source).map((piece) => piece.block);
const inline = (source: string): Inline[] => {
  const [first] = blocks(source);
  return first?.kind === "paragraph" ? first.children : [];
};
const text = (value: string): Inline => ({ kind: "text", text: value });

test("marks within a line", () => {
  expect(inline("a **b** _c_ ~~d~~ `e`")).toEqual([
    text("a "),
    { kind: "strong", children: [text("b")] },
    text(" "),
    { kind: "emphasis", children: [text("c")] },
    text(" "),
    { kind: "deleted", children: [text("d")] },
    text(" "),
    { kind: "code", text: "e" },
  ]);
});

test("headings, quotations, rules, and lines", () => {
  expect(blocks("## One\n\n> two\n\n---\n\nthree\nfour")).toEqual([
    { kind: "heading", level: 2, children: [text("One")] },
    { kind: "quotation", children: [{ kind: "paragraph", children: [text("two")] }] },
    { kind: "rule" },
    { kind: "paragraph", children: [text("three"), { kind: "break" }, text("four")] },
  ]);
});

test("lists within lists, numbered from anywhere", () => {
  expect(blocks("3. a\n   - b\n4. c")).toMatchObject([
    { kind: "list", start: 3, tight: true, items: [{ task: null, children: [{}, { kind: "list", start: null }] }, {}] },
  ]);
  expect(blocks("- a\n\n- b")).toMatchObject([{ kind: "list", tight: false }]);
});

test("lists of tasks", () => {
  expect(blocks("- [ ] a\n- [x] b\n- [c] d")).toMatchObject([
    { items: [{ task: false, children: [{ children: [text("a")] }] }, { task: true }, { task: null }] },
  ]);
});

test("tables, with their alignment and line breaks", () => {
  expect(blocks("| a | b |\n|:-:|--:|\n| 1<br>2 | `x` |")).toEqual([
    {
      kind: "table",
      head: [
        { align: "center", children: [text("a")] },
        { align: "right", children: [text("b")] },
      ],
      rows: [
        [
          { align: "center", children: [text("1"), { kind: "break" }, text("2")] },
          { align: "right", children: [{ kind: "code", text: "x" }] },
        ],
      ],
    },
  ]);
});

describe("code", () => {
  test("knows its language, and whether its end has been written", () => {
    expect(blocks("```py\nx = 1\n```")).toEqual([{ kind: "code", text: "x = 1", language: "py", closed: true }]);
    expect(blocks("```py\nx = 1\n")).toEqual([{ kind: "code", text: "x = 1", language: "py", closed: false }]);
    expect(blocks("```")).toEqual([{ kind: "code", text: "", language: "", closed: false }]);
    expect(blocks("- a\n  ~~~~js\n  x\n  ~~~~")).toMatchObject([{ items: [{ children: [{}, { closed: true, text: "x" }] }] }]);
  });

  test("may be indented", () => {
    expect(blocks("    a\n    b")).toEqual([{ kind: "code", text: "a\nb", language: "", closed: true }]);
  });
});

describe("formulas", () => {
  test.each([
    ["$a+b$", "a+b", false],
    ["\\(a_1 * b_2\\)", "a_1 * b_2", false],
    ["so $$x^2$$", "x^2", true],
    ["so \\[x \\] y", "x", true],
    ["$\\text{5 \\$}$", "\\text{5 \\$}", false],
  ])("%s", (source, tex, display) => {
    expect(inline(source)).toContainEqual({ kind: "math", tex, display });
  });

  test.each(["$$\na\n+b\n$$", "\\[\na\n+b\n\\]"])("by themselves: %j", (source) => {
    expect(blocks(`before\n${source}\nafter`)).toMatchObject([{ kind: "paragraph" }, { kind: "math", tex: "a\n+b" }, {}]);
  });

  test.each(["It costs $5 or $6.", "5 $ and 6 $", "`$a$`", "\\$a$", "$$", "$ $", "$$ a", "\\( a", "$a\n\nb$"])("%s has none", (source) => {
    expect(JSON.stringify(blocks(source))).not.toContain('"math"');
  });
});

describe("links", () => {
  test("lead to other sites, or write a letter", () => {
    expect(inline("[a](https://example.org/x \"t\") <mailto:a@example.org> http://example.org/.")).toMatchObject([
      { kind: "link", href: "https://example.org/x" },
      text(" "),
      { kind: "link", href: "mailto:a@example.org" },
      text(" "),
      { kind: "link", href: "http://example.org/" },
      text("."),
    ]);
  });

  test.each(["README.md", "example.org", "a@example.org", "127.0.0.1"])("%s is none", (source) => {
    expect(inline(source)).toEqual([text(source)]);
  });

  test.each([
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java&#x0A;script:alert(1)",
    "&#106;avascript:alert(1)",
    "\u0001javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml;base64,PHN2Zz4=",
    "file:///etc/passwd",
    "blob:x",
    "/v1/conversations",
    "//example.org",
    "../x",
    "?x",
    "#x",
  ])("%s is not followed", (address) => {
    for (const source of [`[a](${address})`, `[a](<${address}>)`, `<${address}>`, `[a][1]\n\n[1]: ${address}`, `![a](${address})`]) {
      const found = JSON.stringify(blocks(source));
      expect(found).not.toContain('"link"');
      expect(found).not.toMatch(/"href":"/);
    }
  });
});

test("images become links", () => {
  expect(inline("![a *b*](https://example.org/x.png)")).toEqual([{ kind: "image", href: "https://example.org/x.png", alt: "a *b*" }]);
});

test("depth has a limit", () => {
  expect(() => blocks(`${"> ".repeat(5000)}a`)).not.toThrow();
  expect(() => blocks(`${"*a ".repeat(5000)}`)).not.toThrow();
  expect(() => blocks(`${"[".repeat(5000)}`)).not.toThrow();
});

test("reading takes no more than in proportion to the length", () => {
  const hostile = ["$".repeat(20_000), "\\(".repeat(20_000), "$a ".repeat(20_000), "\\[".repeat(20_000), "<br".repeat(20_000), "\\[\n".repeat(20_000), "$$ a\n".repeat(20_000), "- ".repeat(5000), "`".repeat(20_000)];
  for (const source of hostile) {
    const begun = performance.now();
    blocks(source);
    expect(performance.now() - begun, source.slice(0, 6)).toBeLessThan(2000);
  }
});
