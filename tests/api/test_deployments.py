"""Models come to a running server and go: pulled, loaded, stopped, deleted, and back after a restart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.api.live import LiveServer, serve, wait_for, write_tekken_model
from tests.api.talking import CHAT, ask, chat, is_well_formed, streaming
from tests.catalogue.fake_hub import FakeHub, Repository, release, running_hub
from tramontane.catalogue.hub import pull
from tramontane.catalogue.running import running_servers
from tramontane.catalogue.store import ModelStore
from tramontane.cli.main import cli
from tramontane.errors import TramontaneError

NAME, LICENSED = "winds/Tramontane-8M", "mistralai/Codestral-22B-v0.1"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    files = release("hf", tmp_path_factory.mktemp("release"))
    with running_hub() as hub:
        hub.repositories[NAME] = Repository(dict(files))
        hub.repositories[LICENSED] = Repository(dict(files), licence="other")
        yield hub


@dataclass
class Silent:
    """Says nothing."""

    sentences: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def expect(self, total: int) -> None: ...

    def update(self, path: str, total: int, done: int) -> None: ...


@pytest.fixture(scope="module")
def home(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the files of a model whose licence nobody has accepted."""
    home = tmp_path_factory.mktemp("home")
    pull(LICENSED, ModelStore(home), progress=Silent(), endpoint=hub.url)
    return home


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    model = write_tekken_model(tmp_path_factory.mktemp("model"), 13)
    return (f"--model=small={model}", "--kv-memory=64MiB")


@pytest.fixture(scope="module")
def live(hub: FakeHub, home: Path, arguments: tuple[str, ...]) -> Iterator[LiveServer]:
    with serve(*arguments, home=home, env=surroundings(hub)) as live:
        yield live
        assert not [line for line in live.log if "traceback" in line or line["level"] == "error"]


def surroundings(hub: FakeHub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "NO_PROXY": "*", "HF_HUB_DOWNLOAD_TIMEOUT": "2"}


def deployments(live: LiveServer) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in ask(live, "/v1/deployments").json["data"]}


def settled(live: LiveServer, name: str, *states: str) -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        one = deployments(live)[name]
        assert one["state"] != "failed" or "failed" in states, one["message"]
        return one if one["state"] in states else None

    return wait_for(find, f"{name} {states}", 60.0)


def deploy(live: LiveServer, **body: Any) -> dict[str, Any]:
    reply = ask(live, "/v1/deployments", body)
    assert reply.status == 200, reply.text
    return dict(reply.json)


def act(live: LiveServer, name: str, action: str) -> Any:
    return ask(live, f"/v1/deployments/{deployments(live)[name]['id']}/{action}", {})


def delete(live: LiveServer, name: str) -> None:
    assert ask(live, f"/v1/deployments/{deployments(live)[name]['id']}", method="DELETE").status == 204


def test_a_second_model_comes_while_the_first_answers_and_goes_when_its_answers_are_written(live: LiveServer) -> None:
    with streaming(live, chat(tokens=1500)) as first:
        made = deploy(live, reference="random:tiny-15m", name="winds/second", quantization="int8")
        assert made["state"] in ("pulling", "loading", "running")
        running = settled(live, "winds/second", "running")
        assert first.next_text()
        assert (running["quantization"], running["progress"]) == ("int8", 1.0)
        assert running["memory_bytes"] > 15_000_000
        listed = deployments(live)
        assert listed["small"]["id"] is None
        assert "winds/second" in {card["id"] for card in ask(live, "/v1/models").json["data"]}
        (server,) = running_servers(live.home)
        assert set(server.models) == {"small", "winds/second"}

        with streaming(live, chat("winds/second", tokens=200)) as second:
            reply = act(live, "winds/second", "stop")
            assert reply.json["message"] == "Its last answers are being written."
            refused = ask(live, CHAT, chat("winds/second"))
            assert refused.status in (404, 503), refused.text
            assert is_well_formed(second.rest())
        gone = settled(live, "winds/second", "stopped")
        assert (gone["memory_bytes"], gone["message"]) == (None, None)
        assert is_well_formed(first.rest())
    assert act(live, "winds/second", "start").status == 200
    settled(live, "winds/second", "running")
    assert act(live, "winds/second", "start").status == 409
    assert ask(live, CHAT, chat("winds/second")).status == 200
    delete(live, "winds/second")
    assert "winds/second" not in deployments(live)
    wait_for(lambda: ask(live, CHAT, chat("winds/second")).status == 404, "the end")


def test_a_pull_shows_its_bytes_and_goes_on_where_it_was_stopped(live: LiveServer, hub: FakeHub) -> None:
    repository = hub.repositories[NAME]
    repository.stall[WEIGHTS] = 4 << 20
    total = sum(map(len, repository.files.values()))
    deploy(live, reference=NAME)

    def half_there() -> bool:
        one = deployments(live)[NAME]
        return bool(one["state"] == "pulling" and one["total_bytes"] == total and (one["done_bytes"] or 0) > 2 << 20)

    wait_for(half_there, "half of the model")
    waiting = deploy(live, reference="random:tiny-15m", name="waits")
    assert waiting["state"] == "loading"
    assert "waits until" in waiting["message"]
    assert act(live, NAME, "stop").status == 200
    repository.stall.clear()
    hub.closing.set()  # the connection that stalls is closed
    hub.closing.clear()
    settled(live, NAME, "stopped")
    settled(live, "waits", "running")  # which had waited for its turn
    delete(live, "waits")

    hub.seen.clear()
    assert act(live, NAME, "start").status == 200
    settled(live, NAME, "running")
    assert [seen.path for seen in hub.seen] == [WEIGHTS]
    assert hub.seen[0].range != "bytes=0-"
    assert ask(live, CHAT, chat(NAME, tokens=2)).status == 200
    delete(live, NAME)
    # Its files stay, and are deleted apart.
    wait_for(lambda: ask(live, f"/v1/models/{NAME}", method="DELETE").status == 200, "the end of its files")
    noted = ask(live, "/v1/audit?limit=1").json["data"][0]
    assert (noted["action"], noted["target_id"]) == ("model.delete", NAME)


