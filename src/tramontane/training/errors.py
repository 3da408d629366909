"""The errors of this room."""

from __future__ import annotations

from tramontane.errors import TramontaneError


class RecipeError(TramontaneError):
    """A recipe cannot be followed; the message names the file and the field."""


class SourceError(TramontaneError):
    """A source of text may not be used, or cannot be read; the message names it."""


class SampleError(TramontaneError):
    """A sample cannot be learnt from; the message says where it came from."""


class TrainingError(TramontaneError):
    """A run cannot begin, go on or be saved."""
