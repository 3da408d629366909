"""A statement as PDF, on A4.

Its fonts are those that every PDF reader has, so no font file comes with it: they know Latin-1. Other letters lose
their accents or become question marks; the organisation's id, which is always readable, stands beside its name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from fpdf import FPDF
from fpdf.enums import Align, XPos, YPos

from tramontane.billing.comma_separated import euros
from tramontane.billing.statements import Statement

_MARGIN, _ROW, _SIZE = 15.0, 5.5, 7.5  # millimetres, millimetres, points
_GREY = 110
_NUM_PAGES = "\x7f\x7f"  # replaced by the number of pages at the end; no name can hold it
_SPELLED = str.maketrans(
    {
        "€": "EUR", "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "‚": ",", "“": '"', "”": '"', "„": '"',
        "…": "...", "•": "-", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i", "ẞ": "SS",
    }
)  # fmt: skip

_Column = tuple[str, float, Align]
_LINES: tuple[_Column, ...] = (
    ("Workspace", 38, Align.L), ("Model", 38, Align.L), ("Requests", 16, Align.R), ("Input", 22, Align.R),
    ("of it cached", 20, Align.R), ("Output", 20, Align.R), ("EUR", 26, Align.R),
)  # fmt: skip
_LOTS: tuple[_Column, ...] = (
    ("Lot", 35, Align.L), ("Kind", 20, Align.L), ("Opening", 25, Align.R), ("Added", 25, Align.R),
    ("Charged", 25, Align.R), ("Expired", 25, Align.R), ("Closing", 25, Align.R),
)  # fmt: skip


def statement_pdf(statement: Statement) -> bytes:
    """The file. It takes a while where there are many lines, so call it in a thread."""
    page = _Page(statement)
    page.add_page()
    page.add_introduction()
    page.add_table("Usage", _LINES, _line_rows(statement))
    page.add_table("Commitments, credit and allowances", _LOTS, _lot_rows(statement))
    page.add_sums()
    return bytes(page.output())


class _Page(FPDF):
    def __init__(self, statement: Statement) -> None:
        super().__init__(format="A4")
        self._statement = statement
        self.set_margins(_MARGIN, _MARGIN)
        self.set_auto_page_break(True, _MARGIN + 5)
        self.alias_nb_pages(_NUM_PAGES)
        self.set_title(f"Statement {statement.number}")
        self.set_creator("Tramontane")

    def header(self) -> None:
        """On every page."""
        statement = self._statement
        self._write(f"Statement {statement.number}", size=14, bold=True)
        if not statement.is_final:
            self._write("NOT FINAL: the month has not ended yet.", bold=True)
        self.ln(2)

    def footer(self) -> None:
        """On every page."""
        self.set_y(-_MARGIN)
        self._font(7, grey=True)
        self.cell(0, 5, f"{self._statement.number}, page {self.page_no()} of {_NUM_PAGES}", align=Align.R)

    def add_introduction(self) -> None:
        statement = self._statement
        self._write(self._cut(statement.organisation, 180.0))
        self._write(f"Organisation {statement.organisation_id}", grey=True)
        self._write(f"Month {statement.month}, UTC. All amounts are euros.")
        self.ln(4)

    def add_table(self, title: str, columns: Sequence[_Column], rows: Sequence[Sequence[str]]) -> None:
        self._write(title, size=10, bold=True)
        self._headings(columns)
        for row in rows:
            if self.will_page_break(_ROW):
                self.add_page()
                self._headings(columns)
            for text, (_, width, align) in zip(row, columns, strict=True):
                self._add_cell(text, width, align)
            self.ln(_ROW)
        if not rows:
            self._write("None.", grey=True)
        self.ln(4)

    def add_sums(self) -> None:
        statement = self._statement
        if self.will_page_break(4 * _ROW):
            self.add_page()
        for name, amount, bold in (
            ("Charged for usage", statement.charged, False),
            ("Shortfall of commitments", statement.shortfall, False),
            ("Due: used and not paid before, and shortfalls", statement.due, True),
        ):
            self._font(_SIZE, bold=bold)
            self.cell(130, _ROW, name, align=Align.R)
            self.cell(50, _ROW, euros(amount), align=Align.R, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _add_cell(self, text: str, width: float, align: Align) -> None:
        """Texts are cut where they are too long; numbers never are, they become smaller."""
        self._font(_SIZE)
        if align == Align.R:
            self._font(_SIZE * min(1.0, self._room(width) / self.get_string_width(text)))
        else:
            text = self._cut(text, width)
        self.cell(width, _ROW, text, align=align)

    def _headings(self, columns: Sequence[_Column]) -> None:
        self._font(_SIZE, grey=True)
        for name, width, align in columns:
            self.cell(width, _ROW, name, align=align, border="B")
        self.ln(_ROW)

    def _write(self, text: str, size: float = _SIZE + 1, bold: bool = False, grey: bool = False) -> None:
        self._font(size, bold, grey)
        self.cell(0, _ROW, _shown(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _font(self, size: float, bold: bool = False, grey: bool = False) -> None:
        self.set_font("helvetica", "B" if bold else "", size)
        self.set_text_color(_GREY if grey else 0)

    def _room(self, width: float) -> float:
        return width - 2 * self.c_margin

    def _cut(self, text: str, width: float) -> str:
        """What of it has room, with dots where that is not all."""
        text, room = _shown(text), self._room(width)
        if self.get_string_width(text) <= room:
            return text
        while text and self.get_string_width(f"{text}...") > room:
            text = text[:-1]
        return f"{text}..."


def _line_rows(statement: Statement) -> list[tuple[str, ...]]:
    return [
        (
            line.workspace_name, line.model, f"{line.requests:,}", f"{line.prompt_tokens:,}",
            f"{line.cached_tokens:,}", f"{line.output_tokens:,}", euros(line.amount),
        )
        for line in statement.lines
    ]  # fmt: skip


def _lot_rows(statement: Statement) -> list[tuple[str, ...]]:
    return [
        (
            lot.name,
            lot.kind.replace("_", " "),
            *map(euros, (lot.opening, lot.added, lot.charged, lot.expired, lot.closing)),
        )
        for lot in statement.lots
    ]


def _shown(text: str) -> str:
    """In Latin-1, on one line."""
    spelled = text.translate(_SPELLED)
    return "".join(_letter(letter) for letter in " ".join(spelled.split()))


def _letter(letter: str) -> str:
    if _is_latin(letter):
        return letter
    plain = "".join(part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(part))
    return plain if plain and all(map(_is_latin, plain)) else "?"


def _is_latin(letter: str) -> bool:
    return letter.isprintable() and ord(letter) < 256
