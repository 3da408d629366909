"""Which servers of this user run: each announces itself in `home/run/<pid>.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server of this user; `started` is the kernel's start time of the process, since process ids come again."""

    pid: int
    started: int
    url: str
    models: tuple[str, ...]
    folders: tuple[str, ...] = ()  # from which they were loaded


class Announcement:
    """What others of the same user can read of this process."""

    def __init__(self, home: Path, url: str) -> None:
        self._folder, self._url, self._pid = home / "run", url, os.getpid()
        self.path = self._folder / f"{self._pid}.json"

    def update(self, models: Iterable[str], folders: Iterable[Path]) -> None:
        """From now on it serves `models`, which were loaded from `folders`."""
        loaded = tuple(str(folder.resolve()) for folder in folders)
        server = RunningServer(self._pid, _start_time(self._pid) or 0, self._url, tuple(models), loaded)
        draft = self._folder / f".{self._pid}.draft"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(server), file)
        draft.rename(self.path)  # nobody reads half a record


@contextmanager
def announce(home: Path, url: str, models: Sequence[str], folders: Iterable[Path] = ()) -> Iterator[Announcement]:
    """Within this context others of the same user see that this process serves `models` at `url`."""
    announcement = Announcement(home, url)
    announcement.update(models, folders)
    try:
        yield announcement
    finally:
        announcement.path.unlink(missing_ok=True)


def running_servers(home: Path) -> list[RunningServer]:
    """The servers that run, by process id. Records of processes that were killed are removed."""
    servers = []
    for path in (home / "run").glob("*.json"):
        server = _read(path)
        if server is not None and _start_time(server.pid) == server.started:
            servers.append(server)
        else:
            path.unlink(missing_ok=True)
    return sorted(servers, key=lambda server: server.pid)


def is_served(home: Path, folder: Path) -> bool:
    """Whether a running server has loaded a model from this folder, under whatever name."""
    return any(str(folder.resolve()) in server.folders for server in running_servers(home))


def _read(path: Path) -> RunningServer | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        models, folders = tuple(fields["models"]), tuple(fields["folders"])
        return RunningServer(int(fields["pid"]), int(fields["started"]), str(fields["url"]), models, folders)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the machine did; None when it is gone (see proc(5), `stat`)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the command's name, in brackets, may hold anything
    return None if fields[0] in "ZX" else int(fields[19])
