"""A model as lm-eval wants it. Imported only where lm-eval is installed: `lm_eval_tasks` sees to that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from tramontane.errors import TramontaneError
from tramontane.evaluation.asking import Writer, Writing
from tramontane.evaluation.running import Progress

T = TypeVar("T")
R = TypeVar("R")

_CONCURRENCY = 64
_MAX_TOKENS = 256  # of an answer, where the task does not say
_UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature", "top_p", "top_k"}


class LmEvalModel(LM):  # type: ignore[misc]  # lm-eval has no types
    """Answers lm-eval's three kinds of requests, many at a time.

    It splits tokens as lm-eval's own class for Hugging Face models does, so that figures compare; <s> comes first.
    `num_cut` counts the prompts that did not fit and lost their beginning; `ignored` are the names of options for
    writing that it has no equal of.
    """

    def __init__(self, writer: Writer, progress: Progress = lambda *_: None) -> None:
        super().__init__()
        self.num_cut = 0
        self.ignored: set[str] = set()
        self._writer, self._progress = writer, progress
        # The engine makes at least one token, for which there must be room.
        self._room = writer.max_context - 1

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """How likely each continuation is after its context (natural logarithm), and whether greedy would write it."""
        return self._all([self._split(*request.args) for request in requests], self._judge)

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """How likely each text is: every token judged once, in windows that have as much context as there is room."""
        windows = [(at, window) for at, request in enumerate(requests) for window in self._windows(*request.args)]
        sums = [0.0] * len(requests)
        for (at, _), (logprob, _) in zip(windows, self._all([one for _, one in windows], self._judge), strict=True):
            sums[at] += logprob
        return sums

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """What the model writes after each context, up to a stop string or the task's number of tokens."""
        return self._all([(*request.args, seed) for seed, request in enumerate(requests)], self._write)

    def _split(self, context: str, continuation: str) -> tuple[list[int], int]:
        """The tokens of both, and how many belong to the context: a blank between them is the continuation's."""
        before = context.rstrip()
        tokens = self._encode(before + context[len(before) :] + continuation)
        first = len(self._encode(before))
        if continuation:  # where its beginning has become one token with the context's end, that token is judged
            first = min(first, len(tokens) - 1)
        return tokens, first

    def _windows(self, text: str) -> Iterable[tuple[list[int], int]]:
        tokens = self._encode(text)[1:]
        for pair in get_rolling_token_windows(tokens, self._writer.bos_id, self._room - 1, context_len=1):
            context, judged = make_disjoint_window(pair)
            yield context + judged, len(context)

    async def _judge(self, request: tuple[list[int], int]) -> tuple[float, bool]:
        """The sum of the log-probabilities of the tokens from `first` on, and whether each was the best."""
        tokens, first = request
        cut = max(0, len(tokens) - self._room)
        if cut and first <= cut:
            raise TramontaneError(
                f"A task's answer has {len(tokens) - first} tokens and the model's context holds "
                f"{self._writer.max_context}: this model cannot do it."
            )
        self.num_cut += cut > 0
        if first >= len(tokens):
            return 0.0, True
        scores = (await self._writer.score(tokens[cut:]))[first - cut - 1 :]
        return sum(logprob for logprob, _ in scores), all(best for _, best in scores)

    async def _write(self, request: tuple[str, dict[str, Any], int]) -> str:
        context, given, seed = request
        options = normalize_gen_kwargs(given, _MAX_TOKENS)
        self.ignored |= set(options) - _UNDERSTOOD
        stop = tuple(text for text in options["until"] if text)
        sampled = options["do_sample"]
        writing = Writing(
            max_tokens=max(1, min(options["max_gen_toks"], self._room)),
            stop=stop,
            temperature=options.get("temperature", 1.0) if sampled else 0.0,
            top_p=options.get("top_p") or 1.0,
            top_k=options.get("top_k") or 0,
            seed=seed,
        )
        tokens = self._encode(context)
        # A task that would fill the context with its answer leaves half of it to the question.
        room = max(self._writer.max_context - writing.max_tokens, self._writer.max_context // 2)
        self.num_cut += len(tokens) > room
        text = await self._writer.write(tokens[-room:], writing)
        return text[: min((at for one in stop if (at := text.find(one)) >= 0), default=len(text))]

    def _encode(self, text: str) -> list[int]:
        return [self._writer.bos_id, *self._writer.encode(text)]

    def _all(self, requests: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
        """The results in the order of the requests; the first error ends all."""
        return asyncio.run(self._gather(requests, work))

    async def _gather(self, requests: Sequence[T], work: Callable[[T], Awaitable[R]]) -> list[R]:
        slots, done = asyncio.Semaphore(_CONCURRENCY), 0

        async def one(request: T) -> R:
            nonlocal done
            async with slots:
                result = await work(request)
            done += 1
            self._progress(done, len(requests))
            return result

        return await asyncio.gather(*map(one, requests))
