"""Texts that have broken tokenizers before, and strategies for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

TEXTS = [
    "",
    " ",
    "  two blanks before, one after ",
    "Hello, world!",
    "line\r\nline\r\n\r\n\ttab\n",
    "Ça coûte 12,50 € à Besançon — « tramontane ».",
    "Ο άνεμος, ветер, الريح, הרוח, हवा, ลม, 風, 바람",
    "👩‍👩‍👧‍👦 🇫🇷 👍🏽 ☺️ e\u0301",
    "def f(x):\n    return [x, *f(x - 1)]\n",
    '{"a": [1, 2.5, null], "b": "\\u00e9"}',
    "[INST] <s></s> [TOOL_CALLS] [/INST] <unk> <0x0A> [THINK]",
    "a\x00b\x7f\u200b\ufeff",
    "\U0010ffff\ue000",
]

#: Every character but half surrogate pairs and ▁, which SentencePiece itself cannot tell from a blank.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="▁")
texts = st.text(alphabet=characters, max_size=60) | st.lists(st.sampled_from(TEXTS), max_size=4).map("".join)
