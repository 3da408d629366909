"""Text as it is put together from the pieces of a structured document."""

from __future__ import annotations

import re

from tramontane.conversations.extraction.limits import Limits, too_long

_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Writer:
    """Paragraphs separated by blank lines; a table's rows are lines, `a | b | c`; a note follows what calls it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.characters
        self._blocks: list[str] = []  # with what separates each from the one before
        self._was_item = False
        self._pieces: list[str] = []  # of the block that is being written
        self._prefix = ""
        self._notes: list[str] = []
        self._rows: list[str] | None = None  # of the table that is being written
        self._row: list[str] = []
        self._cell: list[str] = []
        self._count_notes = 0

    def text(self, piece: str) -> None:
        """Goes on with the block."""
        self._room -= len(piece)
        if self._room < 0:
            raise too_long(self._limits.characters)
        self._pieces.append(piece)

    def item(self, mark: str) -> None:
        """The next block begins with this."""
        self._prefix = mark

    def note(self, text: str) -> None:
        """A footnote is called here."""
        self._count_notes += 1
        number = str(self._count_notes).translate(_SUPERSCRIPT)
        self.text(number)
        self._room -= len(text)
        self._notes.append(f"{number} {text}")

    def end_block(self, *, collapse: bool = True) -> None:
        """Ends the paragraph, if there is one. `collapse`: runs of blanks are one."""
        block = "".join(self._pieces)
        self._pieces.clear()
        if collapse:
            block = re.sub(r" *\n *", "\n", re.sub(r"[ \t]+", " ", block)).strip()
        else:
            block = block.strip("\n").rstrip()
        if not block:
            return
        is_item, block, self._prefix = bool(self._prefix), self._prefix + block, ""
        if self._rows is None:
            self._write(block, is_item)
            self._write_notes()
        else:
            self._cell.append(" ".join(block.split("\n")))

    def start_table(self) -> None:
        """What follows are cells, until the table ends. Tables do not nest: see `layouts`."""
        self.end_block()
        self._rows = []

    def end_cell(self) -> None:
        """Ends a cell of the row."""
        self.end_block()
        if self._rows is not None:
            self._row.append(" ".join(self._cell))
        self._cell = []

    def end_row(self) -> None:
        """Ends a row of the table; one of empty cells only is left out."""
        if self._rows is not None and any(self._row):
            self._rows.append(" | ".join(self._row).rstrip())
        self._row = []

    def end_table(self) -> None:
        """Ends the table."""
        self.end_block()
        if self._rows:
            self._write("\n".join(self._rows))
        self._rows, self._row, self._cell = None, [], []
        self._write_notes()

    def result(self) -> str:
        """All that was written."""
        self.end_block()
        return "".join(self._blocks)

    def _write(self, block: str, is_item: bool = False) -> None:
        """Items of a list are lines of one paragraph."""
        if self._blocks:
            self._blocks.append("\n" if is_item and self._was_item else "\n\n")
        self._blocks.append(block)
        self._was_item = is_item

    def _write_notes(self) -> None:
        for note in self._notes:
            self._write(note)
        self._notes.clear()
