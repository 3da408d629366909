"""The text of a PDF file. PDFium reads it; here its lines become paragraphs again."""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pypdfium2
from pypdfium2 import raw

from tramontane.conversations.extraction.limits import Limits, RefusalError, broken, encrypted, too_complex, too_long

MEDIA_TYPE = "application/pdf"

_HYPHEN = "\ufffe"  # what PDFium writes for a hyphen at the end of a line, and for the line's end itself
_SUSPENDED = re.compile(r"(und|oder|bzw|sowie|and|or|et|ou|y|o|e|en|of)\b")  # German: Ein- und Ausgang
_GAP = 1.2  # between words, in heights of the line: more is a column of a table
_LEADING = 1.35  # between lines, in the page's usual distance: more is a new paragraph
_INDENT = 0.8  # of a first line, in its height
_NARROW = 0.35  # of a page's width: narrower columns keep their line breaks, as short lines that are a list do
_PICTURE_PAGES = 20  # on so many pages pictures are looked for, where there is no text


@dataclass(frozen=True)
class Line:
    """A line of text and where it stands: points, from the page's lower left corner."""

    text: str
    left: float
    right: float
    bottom: float
    height: float
    is_row: bool = False  # of a table: its cells are separated by bars


@dataclass(frozen=True)
class Page:
    """The lines of a page, in the order in which it draws them."""

    width: float
    lines: list[Line]


def read(content: bytes, ending: str, limits: Limits) -> tuple[str, str, int]:
    """The text with its media type, and how many pages it has. Raises RefusalError."""
    document = _open(content)
    num_pages = len(document)
    if num_pages > limits.pages:
        raise too_complex(f"has more than {limits.pages:,} pages")
    pages = []
    room = limits.characters
    for number in range(num_pages):
        try:
            page = _page(document[number])
        except pypdfium2.PdfiumError as error:
            raise broken(f"its page {number + 1} cannot be read") from error
        room -= sum(len(line.text) for line in page.lines)
        if room < 0:
            raise too_long(limits.characters)
        pages.append(page)
    text = "\n\n".join(_paragraphs(_without_headers(pages)))
    if not text and _has_pictures(document):
        raise RefusalError(
            "document_empty",
            "holds pictures of text only: have a program for text recognition (OCR) make text of them.",
        )
    return text, MEDIA_TYPE, num_pages


def _open(content: bytes) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise encrypted() from error
        raise broken("it has no readable structure") from error
    if len(document) == 0:
        raise broken("it has no pages")
    return document


def _has_pictures(document: pypdfium2.PdfDocument) -> bool:
    pages = (document[number] for number in range(min(len(document), _PICTURE_PAGES)))
    return any(next(iter(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE])), None) for page in pages)


def _page(page: pypdfium2.PdfPage) -> Page:
    text_page = page.get_textpage()
    boxes = _Boxes(text_page)
    lines = []
    index = 0  # in UTF-16, as PDFium counts
    for text, end in re.findall(rf"([^\r\n{_HYPHEN}]*)(\r\n|{_HYPHEN}|$)", text_page.get_text_range()):
        if text.strip():
            line = _line(text, index, boxes)
            lines.append(replace(line, text=line.text + _HYPHEN) if end == _HYPHEN else line)
        index += len((text + end).encode("utf-16-le")) // 2
    width = page.get_width()
    text_page.close()
    page.close()
    return Page(width, lines)


class _Boxes:
    """Where the characters of a page stand."""

    def __init__(self, text_page: pypdfium2.PdfTextPage) -> None:
        self._page = text_page
        self._numbers = [ctypes.c_double() for _ in range(4)]
        self._rectangle = raw.FS_RECTF()

    def of(self, index: int) -> tuple[float, float]:
        """Left and right of a character."""
        raw.FPDFText_GetCharBox(self._page, self._character(index), *self._numbers)
        left, right, _, _ = self._numbers
        return left.value, right.value

    def heights(self, index: int) -> tuple[float, float]:
        """Bottom and top of the line in which a character is, whatever its own shape."""
        raw.FPDFText_GetLooseCharBox(self._page, self._character(index), self._rectangle)
        return self._rectangle.bottom, self._rectangle.top

    def _character(self, index: int) -> int:
        return int(raw.FPDFText_GetCharIndexFromTextIndex(self._page, index))


def _line(text: str, index: int, boxes: _Boxes) -> Line:
    units = text.encode("utf-16-le")
    start = index + len(text) - len(text.lstrip())
    end = index + len(units) // 2 - 1 - (len(text) - len(text.rstrip()))
    bottom, top = boxes.heights(start)
    height = max(top - bottom, 1.0)
    pieces, position = [], 0
    # Where a blank is wide. Indices agree but where characters beyond UTF-16's first plane are: those lines stay whole.
    for blank in re.finditer(r"(?<=\S) +(?=\S)", text) if len(units) == 2 * len(text) else ():
        if boxes.of(index + blank.end())[0] - boxes.of(index + blank.start() - 1)[1] > _GAP * height:
            pieces.append(text[position : blank.start()].strip())
            position = blank.end()
    pieces.append(text[position:].strip())
    return Line(" | ".join(pieces), boxes.of(start)[0], boxes.of(end)[1], bottom, height, len(pieces) > 1)


