"""Manual pages and HTML as plain text. Approximate, and meant to be: what cannot be read as prose is left out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_ESCAPES = {
    r"\-": "-", r"\(aq": "'", r"\(dq": '"', r"\(bu": "•", r"\(em": "—", r"\(en": "–", r"\(co": "©", r"\(lq": "“",
    r"\(rq": "”", r"\(oq": "‘", r"\(cq": "’", r"\(Fo": "«", r"\(Fc": "»", r"\(<=": "≤", r"\(>=": "≥", r"\e": "\\",
    r"\ ": " ", r"\~": " ", r"\0": " ", r"\&": "", r"\|": "", r"\^": "", r"\%": "", r"\:": "", r"\/": "", r"\,": "",
    r"\(ha": "^", r"\(ti": "~", r"\(rs": "\\", r"\'": "´", r"\`": "`",
}  # fmt: skip
_ESCAPE = re.compile("|".join(re.escape(escape) for escape in sorted(_ESCAPES, key=len, reverse=True)))
_FONT = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[+-]?\d+|\\m\[[^\]]*\]|\\[hvwk]'[^']*'|\\c|\\\*\([A-Za-z]{2}|\\\*.")
_NAMED = re.compile(r"\\\[([^\]]*)\]")
_TEXT_MACROS = {".B", ".I", ".BR", ".BI", ".IR", ".IB", ".RB", ".RI", ".SM", ".SB", ".Nm", ".Fl", ".Ar", ".Nd", ".Xr"}
_HEADING_MACROS = {".SH", ".SS", ".Sh", ".Ss"}
_BREAK_MACROS = {".PP", ".P", ".LP", ".TP", ".IP", ".HP", ".br", ".sp", ".Pp", ".It", ".RS", ".RE", ".nf", ".fi", ".TQ"}


def man_to_text(source: str) -> str:
    """A manual page's prose; tables and code of other preprocessors are left out."""
    lines: list[str] = []
    in_table = False
    for line in source.split("\n"):
        macro, _, rest = line.partition(" ")
        if macro in (".TS", ".EQ", ".PS", ".de", ".ig"):
            in_table = True
        elif macro in (".TE", ".EN", ".PE", "..", "."):
            in_table = False
        elif in_table or line.startswith(("'", '.\\"', '\\"')):
            continue
        elif macro in _HEADING_MACROS:
            lines.append(f"\n\n# {_arguments(rest)}\n\n")
        elif macro in _TEXT_MACROS:
            lines.append(_arguments(rest, joined=len(macro) == 3 and macro[1:].isupper()) + "\n")
        elif macro in _BREAK_MACROS:
            lines.append("\n\n")
        elif not line.startswith("."):
            lines.append(line + "\n")
    return _paragraphs(_unescape("".join(lines)))


def _arguments(rest: str, *, joined: bool = False) -> str:
    """A macro's arguments; those that alternate fonts (`.BR ls (1)`) are written without blanks between."""
    arguments = re.findall(r'"((?:[^"]|"")*)"|(\S+)', rest.split(' \\"')[0])
    return ("" if joined else " ").join(quoted or plain for quoted, plain in arguments)


def _unescape(text: str) -> str:
    text = _FONT.sub("", text)
    text = _NAMED.sub(lambda match: _ESCAPES.get(f"\\({match[1]}", _unicode(match[1])), text)
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def _unicode(name: str) -> str:
    return chr(int(name[1:], 16)) if re.fullmatch(r"u[0-9A-F]{4,5}", name) else ""


# The breaks and blanks of code are hidden from what joins the lines of prose.
_HIDDEN = {ord("\n"): 0xE000, ord(" "): 0xE001, ord("\t"): 0xE002}
_SHOWN = {hidden: character for character, hidden in _HIDDEN.items()}


class _Reader(HTMLParser):
    _SKIPPED = ("script", "style", "head", "nav", "table", "svg", "footer")
    _BLOCKS = ("p", "div", "li", "tr", "dt", "dd", "section", "article", "blockquote", "ul", "ol", "dl", "br")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping: list[str] = []
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._SKIPPED:
            self._skipping.append(tag)
        elif tag in ("h1", "h2", "h3", "h4"):
            self.parts.append("\n\n# ")
        elif tag == "pre":
            self._verbatim += 1
            self.parts.append("\n\n")
        elif tag in self._BLOCKS:
            self.parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if self._skipping and tag == self._skipping[-1]:
            self._skipping.pop()
        elif tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
            self.parts.append("\n\n")
        elif tag in ("h1", "h2", "h3", "h4") or tag in self._BLOCKS:
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(data.translate(_HIDDEN) if self._verbatim else data)


def html_to_text(source: str) -> str:
    """An HTML page's prose and code; tables, navigation and scripts are left out."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    return _paragraphs("".join(reader.parts).replace("¶", "")).translate(_SHOWN)


def _paragraphs(text: str) -> str:
    """Lines joined to paragraphs, one blank line between two."""
    paragraphs = (" ".join(paragraph.split(None)) for paragraph in re.split(r"\n\s*\n", text))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph.strip("# "))
