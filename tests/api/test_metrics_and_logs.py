"""What whoever runs the server sees: one line a request, and counts under the names that dashboards know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.live import LiveServer, serve, wait_for, write_tekken_model
from tests.api.talking import CHAT, Reply, ask, chat, metrics, total

# Of every finished answer; those that a request does not have are left out of its line.
FIELDS = {
    "time", "level", "logger", "message", "correlation_id", "method", "route", "status", "seconds", "model",
    "prompt_tokens", "cached_tokens", "completion_tokens", "time_to_first_token", "queue_seconds",
    "tokens_per_second", "finish_reason", "workspace", "credential",
}  # fmt: skip

# As reference/engine.md has them, with our prefix and Prometheus' suffixes.
NAMES = {
    "num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_queries", "prefix_cache_hits",
    "time_to_first_token_seconds", "inter_token_latency_seconds", "request_queue_time_seconds", "num_preemptions",
    "admission_rejections", "prompt_tokens", "generation_tokens", "requests", "request_duration_seconds",
}  # fmt: skip


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with the log for people."""
    model: Path = write_tekken_model(tmp_path_factory.mktemp("model"), 13)
    arguments = (f"--model=small={model}", "--kv-memory=8MiB", "--log-format=human")
    with serve(*arguments, home=tmp_path_factory.mktemp("spoken")) as live:
        yield live


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_one_line_of_json(server: LiveServer, stream: bool) -> None:
    reply = ask(server, CHAT, chat("v13", 12, stream=stream))
    line = server.log_line_of(reply.id)
    assert set(line) - {"stream"} == FIELDS
    assert line.get("stream") == (True if stream else None)
    usage = reply.json["usage"] if not stream else json.loads(reply.text.split("data: ")[-2])["usage"]
    assert line["prompt_tokens"] == usage["prompt_tokens"]
    assert line["cached_tokens"] == usage["prompt_tokens_details"]["cached_tokens"]
    assert line["completion_tokens"] == usage["completion_tokens"] == 12
    assert (line["method"], line["route"], line["status"], line["model"]) == ("POST", CHAT, 200, "v13")
    assert (line["finish_reason"], line["level"], line["credential"]) == ("length", "info", "TRAMONTANE_API_KEY")
    assert 0 <= line["queue_seconds"] <= line["time_to_first_token"] <= line["seconds"] < 60
    assert line["tokens_per_second"] > 0
    assert sum(reply.id in entry for entry in server.log_lines) == 1


def test_a_request_is_one_line_to_read(spoken: LiveServer) -> None:
    reply = ask(spoken, CHAT, chat(tokens=12, metadata={"team": "wind"}, nonsense=1))
    line = wait_for(lambda: [line for line in spoken.log_lines if reply.id in line], "the log line")[0]
    said = (
        r"\d\d:\d\d:\d\d INFO +POST /v1/chat/completions 200 in \d+\.\d{3} s, small, \d+ prompt tokens \(\d+ cached\), "
        r"12 written, first after \d+ ms, [\d.]+ tokens/s, finish reason: length, credential: TRAMONTANE_API_KEY, "
        rf"metadata: {{'team': 'wind'}}, ignored fields: \['nonsense'\]  \[{reply.id}\]"
    )
    assert re.fullmatch(said, line), line


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        ({"model": "nothing", "messages": []}, 404),
        ({"model": "v13"}, 422),
        ({**chat("v13"), "temperature": "hot"}, 422),
    ],
)
def test_the_correlation_id_stands_in_header_log_and_error(server: LiveServer, body: object, status: int) -> None:
    reply = ask(server, CHAT, body)
    assert reply.status == status
    assert re.fullmatch("[0-9a-f]{32}", reply.id)
    assert reply.json["correlation_id"] == reply.id
    assert server.log_line_of(reply.id)["status"] == status


def test_each_answer_has_an_id_of_its_own(server: LiveServer) -> None:
    replies = [ask(server, CHAT, chat("v13")), ask(server, "/v1/models"), ask(server, "/health", key=None)]
    assert len({reply.id for reply in replies}) == 3
    assert replies[0].json["id"] == replies[0].id


def test_a_line_cannot_be_forged(spoken: LiveServer) -> None:
    forged = "x\n00:00:00 INFO  forged"
    reply = ask(spoken, CHAT, chat(metadata={forged: forged}, **{forged: 1}))
    wait_for(lambda: [line for line in spoken.log_lines if reply.id in line], "the log line")
    assert not any(line.startswith("00:00:00 INFO  forged") for line in spoken.log_lines)


