"""What every route works with: the rooms of one running server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request

from tramontane.accounts.authenticator import Authenticator
from tramontane.accounts.principal import Principal
from tramontane.api.logs import correlation_id, log_request
from tramontane.catalogue.store import ModelStore
from tramontane.conversations.answers import Answers
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.metrics import Metrics
from tramontane.storage.database import Database


@dataclass
class Platform:
    """One server's state."""

    database: Database
    authenticator: Authenticator
    gateway: Gateway
    metrics: Metrics
    store: ModelStore
    draining: bool = False  # set once the server has been asked to end: nothing new begins
    answers: Answers = field(init=False)  # to be opened after the database's upgrade

    def __post_init__(self) -> None:
        self.answers = Answers(self.database, self.gateway, self._record_answer)

    def _record_answer(self, exchange: Exchange, status: int, seconds: float) -> None:
        """Counts and logs an answer of a conversation as a request of its own."""
        self.metrics.record(exchange, status, seconds)
        correlation_id.set(exchange.id)  # of the task that wrote it
        log_request(exchange, "RUN", status, seconds)


def platform_of(request: Request) -> Platform:
    """The server's state."""
    return cast(Platform, request.app.state.platform)


def exchange_of(request: Request) -> Exchange:
    """The record of this request."""
    return cast(Exchange, request.scope["state"]["exchange"])


def principal_of(request: Request) -> Principal:
    """Who asks; set by `AuthenticatedRoute` before anything of the body is read."""
    return cast(Principal, request.scope["state"]["principal"])
