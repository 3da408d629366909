"""How much of the prompts may be computed in a step, so that those who are reading answers do not feel it."""

from __future__ import annotations

# A step that also computes prompts may take this many times a quiet step. Twice is the promise; the rest is margin.
TARGET_SLOWDOWN = 1.6
_FIRST_CHUNK = 64
_MEMORY = 0.3  # weight of the newest quiet step in the average


class PromptPacer:
    """Feedback control: the cap on prompt tokens a step follows what steps with prompts really cost.

    While nobody decodes, prompts get the whole step; the cap applies under contention only. It follows measured time
    rather than a model of it, since the cost of a token grows with what it attends to.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.quiet_seconds: float | None = None
        self._chunk = float(min(_FIRST_CHUNK, max_tokens))

    def cap(self, num_decoding: int) -> int:
        """Prompt tokens that this step may compute beside `num_decoding` sequences."""
        return max(1, int(self._chunk)) if num_decoding else self.max_tokens

    def observe(self, num_decoding: int, num_prompt_tokens: int, seconds: float) -> None:
        """Learns from a step that took `seconds`."""
        if num_decoding == 0:
            return
        if num_prompt_tokens <= 1:  # one token costs what one more that decodes does; without this, the quiet time of
            quiet = self.quiet_seconds  # few who decode would hold prompts down for ever once there are many
            self.quiet_seconds = seconds if quiet is None else quiet + _MEMORY * (seconds - quiet)
        if num_prompt_tokens and self.quiet_seconds is not None:
            allowed = (TARGET_SLOWDOWN - 1) * self.quiet_seconds
            extra = max(seconds - self.quiet_seconds, 1e-6)
            if extra > allowed or num_prompt_tokens >= int(self._chunk):  # too much, or the cap was what bound it
                # One slow step (another program's, perhaps) must not undo the whole adaptation.
                self._chunk = min(self.max_tokens, max(1.0, self._chunk * min(max(allowed / extra, 0.7), 1.25)))
