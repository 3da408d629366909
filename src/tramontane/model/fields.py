"""Reading a JSON object of somebody else's making: typed getters whose errors name the file and the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tramontane.errors import CheckpointError

# The largest honest one is the index of a sharded checkpoint with thousands of expert tensors: a few MiB.
_MAX_JSON_BYTES = 64 << 20


def read_json_value(path: Path) -> Any:
    """What a JSON file holds; CheckpointError when the file is unreadable, too large, or not JSON."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {_MAX_JSON_BYTES >> 20} MiB; it cannot be a configuration.")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); check the file and its rights.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON; download it again.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError as for `read_json_value`, and when the file holds something else."""
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not a JSON object; download it again.")
    return value


class Fields:
    """A JSON object with the file it came from; `prefix` says where in the file it sits, as in `text_config.`."""

    def __init__(self, data: Mapping[str, Any], path: Path | str, prefix: str = "") -> None:
        self.data = data
        self.path = path
        self.prefix = prefix

    def refuse(self, name: str, problem: str) -> NoReturn:
        """Raise CheckpointError: `<file>: <field> <problem>`."""
        raise CheckpointError(f"{self.path}: {self.prefix}{name} {problem}")

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.data.get(name) is not None

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number; native files sometimes hold one as a string, "4096"."""
        value = self._value(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int:
            self.refuse(name, f"is {_short(value)}; it must be a whole number.")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number, as a float."""
        value = self._value(name, default)
        if type(value) not in (int, float) or abs(value) > 1e300 or value != value:
            self.refuse(name, f"is {_short(value)}; it must be a number.")
        return float(value)

    def boolean(self, name: str, default: bool) -> bool:
        """True or false; null counts as absent."""
        value = self._value(name, default)
        if type(value) is not bool:
            self.refuse(name, f"is {_short(value)}; it must be true or false.")
        return value

    def text(self, name: str, default: str) -> str:
        """A string; null counts as absent."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self.refuse(name, f"is {_short(value)}; it must be a string.")
        return value

    def items(self, name: str) -> list[Any] | None:
        """A list, or None when the field is absent or null."""
        value = self.data.get(name)
        if value is not None and not isinstance(value, list):
            self.refuse(name, f"is {_short(value)}; it must be a list.")
        return value

    def nested(self, name: str) -> Fields | None:
        """A nested object, or None when the field is absent or null."""
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(name, f"is {_short(value)}; it must be an object.")
        return Fields(value, self.path, f"{self.prefix}{name}.")

    def _value(self, name: str, default: object) -> Any:
        value = self.data.get(name)
        if value is not None:
            return value
        if default is None:
            self.refuse(name, "is missing; the model cannot be built without it.")
        return default


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
