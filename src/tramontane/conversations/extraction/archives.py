"""Files that are archives: DOCX, ODT; others are none of ours."""

from __future__ import annotations

import codecs

from tramontane.conversations.extraction import docx, odt
from tramontane.conversations.extraction.archive import Archive
from tramontane.conversations.extraction.kinds import unknown
from tramontane.conversations.extraction.limits import Limits

_CONTENT_TYPES = "[Content_Types].xml"


def read(content: bytes, ending: str, limits: Limits) -> tuple[str, str, None]:
    """The text with its media type. Raises RefusalError."""
    archive = Archive(content, limits)
    if _CONTENT_TYPES in archive and b"wordprocessingml.document.main" in archive.read(_CONTENT_TYPES):
        return docx.read_docx(archive, limits), docx.MEDIA_TYPE, None
    if "mimetype" in archive and archive.read("mimetype").startswith(odt.MEDIA_TYPE.encode()):
        return odt.read_odt(archive, limits), odt.MEDIA_TYPE, None
    raise unknown()


def load() -> None:
    """Loads what `read` may need: the names of members may be in the character set of the first PCs."""
    codecs.lookup("cp437")
