"""A hub on 127.0.0.1: the routes that huggingface_hub calls, with sizes, digests, ranges, redirects and mischief.

Small files come from the resolve route itself, as from git; large ones by a redirect to another host, as from the CDN.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch

from tests.tokenizers import SPM_V3
from tramontane.model.checkpoint_writer import save_checkpoint
from tramontane.model.config import ModelConfig
from tramontane.model.layouts import Layout
from tramontane.model.random_weights import RandomWeights

LARGE = 100_000  # bytes from which a file is kept with Git LFS


def release(layout: Layout, folder: Path, max_shard_bytes: int = 5 << 30, seed: int = 0) -> dict[str, bytes]:
    """The files of a tiny model's repository: 8 MB of weights, configuration, tokenizer, licence."""
    config = ModelConfig(64, 2, 4, 2, 16, 96, 32_768, max_context=256)
    save_checkpoint(folder, config, RandomWeights(config, seed).read, layout, torch.bfloat16, max_shard_bytes)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    files["tokenizer.model.v3"] = SPM_V3.read_bytes()
    files["README.md"] = b"---\nlicense: apache-2.0\n---\n# A model\n"
    files["LICENSE"] = b"Do as you like.\n"
    return files


@dataclass
class Repository:
    """What the hub has, and how it misbehaves.

    `served` replaces the bytes of a file after its digest was told. `cut` says after how many bytes the connection
    breaks in the next requests of a file, one after the other; `stall` after how many it falls silent. `status` is
    answered to everything instead.
    """

    files: dict[str, bytes]
    commit: str = "a" * 40
    licence: str = "apache-2.0"
    token: str | None = None
    status: tuple[int, str] | None = None
    served: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    stall: dict[str, int] = field(default_factory=dict)
    knows_ranges: bool = True

    def described(self) -> dict[str, object]:
        return {
            "id": "any/name",
            "sha": self.commit,
            "cardData": {"license": self.licence},
            "tags": [],
            "siblings": [_sibling(path, content) for path, content in self.files.items()],
        }


@dataclass(frozen=True)
class Seen:
    """A request that came: where a file's bytes were asked for, `path` is the file's."""

    path: str
    range: str | None
    authorized: bool
    user_agent: str


class FakeHub:
    """The server; `seen` are the requests for bytes, `paths` all paths asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.seen: list[Seen] = []
        self.paths: list[str] = []
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def asked(self) -> list[str]:
        """The files whose bytes were asked for, in order, each once."""
        return list(dict.fromkeys(seen.path for seen in self.seen))


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


def _sibling(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    entry: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": blob}
    if len(content) >= LARGE:
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return entry


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.hub.paths.append(self.path)
        if parts[:2] == ["api", "models"] and parts[4:5] == ["revision"]:
            self._describe("/".join(parts[2:4]), parts[5])
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[0] == "cdn":
            self._send("/".join(parts[1:3]), "/".join(parts[3:]))
        else:
            self._refuse(404, "")

    def _describe(self, name: str, revision: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.status and repository.status[1] != "GatedRepo":  # what a gated one holds, everyone may know
            return self._refuse(*repository.status)
        if revision not in ("main", repository.commit):
            return self._refuse(404, "RevisionNotFound")
        body = json.dumps(repository.described()).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.wfile.write(body)

    def _resolve(self, name: str, commit: str, path: str) -> None:
        repository = self.hub.repositories[name]
        assert commit == repository.commit
        if repository.status:
            return self._refuse(*repository.status)
        if repository.token and self.headers.get("Authorization") != f"Bearer {repository.token}":
            return self._refuse(401, "GatedRepo")
        if len(repository.files[path]) < LARGE:
            return self._send(name, path)
        content = repository.files[path]
        self._head(
            302,
            {
                "Location": f"http://localhost:{self.hub.server.server_port}/cdn/{name}/{path}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "Content-Length": "0",
            },
        )

    def _send(self, name: str, path: str) -> None:
        repository = self.hub.repositories[name]
        content = repository.served.get(path, repository.files[path])
        asked = self.headers.get("Range")
        agent = self.headers.get("User-Agent", "")
        self.hub.seen.append(Seen(path, asked, "Authorization" in self.headers, agent))
        start, status, more = 0, 200, {}
        if asked and repository.knows_ranges:
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), int(last) + 1
            if start >= len(content):
                return self._refuse(416, "")
            status, more = 206, {"Content-Range": f"bytes {start}-{min(stop, len(content)) - 1}/{len(content)}"}
            body = content[start:stop]
        else:
            body = content
        self._head(status, {"Content-Length": str(len(body)), "ETag": '"x"', **more})
        cuts = repository.cut.get(path)
        self._write(body, cuts.pop(0) if cuts else None, repository.stall.get(path))

    def _write(self, body: bytes, cut: int | None, stall: int | None) -> None:
        self.close_connection = self.close_connection or cut is not None
        try:
            self.wfile.write(body[: cut if cut is not None else stall])
            self.wfile.flush()
            if stall is not None:
                self.hub.closing.wait()
        except ConnectionError:
            self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "Content-Length": "0"})
