"""One file from the hub to this disk: goes on where it stopped, and is what the hub says it is, or is not kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from httpx2 import TransportError
from huggingface_hub import constants, get_session, hf_raise_for_status
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented there, without __all__

from tramontane.catalogue.record import HubFile
from tramontane.errors import TramontaneError

# The library's own `hf_hub_download` throws away what it has when it is interrupted (since 1.0); hence this module.

# Asked for at a time: the hub's CDN answers no request for more than 50 GB, and its signed addresses last an hour.
_WINDOW = 8 << 30
_CHUNK = 1 << 20
_MOST_BREAKS = 8

Report = Callable[[int], None]


def fetch_file(url: str, file: HubFile, folder: Path, report: Report) -> None:
    """Have `file` in `folder`, verified; `report` is told how many of its bytes are there.

    Raises TramontaneError when what came is not what the hub announced, httpx2.HTTPError when nothing comes.
    """
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not _is_right(target, file):  # it may be whole from an interrupted pull, or from an older commit
        target.unlink(missing_ok=True)
        part = part_path(folder, file)
        _receive_all(url, part, file, report)
        if not _is_right(part, file):
            part.unlink()
            raise _spoilt(file)
        part.rename(target)
    report(file.size)


def part_path(folder: Path, file: HubFile) -> Path:
    """Where the bytes gather until all are there; another content of the same name gathers elsewhere."""
    target = folder / file.path
    return target.with_name(f"{target.name}.{file.digest[-16:]}.part")


def digest_of(path: Path, kind: str) -> str:
    """The digest of a file, as in `HubFile.digest`; `kind` is what stands before the colon."""
    start = partial(hashlib.sha1, b"blob %d\0" % path.stat().st_size) if kind == "git" else hashlib.sha256
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, start).hexdigest()}"


def _is_right(path: Path, file: HubFile) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return digest_of(path, file.digest.partition(":")[0]) == file.digest


def _receive_all(url: str, part: Path, file: HubFile, report: Report) -> None:
    """Ask until all bytes are there. A broken connection is made again at once, while each brings something."""
    part.touch()
    breaks = 0
    while (had := part.stat().st_size) < file.size:
        report(had)
        try:
            _receive(url, part, file, report)
        except TransportError:
            breaks += 1
            if breaks > _MOST_BREAKS or part.stat().st_size <= had:
                raise
        else:
            if part.stat().st_size <= had:
                part.unlink()
                raise _spoilt(file)


def _receive(url: str, part: Path, file: HubFile, report: Report) -> None:
    """One request for what is missing, or for the next 8 GiB of it."""
    have = part.stat().st_size
    headers = build_hf_headers(library_name="tramontane")
    headers["Accept-Encoding"] = "identity"  # the bytes of the file, not of a compressed copy
    headers["Range"] = f"bytes={have}-{min(have + _WINDOW, file.size) - 1}"
    with (
        get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response,
        part.open("ab") as out,
    ):
        if response.status_code == 416:  # the hub's file ends before ours: not the one that was announced
            part.unlink()
            raise _spoilt(file)
        hf_raise_for_status(response)
        if response.status_code != 206:  # the server knows no ranges and sends the file from its beginning
            out.truncate(0)
            have = 0
        for chunk in response.iter_raw(_CHUNK):
            have += len(chunk)
            if have > file.size:
                part.unlink()
                raise _spoilt(file)
            out.write(chunk)
            report(have)
        out.flush()
        os.fsync(out.fileno())


def _spoilt(file: HubFile) -> TramontaneError:
    return TramontaneError(
        f"{file.path} did not arrive as the hub announced it (size or digest differ) and was deleted; "
        "run the command again."
    )
