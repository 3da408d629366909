"""Extraction in a process of its own: started, fed, bounded, and ended whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import asdict
from typing import Any, get_args
from weakref import WeakKeyDictionary

from tramontane.conversations.errors import DocumentProblem
from tramontane.conversations.extraction.kinds import suffix
from tramontane.conversations.extraction.limits import Limits, RefusalError, broken, too_complex

_logger = logging.getLogger(__name__)

_AT_ONCE = 2  # dozens of uploads must not slow those who chat
_PROGRAM = (sys.executable, "-I", "-m", f"{__package__}")  # -I: neither the environment nor the folder has a say

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def read(name: str, content: bytes, limits: Limits) -> dict[str, Any]:
    """The file's text, media_type and num_pages. Raises RefusalError."""
    if len(content) > limits.size:
        raise RefusalError("document_too_large", f"is larger than {limits.size >> 20} MiB: upload it in parts.")
    if not content:
        raise RefusalError("document_empty", "is an empty file: choose another one.")
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
        return await _read(suffix(name), content, limits)


async def start(ending: str, limits: Limits) -> Process:
    """The process that reads a file: it waits for the file on its standard input."""
    return await asyncio.create_subprocess_exec(
        *_PROGRAM,
        json.dumps(asdict(limits)),
        ending,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,  # what a library says of a file is for nobody
        env={},  # the server's holds keys
        cwd="/",
        start_new_session=True,  # Ctrl-C ends the server, which lets uploads finish
    )


async def _read(ending: str, content: bytes, limits: Limits) -> dict[str, Any]:
    """What the process answers, checked. Raises RefusalError."""
    process = await start(ending, limits)
    try:
        async with asyncio.timeout(limits.seconds):
            _, output = await asyncio.gather(_feed(process, content), _output(process, limits))
            await process.wait()
    except TimeoutError:
        raise too_complex(f"takes longer than {limits.seconds:g} seconds to read") from None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if process.returncode != 0:
        # By a signal: the processor's time is over, or a library gave up where memory was.
        _logger.warning("The reader of a file of %d bytes ended with status %d.", len(content), process.returncode or 0)
        raise too_complex("takes more time or memory to read than a document may")
    return _checked(output)


async def _feed(process: Process, content: bytes) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError, ConnectionResetError):  # it ended before it had read everything
        process.stdin.write(content)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _output(process: Process, limits: Limits) -> bytes:
    """What the process writes, to its end. More than its longest text, in UTF-8, would be somebody else's words."""
    assert process.stdout is not None
    pieces = []
    room = 4 * limits.characters + (1 << 16)
    while piece := await process.stdout.read(1 << 20):
        room -= len(piece)
        if room < 0:
            raise broken("what was read from it has no end")
        pieces.append(piece)
    return b"".join(pieces)


def _checked(output: bytes) -> dict[str, Any]:
    """What the process answered, if it makes sense: a hostile file may have taken it over. Raises RefusalError."""
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        answer = None
    match answer:
        case {"text": str(), "media_type": str(), "num_pages": int() | None, **rest} if not rest:
            return dict(answer)
        case {"kind": kind, "reason": str() as reason} if kind in get_args(DocumentProblem):
            raise RefusalError(kind, reason)
    raise broken("what was read from it makes no sense")
