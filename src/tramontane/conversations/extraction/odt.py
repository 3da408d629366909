"""The text of an ODT file (OpenDocument 1.3): paragraphs, headings, lists, tables, notes."""

from __future__ import annotations

import re

from lxml import etree

from tramontane.conversations.extraction.archive import Archive, attribute, layouts, local_name, named
from tramontane.conversations.extraction.limits import Limits, broken, encrypted
from tramontane.conversations.extraction.writer import Writer

MEDIA_TYPE = "application/vnd.oasis.opendocument.text"

_SKIPPED = frozenset({"tracked-changes", "annotation", "forms", "note", "ruby-text", "scripts"})
_DESCRIPTIONS = frozenset({"title", "desc"})  # of a picture; the field that shows the document's title is called so too
_BLOCKS = frozenset({"p", "h"})
_ROW_ENDS = {"table-cell": Writer.end_cell, "covered-table-cell": Writer.end_cell, "table-row": Writer.end_row}
_MANY_BLANKS = 100  # `text:s` may ask for any number


def read_odt(archive: Archive, limits: Limits) -> str:
    """The text of the document. Raises RefusalError."""
    if "META-INF/manifest.xml" in archive and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise encrypted()
    body = next(named(archive.parse("content.xml"), frozenset({"body"})), None)
    if body is None:
        raise broken("it has no body")
    return _read(body, limits)


def _read(root: etree._Element, limits: Limits) -> str:
    writer = Writer(limits)
    arranging = layouts(root, frozenset({"table"}))
    depth = 0  # of paragraphs: text between them is the file's own line breaks
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        name = local_name(element)
        is_table = name == "table" and element not in arranging
        is_skipped = name in _SKIPPED or (name in _DESCRIPTIONS and "svg" in str(element.tag))
        if event == "start" and not is_skipped:
            depth += name in _BLOCKS
            _start(writer, element, name, is_table)
            _text(writer, element.text, depth)
        elif event == "start":
            if name == "note":
                _note(writer, element, limits)
            walk.skip_subtree()
        else:
            if not is_skipped:
                depth -= name in _BLOCKS
                _end(writer, name, is_table)
            if element is not root:
                _text(writer, element.tail, depth)
    return writer.result()


def _text(writer: Writer, text: str | None, depth: int) -> None:
    if text and depth:
        writer.text(re.sub(r"[ \t\r\n]+", " ", text))


def _start(writer: Writer, element: etree._Element, name: str, is_table: bool) -> None:
    if name in _BLOCKS:
        writer.end_block()  # a text box stands in the middle of a paragraph
    elif name == "s":
        count = attribute(element, "c") or "1"
        writer.text(" " * min(int(count) if count.isdecimal() else 1, _MANY_BLANKS))
    elif name == "tab":
        writer.text("\t")
    elif name == "line-break":
        writer.text("\n")
    elif name == "list-item":
        writer.item("- ")
    elif is_table:
        writer.start_table()


def _end(writer: Writer, name: str, is_table: bool) -> None:
    if name in _BLOCKS:
        writer.end_block()
    elif name in _ROW_ENDS:
        _ROW_ENDS[name](writer)
    elif is_table:
        writer.end_table()


def _note(writer: Writer, note: etree._Element, limits: Limits) -> None:
    for body in note:
        if local_name(body) == "note-body":
            writer.note(" ".join(_read(body, limits).split()))
