"""The tools of a request: functions that the model may call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mistral_common.protocol.instruct.tool_calls import Function, Tool
from mistral_common.utils.json_utils import validate_json_schema_by_draft7

from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.fields import require_function_name, require_text


def read_tools(tools: Sequence[Any]) -> list[Tool]:
    """The tools as mistral-common's, their names and schemas checked; `strict` is the grammar's business."""
    return [_tool(f"tools.{number}", tool) for number, tool in enumerate(tools)]


def _tool(field: str, tool: Any) -> Tool:
    if not isinstance(tool, Mapping) or tool.get("type") not in (None, "function"):
        raise InvalidRequestError(f"{field}.type", "A tool must be an object of type 'function'.")
    field = f"{field}.function"
    function = tool.get("function")
    if not isinstance(function, Mapping):
        raise InvalidRequestError(field, "A tool needs its function, with a name and parameters.")
    name = require_function_name(f"{field}.name", function.get("name"))
    description = require_text(f"{field}.description", function.get("description") or "")
    parameters = _schema(f"{field}.parameters", function.get("parameters") or {})
    return Tool(function=Function(name=name, description=description, parameters=parameters))


def _schema(field: str, schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise InvalidRequestError(field, "The parameters must be a JSON schema: an object.")
    parameters: dict[str, Any] = dict(schema)
    try:
        require_text(field, json.dumps(parameters, ensure_ascii=False))
        validate_json_schema_by_draft7(parameters)
    except RecursionError as error:
        raise InvalidRequestError(field, "The schema is nested too deeply.") from error
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(field, f"The parameters are not a valid JSON schema: {error}.") from error
    return parameters
