from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tramontane.catalogue.running import announce, is_served, running_servers

SERVE = """
import sys, pathlib
from tramontane.catalogue.running import announce
with announce(pathlib.Path(sys.argv[1]), "http://127.0.0.1:9", ["other"]):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_a_server_is_seen_while_it_runs(tmp_path: Path) -> None:
    assert running_servers(tmp_path) == []
    with announce(tmp_path, "http://127.0.0.1:8000", ["mistral-small", "winds/Mistral-1M"]):
        (server,) = running_servers(tmp_path)
        assert (server.pid, server.url) == (os.getpid(), "http://127.0.0.1:8000")
        assert server.models == ("mistral-small", "winds/Mistral-1M")
        (path,) = (tmp_path / "run").iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert running_servers(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_server_tells_of_models_that_come_and_go(tmp_path: Path) -> None:
    with announce(tmp_path, "http://127.0.0.1:8000", ["first"]) as announcement:
        announcement.update(["first", "second"], [tmp_path / "second"])
        (server,) = running_servers(tmp_path)
        assert server.models == ("first", "second")
        assert is_served(tmp_path, tmp_path / "second")
        announcement.update(["first"], [])
        assert not is_served(tmp_path, tmp_path / "second")
    assert running_servers(tmp_path) == []


def test_a_killed_server_leaves_nothing_behind(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    assert [found.pid for found in running_servers(tmp_path)] == [server.pid]
    server.kill()
    server.communicate()
    assert (tmp_path / "run" / f"{server.pid}.json").exists()
    assert running_servers(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_process_id_that_came_again_is_not_the_server(tmp_path: Path) -> None:
    with announce(tmp_path, "http://127.0.0.1:8000", []):
        path = tmp_path / "run" / f"{os.getpid()}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": 1}))
        assert running_servers(tmp_path) == []


def test_a_spoilt_record_is_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "1.json").write_text("{")
    assert running_servers(tmp_path) == []
    assert not (tmp_path / "run" / "1.json").exists()
