import { flushSync, mount, unmount } from "svelte";
import { afterEach, beforeAll, expect, test, vi } from "vitest";

import { setLanguage } from "../i18n";
import type { Quote } from "./citations";
import Markdown from "./Markdown.svelte";

interface Props {
  source: string;
  quotes?: Quote[];
  streaming?: boolean;
  oncite?: (quote: Quote) => void;
}

let mounted: Record<string, unknown> | undefined;

beforeAll(() => setLanguage("en"));
afterEach(async () => {
  if (mounted) await unmount(mounted);
  mounted = undefined;
});

function show(props: Props): HTMLElement {
  document.body.replaceChildren();
  mounted = mount(Markdown, { target: document.body, props });
  flushSync();
  return document.body;
}

const HOSTILE = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg onload=alert(1)><script>alert(1)</script></svg>",
  "<svg><style><img src=x onerror=alert(1)></style></svg>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<style>body { background: url(https://example.org/leak) }</style>",
  "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
  "<a href='javascript:alert(1)'>a</a>",
  "<details open ontoggle=alert(1)>",
  "<br onclick=alert(1)>",
  "<base href='https://example.org'>",
  "<meta http-equiv=refresh content='0;url=https://example.org'>",
  "<link rel=stylesheet href='https://example.org/x.css'>",
  "<form action='https://example.org'><button>a</button></form>",
  "[a](javascript:alert(1))",
  "[a](JAVASCRIPT&colon;alert(1))",
  "[a](data:text/html;base64,PHNjcmlwdD4=)",
  "[a](https://example.org/\"onmouseover=\"alert(1))",
  "![a](https://example.org/leak?secret)",
  "![a](x\" onerror=\"alert(1))",
  "![![a](https://example.org/x)](https://example.org/y)",
  "[![a](https://example.org/leak)](javascript:alert(1))",
  "<https://example.org/\"><script>alert(1)</script>>",
  "[a]: javascript:alert(1)\n\n[a]",
  "```\"><img src=x onerror=alert(1)>\n<script>alert(1)</script>\n```",
  "`<img src=x onerror=alert(1)>`",
  "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
  "- [x] <img src=x onerror=alert(1)>",
  "> <img src=x\n> onerror=alert(1)>",
  "$\\href{javascript:alert(1)}{a}$",
  "$$\\text{<img src=x onerror=alert(1)>}$$",
  "&lt;img src=x onerror=alert(1)&gt;",
  "{@html '<img src=x onerror=alert(1)>'} {{constructor.constructor('alert(1)')()}}",
];
const TAGS = "a blockquote br button code del div em figcaption figure h2 h3 h4 h5 h6 hr input li ol p path pre q span strong svg table tbody td th thead tr ul".split(" ");
const ATTRIBUTES = "aria-busy aria-hidden aria-label aria-pressed checked class d data-tip disabled focusable height href rel role scope start tabindex target type viewBox width".split(" ");

test.each(HOSTILE)("nothing of %s is an element", (source) => {
  for (const streaming of [false, true]) {
    for (const element of show({ source, streaming }).querySelectorAll("*")) {
      expect(TAGS).toContain(element.localName);
      for (const { name, value } of element.attributes) {
        expect(ATTRIBUTES).toContain(name);
        if (name === "href") expect(value).toMatch(/^(https?:\/\/|mailto:)/);
      }
    }
  }
});

test("links open elsewhere, and tell nobody from where", () => {
  const link = show({ source: "[a](https://example.org)" }).querySelector("a");
  expect(link?.target).toBe("_blank");
  expect(link?.rel).toBe("noopener noreferrer nofollow");
});

test("words stay together where their marks change", () => {
  expect(show({ source: "a**b**c `d`e, [f](https://example.org)." }).textContent).toBe("abc de, f.");
});

test("lists, tasks, and tables", () => {
  const page = show({ source: "2. a\n3. b\n\n- [x] c\n\n| d |\n|--:|\n| e |" });
  expect(page.querySelector("ol")?.getAttribute("start")).toBe("2");
  expect(page.querySelector<HTMLInputElement>("li input")?.checked).toBe(true);
  expect(page.querySelector("td")?.className).toMatch(/\bright\b/);
});

test("code is coloured, letter for letter", async () => {
  const source = '```python\ndef f(x):\n    return "<b>" + x  # é 👍\n```';
  const page = show({ source });
  await vi.waitFor(() => expect(page.querySelector(".hljs-keyword")?.textContent).toBe("def"));
  expect(page.querySelector("pre")?.textContent).toBe('def f(x):\n    return "<b>" + x  # é 👍');
});

test("code of a language that is not known, or not yet finished, has no colours", async () => {
  for (const source of ["```nothing\nx\n```", "```python\ndef f"]) {
    const page = show({ source, streaming: true });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(page.querySelector("pre span")).toBeNull();
  }
});

test("a code is copied", async () => {
  const writeText = vi.fn(() => Promise.resolve());
  vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
  show({ source: "```\na\nb\n```" }).querySelector("button")?.click();
  await vi.waitFor(() => expect(document.querySelector('[role="status"]')?.textContent).toBe("Copied"));
  expect(writeText).toHaveBeenCalledWith("a\nb");
  vi.unstubAllGlobals();
});

test("formulas are drawn as MathML", async () => {
  const page = show({ source: "$\\frac{a}{b}$\n\n$$\\sum_{i=1}^n i$$" });
  await vi.waitFor(() => expect(page.querySelectorAll("math")).toHaveLength(2));
  expect(page.querySelector("mfrac")?.namespaceURI).toBe("http://www.w3.org/1998/Math/MathML");
  expect(page.querySelector(".display math")?.getAttribute("display")).toBe("block");
});

test.each(["\\href{javascript:alert(1)}{x}", "\\includegraphics{https://example.org/x.png}", "\\frac{", "\\def\\a{\\a\\a}\\a", "\\class{x}{y}"])(
  "the formula %s stays as it was written",
  async (tex) => {
    const page = show({ source: `\\(${tex}\\)` });
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(page.querySelector("math [href], img, a")).toBeNull();
    expect(page.querySelector("code")?.textContent).toBe(tex);
  },
);

test("a quotation's number is a button that hands over the quote", () => {
  const oncite = vi.fn();
  const quote = { number: 3, document_id: "d", text_start: 1, text_end: 2, spans: [] };
  const page = show({ source: "«a» [3]", quotes: [quote], oncite });
  const button = page.querySelector("button");
  expect(page.querySelector("q")?.textContent).toBe("«a»");
  expect(button?.textContent).toBe("[3]");
  expect(button?.getAttribute("aria-label")).toBe("Source 3: show the passage");
  button?.click();
  expect(oncite).toHaveBeenCalledExactlyOnceWith(quote);
});

test("of a document that is gone the number is no button", () => {
  const page = show({ source: "«a» [3]", quotes: [{ number: 3, document_id: null, text_start: 1, text_end: 2, spans: [] }], oncite: vi.fn() });
  expect(page.querySelector("button")).toBeNull();
  expect(page.textContent).toContain("[3]");
});
