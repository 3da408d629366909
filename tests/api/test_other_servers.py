"""A model that another Tramontane computes, asked for here by clients of la Plateforme and of OpenAI, until that ends.

Both are whole servers. What servers of other makes do is in tests/gateway.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from mistralai.client import Mistral
from openai import APIStatusError, OpenAI

from tests.api.live import LiveServer, serve, wait_for, write_tekken_model
from tests.api.talking import ask, chat, streaming
from tests.api.test_openai import TOOLS

UPSTREAM_KEY = "trm-the-canary-that-only-the-upstream-may-ever-see-987"
INPUT, OUTPUT = 3_000_000, 7_000_000  # nano-euros for a million tokens


@dataclass(frozen=True)
class Pair:
    """`front` offers the model "far", which `upstream` computes as "v11"."""

    front: LiveServer
    upstream: LiveServer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = write_tekken_model(tmp_path_factory.mktemp("models") / "v11", 11)
    home = tmp_path_factory.mktemp("home")
    model, memory = f"--model=v11={folder}", "--kv-memory=64MiB"
    with (
        serve(model, memory, home=home / "up", env={"TRAMONTANE_API_KEY": UPSTREAM_KEY}, exit_status=None) as upstream,
        serve(f"--model=near={folder}", memory, home=home / "front") as front,
    ):
        _offer(front, upstream.url)
        yield Pair(front, upstream)
        written = [path.read_bytes() for path in front.home.iterdir() if path.is_file()]
        assert not any(UPSTREAM_KEY.encode() in content for content in written)


def _offer(front: LiveServer, url: str) -> None:
    provider = {"name": "Elsewhere", "base_url": url, "key": UPSTREAM_KEY, "operator": "Winds", "region": "FR"}
    made = ask(front, "/v1/providers", provider)
    assert made.status == 200, made.text
    assert UPSTREAM_KEY not in made.text
    checked = ask(front, f"/v1/providers/{made.json['id']}/check", {})
    assert checked.json == {"ok": True, "problem": None, "models": ["v11"]}
    offering = {"model": "far", "provider_id": made.json["id"], "upstream_model": "v11", "max_context": 2048}
    price = {"input": INPUT, "output": OUTPUT}
    reply = ask(front, "/v1/offerings", {**offering, "price": price})
    assert reply.status == 200, reply.text
    reply = ask(front, "/v1/billing/lots", {"kind": "credit", "name": "To try it", "amount": 10**9})
    assert reply.status == 200, reply.text


@pytest.fixture(scope="module")
def client(pair: Pair) -> Iterator[OpenAI]:
    with OpenAI(api_key=pair.front.key, base_url=f"{pair.front.url}/v1", max_retries=0, timeout=60) as client:
        yield client


QUESTION: list[Any] = [{"role": "user", "content": "Which wind blows today?"}]


def test_both_models_are_listed(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"near", "far"}
    assert client.models.retrieve("far").model_extra["max_context_length"] == 2048  # type: ignore[index]


def test_whole_and_streamed_answers_are_those_of_the_upstream(pair: Pair, client: OpenAI) -> None:
    with OpenAI(api_key=UPSTREAM_KEY, base_url=f"{pair.upstream.url}/v1", max_retries=0) as direct:
        sampled: dict[str, Any] = {"messages": QUESTION, "max_tokens": 24, "temperature": 0.8, "seed": 7}
        expected = direct.chat.completions.create(model="v11", **sampled)
        whole = client.chat.completions.create(model="far", **sampled)
        assert whole.choices[0].message.content == expected.choices[0].message.content
        assert whole.choices[0].finish_reason == expected.choices[0].finish_reason
        assert whole.usage is not None
        assert expected.usage is not None
        counted = (whole.usage.prompt_tokens, whole.usage.completion_tokens)
        assert counted == (expected.usage.prompt_tokens, expected.usage.completion_tokens)
        chunks = list(client.chat.completions.create(model="far", stream=True, **sampled))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected.choices[0].message.content
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == expected.usage.completion_tokens


def test_prompts_of_one_request_do_not_wait_for_each_others_money(pair: Pair, client: OpenAI) -> None:
    provider_id = ask(pair.front, "/v1/providers").json["data"][-1]["id"]
    offering = {"model": "dear", "provider_id": provider_id, "upstream_model": "v11", "max_context": 2048}
    dear = {"input": 25 * 10**12, "output": 25 * 10**12}
    assert ask(pair.front, "/v1/offerings", {**offering, "price": dear}).status == 200
    asked: dict[str, Any] = {"model": "dear", "prompt": ["Wind", "Storm"], "max_tokens": 4, "timeout": 20}
    whole = client.completions.create(**asked)
    assert [choice.finish_reason for choice in whole.choices] == ["length", "length"]
    top_up(pair)
    chunks = list(client.completions.create(**asked, stream=True))
    ends = [(chunk.choices[0].index, chunk.choices[0].finish_reason) for chunk in chunks]
    assert [end for end in ends if end[1]] == [(0, "length"), (1, "length"), (1, "length")]
    top_up(pair)


def top_up(pair: Pair) -> None:
    """Makes it 10**9 again, once what was spent is charged: an answer is told just before it is."""
    wait_for(lambda: ask(pair.front, "/v1/billing").json["held"] == 0, "an answer that is charged")
    spent = 10**9 - ask(pair.front, "/v1/billing").json["available"]
    assert ask(pair.front, "/v1/billing/lots", {"kind": "credit", "name": "More", "amount": spent}).status == 200


def test_the_way_is_told_in_a_header_and_in_the_explanation(pair: Pair) -> None:
    reply = ask(pair.front, "/v1/chat/completions", chat("far"))
    assert reply.headers["x-tramontane-route"] == "Elsewhere; region=FR; operator=Winds; attempts=1"
    explained = ask(pair.front, "/v1/route?model=far").json
    [considered] = explained["considered"]
    assert explained["chosen"] == considered["offering_id"]
    assert (considered["place"], considered["provider_name"], considered["region"]) == (1, "Elsewhere", "FR")
    trial = {"model": "far", "policy": {"regions": ["DE"]}}
    explained = ask(pair.front, "/v1/route", trial).json
    assert explained["chosen"] is None
    assert "its region FR is not within DE" in explained["problem"]
    assert ask(pair.front, "/v1/route", {"model": "far", "policy": {"regions": ["Mars"]}}).status == 400
    assert ask(pair.front, "/v1/route?model=nowhere").status == 404


def test_tools_are_called_through_it(client: OpenAI) -> None:
    answered = client.chat.completions.create(
        model="far", messages=QUESTION, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=200
    )
    calls = answered.choices[0].message.tool_calls
    assert calls
    assert answered.choices[0].finish_reason == "tool_calls"
    history: list[Any] = [*QUESTION, answered.choices[0].message.model_dump()]
    for call in calls:
        assert call.type == "function"
        assert json.loads(call.function.arguments)["wind"] in ("mistral", "marin")
        history.append({"role": "tool", "tool_call_id": call.id, "content": "90 km/h"})
    told = client.chat.completions.create(model="far", messages=history, tools=TOOLS, tool_choice="none", max_tokens=8)
    assert told.choices[0].message.content


def test_errors_are_the_requests_or_the_upstreams(pair: Pair, client: OpenAI) -> None:
    with pytest.raises(APIStatusError, match="context") as refused:
        client.chat.completions.create(model="far", messages=[{"role": "user", "content": "wind " * 3000}])
    assert refused.value.status_code == 400
    assert pair.upstream.url not in refused.value.message


def test_mistrals_own_client_streams_it(pair: Pair) -> None:
    with Mistral(api_key=pair.front.key, server_url=pair.front.url) as mistral:
        stream = mistral.chat.stream(model="far", messages=QUESTION, max_tokens=12)
        chunks = [chunk.data for chunk in stream]
    assert chunks[-1].usage is not None
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")


def test_its_end_in_mid_run_ends_the_answer_and_what_came_is_paid(pair: Pair) -> None:
    body = chat("far", tokens=1500, min_tokens=1500, stream=True)
    with streaming(pair.front, body) as stream:
        for _ in range(20):
            stream.next_text()
        pair.upstream.process.send_signal(signal.SIGKILL)
        events = stream.rest()
    last = json.loads(events[-2])
    assert events[-1] == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["usage"]["completion_tokens"] > 10
    reply = ask(pair.front, "/v1/chat/completions", chat("far"))
    assert (reply.status, reply.json["type"]) == (503, "no_route_available")
    assert UPSTREAM_KEY not in pair.front.stderr.read_text()
    assert ask(pair.front, "/v1/chat/completions", chat("near")).status == 200
