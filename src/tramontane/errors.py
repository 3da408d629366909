"""The errors that a user may meet: each is one sentence that names what was wrong and what to do."""

from __future__ import annotations

from collections.abc import Mapping


class TramontaneError(Exception):
    """Base of every error that is meant for the user's eyes."""


class CheckpointError(TramontaneError):
    """A checkpoint cannot be used; the message names the file and the field."""


class TokenizerError(TramontaneError):
    """A tokenizer file cannot be used, or does not fit its model."""


class InvalidRequestError(TramontaneError):
    """One request is refused; the engine goes on serving the others.

    `field` is the request's field that was wrong, so that an HTTP layer can point at it.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class MessageOrderError(InvalidRequestError):
    """The messages come in an order that no template can write."""


class QueueFullError(TramontaneError):
    """The engine's waiting queue is full; the caller should retry later."""


class UnknownModelError(TramontaneError):
    """No model of this name is served; the message names the nearest."""


class ModelNotReadyError(TramontaneError):
    """The model is being loaded, or could not be; the message says which."""


class MissingError(TramontaneError):
    """There is no such thing, or it is somebody else's: nobody is told which."""


class ConflictError(TramontaneError):
    """What is asked for contradicts what is there."""


class NotAllowedError(TramontaneError):
    """Who asks is known, and may not do this; `kind` tells programs why."""

    def __init__(self, message: str, kind: str = "forbidden") -> None:
        super().__init__(message)
        self.kind = kind


class PaymentRequiredError(TramontaneError):
    """Nothing pays for this request: no price, no money, or a cap that is reached; `kind` tells programs which."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class RateLimitedError(TramontaneError):
    """A limit is reached; `retry_after` is in seconds, and `headers` tell what is left of which limit."""

    def __init__(self, message: str, retry_after: float, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = headers or {}


class UnavailableError(TramontaneError):
    """Something that the request needs does not answer now; `kind` tells programs what."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind
