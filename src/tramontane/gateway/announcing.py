"""What answers say of the way that they came, and of the life of their model, as headers."""

from __future__ import annotations

from email.utils import format_datetime
from urllib.parse import quote

from tramontane.catalogue.directory import Offering, Resolved

ROUTE_HEADER = "x-tramontane-route"
PAID_TOKENS_HEADER = "x-tramontane-paid-tokens"
"""How long an answer may be for the money that is left, where that is less than was asked for."""

_PLAIN = " !#$&'()*+-./:<>?@[]^_`{|}~"  # what stands for itself in a header; `;`, `=`, `,` and `"` do not


def route_header(offering: Offering, attempts: int) -> str:
    """`provider; region=FR; operator=…; attempts=2`; other characters than ASCII's are escaped as in URLs."""
    provider = offering.provider
    region = "undeclared" if provider.region is None else provider.region
    names = (quote(name, safe=_PLAIN) for name in (provider.name, region, provider.operator))
    return "{}; region={}; operator={}; attempts={}".format(*names, attempts)


def lifecycle_headers(resolved: Resolved) -> dict[str, str]:
    """For a model whose end is announced: Deprecation (RFC 9745), Sunset (RFC 8594), and what takes its place.

    `x-model-deprecation-timestamp` is what la Plateforme's clients warn their users of.
    """
    if resolved.stage not in ("legacy", "deprecated"):
        return {}
    headers = {}
    if resolved.deprecated_at is not None:
        headers["deprecation"] = f"@{int(resolved.deprecated_at.timestamp())}"
    if resolved.retired_at is not None:
        headers["sunset"] = format_datetime(resolved.retired_at, usegmt=True)
        headers["x-model-deprecation-timestamp"] = resolved.retired_at.isoformat(timespec="seconds")
    if resolved.replacement is not None:
        headers["x-tramontane-replacement"] = quote(resolved.replacement, safe=_PLAIN)
    return headers
