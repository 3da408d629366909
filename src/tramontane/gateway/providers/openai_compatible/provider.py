"""Models of other servers that speak OpenAI's API."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
import weakref
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tramontane.accounts.secrets import Secret
from tramontane.catalogue.directory import Offering, ProviderFacts
from tramontane.catalogue.family import by_name
from tramontane.errors import InvalidRequestError, UnavailableError
from tramontane.gateway.answers import Embeddings
from tramontane.gateway.cards import ModelCard
from tramontane.gateway.errors import OfferingFailedError
from tramontane.gateway.providers.openai_compatible.answering import RemoteAnswer
from tramontane.gateway.providers.openai_compatible.counting import Counter, bound
from tramontane.gateway.providers.openai_compatible.refusals import refusal, without_secrets
from tramontane.gateway.providers.openai_compatible.rendering import render
from tramontane.gateway.requests import EmbeddingJob, Generation, Prompt
from tramontane.outbound.client import FIRST_BYTE_SECONDS, Outbound, Response, check_url
from tramontane.outbound.errors import OutboundError

_UNKNOWN_CONTEXT = 32_768
_MOST_BYTES_OF_ERROR, _MOST_BYTES = 64 * 1024, 256 * 2**20
_PROBE_SECONDS = 10.0

# Fields that not every make knows, and what stands in their place there; None: nothing, it is done unasked.
_OTHER_NAMES: Mapping[str, str | None] = {
    "stream_options": None,
    "seed": "random_seed",
    "max_tokens": "max_completion_tokens",
}
_NOT_KNOWN = re.compile(r"extra|not permitted|unknown|unsupported|unrecogni[sz]ed|not supported|unexpected", re.I)

Keys = Callable[[ProviderFacts], Secret | None]
"""The key of a provider, decrypted for one call."""


class OpenAICompatible:
    """All offerings of other servers. What a server does not know is learnt once, and remembered while we run."""

    def __init__(self, outbound: Outbound, key_of: Keys) -> None:
        self._outbound, self._key_of = outbound, key_of
        self._counter = Counter()
        self._other_names: dict[str, frozenset[str]] = {}  # by the provider's id: of `_OTHER_NAMES`
        self._answers: weakref.WeakSet[RemoteAnswer] = weakref.WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None

    def card(self, offering: Offering) -> ModelCard:
        """What the catalogue knows of an offering's model."""
        known = by_name().get(offering.model)
        abilities = ("chat", "tools") if known is None else known.abilities
        parameters = None if known is None else known.parameters
        return ModelCard(
            name=offering.model,
            created=0,
            owned_by=offering.provider.operator if known is None else known.maker,
            description="" if known is None else known.title,
            max_context=self.context(offering) or _UNKNOWN_CONTEXT,
            num_parameters=parameters or 0,
            quantization="none",
            chat="chat" in abilities,
            fim="fim" in abilities,
            tools="tools" in abilities,
            thinking="reasoning" in abilities,
            pooling="",
            tokenizer="",
            licence=None if known is None else known.licence.name,
            languages=() if known is None else known.languages,
            location=offering.provider.region or offering.provider.name,
            summary=None if known is None else known.summary,
        )

    async def prepare(self, offering: Offering, generation: Generation) -> RemotePrepared:
        """Renders a request, and estimates what its prompt takes."""
        render(offering.upstream_model, generation, None)  # what cannot be sent is refused before anything is paid
        estimated = await self._counter.prompt(generation.prompt)
        most = bound(estimated + await self._counter.schema(generation.prompt))
        return RemotePrepared(self, offering, generation, estimated, most)

    async def prepare_embedding(self, offering: Offering, job: EmbeddingJob) -> RemotePreparedEmbedding:
        """Estimates what texts take."""
        return RemotePreparedEmbedding(self, offering, job, await self._counter.texts(job.inputs))

    async def count(self, prompt: Prompt) -> int:
        """No fewer tokens than a prompt has, by any tokenizer of the family."""
        return bound(await self._counter.prompt(prompt))

    async def list_models(self, provider: ProviderFacts) -> list[str]:
        """What a server says that it offers; raises OfferingFailedError."""
        response = await self._send(provider, "GET", "models", None, _PROBE_SECONDS)
        try:
            if response.status != 200:
                error = refusal(response.status, await _error_body(response), self._key_of(provider), "models")
                raise OfferingFailedError(str(error))
            data = await _json(response)
        finally:
            response.close()
        models = data.get("data") if isinstance(data, Mapping) else data
        ids = [model.get("id") for model in models if isinstance(model, Mapping)] if isinstance(models, list) else []
        return [str(id_).removeprefix("models/")[:200] for id_ in ids if id_]

    def cut(self) -> None:
        """Breaks off all answers. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for answer in self._answers:
            answer.cut()

    def context(self, offering: Offering) -> int | None:
        """How many tokens prompt and answer may have; None where nobody said."""
        if offering.max_context is not None:
            return offering.max_context
        known = by_name().get(offering.model)
        return None if known is None else known.max_context

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, prepared: RemotePrepared, max_tokens: int | None) -> RemoteAnswer:
        """The events of a request, from the first one on; raises OfferingFailedError or InvalidRequestError."""
        offering, generation = prepared.offering, prepared.generation
        path, body = render(offering.upstream_model, generation, max_tokens)
        response = await self._post(offering.provider, path, body)
        key = self._key_of(offering.provider)
        answer = RemoteAnswer(
            response, self._counter, generation.sampling.n, prepared.estimated, lambda text: without_secrets(text, key)
        )
        self._loop = asyncio.get_running_loop()
        self._answers.add(answer)
        try:
            await answer.begin()
        except BaseException:
            await answer.aclose()
            raise
        return answer

    async def embed(self, offering: Offering, job: EmbeddingJob, estimated: int) -> Embeddings:
        """Vectors of a server; raises OfferingFailedError or InvalidRequestError."""
        inputs = [text if isinstance(text, str) else list(text) for text in job.inputs]
        body = {"model": offering.upstream_model, "input": inputs}
        response = await self._post(offering.provider, "embeddings", body)
        try:
            data = await _json(response)
        finally:
            response.close()
        try:
            entries = sorted(data["data"], key=lambda entry: entry["index"])
            vectors = [_vector(entry["embedding"]) for entry in entries]
        except (KeyError, TypeError, ValueError, struct.error):
            raise OfferingFailedError("It answered with something else than vectors.") from None
        if len(vectors) != len(inputs):
            raise OfferingFailedError(f"It answered with {len(vectors)} vectors for {len(inputs)} texts.")
        usage = data.get("usage")
        counted = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        if isinstance(counted, int) and counted >= 0:
            return Embeddings(vectors, counted)
        return Embeddings(vectors, estimated, is_estimate=True)

    async def _post(self, provider: ProviderFacts, path: str, body: dict[str, Any]) -> Response:
        """The answer to a request, where it is a success. Fields that the server does not know are named otherwise."""
        other_names = self._other_names.get(provider.id, frozenset())
        while True:
            response = await self._send(provider, "POST", path, _renamed(body, other_names))
            if response.status == 200:
                self._other_names[provider.id] = other_names
                return response
            try:
                refused = await _error_body(response)
            finally:
                response.close()
            sent = _renamed(body, other_names)
            learnt = _not_known(response.status, refused, sent)
            if not learnt:
                raise refusal(response.status, refused, self._key_of(provider), path, sent)
            other_names |= learnt

    async def _send(
        self, provider: ProviderFacts, method: str, path: str, body: Any, seconds: float = FIRST_BYTE_SECONDS
    ) -> Response:
        try:
            key = self._key_of(provider)
            url = endpoint(provider.base_url or "", path)
            headers = {} if key is None else {provider.key_header: _Bearer(key, provider.key_header)}
            return await self._outbound.send(method, url, headers=headers, json=body, first_byte_seconds=seconds)
        except (OutboundError, UnavailableError, InvalidRequestError) as error:  # the key's, and the URL's
            raise OfferingFailedError(str(error)) from None


class RemotePrepared:
    """A request that another server can be sent."""

    def __init__(
        self, provider: OpenAICompatible, offering: Offering, generation: Generation, estimated: int, most: int
    ) -> None:
        self.offering, self.generation, self.estimated = offering, generation, estimated
        self.num_prompt_tokens = most
        context = provider.context(offering)
        self.max_output = max(1, (context or _UNKNOWN_CONTEXT) - estimated)
        self._provider = provider
        # Where nobody knows where the server would end, it is told where to.
        self._unasked = self.max_output if context is None and generation.sampling.max_tokens is None else None

    async def generate(self, max_tokens: int | None = None) -> RemoteAnswer:
        """Sends it, and waits for the first event."""
        return await self._provider.answer(self, max_tokens or self._unasked)


class RemotePreparedEmbedding:
    """Texts that another server can be sent."""

    def __init__(self, provider: OpenAICompatible, offering: Offering, job: EmbeddingJob, estimated: int) -> None:
        self.num_prompt_tokens = bound(estimated)
        self._provider, self._offering, self._job, self._estimated = provider, offering, job, estimated

    async def embed(self) -> Embeddings:
        """Sends them."""
        return await self._provider.embed(self._offering, self._job, self._estimated)


class _Bearer:
    """A key as its header has it: shown to nobody on the way."""

    def __init__(self, key: Secret, header: str) -> None:
        self._key, self._scheme = key, "Bearer " if header.lower() == "authorization" else ""

    def reveal(self) -> str:
        """The header's value."""
        return f"{self._scheme}{self._key.reveal()}"


