"""`tramontane chat` in a real terminal: answers stream, commands work, Ctrl-C stops an answer and not the program."""

from __future__ import annotations

import codecs
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tramontane.engine.quotes import REFUSALS

PATIENCE = 90  # seconds
PROMPT = "› "
SUMMED_UP = r"\d+ written"


class Terminal:
    """The program behind a pseudo-terminal, read as a person reads it: what is there, and what has come since."""

    def __init__(self, *arguments: str, home: Path) -> None:
        self._master, slave = pty.openpty()
        program = "from tramontane.cli.main import app; app()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "chat", *arguments],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=_take_terminal, env={**os.environ, "TRAMONTANE_HOME": str(home), "TERM": "dumb"},
        )  # fmt: skip
        os.close(slave)
        self._seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def say(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def press_until(self, key: bytes, pattern: str) -> str:
        """Presses again while nothing happens, as people do.

        Between showing a prompt and waiting for a key, Python's readline misses a Ctrl-C until the next one.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.press(key)
            if self._comes(pattern, seconds=2):
                break
        return self.wait_for(pattern)

    def _comes(self, pattern: str, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not re.search(pattern, self._seen) and (left := end - time.monotonic()) > 0:
            if select.select([self._master], [], [], left)[0]:
                self._seen += self._read()
        return re.search(pattern, self._seen) is not None

    def wait_for(self, pattern: str) -> str:
        """What came up to and with the pattern; it is not seen again."""
        end = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self._seen)) is None:
            assert time.monotonic() < end, f"{pattern!r} did not come; there was {self._seen[-2000:]!r}"
            if select.select([self._master], [], [], 0.2)[0]:
                self._seen += self._read()
        text, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return text

    def _read(self) -> str:
        try:
            return self._decoder.decode(os.read(self._master, 65536))
        except OSError:  # the other side is closed
            pytest.fail(f"the program has ended; there was {self._seen[-2000:]!r}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(tmp_path: Path, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal("--model", "random:tiny-15m", *arguments, home=tmp_path)
    try:
        opened.wait_for("/help lists the commands")
        opened.wait_for(PROMPT)
        yield opened
    finally:
        opened.close()


def test_a_conversation_with_commands(tmp_path: Path) -> None:
    with terminal(tmp_path, "--max-tokens", "8") as chat:
        chat.say("Name three winds.")
        assert "8 written" in chat.wait_for(SUMMED_UP)
        chat.wait_for(PROMPT)
        chat.say("And one \\")
        chat.wait_for("… ")
        chat.say("more?")
        chat.wait_for(SUMMED_UP)
        chat.wait_for(PROMPT)
        chat.say("/again")
        chat.wait_for(SUMMED_UP)
        chat.wait_for(PROMPT)
        chat.say("/nonsense")
        chat.wait_for("There is no command /nonsense")
        chat.say(f"/save {tmp_path / 'saved.json'}")
        chat.wait_for(PROMPT)
        chat.say("/undo")
        chat.say("/history")
        chat.wait_for("user: Name three winds.")
        chat.say("/quit")
        assert chat.process.wait(PATIENCE) == 0
    roles = [message["role"] for message in json.loads((tmp_path / "saved.json").read_text())["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert json.loads((tmp_path / "saved.json").read_text())["messages"][2]["content"] == "And one \nmore?"


def test_ctrl_c_stops_an_answer_and_not_the_program(tmp_path: Path) -> None:
    with terminal(tmp_path, "--max-tokens", "4000", "--temperature", "2") as chat:
        chat.say("Talk.")
        chat.wait_for(r"Talk\.\s+\S+\s+\S+")  # some words of the answer
        chat.press(b"\x03")
        chat.wait_for("Stopped")
        chat.wait_for(PROMPT)
        chat.press_until(b"\x03", "/quit or Ctrl-D ends")
        chat.say("/max 5")
        chat.wait_for(PROMPT)
        chat.say("Again.")
        assert "5 written" in chat.wait_for(SUMMED_UP)
        chat.wait_for(PROMPT)
        chat.press(b"\x04")
        assert chat.process.wait(PATIENCE) == 0


def test_documents_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "winds.txt").write_text("The mistral blows from the north.")
    with terminal(tmp_path, "--document", str(tmp_path / "winds.txt")) as chat:
        chat.say("Which wind?")
        said = chat.wait_for(SUMMED_UP)
        assert "[1]" in said or any(refusal in said for refusal in REFUSALS.values())
        chat.process.send_signal(signal.SIGTERM)
        assert chat.process.wait(PATIENCE) != 0


def test_without_a_model_it_is_the_bundled_one(tmp_path: Path) -> None:
    chat = Terminal(home=tmp_path)
    try:
        assert "brise listens" in chat.wait_for("/help lists the commands")
    finally:
        chat.close()
