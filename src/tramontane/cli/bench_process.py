"""The measured server as the measuring process sees it: started, asked, pinned to a core, and ended in any case."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from tramontane.cli.bench_child import EngineOptions
from tramontane.errors import TramontaneError

_ENDS_WITHIN = 10.0  # seconds, until it is ended less gently
_LAST_LINES = 5  # of its log, where it failed
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

OnLoaded = Callable[[float], None]


class ServerProcess:
    """A context: on entry the server listens, on exit its process and its folder are gone, whatever happened."""

    def __init__(
        self, options: EngineOptions | None, on_loaded: OnLoaded = lambda _: None, *, database_url: str | None = None
    ) -> None:
        """`options`: the model to load; None serves mock models. `database_url`: of an empty database; None makes one.

        What is written into that database stays there.
        """
        self._options, self._on_loaded, self._database_url = options, on_loaded, database_url
        self.facts: dict[str, Any] = {}

    def __enter__(self) -> ServerProcess:
        self._folder = Path(tempfile.mkdtemp(prefix="tramontane-bench-"))
        arguments = [] if self._options is None else [json.dumps(asdict(self._options))]
        environment = {**os.environ, "TRAMONTANE_HOME": str(self._folder)}
        for name in ("TRAMONTANE_DATABASE_URL", "TRAMONTANE_API_KEY"):
            environment.pop(name, None)
        if self._database_url is not None:
            environment["TRAMONTANE_DATABASE_URL"] = self._database_url
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tramontane.cli.bench_child", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the measuring process, which then ends this one
            )
        try:
            self.facts = self._read()
        except BaseException:
            self._end(gently=False)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        # Before the process is ended, and its log with it.
        reason = self._why_it_failed(str(error)) if isinstance(error, ConnectionError | TimeoutError) else None
        self._end(gently=kind is None)
        if reason is not None:
            raise TramontaneError(reason) from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.facts["port"])

    @property
    def key(self) -> str:
        """The API key that it takes."""
        return str(self.facts["key"])

    @property
    def database(self) -> str:
        """The kind of its database: sqlite or postgresql."""
        return str(self.facts["database"])

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Has a command carried out; raises TramontaneError where that fails."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # then it has no answer either
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._read()

    def cpu_seconds(self) -> float:
        """Processor time that it has used, all threads, own and in the kernel."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """The bytes of memory that it has now."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE

    @contextmanager
    def on_its_own_core(self) -> Iterator[bool]:
        """The server has one core, and this process the others; False where there is only one."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            yield False
            return
        self._pin({cores[-1]})
        os.sched_setaffinity(0, cores[:-1])
        try:
            yield True
        finally:
            os.sched_setaffinity(0, cores)
            self._pin(set(cores))

    def _pin(self, cores: set[int]) -> None:
        for thread in Path(f"/proc/{self.pid}/task").glob("*"):  # none, where it has died
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)

    def _read(self) -> dict[str, Any]:
        """Its next answer; how far it has loaded is told on the way."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise TramontaneError(answer["error"])
            if "loaded" not in answer:
                return answer
            self._on_loaded(answer["loaded"])
        raise TramontaneError(self._why_it_failed())

    def _why_it_failed(self, seen: str = "") -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # what closed its connections or its output may not have ended yet
        status = self._process.returncode
        state = "failed" if status is None else f"ended with status {status}"
        lines = (self._folder / "log").read_text(errors="replace").splitlines()[-_LAST_LINES:] or ["(empty)"]
        return f"The measured server {state}. {seen}\nThe end of its log:\n" + "\n".join(lines)

    def _end(self, gently: bool) -> None:
        """Ends it by closing its input; by signals where that does not help, or where there is no time."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                process.stdin.close()
            if not gently:
                process.terminate()
            for stronger in (process.terminate, process.kill, lambda: None):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_ENDS_WITHIN)
                    break
                stronger()
        finally:
            if process.poll() is None:  # a second Ctrl-C came while it was waited for
                process.kill()
                process.wait()
            process.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)
