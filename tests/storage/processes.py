"""Other processes: programs that start together, or that are killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    """A test's program in a process of its own, as soon as it has loaded what it needs and waits for its `go`."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


def go(*processes: subprocess.Popen[str]) -> None:
    """Lets them all begin at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


def wait_for_go() -> None:
    """Called by a program, once it is ready."""
    print("waiting", flush=True)
    sys.stdin.readline()


def answers(*processes: subprocess.Popen[str]) -> list[str]:
    """What each printed. A program that failed fails the test."""
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs
