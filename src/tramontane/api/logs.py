"""The log: one line a request, for people or as JSON. Never a key, never a prompt."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

from tramontane.gateway.exchange import Exchange

LogFormat = Literal["human", "json"]

correlation_id: contextvars.ContextVar[str] = contextvars.ContextVar("correlation_id", default="-")
"""The id of the request that the current task serves."""

_requests = logging.getLogger("tramontane.requests")


def configure_logs(log_format: LogFormat) -> None:
    """Sends the log of everything to standard error; libraries speak up only where something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _HumanFormatter())
    handler.addFilter(_add_correlation_id)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tramontane").setLevel(logging.INFO)


def log_request(exchange: Exchange, method: str, status: int, seconds: float) -> None:
    """The line of a request that has ended."""
    fields = {
        "method": method,
        "route": exchange.route,
        "status": status,
        "seconds": round(seconds, 4),
        "model": exchange.model or None,
        "stream": exchange.stream or None,
        "prompt_tokens": exchange.prompt_tokens or None,
        "cached_tokens": exchange.cached_tokens if exchange.prompt_tokens else None,
        "completion_tokens": exchange.completion_tokens or None,
        "time_to_first_token": _rounded(exchange.time_to_first_token, 4),
        "queue_seconds": _rounded(exchange.queue_seconds, 4),
        "tokens_per_second": _rounded(exchange.tokens_per_second, 1),
        "finish_reason": ",".join(sorted(set(exchange.finish_reasons))) or None,
        "workspace": exchange.workspace_id or None,
        "credential": exchange.credential or None,
        "metadata": dict(exchange.metadata) or None,
        "ignored_fields": exchange.ignored_fields or None,
        "notes": exchange.notes or None,
        "failure": exchange.failure,
    }
    known = {name: value for name, value in fields.items() if value is not None}
    level = logging.ERROR if status >= 500 and status != 503 else logging.INFO
    _requests.log(level, "request", extra={"fields": known})


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _add_correlation_id(record: logging.LogRecord) -> bool:
    record.correlation_id = correlation_id.get()
    return True


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "correlation_id": getattr(record, "correlation_id", "-"),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


class _HumanFormatter(logging.Formatter):
    """A line to read."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = getattr(record, "fields", None)
        text = record.getMessage() if fields is None else _sentence(fields)
        request = getattr(record, "correlation_id", "-")
        line = f"{moment} {record.levelname:<7} {text}" + ("" if request == "-" else f"  [{request}]")
        line = line.encode("unicode_escape").decode() if not line.isprintable() else line
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _sentence(fields: dict[str, Any]) -> str:
    parts = [f"{fields['method']} {fields['route']} {fields['status']} in {fields['seconds']:.3f} s"]
    if "model" in fields:
        parts.append(str(fields["model"]))
    if "prompt_tokens" in fields:
        cached = fields.get("cached_tokens", 0)
        parts.append(f"{fields['prompt_tokens']} prompt tokens ({cached} cached)")
    if "completion_tokens" in fields:
        parts.append(f"{fields['completion_tokens']} written")
    if "time_to_first_token" in fields:
        parts.append(f"first after {fields['time_to_first_token'] * 1e3:.0f} ms")
    if "tokens_per_second" in fields:
        parts.append(f"{fields['tokens_per_second']} tokens/s")
    for name in ("finish_reason", "credential", "metadata", "ignored_fields", "notes", "failure"):
        if name in fields:
            parts.append(f"{name.replace('_', ' ')}: {fields[name]}")
    return ", ".join(parts)
