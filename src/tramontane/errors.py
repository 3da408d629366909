"""The errors that a user may meet: each is one sentence that names what was wrong and what to do."""

from __future__ import annotations


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
