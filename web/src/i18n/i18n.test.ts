import { beforeEach, describe, expect, test, vi } from "vitest";

import { formatBytes, formatSeconds } from "./formats";
import { addConsoleMessages } from "./console";
import { language, LANGUAGES, m, match, setLanguage, startLanguage } from "./i18n.svelte";

beforeEach(() => localStorage.clear());

test("a message in each language", async () => {
  const words: Record<string, string> = {};
  for (const one of LANGUAGES) {
    await setLanguage(one);
    words[one] = m.close();
    expect(document.documentElement.lang).toBe(one);
  }
  expect(words).toEqual({ en: "Close", fr: "Fermer", de: "Schließen", es: "Cerrar", it: "Chiudi" });
});

test("plurals and numbers follow the language", async () => {
  await setLanguage("en");
  expect([0, 1, 2000].map((count) => m.documents_count({ count }))).toEqual(["0 documents", "1 document", "2,000 documents"]);
  await setLanguage("fr");
  expect([0, 1, 2].map((count) => m.documents_count({ count }))).toEqual(["0 document", "1 document", "2 documents"]);
  expect(m.documents_count({ count: 1_000_000 })).toContain("de documents");
  await setLanguage("de");
  expect(m.documents_count({ count: 2000 })).toBe("2.000 Dokumente");
});

test("what is put into a message is not read as one", async () => {
  await setLanguage("en");
  expect(m.image_not_loaded({ alt: "{alt} $& <b>" })).toBe("Image, not loaded: {alt} $& <b>");
});

test("a group that came later is there in every language that follows", async () => {
  await setLanguage("fr");
  expect(m.nav_billing()).toBe("nav_billing");
  await addConsoleMessages();
  expect([m.nav_billing(), m.close()]).toEqual(["Facturation", "Fermer"]);
  await setLanguage("de");
  expect([m.nav_billing(), m.close()]).toEqual(["Abrechnung", "Schließen"]);
});

describe("the first language", () => {
  test("is the browser's", async () => {
    vi.spyOn(navigator, "languages", "get").mockReturnValue(["pt-BR", "fr-CH", "en"]);
    await startLanguage();
    expect(language()).toBe("fr");
  });

  test("is the one chosen before", async () => {
    await setLanguage("it");
    await startLanguage();
    expect(language()).toBe("it");
  });

  test("is English where nothing fits", () => {
    expect(match(["pt-BR", "ja"])).toBeUndefined();
  });
});

test("sizes and durations", () => {
  expect(formatBytes("en", 0)).toBe("0 bytes");
  expect(formatBytes("en", 1234)).toBe("1.2 kB");
  expect(formatBytes("de", 34_500_000)).toBe("35 MB");
  expect(formatSeconds("en", 0.34)).toBe("340 ms");
  expect(formatSeconds("en", 2.34)).toBe("2.3 sec");
});
