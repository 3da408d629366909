"""The text of files as users upload them, and what becomes of those that mean harm."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from tests.conversations.making import (
    deflated_bomb,
    docx,
    lines,
    odt,
    paragraph,
    pdf,
    pdf_of,
    row,
    zipped,
)
from tramontane.conversations.errors import DocumentError
from tramontane.conversations.extraction import Extracted, extract, process
from tramontane.conversations.extraction.kinds import kind_of_text
from tramontane.conversations.extraction.limits import Limits

DE = "Größere Mengen müssen über die Straße; „schön“, sagte er – für 5 €."
EN = "“It’s the naïve café,” she said — and so it was."
ES = "¿Dónde está el niño? El año pasado comió jamón en la montaña."
FR = "L’été, où naît l’œuvre, coûte cher à l’hôtel près de la forêt."
IT = "Perché no? La città è più bella di così, però costa."
LANGUAGES = (DE, EN, ES, FR, IT)

LAUGHS = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9))
BILLION_LAUGHS = f'<!DOCTYPE x [<!ENTITY a "ha">{LAUGHS}]>'
OUTSIDER = '<!DOCTYPE x [<!ENTITY i SYSTEM "file:///etc/passwd">]>'


def read(name: str, content: bytes, limits: Limits | None = None) -> Extracted:
    return asyncio.run(extract(name, content, limits))


def text_of(name: str, content: bytes) -> str:
    return read(name, content).text


def refused(name: str, content: bytes, limits: Limits | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as refusal:
        read(name, content, limits)
    assert f"“{name}”" in str(refusal.value)
    assert ": " in str(refusal.value)  # and then what to do
    return refusal.value


def outcome(name: str, content: bytes) -> str:
    """The text, or the kind of the refusal."""
    try:
        return text_of(name, content)
    except DocumentError as refusal:
        return refusal.kind


# What is read


def test_a_pdf_is_paragraphs_again() -> None:
    first = lines("Jahresbericht", size=18) + lines(
        "Die Donaudampfschifffahrt hat alle ihre Ein- und Aus-",
        "gänge im Jahr 2021 gezählt, und die Wiener SPD-",
        "Politiker haben zugesehen, wie der Wind von Norden",
        "über das Land blies.",
        top=720,
    )
    second = lines("Im nächsten Absatz steht, dass ein Satz über das Ende", "einer Seite hinweg", top=640)
    third = lines("weitergeht und dann endet, wie sich das gehört.") + lines("Name: Ada", "Ort: Wien", top=700)
    extracted = read("a.pdf", pdf(first + second, third))
    assert extracted.media_type == "application/pdf"
    assert extracted.num_pages == 2
    assert extracted.text.split("\n\n") == [
        "Jahresbericht",
        "Die Donaudampfschifffahrt hat alle ihre Ein- und Ausgänge im Jahr 2021 gezählt, und die Wiener SPD-Politiker "
        "haben zugesehen, wie der Wind von Norden über das Land blies.",
        "Im nächsten Absatz steht, dass ein Satz über das Ende einer Seite hinweg weitergeht und dann endet, wie sich "
        "das gehört.",
        "Name: Ada\nOrt: Wien",
    ]


def test_a_pdf_is_read_in_five_languages() -> None:
    text = text_of("a.pdf", pdf(*(lines(text) for text in LANGUAGES)))
    assert text.split("\n\n") == list(LANGUAGES)


def test_columns_of_a_pdf_are_read_one_after_the_other() -> None:
    left = lines("Links steht der Anfang eines", "Satzes, der rechts oben", left=60)
    right = lines("weitergeht, wo die andere", "Spalte beginnt.", left=320)
    text = text_of("a.pdf", pdf(left + right))
    assert " ".join(text.split()) == (
        "Links steht der Anfang eines Satzes, der rechts oben weitergeht, wo die andere Spalte beginnt."
    )


def test_rows_of_a_pdf_stay_rows() -> None:
    table = b"".join(
        lines(a, left=72, top=700 - 14 * i) + lines(b, left=250, top=700 - 14 * i)
        for i, (a, b) in enumerate([("Jahr", "Preis"), ("2020", "12,50 €"), ("2021", "14 €")])
    )
    assert text_of("a.pdf", pdf(table)) == "Jahr | Preis\n2020 | 12,50 €\n2021 | 14 €"


def test_page_numbers_and_running_headers_are_left_out() -> None:
    pages = [
        lines("Annual report", top=820)
        + lines(f"This is what page {name} says.", top=600)
        + lines(f"Page {number} of 3", top=30)
        for number, name in enumerate(["one", "two", "three"], start=1)
    ]
    assert text_of("a.pdf", pdf(*pages)) == (
        "Annual report\n\nThis is what page one says.\n\nThis is what page two says.\n\nThis is what page three says."
    )


def test_a_pdf_that_no_password_opens_is_read() -> None:
    assert text_of("a.pdf", pdf(lines(FR), password="")) == FR


def test_a_docx_keeps_headings_lists_tables_and_notes() -> None:
    heading = paragraph("Préface", '<w:pStyle w:val="Heading1"/>')
    called = '<w:p><w:r><w:t>Cent jours</w:t><w:footnoteReference w:id="2"/><w:t> de vent.</w:t></w:r></w:p>'
    items = "".join(paragraph(text, '<w:numPr><w:numId w:val="1"/></w:numPr>') for text in ("un", "deux"))
    table = f"<w:tbl>{row('Année', 'Prix')}{row('2020', '12,50 €')}{row('2021', '')}{row('', '')}</w:tbl>"
    changed = (
        "<w:p><w:ins><w:r><w:t>nouveau</w:t></w:r></w:ins><w:del><w:r><w:delText>vieux</w:delText></w:r></w:del></w:p>"
    )
    notes = f'<w:footnote w:id="2">{paragraph("Mesuré à Perpignan.")}</w:footnote>'
    extracted = read("a.docx", docx(heading + called + items + table + changed + paragraph(FR), footnotes=notes))
    assert extracted.media_type.endswith("wordprocessingml.document")
    assert extracted.num_pages is None
    assert extracted.text.split("\n\n") == [
        "Préface",
        "Cent jours¹ de vent.",
        "¹ Mesuré à Perpignan.",
        "- un\n- deux",
        "Année | Prix\n2020 | 12,50 €\n2021 |",
        "nouveau",
        FR,
    ]


def test_a_table_around_tables_arranges_a_page() -> None:
    inner = f"<w:tbl>{row('a', 'b')}</w:tbl>"
    outer = f"<w:tbl><w:tr><w:tc>{paragraph('left')}</w:tc><w:tc>{inner}</w:tc></w:tr></w:tbl>"
    assert text_of("a.docx", docx(outer)) == "left\n\na | b"


def test_an_odt_keeps_headings_lists_tables_and_notes() -> None:
    body = f"""
        <text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>
        <text:h>Prefazione</text:h>
        <text:p>Cento<text:s text:c="2"/>giorni<text:note><text:note-citation>1</text:note-citation>
            <text:note-body><text:p>Misurati.</text:p></text:note-body></text:note> di
            vento.<office:annotation><text:p>remark</text:p></office:annotation></text:p>
        <text:list><text:list-item><text:p>uno</text:p></text:list-item>
            <text:list-item><text:p>due</text:p></text:list-item></text:list>
        <table:table><table:table-row><table:table-cell><text:p>Anno</text:p></table:table-cell>
            <table:table-cell><text:p>12 €</text:p></table:table-cell></table:table-row></table:table>
        <text:p>{IT}<text:line-break/>{ES}</text:p>"""
    extracted = read("a.odt", odt(body))
    assert extracted.media_type == "application/vnd.oasis.opendocument.text"
    assert extracted.text.split("\n\n") == [
        "Prefazione",
        "Cento giorni¹ di vento.",
        "¹ Misurati.",
        "- uno\n- due",
        "Anno | 12 €",
        f"{IT}\n{ES}",
    ]


def test_html_is_what_a_reader_sees() -> None:
    page = f"""<!DOCTYPE html><html><head><title>no</title><style>p {{}}</style></head><body><nav>Menu</nav>
        <h1>Über   uns</h1><script>alert("no")</script><p>{DE}<br>Zweite <b>Zeile</b>.</p>
        <p hidden>no</p><p style="display: none">no</p>
        <ol><li>eins<li><p>zwei</p></ol><ul><li>drei</ul>
        <table><tr><th>Jahr<th>Preis<tr><td>2020<td>12&nbsp;€</table>
        <pre>  if x:
      y</pre><!-- no --></body></html>"""
    extracted = read("a.html", page.encode())
    assert extracted.media_type == "text/html"
    assert extracted.text.split("\n\n") == [
        "Über uns",
        f"{DE}\nZweite Zeile.",
        "1. eins\n2. zwei\n- drei",
        "Jahr | Preis\n2020 | 12\u00a0€",
        "  if x:\n      y",
    ]


def test_html_says_its_character_set() -> None:
    page = '<html><head><meta charset="iso-8859-15"></head><body>Prix : 5 €, œuvre</body></html>'
    assert text_of("a.htm", page.encode("iso-8859-15")) == "Prix : 5 €, œuvre"


def test_csv_rows_can_be_understood_alone() -> None:
    table = 'Année;Prix;Note\r\n2020;12,50;\r\n2021;"14\r\n€";bon\r\n'
    extracted = read("a.csv", table.encode("utf-8-sig"))
    assert extracted.media_type == "text/csv"
    assert extracted.text == "Année: 2020; Prix: 12,50\nAnnée: 2021; Prix: 14 €; Note: bon"


def test_csv_without_headers_is_rows() -> None:
    assert text_of("a.csv", b"2020,12,x\n2021,14,y\n") == "2020 | 12 | x\n2021 | 14 | y"
    assert text_of("a.tsv", b"a\tb\n1,5\t2,5\n") == "a: 1,5; b: 2,5"


def test_markdown_and_plain_text_stay_as_they_are() -> None:
    extracted = read("a.md", f"# {FR}\n\n* {ES}\n".encode())
    assert extracted.media_type == "text/markdown"
    assert extracted.text == f"# {FR}\n\n* {ES}"
    assert read("a", DE.encode()).media_type == "text/plain"
    decomposed = "e\u0301 ﬁ ½ \u00a0²"  # no normalisation: quotes are of these characters
    assert text_of("a.txt", decomposed.encode()) == decomposed


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [DE, FR])
def test_texts_are_read_in_their_character_set(text: str, encoding: str) -> None:
    assert text_of("a.txt", text.encode(encoding)) == text


@pytest.mark.parametrize("text", [ES, IT, "Café à 5 €", "Année;Prix\n2020;12,50 €"])
def test_short_texts_with_few_accents_are_western(text: str) -> None:
    assert text_of("a.txt", text.encode("cp1252")) == text


def test_other_alphabets_are_guessed() -> None:
    russian = "Привет, как дела? Это документ о погоде в Москве и о ценах на нефть."
    polish = "Zażółć gęślą jaźń. Wszyscy ludzie rodzą się wolni i równi pod względem swej godności."
    assert text_of("a.txt", russian.encode("cp1251")) == russian
    assert text_of("a.txt", polish.encode("cp1250")) == polish


def test_line_ends_and_control_characters_are_tidied() -> None:
    assert text_of("a.txt", b"one\r\ntwo\rthree \t\n\n\n\n\nfour\x07\x0cfive" + b"." * 200) == (
        "one\ntwo\nthree\n\nfour\nfive" + "." * 200
    )


# What is refused


def test_content_decides_and_the_name_does_not() -> None:
    assert refused("report.pdf", Path("/bin/true").read_bytes()).kind == "document_unknown_kind"
    assert refused("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256))).kind == "document_unknown_kind"
    assert refused("a.docx", zipped({"a.txt": "a"})).kind == "document_unknown_kind"
    assert refused("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000)).kind == "document_unknown_kind"
    assert read("a.txt", pdf(lines(FR))).media_type == "application/pdf"
    assert read("a.csv", b"<!doctype html><p>x").media_type == "text/html"
    assert read("../../etc/a.pdf", b"only words").media_type == "text/plain"


def test_a_row_of_comments_is_read_at_once() -> None:
    comments = "<!-- a -->\n" * 300
    begun = time.process_time()
    assert kind_of_text(f"{comments}No page.", "") == "text"
    assert kind_of_text(f"{comments}<html>", "") == "html"
    assert time.process_time() - begun < 1


def test_passwords_are_asked_to_be_taken_off() -> None:
    office = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500) + "EncryptedPackage".encode("utf-16-le")
    manifest = '<manifest:encryption-data manifest:checksum-type="SHA1"/>'
    assert refused("a.pdf", pdf(lines("secret"), password="x")).kind == "document_encrypted"
    assert refused("a.docx", office).kind == "document_encrypted"
    assert refused("a.odt", odt("", manifest=manifest)).kind == "document_encrypted"


def test_a_scan_is_said_to_be_one() -> None:
    picture = b"q 500 0 0 700 50 50 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \xff EI Q"
    refusal = refused("scan.pdf", pdf(picture))
    assert refusal.kind == "document_empty"
    assert "OCR" in str(refusal)


def test_a_file_without_words_is_empty() -> None:
    for content in (b"", b" \n ", b"...", pdf(b""), docx(paragraph(""))):
        assert refused("a", content).kind == "document_empty"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("content", [pdf(lines(DE)), docx(paragraph(FR)), odt(f"<text:p>{IT}</text:p>")])
def test_truncated_files_are_broken(content: bytes, share: float) -> None:
    # Of a PDF that lost its table of objects, the objects may still be found.
    assert outcome("a", content[: int(len(content) * share)]) in ("document_broken", "document_empty", *LANGUAGES)


def test_broken_xml_is_broken() -> None:
    assert refused("a.docx", docx("<w:p>")).kind == "document_broken"
    assert refused("a.odt", zipped({"mimetype": "application/vnd.oasis.opendocument.text"})).kind == "document_broken"


def test_what_is_too_large_is_refused() -> None:
    assert refused("a.txt", b"x" * 101, Limits(size=100)).kind == "document_too_large"
    few = Limits(characters=100)
    for content in (b"x" * 101, b"<html>" + b"x" * 101, pdf(lines("x" * 101)), docx(paragraph("x" * 101))):
        assert refused("a", content, few).kind == "document_too_large"
    assert refused("a.csv", b"a,b\n" + b"1,2\n" * 20, few).kind == "document_too_large"
    assert refused("a.pdf", pdf(b"", b"", b""), Limits(pages=2)).kind == "document_too_complex"


# Bombs


@pytest.mark.parametrize("declaration", [BILLION_LAUGHS, OUTSIDER])
def test_no_entity_is_expanded(declaration: str) -> None:
    for content in (docx(paragraph("&i;"), before=declaration), odt("<text:p>&i;</text:p>", before=declaration)):
        assert refused("a", content).kind in ("document_broken", "document_too_complex")
    page = text_of("a.html", f"{declaration.replace('x', 'html', 1)}<html><body><p>&i;</p></body></html>".encode())
    assert "&i;" in page
    assert "root" not in page
    assert "haha" not in page


@pytest.mark.parametrize(
    "content",
    [
        docx(paragraph(" " * (80 << 20))),  # more than an archive may unpack to
        docx(paragraph(" " * (20 << 20))),  # a thousandfold
        docx("<w:tbl>" * 100_000),
        b"<html>" + b"<div>" * 1_000_000,
        b"<html>" + b"<table>" * 100_000,
        b"<html><p>words<p>" + b"\n" * 11_000_000 + b"more words",  # libxml2 would leave out what comes last
        pdf(deflated_bomb(512 << 20), filters="/Filter [/FlateDecode /FlateDecode]"),
    ],
    ids=["expansion", "ratio", "nested XML", "nested HTML", "nested tables", "long HTML", "PDF stream"],
)
def test_bombs_do_not_go_off(content: bytes) -> None:
    assert refused("a", content, Limits(memory=400 << 20)).kind == "document_too_complex"


@pytest.mark.parametrize(
    "content",
    [
        pdf(b"[" * 1_000_000 + lines(FR)),
        pdf(b"q " * 1_000_000 + lines(FR)),
        pdf_of([b"<< /Type /Catalog /Pages 2 0 R /X %s >>" % (b"[" * 1_000_000), b"<< /Kids [] >>"]),
        pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000000 >>"]),
    ],
    ids=["array", "graphics state", "catalogue", "pages that are their own"],
)
def test_a_nested_pdf_is_read_or_refused_at_once(content: bytes) -> None:
    began = time.monotonic()
    assert outcome("a.pdf", content) in (FR, "document_broken", "document_empty", "document_too_complex")
    assert time.monotonic() - began < 10


LARGE = docx("<a/>" * 8_000_000)
PATIENT = Limits(ratio=2000, memory=8 << 30)  # its 8 million elements take 2 GB


_MEASURED = """
import asyncio, resource, sys
from tramontane.conversations.errors import DocumentError
from tramontane.conversations.extraction import extract
from tramontane.conversations.extraction.limits import Limits
try:
    asyncio.run(extract("a.docx", sys.stdin.buffer.read(), Limits(memory=400 << 20, seconds=300.0)))
