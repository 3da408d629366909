"""From bytes to text: which character set a text was written in."""

from __future__ import annotations

import codecs
import re

from tramontane.conversations.extraction.kinds import unknown

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which is its beginning
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

# What a text is in that is not in Unicode. Each takes nearly any bytes, so a longer list would only give worse guesses.
_LEGACY = ["cp1252", "cp1250", "cp1251", "cp1253", "gb18030", "big5", "shift_jis", "euc_kr"]
_CENTRAL_EUROPE = {"Czech", "Polish", "Hungarian", "Slovak", "Croatian", "Slovene", "Romanian"}

_DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_-]{2,20})", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def load() -> None:
    """Loads what `decode` may need; Python reads codecs from files, which the process may not open later."""
    import charset_normalizer  # noqa: F401

    for name in (*_MARKS.values(), *_LEGACY, "utf-8", "utf-16-le", "utf-16-be", "iso8859-1", "iso8859-15"):
        codecs.lookup(name)


def decode(content: bytes) -> str:
    """The text that the bytes are. Raises RefusalError for what is no text."""
    text = _decode(content)
    if len(_CONTROLS.findall(text)) > len(text) / 200:
        raise unknown()
    return text


def _decode(content: bytes) -> str:
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            return content.decode(name, errors="replace")
    if b"\0" in content:
        return _without_mark(content)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _declared(content) or _guessed(content)


def _without_mark(content: bytes) -> str:
    """UTF-16 without a mark: the zeros of blanks and Latin letters are all on one side."""
    high, low = content[0::2].count(0), content[1::2].count(0)
    if max(high, low) < 20 * min(high, low) or max(high, low) < len(content) / 50:
        raise unknown()
    try:
        return content.decode("utf-16-le" if low > high else "utf-16-be")
    except UnicodeDecodeError:
        raise unknown() from None


def _declared(content: bytes) -> str | None:
    """As HTML says of itself, where that is possible."""
    declared = _DECLARED.search(content[:4096])
    try:
        return content.decode(declared[1].decode()) if declared else None
    except (LookupError, UnicodeDecodeError):
        return None


def _guessed(content: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(content, cp_isolation=_LEGACY).best()
    # In a short text, a few accents look like one Latin alphabet as well as like another: then it is the western one.
    if best is None or (best.encoding == "cp1250" and best.language not in _CENTRAL_EUROPE):
        return content.decode("cp1252", errors="replace")
    return str(best)
