"""The own engine as a provider: several models, each with an engine of its own, sharing this machine's memory.

The only part of the platform that knows the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch

from tramontane.catalogue.model_facts import ModelFacts, model_facts
from tramontane.engine.async_engine import AsyncEngine, OutputStream
from tramontane.engine.engine import Engine, EngineConfig, Prepared
from tramontane.engine.metrics import EngineMetrics
from tramontane.engine.request import Request
from tramontane.errors import ConflictError, InvalidRequestError, ModelNotReadyError, QueueFullError
from tramontane.gateway.answers import Embeddings
from tramontane.gateway.cards import ModelCard, State
from tramontane.gateway.providers.local.answering import LocalAnswer
from tramontane.gateway.providers.local.memory import (
    KV_MEMORY_AT_LEAST,
    MachineMemory,
    bytes_per_weight,
    left_for_models,
    memory_warning,
    num_parameters,
    share_kv_memory,
)
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
_DRAIN_POLL_SECONDS = 0.05

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

    def __init__(self, source: Source, asked: Quantization) -> None:
        self.source = source
        self.kv_memory_bytes = 0  # until it is loaded
        self.weight_bytes = 0
        self.state: State = "loading"
        self.engine: AsyncEngine | None = None
        self._created = source.created
        self._progress = 0.0
        self._asked = self._quantization = asked
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
            loaded = self.source.load(self._asked, device, report)
            limits = EngineConfig(kv_memory_bytes, max_context=options.max_context, max_queue=options.max_queue)
            engine = Engine(loaded.model, self.source.tokenizer, limits)
        except Exception:
            self.state = "failed"
            raise
        self._quantization = loaded.quantization
        self.kv_memory_bytes, self.weight_bytes = kv_memory_bytes, loaded.num_bytes
        self.engine = AsyncEngine(engine)
        self.state = "ready"
        return [*loaded.notices, *engine.notices]


class LocalPrepared:
    """A request that was rendered and checked."""

    def __init__(
        self, engine: AsyncEngine, tokenizer: Tokenizer, rendered: RenderedPrompt, request: Request, checked: Prepared
    ) -> None:
        self.num_prompt_tokens = len(rendered.tokens)
        self.max_output = engine.max_context - self.num_prompt_tokens
        self._engine, self._tokenizer, self._rendered = engine, tokenizer, rendered
        self._request, self._checked = request, checked

    async def generate(self, max_tokens: int | None = None) -> LocalAnswer:
        """Queues it."""
        request, sampling = self._request, self._request.sampling
        assert sampling is not None
        if max_tokens is not None:
            least = min(sampling.min_tokens, max_tokens)
            request = replace(request, sampling=replace(sampling, max_tokens=max_tokens, min_tokens=least))
        outputs = await self._engine.submit(request, self._checked)
        return LocalAnswer(outputs, self._tokenizer, self._rendered, sampling.n)


class LocalPreparedEmbedding:
    """Texts whose tokens are there."""

    def __init__(self, engine: AsyncEngine, requests: Sequence[Request]) -> None:
        self.num_prompt_tokens = sum(len(request.prompt) for request in requests)
        self._engine, self._requests = engine, requests

    async def embed(self) -> Embeddings:
        """One vector for each input, computed side by side."""
        places = asyncio.Semaphore(_EMBEDDED_AT_ONCE)
        vectors = [_vector(self._engine, number, request, places) for number, request in enumerate(self._requests)]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(vector) for vector in vectors]
        except ExceptionGroup as failed:  # all were given up with the first that failed
            raise failed.exceptions[0] from None
        return Embeddings([task.result() for task in tasks], self.num_prompt_tokens)


class LocalProvider:
    """Serves checkpoints of this machine by the own engine."""

    def __init__(self, sources: Iterable[Source], options: LocalOptions | None = None) -> None:
        self._options = options or LocalOptions()
        self._device = self._options.device or best_device()
        # Replaced by another whenever a model comes or goes: threads may be reading it.
        self._models = {source.name: LocalModel(source, self._options.quantization) for source in sources}
        self._leaving: dict[str, LocalModel] = {}  # whose last answers are being written

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

    def add(self, source: Source, quantization: Quantization) -> None:
        """A model to come: its card is there from now on, and `load_one` loads it. Raises ConflictError."""
        if source.name in self._models | self._leaving:
            raise ConflictError(
                f"A model called {source.name!r} is in memory already: stop it, or choose another name."
            )
        self._models = {**self._models, source.name: LocalModel(source, quantization)}

    def load_one(self, name: str, progress: Progress = lambda *_: None) -> list[str]:
        """Loads a model that was added; returns what the user should know. For a thread of its own."""
        model = self._models[name]
        return model.load(self._options, self._device, self.kv_share(model.source), progress)

    def kv_share(self, source: Source) -> int:
        """KV memory for one model more: what is left of --kv-memory, and a quarter of it at least.

        Pools cannot shrink once they are made, so who comes later takes nothing from those that run.
        """
        total = self._options.kv_memory_bytes
        left = total - sum(model.kv_memory_bytes for model in self._models.values())
        (share,) = share_kv_memory([source], max(left, total // 4), self._options.max_context, self._device)
        return share

    async def remove(self, name: str, patience: float) -> None:
        """Takes a model out of memory. Nobody new is served; who is being served has `patience` seconds to the end."""
        model = self._models[name]
        self._models = {known: other for known, other in self._models.items() if known != name}
        if model.engine is None:
            return
        self._leaving[name] = model
        deadline = time.monotonic() + patience
        while not model.engine.is_idle and time.monotonic() < deadline:
            await asyncio.sleep(_DRAIN_POLL_SECONDS)
        await asyncio.to_thread(model.engine.close)
        model.engine = None
        await asyncio.to_thread(_give_back, self._device)
        del self._leaving[name]

    def names(self) -> list[str]:
        """The models that are in memory or on the way there."""
        return list(self._models)

    def folders(self) -> list[Path]:
        """From which they are read."""
        return [model.source.folder for model in self._models.values() if model.source.folder is not None]

    def memory(self) -> dict[str, int]:
        """Bytes that each loaded model holds: its weights, and the memory of its keys and values."""
        loaded = {name: model for name, model in (self._models | self._leaving).items() if model.engine is not None}
        return {name: model.weight_bytes + model.kv_memory_bytes for name, model in loaded.items()}

    def machine(self) -> MachineMemory:
        """What there is in all, and what is left for models to come."""
        return left_for_models(self._device, sum(self.memory().values()))

    def needed(self, parameters: int, quantization: Quantization, source: Source | None = None) -> int:
        """Bytes that a model takes once it runs; its KV memory is a guess until its configuration is there."""
        kv_memory = KV_MEMORY_AT_LEAST if source is None else self.kv_share(source)
        return int(parameters * bytes_per_weight(quantization, self._device)) + kv_memory

    def close(self) -> None:
        """Ends the engines after their current step; what is still served ends with an error."""
        for model in [*self._models.values(), *self._leaving.values()]:
            if (engine := model.engine) is not None:
                engine.close()

    def cards(self) -> list[ModelCard]:
        """The models that it offers, ready or not."""
        return [model.card for model in self._models.values()]

    def metrics(self) -> list[tuple[str, EngineMetrics]]:
        """Each loaded model's counts."""
        return [(name, model.engine.metrics) for name, model in self._models.items() if model.engine is not None]

    async def prepare(self, model: str, generation: Generation) -> LocalPrepared:
        """Renders and checks a request."""
        source, engine = self._running(model)
        if not source.has_output_head:
            raise InvalidRequestError("model", f"The model {model!r} makes embeddings and cannot write.")
        rendered = await self._render(source, generation.prompt)
        request = engine_request(source.tokenizer, generation, rendered)
        try:
            checked = await engine.prepare(request)
        except InvalidRequestError as error:
            raise _named_as_the_client_does(error, generation.prompt) from error
        return LocalPrepared(engine, source.tokenizer, rendered, request, checked)

    async def prepare_embedding(self, model: str, job: EmbeddingJob) -> LocalPreparedEmbedding:
        """Makes tokens of texts."""
        source, engine = self._running(model)
        job.check_width(source.config.dim)
        pooling = source.pooling or _MEAN
        length = sum(map(len, job.inputs))
        prompts = await _by_size(
            length, lambda: [_embedding_prompt(source, *one, pooling) for one in enumerate(job.inputs)]
        )
        requests = [
            Request(f"{job.id}-{number}", prompt, pooling=pooling, salt=job.salt)
            for number, prompt in enumerate(prompts)
        ]
        return LocalPreparedEmbedding(engine, requests)

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
        served = self._models.get(model)
        if served is None or served.engine is None:
            raise ModelNotReadyError(f"The model {model!r} is not loaded.")
        return served.source, served.engine

    async def _render(self, source: Source, prompt: Prompt) -> RenderedPrompt:
        return await _by_size(_length(prompt), lambda: render_prompt(source.tokenizer, prompt))


def _give_back(device: torch.device) -> None:
    """An engine and its model refer to each other: only the collector finds that nobody else refers to them."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


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
