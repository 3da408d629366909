"""Files as users upload them, made by hand: each byte is known, and none needs a library that only tests would use."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_CONTENT_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type='
    '"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>'
    "</Relationships>"
)
_ODT_NAMES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"))
)
_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")  # of PDF passwords


def zipped(members: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def docx(body: str, *, before: str = "", footnotes: str = "") -> bytes:
    """A DOCX file with this in its body, and `before` in front of the root element."""
    members: dict[str, str | bytes] = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS,
        "word/document.xml": f'{before}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
    }
    if footnotes:
        members["word/footnotes.xml"] = f'<w:footnotes xmlns:w="{W}">{footnotes}</w:footnotes>'
    return zipped(members)


def paragraph(text: str, properties: str = "") -> str:
    """A paragraph of DOCX."""
    return f'<w:p><w:pPr>{properties}</w:pPr><w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def row(*cells: str) -> str:
    """A row of a table of DOCX."""
    return f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in cells)}</w:tr>"


def odt(body: str, *, before: str = "", manifest: str = "") -> bytes:
    """An ODT file with this in its body."""
    content = f"{before}<office:document-content {_ODT_NAMES}><office:body><office:text>{body}</office:text>"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"{content}</office:body></office:document-content>",
            "META-INF/manifest.xml": manifest,
        }
    )


def lines(*texts: str, left: float = 72, top: float = 770, size: float = 11, leading: float = 14) -> bytes:
    """Lines of text, as the contents of a PDF page."""
    shown = b" T* ".join(b"(" + _escaped(text) + b") Tj" for text in texts)
    return b"BT /F1 %g Tf %g TL %g %g Td " % (size, leading, left, top) + shown + b" ET\n"


def pdf(*pages: bytes, filters: str = "", password: str | None = None) -> bytes:
    """A PDF file of pages with these contents; `password`: what opens it, "" being no password but encrypted."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids.encode(), len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    encryption, key = _encryption(password) if password is not None else (b"", b"")
    for i, contents in enumerate(pages):
        number = 5 + 2 * i
        if key:
            contents = _rc4(hashlib.md5(key + number.to_bytes(3, "little") + bytes(2)).digest()[:10], contents)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % number
        )
        objects.append(b"<< /Length %d %s >> stream\n%s\nendstream" % (len(contents), filters.encode(), contents))
    return pdf_of(objects, encryption)


def pdf_of(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF file of these objects, of which the first is the catalogue."""
    file = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(file))
        file += b"%d 0 obj %s endobj\n" % (number, content)
    table = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    file += b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, table)
    return bytes(file)


def deflated_bomb(size: int) -> bytes:
    """Blanks, compressed twice: a few kilobytes for a gigabyte."""
    packer = zlib.compressobj(9, wbits=-15)
    megabyte = packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    # Each piece is the same after a full flush. The checksum is missing, which nobody minds.
    return zlib.compress(b"\x78\xda" + megabyte * (size >> 20) + packer.flush(), 9)


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _encryption(password: str) -> tuple[bytes, bytes]:
    """The trailer's entries and the key, by the standard handler's revision 2 (ISO 32000-1, 7.6.3)."""
    user = (password.encode() + _PADDING)[:32]
    owner = _rc4(hashlib.md5((b"owner" + _PADDING)[:32]).digest()[:5], user)
    identity = bytes(16)
    key = hashlib.md5(user + owner + (-4 & 0xFFFFFFFF).to_bytes(4, "little") + identity).digest()[:5]
    entries = b"/ID [<%s> <%s>] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (
        *(2 * (identity.hex().encode(),)),
        owner.hex().encode(),
        _rc4(key, _PADDING).hex().encode(),
    )
    return entries, key


def _rc4(key: bytes, content: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    result = bytearray()
    i = j = 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        result.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(result)
