"""The own engine as a provider: several models, each with an engine of its own, sharing this machine's memory.

The only part of the platform that knows the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch

from tramontane.catalogue.model_facts import ModelFacts, model_facts
from tramontane.engine.async_engine import AsyncEngine, OutputStream
from tramontane.engine.engine import Engine, EngineConfig
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.request import Request
from tramontane.errors import InvalidRequestError, ModelNotReadyError, QueueFullError
from tramontane.gateway.answers import Embeddings
from tramontane.gateway.cards import ModelCard, State
from tramontane.gateway.providers.local.answering import LocalAnswer
from tramontane.gateway.providers.local.memory import memory_warning, num_parameters, share_kv_memory
from tramontane.gateway.providers.local.rendering import RenderedPrompt, engine_request, render_prompt
from tramontane.gateway.providers.local.sources import Source
from tramontane.gateway.requests import Chat, Continuation, EmbeddingJob, Fim, Generation, Prompt
from tramontane.model.linear import Quantization
from tramontane.model.machine import GIB, best_device
from tramontane.model.pooling import Pooling
from tramontane.tokenizer.fields import require_text
from tramontane.tokenizer.incremental import Control, IncrementalDecoder
from tramontane.tokenizer.tokenizer import Tokenizer

T = TypeVar("T")

# Rendering is microseconds for a question and tens of milliseconds for a book: from so many characters on in a thread.
_LONG_TEXT = 20_000

# Of one request: a batch of two thousand texts must neither fill the queue nor keep everybody else out.
_EMBEDDED_AT_ONCE = 32
_RETRY_SECONDS = 0.05

# Without a word from the model's makers.
_MEAN = Pooling("mean", normalize=True)

Progress = Callable[[str, int, int], None]
"""Called with a model's name, and how many of its modules are loaded, of how many."""


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How models are loaded and served on this machine."""

    quantization: Quantization = "none"
    device: torch.device | None = None  # None: the best there is
    kv_memory_bytes: int = 4 * GIB  # of all models together
    max_context: int | None = None
    max_queue: int = 1024


class LocalModel:
    """One model: its card from the beginning, its engine once its weights are read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.state: State = "loading"
        self.engine: AsyncEngine | None = None
        self._created = source.created
        self._progress = 0.0
        self._quantization: Quantization = "none"
        self._num_parameters = num_parameters(source.config)
        self._facts = ModelFacts() if source.folder is None else model_facts(source.folder)

    @property
    def card(self) -> ModelCard:
        """What users see of it."""
        source, tokenizer = self.source, self.source.tokenizer
        context = source.config.max_context if self.engine is None else self.engine.max_context
        return ModelCard(
            name=source.name,
            created=self._created,
            owned_by="tramontane",
            description="Random weights, to try the API with." if source.folder is None else "",
            max_context=context,
            num_parameters=self._num_parameters,
            quantization=self._quantization,
            chat=source.has_output_head,
            fim=source.has_output_head and tokenizer.version >= 3,
            tools=source.has_output_head and tokenizer.version >= 2,
            thinking=self._facts.thinks and tokenizer.version >= 13 and tokenizer.control_id("[THINK]") is not None,
            pooling=_pooling_in_words(source.pooling),
            tokenizer=f"{tokenizer.kind} v{tokenizer.version}",
            state="failed" if self.engine is not None and not self.engine.is_alive else self.state,
            progress=self._progress,
            licence=self._facts.licence,
            languages=self._facts.languages,
            summary=self._facts.summary,
            focus=self._facts.focus,
        )

    def load(self, options: LocalOptions, device: torch.device, kv_memory_bytes: int, progress: Progress) -> list[str]:
        """Reads the weights and starts the engine; returns what the user should know."""

        def report(done: int, total: int) -> None:
            self._progress = done / total
            progress(self.source.name, done, total)

        try:
            loaded = self.source.load(options.quantization, device, report)
            limits = EngineConfig(kv_memory_bytes, max_context=options.max_context, max_queue=options.max_queue)
            engine = Engine(loaded.model, self.source.tokenizer, limits)
        except Exception:
            self.state = "failed"
            raise
        self._quantization = loaded.quantization
        self.engine = AsyncEngine(engine)
        self.state = "ready"
        return [*loaded.notices, *engine.notices]


