"""Guessing an answer's next tokens from a text that it will probably repeat, as an edited file repeats the old one.

A guess changes how fast an answer comes, not what it says: the model computes the guessed tokens in one step, and each
is kept only if it is the one that would have been sampled in its place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

_FIRST_GUESS, _LONGEST_GUESS = 4, 16  # tokens a step
_CONTEXT = 2  # tokens by which an answer that has left the text is found in it again


class PredictedText:
    """The text that was predicted, made once for all choices of a request."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = tuple(tokens)
        self._after: dict[tuple[int, ...], list[int]] = {}  # from some tokens to the places that follow them, in order
        for place in range(_CONTEXT, len(self.tokens)):
            self._after.setdefault(self.tokens[place - _CONTEXT : place], []).append(place)

    def find(self, tail: tuple[int, ...], behind: int) -> int | None:
        """Where the text goes on after these tokens: the nearest place behind another, else the first."""
        places = self._after.get(tail)
        if not places:
            return None
        nearest = bisect_right(places, behind)
        return places[nearest] if nearest < len(places) else places[0]


class Prediction:
    """Follows one answer through the text that was predicted for it."""

    def __init__(self, text: PredictedText) -> None:
        self.num_accepted = 0  # guessed tokens that came true
        self._num_missed = 0
        self._text = text
        self._next: int | None = 0  # where in the text the answer stands; None: it says something else
        self._last_known = 0
        self._tail: tuple[int, ...] = ()
        self._length = _FIRST_GUESS
        self._guess: list[int] = []  # being computed, the first token last

    @property
    def num_rejected(self) -> int:
        """Guessed tokens that were computed for nothing."""
        return self._num_missed + len(self._guess)

    def guess(self, most: int) -> list[int]:
        """The next tokens, `most` of them at most; none where the answer has left the text."""
        guess: list[int] = []
        if self._next is not None:
            guess = list(self._text.tokens[self._next : self._next + max(0, min(self._length, most))])
        self._guess = guess[::-1]
        return guess

    def withdraw(self) -> None:
        """The last guess will not be computed."""
        self._guess = []

    def follow(self, token: int) -> None:
        """Takes in the answer's next token."""
        if self._guess:
            self._judge(token)
        self._tail = (*self._tail, token)[-_CONTEXT:]
        if self._next is not None and self._text.tokens[self._next : self._next + 1] == (token,):
            self._next += 1
        else:
            self._next = self._text.find(self._tail, self._last_known)
        self._last_known = self._next or self._last_known

    def _judge(self, token: int) -> None:
        """Guesses grow while they come true, and shrink when they do not."""
        if self._guess[-1] == token:
            self._guess.pop()
            self.num_accepted += 1
            if not self._guess:
                self._length = min(_LONGEST_GUESS, 2 * self._length)
        else:
            self._num_missed += len(self._guess)
            self._length = max(1, self._length - len(self._guess))
            self._guess = []
