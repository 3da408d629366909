"""Zip archives of XML, which DOCX and ODT are: unpacked within limits, parsed without entities."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from lxml import etree

from tramontane.conversations.extraction.limits import Limits, broken, encrypted, too_complex

_ENCRYPTED = 1  # bit of a member's flags


class Archive:
    """The members of a zip archive, of which no more is unpacked than is asked for. Raises RefusalError."""

    def __init__(self, content: bytes, limits: Limits) -> None:
        self._limits = limits
        self._room = limits.expanded
        try:
            self._zip = ZipFile(BytesIO(content))
        except (BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise broken("the archive that it is has no readable list of members") from error
        if len(self._zip.infolist()) > limits.members:
            raise too_complex(f"is an archive of more than {limits.members:,} members")

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def read(self, name: str) -> bytes:
        """A member's bytes."""
        try:
            info = self._zip.getinfo(name)
            if info.flag_bits & _ENCRYPTED:
                raise encrypted()
            with self._zip.open(info) as member:
                content = member.read(self._room + 1)  # what its header says of its size need not be true
        except (KeyError, BadZipFile, EOFError, zlib.error, NotImplementedError, ValueError, OSError) as error:
            raise broken(f"its part {name[:100]!r} cannot be unpacked") from error
        self._room -= len(content)
        if self._room < 0 or len(content) > max(1 << 20, info.compress_size * self._limits.ratio):
            raise too_complex("unpacks to far more than a document holds")
        return content

    def parse(self, name: str) -> etree._Element:
        """A member as XML. None of the formats has a document type, so that one with entities can only be an attack."""
        parser = etree.XMLParser(
            resolve_entities=False,
            load_dtd=False,
            no_network=True,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
        )
        try:
            root = etree.fromstring(self.read(name), parser)
        except etree.XMLSyntaxError as error:
            refuse_excess(error.error_log)
            raise broken(f"its part {name[:100]!r} is no well-formed XML") from error
        if root.getroottree().docinfo.doctype:
            raise broken(f"its part {name[:100]!r} declares a document type")
        return root


def refuse_excess(log: etree._ListErrorLog) -> None:
    """Raises RefusalError where a parser's log says that libxml2 lacked memory, or met one of its own limits."""
    codes = etree.ErrorTypes
    excesses = {codes.ERR_NO_MEMORY, codes.ERR_ENTITY_LOOP, codes.ERR_RESOURCE_LIMIT}
    if any(entry.type in excesses for entry in log):
        raise too_complex("is nested more deeply, or larger inside, than a document is")


def local_name(element: etree._Element) -> str:
    """Its name without the namespace: dialects of a format differ in nothing else that matters here."""
    return str(element.tag).rpartition("}")[2]


def attribute(element: etree._Element, name: str) -> str | None:
    """The attribute of this name, in whatever namespace."""
    return next((str(value) for key, value in element.items() if str(key).rpartition("}")[2] == name), None)


def layouts(root: etree._Element, tables: frozenset[str]) -> set[etree._Element]:
    """The tables in which there are tables: they arrange a page, and their cells are read one after the other."""
    found: set[etree._Element] = set()
    for table in named(root, tables):
        for ancestor in table.iterancestors():
            if ancestor in found:
                break
            if local_name(ancestor) in tables:
                found.add(ancestor)
    return found


def named(root: etree._Element, names: frozenset[str]) -> Iterator[etree._Element]:
    """The elements below `root` that have one of the names, in document order."""
    return (element for element in root.iter() if local_name(element) in names)
