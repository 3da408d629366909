"""Builds the web app into a wheel: whoever installs one needs no Node.js.

Where it was built already, as in a checkout after `make web`, it is taken as it is. An editable install takes it from
the checkout when it is there. A wheel without it is not made.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_INDEX = Path("src", "tramontane", "web", "app", "index.html")


class WebAppHook(BuildHookInterface):
    """Runs `npm ci` and `vite build` where they are needed."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What must be installed to build: Node.js, where the system's will not do."""
        if self._is_built() or self.target_name != "wheel":
            return []
        tool = self._npm()
        return [] if tool.system_npm() else [tool.PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made; `version` tells an editable one from a real one."""
        if version == "editable" or self._is_built():
            return
        tool = self._npm()
        for arguments in (("ci", "--ignore-scripts"), ("run", "build")):
            status = tool.run(*arguments)
            if status != 0:
                raise RuntimeError(f"the web app was not built: npm {' '.join(arguments)} ended with {status}")
        if not self._is_built():
            raise RuntimeError(f"the web app was not built: there is no {_INDEX}")

    def _is_built(self) -> bool:
        return (Path(self.root) / _INDEX).is_file()

    def _npm(self) -> ModuleType:
        path = Path(self.root) / "web" / "tools" / "npm.py"
        spec = importlib.util.spec_from_file_location("npm", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"there is no {path}")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
