"""The text of a web page: what a reader sees of it, without scripts, styles and navigation."""

from __future__ import annotations

import re

from lxml import etree

from tramontane.conversations.extraction.archive import layouts, refuse_excess
from tramontane.conversations.extraction.limits import Limits, broken, too_complex
from tramontane.conversations.extraction.writer import Writer

_SKIPPED = frozenset(
    {
        "audio", "button", "canvas", "datalist", "dialog", "embed", "head", "iframe", "nav", "noscript",
        "object", "script", "select", "style", "svg", "template", "textarea", "video",
    }
)  # fmt: skip
_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl",
        "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
        "header", "hgroup", "hr", "html", "legend", "li", "main", "ol", "p", "pre", "section", "summary", "ul",
    }
)  # fmt: skip
_CELLS = frozenset({"td", "th"})
_TABLES = frozenset({"table"})
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_MAX_DEPTH = 250  # browsers stop at 512; a page that means well needs 60


def read_html(text: str, limits: Limits) -> str:
    """The text of the page. HTML knows no entities but its own, so that none can be declared. Raises RefusalError."""
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = etree.fromstring(text.encode(errors="replace"), parser)
    except etree.XMLSyntaxError as error:
        refuse_excess(error.error_log)
        raise broken("it is no HTML") from error
    refuse_excess(parser.error_log)  # what was read until then is not the page
    if root is None:
        return ""
    return _Reader(root, limits).read()


class _Reader:
    def __init__(self, root: etree._Element, limits: Limits) -> None:
        self._root = root
        self._writer = Writer(limits)
        self._arranging = layouts(root, _TABLES)
        self._preformatted = 0
        self._counts: list[int | None] = []  # of the lists that are open; None: without numbers

    def read(self) -> str:
        walk = etree.iterwalk(self._root, events=("start", "end"))
        depth = 0
        for event, element in walk:
            name = str(element.tag)
            is_skipped = name in _SKIPPED or _is_invisible(element)
            depth += 1 if event == "start" else -1
            if depth > _MAX_DEPTH:
                raise too_complex("is nested more deeply than a page is")
            if event == "start" and is_skipped:
                walk.skip_subtree()
            elif event == "start":
                self._start(element, name)
                self._text(element.text)
            else:
                if not is_skipped:
                    self._end(element, name)
                self._text(element.tail)
        return self._writer.result()

    def _text(self, text: str | None) -> None:
        if text:
            self._writer.text(text if self._preformatted else re.sub(r"[ \t\r\n\f]+", " ", text))

    def _start(self, element: etree._Element, name: str) -> None:
        if name in _BLOCKS:
            self._end_block()
        if name == "br":
            self._writer.text("\n")
        elif name == "pre":
            self._preformatted += 1
        elif name in ("ol", "ul"):
            self._counts.append(0 if name == "ol" else None)
        elif name == "li":
            self._writer.item(self._mark())
        elif name == "table" and element not in self._arranging:
            self._writer.start_table()

    def _end(self, element: etree._Element, name: str) -> None:
        if name in _BLOCKS:
            self._end_block()
        if name == "pre":
            self._preformatted -= 1
        elif name in ("ol", "ul"):
            self._counts.pop()
        elif name in _CELLS:
            self._writer.end_cell()
        elif name == "tr":
            self._writer.end_row()
        elif name == "table" and element not in self._arranging:
            self._writer.end_table()

    def _end_block(self) -> None:
        self._writer.end_block(collapse=not self._preformatted)

    def _mark(self) -> str:
        """What stands before an item of the innermost list."""
        if not self._counts or (count := self._counts[-1]) is None:
            return "- "
        self._counts[-1] = count + 1
        return f"{count + 1}. "


def _is_invisible(element: etree._Element) -> bool:
    return "hidden" in element.attrib or _INVISIBLE.search(str(element.get("style", ""))) is not None