def endpoint(base_url: str, path: str) -> str:
    """Where something is. A base without a path is a server whose API is where most have it, at /v1."""
    base = check_url(base_url)
    return str((base / "v1" if base.path in ("", "/") else base) / path)


def _renamed(body: dict[str, Any], other_names: Collection[str]) -> dict[str, Any]:
    names = {name: _OTHER_NAMES[name] if name in other_names else name for name in body.keys() & _OTHER_NAMES.keys()}
    return {known: value for name, value in body.items() if (known := names.get(name, name)) is not None}


def _not_known(status: int, refused: bytes, sent: Mapping[str, Any]) -> frozenset[str]:
    """The fields that a server refused as unknown and that have another name; not those that it found wrong."""
    text = refused.decode("utf-8", "replace")
    if status not in (400, 422) or not _NOT_KNOWN.search(text):
        return frozenset()
    named = {name for name in _OTHER_NAMES.keys() & sent.keys() if re.search(rf"\b{name}\b", text)}
    if "max_completion_tokens" not in text:
        named.discard("max_tokens")  # "max_tokens is too large" is the request's fault
    return frozenset(named)


async def _error_body(response: Response) -> bytes:
    try:
        return await response.read(_MOST_BYTES_OF_ERROR)
    except OutboundError:
        return b""


async def _json(response: Response) -> Any:
    try:
        return await response.json(_MOST_BYTES)
    except OutboundError as error:
        raise OfferingFailedError(str(error)) from None


def _vector(given: Any) -> list[float]:
    if isinstance(given, str):
        raw = base64.b64decode(given, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return [float(value) for value in given]