class LocalProvider:
    """Serves checkpoints of this machine by the own engine."""

    def __init__(self, sources: Iterable[Source], options: LocalOptions | None = None) -> None:
        self._options = options or LocalOptions()
        self._device = self._options.device or best_device()
        self._models = {source.name: LocalModel(source) for source in sources}

    def warnings(self) -> list[str]:
        """What the user should know before anything is loaded."""
        options, sources = self._options, [model.source for model in self._models.values()]
        warning = memory_warning(sources, options.kv_memory_bytes, options.quantization, self._device)
        return [] if warning is None else [warning]

    def load(self, progress: Progress = lambda *_: None) -> list[str]:
        """Loads the models, one after the other; returns what the user should know. For a thread of its own."""
        notices = []
        sources = [model.source for model in self._models.values()]
        shares = share_kv_memory(sources, self._options.kv_memory_bytes, self._options.max_context, self._device)
        for model, share in zip(self._models.values(), shares, strict=True):
            notices += model.load(self._options, self._device, share, progress)
        return notices

    def close(self) -> None:
        """Ends the engines after their current step; what is still served ends with an error."""
        for model in self._models.values():
            if model.engine is not None:
                model.engine.close()

    def cards(self) -> list[ModelCard]:
        """The models that it offers, ready or not."""
        return [model.card for model in self._models.values()]

    def metrics(self) -> list[tuple[str, EngineMetrics]]:
        """Each loaded model's counts."""
        return [(name, model.engine.metrics) for name, model in self._models.items() if model.engine is not None]

    async def generate(self, model: str, generation: Generation) -> LocalAnswer:
        """Accepts a request, or refuses it at once."""
        source, engine = self._running(model)
        if not source.has_output_head:
            raise InvalidRequestError("model", f"The model {model!r} makes embeddings and cannot write.")
        rendered = await self._render(source, generation.prompt)
        request = engine_request(source.tokenizer, generation, rendered)
        try:
            outputs = await engine.submit(request)
        except InvalidRequestError as error:
            raise _named_as_the_client_does(error, generation.prompt) from error
        return LocalAnswer(outputs, source.tokenizer, rendered, generation.sampling.n)

    async def embed(self, model: str, job: EmbeddingJob) -> Embeddings:
        """One vector for each input, computed side by side."""
        source, engine = self._running(model)
        pooling = source.pooling or _MEAN
        length = sum(map(len, job.inputs))
        prompts = await _by_size(
            length, lambda: [_embedding_prompt(source, *one, pooling) for one in enumerate(job.inputs)]
        )
        requests = [
            Request(f"{job.id}-{number}", prompt, pooling=pooling, salt=job.salt)
            for number, prompt in enumerate(prompts)
        ]
        places = asyncio.Semaphore(_EMBEDDED_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_vector(engine, i, request, places)) for i, request in enumerate(requests)]
        except ExceptionGroup as failed:  # all were given up with the first that failed
            raise failed.exceptions[0] from None
        return Embeddings([task.result() for task in tasks], sum(map(len, prompts)))

    async def tokenize(self, model: str, prompt: Prompt) -> list[int]:
        """The tokens that the model would be given."""
        source, _ = self._running(model)
        return list((await self._render(source, prompt)).tokens)

    async def detokenize(self, model: str, tokens: list[int]) -> str:
        """The text of the tokens, with control tokens by their names."""
        tokenizer = self._running(model)[0].tokenizer
        bad = next((token for token in tokens if not 0 <= token < tokenizer.vocab_size), None)
        if bad is not None:
            raise InvalidRequestError("tokens", f"Token {bad} is not in the vocabulary of {tokenizer.vocab_size}.")
        return await _by_size(len(tokens), lambda: _spelled(tokenizer, tokens))

    def _running(self, model: str) -> tuple[Source, AsyncEngine]:
        served = self._models[model]
        if served.engine is None:
            raise ModelNotReadyError(f"The model {model!r} is not loaded.")
        return served.source, served.engine

    async def _render(self, source: Source, prompt: Prompt) -> RenderedPrompt:
        return await _by_size(_length(prompt), lambda: render_prompt(source.tokenizer, prompt))


async def _by_size(length: int, work: Callable[[], T]) -> T:
    """The result of work on a text: at once where it is short, else in a thread, so that others' streams go on."""
    return work() if length < _LONG_TEXT else await asyncio.to_thread(work)


def _spelled(tokenizer: Tokenizer, tokens: list[int]) -> str:
    decoder = IncrementalDecoder(tokenizer)
    pieces = [piece for token in tokens for piece in decoder.feed(token)] + decoder.flush()
    return "".join(piece.name if isinstance(piece, Control) else piece for piece in pieces)


async def _vector(engine: AsyncEngine, number: int, request: Request, places: asyncio.Semaphore) -> list[float]:
    try:
        async with places, contextlib.aclosing(await _admitted(engine, request, patient=number > 0)) as outputs:
            async for output in outputs:
                if output.embedding is not None:
                    return output.embedding
    except InvalidRequestError as error:
        raise InvalidRequestError(f"input.{number}", str(error)) from error
    raise ModelNotReadyError("The engine ended before it had computed this embedding; try again.")


async def _admitted(engine: AsyncEngine, request: Request, patient: bool) -> OutputStream:
    """A batch that has begun waits for room in the queue; its first text is refused at once where there is none."""
    while True:
        try:
            return await engine.submit(request)
        except QueueFullError:
            if not patient:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


def _embedding_prompt(source: Source, number: int, text: str | tuple[int, ...], pooling: Pooling) -> list[int]:
    if not isinstance(text, str):
        return list(text)
    require_text(f"input.{number}", text)
    # Models that pool their last token were trained with the end of the sequence as that token.
    return source.tokenizer.encode(text, bos=True, eos=pooling.mode == "last")


def _pooling_in_words(pooling: Pooling | None) -> str:
    if pooling is None:
        return "mean over tokens, length 1 (the model names no pooling of its own)"
    where = "mean over tokens" if pooling.mode == "mean" else "last token"
    return f"{where}, length 1" if pooling.normalize else where


def _named_as_the_client_does(error: InvalidRequestError, prompt: Prompt) -> InvalidRequestError:
    """The engine speaks of a prompt where the client sent messages."""
    if isinstance(prompt, Chat) and error.field in ("prompt", "prefix"):
        return InvalidRequestError("messages", str(error))
    return error


def _length(prompt: Prompt) -> int:
    """About how many characters there are to render."""
    match prompt:
        case Chat():
            documents = sum(len(document.text) for document in prompt.documents)
            contents = sum(_content_length(message.get("content")) for message in prompt.messages)
            return documents + len(prompt.prediction) + contents + sum(len(repr(tool)) for tool in prompt.tools)
        case Fim():
            return len(prompt.prompt) + len(prompt.suffix or "")
        case Continuation():
            return len(prompt.prompt)


def _content_length(content: object) -> int:
    return len(content) if isinstance(content, str) else 0 if content is None else len(repr(content))