except DocumentError as error:
    print(error.kind, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
"""


def test_memory_has_a_limit() -> None:
    """Asked in a process of its own, whose only child is the one that reads."""
    done = subprocess.run([sys.executable, "-c", _MEASURED], input=LARGE, capture_output=True, check=True)
    kind, largest = done.stdout.split()
    assert kind == b"document_too_complex"
    assert int(largest) < 500 << 20


def test_the_processor_has_a_limit() -> None:
    limits = replace(PATIENT, processor_seconds=1)
    assert refused("a.docx", LARGE, limits).kind == "document_too_complex"


def test_the_clock_has_a_limit() -> None:
    limits = replace(PATIENT, seconds=0.2)
    refusal = refused("a.docx", LARGE, limits)
    assert refusal.kind == "document_too_complex"
    assert "0.2 seconds" in str(refusal)


# The process


def test_the_process_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAMONTANE_API_KEY", "canary")

    async def environment() -> bytes:
        child = await process.start("", Limits())
        try:
            return Path(f"/proc/{child.pid}/environ").read_bytes()
        finally:
            child.kill()
            await child.wait()

    assert asyncio.run(environment()) == b""


def run_python(program: str) -> str:
    command = [sys.executable, "-I", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout


def test_the_process_can_open_nothing() -> None:
    program = """
import socket
from tramontane.conversations.extraction.__main__ import lock
lock()
for attempt in (lambda: open("/etc/passwd"), socket.socket, lambda: open("/tmp/new", "w")):
    try:
        attempt()
    except OSError as error:
        print(error.errno)
"""
    assert run_python(program).split() == ["24", "24", "24"]  # EMFILE


def test_the_process_loads_little() -> None:
    program = """
import sys
from tramontane.conversations.extraction import __main__, archives, pdf, texts
texts.load()
print(*sorted({"torch", "numpy", "fastapi", "sqlalchemy", "pydantic", "asyncio", "socket"} & sys.modules.keys()))
"""
    assert run_python(program).strip() == ""


def test_many_uploads_take_turns() -> None:
    async def together() -> list[Extracted]:
        return await asyncio.gather(*(extract(f"{i}.pdf", pdf(lines(f"file {i}"))) for i in range(6)))

    assert [extracted.text for extracted in asyncio.run(together())] == [f"file {i}" for i in range(6)]


def test_files_are_read_on_the_servers_own_loop() -> None:
    assert uvloop.run(extract("a.pdf", pdf(lines(FR)))).text == FR


def test_an_upload_that_is_given_up_leaves_no_process() -> None:
    async def give_up() -> None:
        upload = asyncio.create_task(extract("a.docx", LARGE, PATIENT))
        await asyncio.wait([upload], timeout=0.2)
        upload.cancel()
        await asyncio.wait([upload])
        assert upload.cancelled()
        assert Path("/proc/thread-self/children").read_text() == before

    before = Path("/proc/thread-self/children").read_text()
    asyncio.run(give_up())


def test_a_name_cannot_break_the_message() -> None:
    with pytest.raises(DocumentError) as refusal:
        read("a\n\x1b[31m" + "b" * 500, b"")
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 250
