"""Single fields of a request: checked, or refused by their path."""

from __future__ import annotations

import json
import re
from typing import Any

from tramontane.errors import InvalidRequestError

_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def require_text(field: str, value: Any) -> str:
    """A string of whole Unicode characters."""
    if not isinstance(value, str):
        raise InvalidRequestError(field, "This must be a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(field, "The text has half of a surrogate pair, which is not Unicode.") from error
    return value


def is_function_name(name: str) -> bool:
    """Whether a function may have this name, which the templates put into the prompt as it is."""
    return _FUNCTION_NAME.fullmatch(name) is not None


def require_function_name(field: str, value: Any) -> str:
    """The name of a function, as it may stand in a prompt and in a model's answer."""
    if not isinstance(value, str) or not is_function_name(value):
        raise InvalidRequestError(
            field, "The name of a function must be 1 to 64 letters, digits, underscores or dashes."
        )
    return value


def require_readable_json(field: str, text: str) -> None:
    """Refuse the JSON that Python's parser gives up on, because some templates parse it. Other texts stay texts."""
    try:
        json.loads(text)
    except json.JSONDecodeError:
        pass
    except RecursionError as error:
        raise InvalidRequestError(field, "The JSON is nested too deeply.") from error
    except ValueError as error:
        raise InvalidRequestError(field, "The JSON has a number with too many digits.") from error
