"""Server-sent events, as servers of all makes write them."""

from __future__ import annotations

from collections.abc import Iterator

_MOST_BYTES = 8 * 2**20  # of one event: whatever is longer is no answer to a question


class EventTooLongError(Exception):
    """An event does not end."""


class EventReader:
    """Bytes as they come, in; the data of whole events, out. Comments, names and ids are passed over.

    Lines end with LF, CRLF or CR; data of several lines is joined by LF; an event that the end cuts off is given as it
    is, since some servers send no last blank line.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, received: bytes) -> Iterator[str]:
        """The events that these bytes complete; raises EventTooLongError."""
        self._rest += received
        # A CR at the very end may be half of a CRLF.
        whole = len(self._rest) - self._rest.endswith(b"\r")
        lines = bytes(self._rest[:whole]).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = bytearray(lines.pop() + self._rest[whole:])
        if len(self._rest) + self._size > _MOST_BYTES:
            raise EventTooLongError
        for line in lines:
            yield from self._read(line)

    def end(self) -> Iterator[str]:
        """What is left when there are no more bytes."""
        for line in bytes(self._rest).rstrip(b"\r").split(b"\r"):
            yield from self._read(line)
        yield from self._read(b"")

    def _read(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield b"\n".join(self._data).decode("utf-8", "replace")
            self._data, self._size = [], 0
        elif line.startswith(b"data:"):
            data = line[5:].removeprefix(b" ")
            self._data.append(data)
            self._size += len(data)
