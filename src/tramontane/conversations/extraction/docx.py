"""The text of a DOCX file (ECMA-376): paragraphs, tables, text boxes, footnotes; what was deleted stays deleted."""

from __future__ import annotations

import posixpath

from lxml import etree

from tramontane.conversations.extraction.archive import Archive, attribute, layouts, local_name, named
from tramontane.conversations.extraction.limits import Limits
from tramontane.conversations.extraction.writer import Writer

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

# Properties, of which some are called like text; deleted or moved away; a copy of a text box for older programs.
_SKIPPED = frozenset({"pPr", "rPr", "tblPr", "tblGrid", "trPr", "tcPr", "sectPr", "del", "moveFrom", "Fallback"})
_NOTES = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "\u2011"}


def read_docx(archive: Archive, limits: Limits) -> str:
    """The text of the document. Raises RefusalError."""
    main = _main_part(archive)
    folder = posixpath.dirname(main)
    reader = _Reader(limits)
    for reference, part in _NOTES.items():
        name = posixpath.join(folder, f"{part}.xml")
        if name in archive:
            for note in archive.parse(name):
                reader.notes[reference, attribute(note, "id")] = note
    return reader.read(archive.parse(main))


def _main_part(archive: Archive) -> str:
    """The name of the member with the text, which the archive's relations tell."""
    if "_rels/.rels" in archive:
        for relation in archive.parse("_rels/.rels"):
            if str(relation.get("Type", "")).endswith("/officeDocument"):
                return str(relation.get("Target", "")).lstrip("/")
    return "word/document.xml"


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self.notes: dict[tuple[str, str | None], etree._Element] = {}
        self._limits = limits

    def read(self, root: etree._Element) -> str:
        writer = Writer(self._limits)
        arranging = layouts(root, frozenset({"tbl"}))
        walk = etree.iterwalk(root, events=("start", "end"))
        for event, element in walk:
            name = local_name(element)
            if name in _SKIPPED:
                if event == "start":
                    _mark_item(writer, element)
                    walk.skip_subtree()
            elif event == "start":
                self._start(writer, element, name, name == "tbl" and element not in arranging)
            else:
                _end(writer, name, name == "tbl" and element not in arranging)
        return writer.result()

    def _start(self, writer: Writer, element: etree._Element, name: str, is_table: bool) -> None:
        if is_table:
            writer.start_table()
        elif name == "t":
            writer.text(element.text or "")
        elif name in _SIGNS:
            writer.text(_SIGNS[name])
        elif name == "txbxContent":  # in the middle of a paragraph
            writer.end_block()
        elif name in _NOTES and (note := self.notes.pop((name, attribute(element, "id")), None)) is not None:
            writer.note(" ".join(self.read(note).split()))


def _mark_item(writer: Writer, properties: etree._Element) -> None:
    """What numbers a list's items is a program of its own in Word; here each is marked as an item."""
    if local_name(properties) == "pPr" and next(named(properties, frozenset({"numPr"})), None) is not None:
        writer.item("- ")


def _end(writer: Writer, name: str, is_table: bool) -> None:
    if name == "p":
        writer.end_block()
    elif name == "tc":
        writer.end_cell()
    elif name == "tr":
        writer.end_row()
    elif is_table:
        writer.end_table()
