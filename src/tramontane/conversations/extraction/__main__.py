"""The process that reads one file: from its standard input, to JSON on its standard output.

Its arguments are the limits, as JSON, and the ending of the file's name. What it answers is what `read` returns.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

from tramontane.conversations.extraction.kinds import container
from tramontane.conversations.extraction.limits import Limits, RefusalError, broken, too_complex
from tramontane.conversations.extraction.tidying import tidy

Text = tuple[str, str, int | None]  # with media type and number of pages


def main() -> None:
    """Reads a file, and answers."""
    limits = Limits(**json.loads(sys.argv[1]))
    os.nice(5)  # those who chat come first, though not so much that nothing is left
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, limits.processor_seconds)
    _limit(resource.RLIMIT_AS, limits.memory)
    gc.disable()  # one file, then the end
    answer = json.dumps(read(sys.stdin.buffer.read(), sys.argv[2], limits), ensure_ascii=False)
    sys.stdout.buffer.write(answer.encode())
    sys.stdout.buffer.flush()
    os._exit(0)  # no library tidies up what a hostile file may have left behind


def read(content: bytes, ending: str, limits: Limits) -> dict[str, Any]:
    """The file's text, media_type and num_pages; or the kind and the reason why there is no text."""
    try:
        reader = _reader(content)
        lock()
        text, media_type, num_pages = reader(content, ending, limits)
        text = tidy(text)
        if not any(map(str.isalnum, text)):
            raise RefusalError("document_empty", "holds no text: choose another file.")
        return {"text": text, "media_type": media_type, "num_pages": num_pages}
    except RefusalError as refusal:
        error = refusal
    except (MemoryError, RecursionError):
        error = too_complex("is too large or too deeply nested inside")
    except Exception as unforeseen:  # a library met what it had not foreseen, and a file that does this is no sound one
        error = broken(f"{type(unforeseen).__name__} while it was read")
    return {"kind": error.kind, "reason": error.reason}


def _reader(content: bytes) -> Callable[[bytes, str, Limits], Text]:
    """What reads files of this kind, with all loaded that it needs, and nothing else: this is to start at once."""
    match container(content):
        case "pdf":
            from tramontane.conversations.extraction import pdf

            return pdf.read
        case "zip":
            from tramontane.conversations.extraction import archives

            archives.load()
            return archives.read
        case None:
            from tramontane.conversations.extraction import texts

            texts.load()
            return texts.read


def lock() -> None:
    """No file, no socket, no process: a flaw in a library that a file makes use of finds nothing to use it for."""
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, 0)  # those that are open stay open


def _limit(which: int, value: int) -> None:
    """Lowers a limit for good; one that is lower already stays."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


if __name__ == "__main__":
    main()