def _without_headers(pages: list[Page]) -> list[Page]:
    """The pages without the first and last lines that most of them have, but for numbers; the first header stays."""
    edges = [_edges(page.lines) for page in pages]
    counts = Counter(text for texts in edges for text in set(texts.values()))
    repeated = {text for text, count in counts.items() if count >= 3 and count > len(pages) / 2}
    edges[0] = dict(list(edges[0].items())[:1])
    kept = []
    for page, texts in zip(pages, edges, strict=True):
        lines = [line for i, line in enumerate(page.lines) if texts.get(i) not in repeated]
        kept.append(replace(page, lines=lines))
    return kept


def _edges(lines: list[Line]) -> dict[int, str]:
    """The lowest and the highest line of a page, by index, with their numbers masked."""
    order = sorted(range(len(lines)), key=lambda i: lines[i].bottom)
    return {i: re.sub(r"\d+", "#", lines[i].text) for i in (*order[:1], *order[-1:])}


@dataclass(frozen=True)
class _Block:
    """Lines that stand close together, in one size."""

    lines: list[Line]
    is_new_column: bool
    right: float  # how far its lines may go


def _paragraphs(pages: list[Page]) -> Iterator[str]:
    """The text again, without the page's line breaks, columns and page breaks."""
    current = ""
    for block in (block for page in pages for block in _blocks(page)):
        for number, paragraph in enumerate(_joined(block)):
            # A sentence that goes on in the next column or on the next page is one.
            if number == 0 and block.is_new_column and _goes_on(current, paragraph):
                current = _join(current, paragraph)
            else:
                yield from filter(None, [_clean(current)])
                current = paragraph
    yield from filter(None, [_clean(current)])


def _blocks(page: Page) -> Iterator[_Block]:
    distances = sorted(a.bottom - b.bottom for a, b in pairwise(page.lines) if a.bottom - b.bottom > a.height / 2)
    usual = distances[len(distances) // 4] if distances else 0.0  # the first quartile: within paragraphs
    lines: list[Line] = []
    is_new_column = True  # a page begins with one
    for line in page.lines:
        if lines:
            distance = lines[-1].bottom - line.bottom
            goes_up = distance < -line.height / 2
            if goes_up or not _same_size(line, lines[-1]) or distance > _LEADING * min(usual, 2 * line.height):
                yield _Block(lines, is_new_column, _right(lines, page))
                lines, is_new_column = [], goes_up
        lines.append(line)
    if lines:
        yield _Block(lines, is_new_column, _right(lines, page))


def _same_size(one: Line, other: Line) -> bool:
    return 0.85 < one.height / other.height < 1.18


def _right(lines: list[Line], page: Page) -> float:
    """How far lines of this column go: nearly the longest, as some cross columns; a column of text has some width."""
    left, first = min(line.left for line in lines), lines[0]
    alike = [x for x in page.lines if abs(x.left - left) < 3 * first.height and _same_size(x, first)] or lines
    rights = sorted(line.right for line in alike)
    return max(rights[len(rights) * 9 // 10], left + _NARROW * page.width)


def _joined(block: _Block) -> Iterator[str]:
    """The paragraphs of a block: a line goes on with the one before, stands below it, or begins a new paragraph."""
    text = block.lines[0].text
    for before, line in pairwise(block.lines):
        is_row = before.is_row or line.is_row
        if not is_row and _was_full(before, line, block.right):
            text = _join(text, line.text)
        elif not is_row and line.left - before.left > _INDENT * line.height:
            yield text
            text = line.text
        else:
            text = f"{text}\n{line.text}"
    yield text


def _was_full(before: Line, line: Line, right: float) -> bool:
    """Whether the line was broken because the next word had no room in it."""
    width = (line.right - line.left) / max(len(line.text), 1)
    word = len(line.text.split(maxsplit=1)[0]) + 1
    return before.text.endswith(_HYPHEN) or before.right + word * width > right


def _goes_on(before: str, after: str) -> bool:
    return before.endswith(_HYPHEN) or bool(after[:1].islower() and re.search(r"[\w,-]$", before[-1:]))


def _join(before: str, after: str) -> str:
    """Two lines as one; a word that was divided is whole again."""
    if before.endswith(_HYPHEN):
        stem = before[:-1]
        if _SUSPENDED.match(after):
            return f"{stem}- {after}"
        return f"{stem}{after}" if after[:1].islower() else f"{stem}-{after}"
    return f"{before}{after}" if re.search(r"\w-$", before[-2:]) else f"{before} {after}"


def _clean(text: str) -> str:
    """A hyphen after which nothing came is one."""
    return text.replace(_HYPHEN, "-").strip()
