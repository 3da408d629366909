"""Compiles the package's C sources for this machine with its own compiler, once, and loads the result.

The library lies in the user's cache folder under a name that digests the source, the flags and the compiler, so that
an upgrade never meets an old build.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from tramontane.model.machine import processor_flags

logger = logging.getLogger(__name__)

_FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC", "-std=c11")


class NoCompilerError(Exception):
    """The sources cannot be compiled here; the message says why."""


def load_library(source: Path, flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library made of one C file, compiled first where that has not been done yet (one or two seconds)."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise NoCompilerError("no C compiler (cc or gcc) is installed")
    command = [compiler, *_FLAGS, *flags]
    try:
        version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
        # "native" means this processor: another one that shares the folder gets a build of its own.
        parts = [source.read_bytes(), version, processor_flags().encode()]
        digest = hashlib.sha256(b"\0".join([*parts, *(part.encode() for part in command)]))
        target = _cache_folder() / f"{source.stem}-{digest.hexdigest()[:16]}.so"
        if not target.exists():
            _compile([*command, str(source)], target)
        return ctypes.CDLL(str(target))
    except OSError as error:
        raise NoCompilerError(f"{source.name} cannot be built or loaded: {error}") from error


def load_or_none(name: str, consequence: str) -> ctypes.CDLL | None:
    """The library made of a source in this folder, for this processor; None, and a warning, where that fails."""
    flags = ("-march=native",) if platform.machine() in ("x86_64", "AMD64") else ("-mcpu=native",)
    try:
        return load_library(Path(__file__).with_name(name), (*flags, "-fno-math-errno"))
    except NoCompilerError as error:
        logger.warning("%s: %s.", consequence, error)
        return None


def _compile(command: list[str], target: Path) -> None:
    # Built beside its place and renamed: two processes may do this at the same time.
    handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".so")
    os.close(handle)
    try:
        result = subprocess.run([*command, "-o", temporary], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise NoCompilerError(f"{Path(command[0]).name} failed: {result.stderr.strip().splitlines()[-1:]}")
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _cache_folder() -> Path:
    """A folder that only this user can write to: what lies there will be executed."""
    folder = user_cache_path("tramontane") / "native"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NoCompilerError(f"the cache folder {folder} cannot be made: {error}") from error
    if hasattr(os, "getuid") and (folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022):
        raise NoCompilerError(f"the cache folder {folder} can be written to by others")
    return folder