def test_what_cannot_be_is_refused_with_its_reason(live: LiveServer) -> None:
    for body, status, says in (
        ({"reference": "mistral-large-2512"}, 409, "GiB"),
        ({"reference": "random:tiny-15m", "name": "small"}, 409, "another name"),
        ({"reference": "random:tiny-15m", "name": "a b"}, 400, "letters"),
        ({"reference": "mistrl-smal"}, 400, "did you mean"),
        ({"reference": str(live.home)}, 400, "owner/name"),
        ({"reference": f"x={live.home}"}, 400, "owner/name"),
        ({"reference": "../models"}, 400, "owner/name"),
        ({"reference": "random:tiny"}, 400, "tiny"),
    ):
        reply = ask(live, "/v1/deployments", body)
        assert (reply.status, says in reply.json["message"]) == (status, True), reply.text
    assert set(deployments(live)) == {"small"}
    for action in ("start", "stop"):
        assert ask(live, f"/v1/deployments/{'f' * 32}/{action}", {}).status == 404
    assert ask(live, f"/v1/deployments/{'f' * 32}", method="DELETE").status == 404


def test_the_command(live: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["deploy", *arguments], catch_exceptions=False).stdout

    monkeypatch.setenv("TRAMONTANE_HOME", str(live.home))
    monkeypatch.delenv("TRAMONTANE_API_KEY", raising=False)
    with pytest.raises(TramontaneError, match="Set TRAMONTANE_API_KEY"):
        command("--list")
    monkeypatch.setenv("TRAMONTANE_API_KEY", live.key)
    assert command("random:tiny-15m", "--name", "kept").startswith("kept is served; it holds ")
    assert "kept" in command("--list")
    assert json.loads(command("--stop", "kept", "--json"))["state"] == "stopped"
    assert command("--start", "kept").startswith("kept is served")
    for arguments, says in (
        (("--start", "kept"), "running already"),
        (("--start", "small"), "named when the server was started"),
        (("--stop", "nobody"), "No model called 'nobody'"),
        (("codestral-22b",), "--accept-licence"),
        (("kept", "--list"), "Name one model"),
        (("kept", "--url", "http://127.0.0.1:1"), "does not answer"),
    ):
        with pytest.raises(TramontaneError, match=says):
            command(*arguments)
    assert "forgotten" in command("--delete", "kept")
    monkeypatch.setenv("TRAMONTANE_API_KEY", "trm-another-key-that-nobody-knows")
    with pytest.raises(TramontaneError, match="does not know the key"):
        command("--list")


# After the command's test, which needs that nobody has accepted it.
def test_a_licence_is_accepted_before_its_model_runs(live: LiveServer) -> None:
    refused = ask(live, "/v1/deployments", {"reference": "codestral-22b", "name": "coder"})
    assert (refused.status, refused.json["type"]) == (403, "licence_not_accepted")
    assert "MNPL-0.1" in refused.json["message"]
    other_case = ask(live, "/v1/deployments", {"reference": LICENSED.lower(), "name": "coder"})
    assert other_case.status in (403, 409)  # the hub takes it, and so it is the same model, if it fits here
    assert "coder" not in deployments(live)
    deploy(live, reference="codestral-22b", name="coder", accept_licence=True)
    settled(live, "coder", "running")
    licence = ask(live, "/v1/catalogue/codestral-22b").json["licence"]
    assert (licence["accepted_by"], licence["accepted_at"] is not None) == ("Owner", True)
    entries = ask(live, "/v1/audit").json["data"]
    assert {"licence.accept", "deployment.create"} <= {entry["action"] for entry in entries}
    delete(live, "coder")


def test_a_restart(live: LiveServer, hub: FakeHub, home: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    deploy(live, reference="random:tiny-15m", name="kept")
    settled(live, "kept", "running")
    deploy(live, reference=LICENSED, name="lost", accept_licence=True)
    settled(live, "lost", "running")
    deploy(live, reference="random:tiny-15m", name="quiet")
    settled(live, "quiet", "running")
    assert act(live, "quiet", "stop").status == 200
    settled(live, "quiet", "stopped")

    again = tmp_path / "home"
    shutil.copytree(home, again, ignore=shutil.ignore_patterns("run"))
    shutil.rmtree(ModelStore(again).folder(LICENSED))
    hub.repositories[LICENSED].status = (503, "")
    with serve(*arguments, home=again, env=surroundings(hub)) as restarted:
        settled(restarted, "kept", "running")
        failed = settled(restarted, "lost", "failed")
        assert "503" in failed["message"]
        assert deployments(restarted)["quiet"]["state"] == "stopped"
        assert restarted.is_ready()
        assert ask(restarted, CHAT, chat("kept")).status == 200
    hub.repositories[LICENSED].status = None
