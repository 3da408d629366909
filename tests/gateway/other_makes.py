"""Servers of other makes, as small as they can be: each says what its make says, in its make's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Make = Literal["vllm", "llama.cpp", "plateforme"]

WORDS = ("The ", "mistral ", "blows ", "from ", "the ", "north.")
PROMPT_TOKENS, CACHED_TOKENS = 21, 16

# la Plateforme refuses what it does not know.
_ALLOWED = frozenset(
    {"model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "n", "tools"}
    | {"tool_choice", "parallel_tool_calls", "response_format", "presence_penalty", "frequency_penalty"}
    | {"prompt", "suffix", "input"}
)


@dataclass
class OtherMake:
    """One server. What is set here decides what it does with the next request."""

    make: Make = "vllm"
    words: Sequence[str] = WORDS
    calls: Sequence[tuple[str, str]] = ()  # names and arguments
    thoughts: str = ""
    refuse: tuple[int, Any] | None = None
    usage: bool = True
    dies_after: int | None = None  # chunks, then the connection ends
    errs_after: int | None = None  # chunks, then an error object comes
    stalls_after: int | None = None  # chunks, then nothing comes until `go_on`
    silent: bool = False  # does not even begin
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)  # where it stalls
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    num_probes: int = 0
    url: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """Of the last request."""
        return self.bodies[-1]

    # ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def models(self, request: web.Request) -> web.Response:
        self.num_probes += 1
        if self.refuse is not None:
            return web.json_response(self.refuse[1], status=self.refuse[0])
        return web.json_response({"object": "list", "data": [{"id": "upstream-name", "object": "model"}]})

    async def embeddings(self, request: web.Request) -> web.Response:
        body = await self._accept(request)
        if isinstance(body, web.Response):
            return body
        data = [{"index": i, "embedding": [float(i), 0.5]} for i in range(len(body["input"]))]
        reply: dict[str, Any] = {"object": "list", "data": list(reversed(data))}
        if self.usage:
            reply["usage"] = {"prompt_tokens": 9, "total_tokens": 9}
        return web.json_response(reply)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await self._accept(request)
        if isinstance(body, web.Response):
            return body
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            if self.silent:
                await self._stall()
            for number, data in enumerate(self._events(request.path, body)):
                if number == self.dies_after:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                if number == self.errs_after:
                    await response.write(b'data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n')
                    return response
                if number == self.stalls_after:
                    await self._stall()
                await response.write(data)
        except (ConnectionError, asyncio.CancelledError):
            self.hung_up.set()
            raise
        return response

    async def _stall(self) -> None:
        self.reached.set()
        await self.go_on.wait()

    async def _accept(self, request: web.Request) -> dict[str, Any] | web.Response:
        body: dict[str, Any] = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.refuse is not None:
            return web.json_response(self.refuse[1], status=self.refuse[0])
        unknown = [name for name in body if name not in _ALLOWED] if self.make == "plateforme" else []
        if unknown:
            detail = [
                {"type": "extra_forbidden", "loc": ["body", n], "msg": "Extra inputs are not permitted"}
                for n in unknown
            ]
            error = {"object": "error", "message": {"detail": detail}, "type": "invalid_request_error", "code": None}
            return web.json_response(error, status=422)
        return body

    # ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────

    def _events(self, path: str, body: Mapping[str, Any]) -> list[bytes]:
        if path.endswith("/completions") and "prompt" in body and "suffix" not in body:
            return self._completions(body)
        match self.make:
            case "vllm":
                return self._vllm(body)
            case "llama.cpp":
                return self._llama(body)
        return self._plateforme()

    def _vllm(self, body: Mapping[str, Any]) -> list[bytes]:
        """Role first, a null usage in each chunk, thoughts by a name of their own, usage in a chunk without choices."""
        n = body.get("n", 1)
        chunks = [_chunk(i, {"role": "assistant", "content": ""}) for i in range(n)]
        if self.thoughts:
            chunks.append(_chunk(0, {"reasoning_content": self.thoughts}))
        chunks += [_chunk(i, {"content": word}) for word in self.words for i in range(n)]
        chunks += [_chunk(0, {"tool_calls": [fragment]}) for fragment in self._fragments()]
        chunks += [_chunk(i, {"content": ""}, "tool_calls" if self.calls else "stop") for i in range(n)]
        if self.usage and body.get("stream_options", {}).get("include_usage"):
            chunks.append({"choices": [], "usage": self._usage(n)})
        return [_event(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]

    def _llama(self, body: Mapping[str, Any]) -> list[bytes]:
        """CRLF and comments, null content, calls in fragments, and no `[DONE]`."""
        chunks = [_chunk(0, {"role": "assistant", "content": None})]
        chunks += [_chunk(0, {"content": word}) for word in self.words]
        chunks += [_chunk(0, {"tool_calls": [fragment]}) for fragment in self._fragments()]
        last = _chunk(0, {}, "tool_calls" if self.calls else "length")
        if self.usage:
            last["usage"] = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(self.words)}
        events = [b": ping\r\n\r\n", *(_event(chunk).replace(b"\n", b"\r\n") for chunk in [*chunks, last])]
        # Split wherever it falls: also in the middle of a character.
        whole = b"".join(events)
        return [whole[at : at + 37] for at in range(0, len(whole), 37)]

    def _plateforme(self) -> list[bytes]:
        """Thoughts as chunks, calls whole and together, usage unasked with the reason."""
        chunks = [_chunk(0, {"role": "assistant", "content": ""})]
        if self.thoughts:
            thought = {"type": "thinking", "thinking": [{"type": "text", "text": self.thoughts}]}
            chunks.append(_chunk(0, {"content": [thought]}))
        chunks += [_chunk(0, {"content": word}) for word in self.words]
        calls = [
            {"id": f"callno00{i}", "function": {"name": name, "arguments": arguments}, "index": 0}
            for i, (name, arguments) in enumerate(self.calls)
        ]
        last = _chunk(0, {"content": "", **({"tool_calls": calls} if calls else {})}, "tool_calls" if calls else "stop")
        last["usage"] = self._usage(1)
        return [_event(chunk) for chunk in [*chunks, last]] + [b"data: [DONE]\n\n"]

    def _completions(self, body: Mapping[str, Any]) -> list[bytes]:
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "text": word}]} for word in self.words]
        chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}], "usage": self._usage(1)})
        return [_event(chunk) for chunk in chunks] + [b"data: [DONE]\n\n"]

    def _fragments(self) -> list[dict[str, Any]]:
        fragments: list[dict[str, Any]] = []
        for index, (name, arguments) in enumerate(self.calls):
            called = {"name": name, "arguments": ""}
            fragments.append({"index": index, "id": f"chatcmpl-tool-{index}", "type": "function", "function": called})
            pieces = [arguments[at : at + 5] for at in range(0, len(arguments), 5)]
            fragments += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
        return fragments

    def _usage(self, n: int) -> dict[str, Any]:
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": n * len(self.words),
            "total_tokens": PROMPT_TOKENS + n * len(self.words),
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }


def _chunk(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": reason}], "usage": None}


def _event(chunk: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode()


@asynccontextmanager
async def running(*servers: OtherMake) -> AsyncIterator[None]:
    """The servers listen, each on a port of its own."""
    runners = []
    for server in servers:
        app = web.Application(client_max_size=2**24)
        for path in ("chat/completions", "fim/completions", "completions"):
            app.router.add_post(f"/v1/{path}", server.answer)
        app.router.add_post("/v1/embeddings", server.embeddings)
        app.router.add_get("/v1/models", server.models)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        runners.append(runner)
    try:
        yield
    finally:
        for server in servers:
            server.go_on.set()
        for runner in runners:
            await runner.cleanup()
