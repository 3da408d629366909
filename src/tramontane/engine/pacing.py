"""How much of the prompts may be computed in a step, so that those who are reading answers do not feel it."""

from __future__ import annotations

# A step that also computes prompts may take this many times a quiet step. Twice is the promise; the rest is margin.
TARGET_SLOWDOWN = 1.5
_FIRST_CHUNK = 64
_MEMORY = 0.5  # weight of the newest quiet step in the average
_PROBE_EVERY = 16  # steps with prompts, after which one without them measures the quiet time anew


class PromptPacer:
    """Feedback control: the cap on prompt tokens a step follows what steps with prompts really cost.

    While nobody decodes, prompts get the whole step; the cap applies under contention only. It follows measured time
    rather than a model of it, since the cost of a token grows with what it attends to. Where prompts never pause, one
    step in seventeen leaves them out: the measure must not grow stale while the crowd, or the machine, changes.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self.quiet_seconds: float | None = None
        self._chunk = float(min(_FIRST_CHUNK, max_tokens))
        self._since_quiet = 0

    def cap(self, num_decoding: int, num_prompting: int = 1) -> int:
        """Prompt tokens that this step may compute beside `num_decoding` sequences; 0 for a step that measures.

        Where more wait for their first token than for their next one, as in a burst, they get so many times more.
        """
        if num_decoding == 0:
            return self.max_tokens
        if self._since_quiet >= _PROBE_EVERY:
            return 0
        return min(self.max_tokens, max(1, int(self._chunk)) * max(1, num_prompting // num_decoding))

    def observe(self, num_decoding: int, num_prompt_tokens: int, seconds: float) -> None:
        """Learns from a step that took `seconds`."""
        if num_decoding == 0:
            return
        quiet = self.quiet_seconds
        if num_prompt_tokens == 0:
            self._since_quiet = 0
            self.quiet_seconds = seconds if quiet is None else quiet + _MEMORY * (seconds - quiet)
            return
        self._since_quiet += 1
        if quiet is not None and num_prompt_tokens <= self._chunk:  # more was let through: that says nothing of the cap
            allowed = (TARGET_SLOWDOWN - 1) * quiet
            extra = max(seconds - quiet, 1e-6)
            if extra > allowed or num_prompt_tokens >= int(self._chunk):  # too much, or the cap was what bound it
                # One slow step (another program's, perhaps) must not undo the whole adaptation.
                self._chunk = min(self.max_tokens, max(1.0, self._chunk * min(max(allowed / extra, 0.7), 1.25)))