def test_probes_leave_no_line(server: LiveServer) -> None:
    probes = [ask(server, path) for path in ("/health", "/ready", "/metrics")]
    seen = ask(server, "/v1/models")
    server.log_line_of(seen.id)
    assert not any(probe.id in line for probe in probes for line in server.log_lines)


# ── metadata and unknown fields ─────────────────────────────────────────────────────────────────────────────────────


def test_metadata_is_echoed_to_log_and_metrics(server: LiveServer) -> None:
    reply = ask(server, CHAT, chat("v13", metadata={"team": "wind", "run": 7}))
    assert server.log_line_of(reply.id)["metadata"] == {"team": "wind", "run": "7"}
    assert total(server, "requests_by_metadata_total", key="team", value="wind") == 1
    assert total(server, "requests_by_metadata_total", key="run", value="7") == 1


def test_metadata_is_cut_to_16_short_entries(server: LiveServer) -> None:
    reply = ask(server, CHAT, chat("v13", metadata={f"{number:02}" + "k" * 100: "v" * 1000 for number in range(20)}))
    noted = server.log_line_of(reply.id)["metadata"]
    assert len(noted) == 16
    assert {len(key) for key in noted} == {64}
    assert {len(value) for value in noted.values()} == {512}


def test_unknown_fields_are_ignored_and_counted(server: LiveServer) -> None:
    reply = ask(server, CHAT, chat("v13", nonsense=1, user="somebody"))
    assert reply.status == 200
    assert server.log_line_of(reply.id)["ignored_fields"] == ["nonsense"]  # `user` is known, and means nothing here
    assert total(server, "ignored_fields_total", field="nonsense") == 1
    assert total(server, "ignored_fields_total", field="user") == 0


def test_labels_that_clients_choose_are_bounded(spoken: LiveServer) -> None:
    for number in range(25):
        values = {f"key{number}-{entry}": str(number) for entry in range(16)}
        unknown = {f"unknown{number}-{entry}": 1 for entry in range(16)}
        assert ask(spoken, CHAT, chat(tokens=1, metadata=values, **unknown)).status == 200
    for name in ("requests_by_metadata_total", "ignored_fields_total"):
        having = [labels for found, labels in metrics(spoken) if found == f"tramontane_{name}"]
        assert 200 <= len(having) <= 201
    assert total(spoken, "ignored_fields_total", field="other") > 150
    assert total(spoken, "requests_by_metadata_total", key="other", value="other") > 150


def test_paths_and_models_that_clients_invent_are_no_labels(spoken: LiveServer) -> None:
    before = len(metrics(spoken))
    for number in range(20):
        ask(spoken, f"/v1/nothing/{number}")
        ask(spoken, f"/v1/models/nothing-{number}")
        ask(spoken, CHAT, chat(f"nothing-{number}"))
    assert len(metrics(spoken)) - before < 60
    assert not any("nothing" in str(labels) for _, labels in metrics(spoken))


# ── metrics ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_metrics_are_read_by_prometheus_and_have_the_names_that_dashboards_know(server: LiveServer) -> None:
    ask(server, CHAT, chat("v13", 12))
    reply: Reply = ask(server, "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    assert {name.removeprefix("tramontane_") for name in families} >= NAMES
    assert all(name.startswith("tramontane_") for name in families)
    assert all(family.documentation for family in families.values())
    models = {sample.labels["model"] for sample in families["tramontane_num_requests_running"].samples}
    assert models == {"small", "tekken", "v11", "v13", "v15", "embedder", "org/slashed"}


def test_metrics_add_up(server: LiveServer) -> None:
    names = ("generation_tokens_total", "time_to_first_token_seconds_count", "inter_token_latency_seconds_count")
    before = [total(server, name, model="v15") for name in names]
    reply = ask(server, CHAT, chat("v15", 12, n=2))
    server.log_line_of(reply.id)
    after = [total(server, name, model="v15") for name in names]
    assert after[0] - before[0] == reply.json["usage"]["completion_tokens"] == 24
    assert after[1] - before[1] == 1
    assert after[2] - before[2] == 23
    assert total(server, "requests_total", route=CHAT, status="200") >= 1
    assert total(server, "choices_finished_total", model="v15", finish_reason="length") >= 2
