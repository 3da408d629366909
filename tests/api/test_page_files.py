"""What the pages load: nothing that is not theirs, in the best form that browsers take, kept as long as it may be."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest

from tests.api.live import LiveServer
from tests.api.talking import ask
from tramontane.web import files

APP = Path(files.__file__).parent / "app"
built = pytest.mark.skipif(not (APP / "index.html").is_file(), reason="The web app is not built: make web")
PAGES = ["/", "/c/0123456789abcdef", "/library", "/models", "/shared/a-b_c"]


@built
@pytest.mark.parametrize("path", PAGES)
def test_every_page_of_the_app_is_its_index(server: LiveServer, path: str) -> None:
    reply = ask(server, path, key=None)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.body == (APP / "index.html").read_bytes()


@built
def test_the_index_has_no_script_or_style_of_its_own() -> None:
    page = (APP / "index.html").read_text()
    assert re.findall(r"<script[^>]*>(?!</script>)|<style|style=|\son\w+=", page) == []
    assert all(address.startswith("/assets/") for address in re.findall(r'(?:src|href)="([^"]*)"', page))


@built
def test_all_that_was_built_can_be_had_and_kept(server: LiveServer) -> None:
    kinds = {
        "js": "text/javascript",
        "css": "text/css",
        "woff2": "font/woff2",
        "svg": "image/svg+xml",
        "md": "text/markdown",
    }
    for file in (APP / "assets").iterdir():
        if file.suffix in (".br", ".gz"):
            continue
        reply = ask(server, f"/assets/{file.name}", key=None)
        assert reply.status == 200, file
        assert reply.body == file.read_bytes()
        assert reply.headers["content-type"].startswith(kinds[file.suffix[1:]])
        assert reply.headers["cache-control"] == (
            "no-cache" if file.suffix == ".md" else "public, max-age=31536000, immutable"
        )


@built
@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
def test_files_come_compressed_as_the_browser_takes_them(
    server: LiveServer, accepted: str, encoding: str | None
) -> None:
    script = max((APP / "assets").glob("*.js"), key=lambda file: file.stat().st_size)
    reply = ask(server, f"/assets/{script.name}", headers={"accept-encoding": accepted}, key=None)
    assert reply.headers.get("content-encoding") == encoding
    assert reply.headers["vary"] == "accept-encoding"
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    if encoding == "gzip":
        assert gzip.decompress(reply.body) == script.read_bytes()
    else:
        assert reply.body == script.with_name(script.name + {"br": ".br", None: ""}[encoding]).read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "..%2findex.html",
        "..",
        "%2e%2e%2f__init__.py",
        "index.html",
        "__init__.py",
        "files.py",
        "docs.html",
        ".vite",
        "x.js.br",
        "",
        "%00",
        "a/b",
    ],
)
def test_nothing_else_can_be_had(server: LiveServer, name: str) -> None:
    assert ask(server, f"/assets/{name}", key=None).status == 404


@built
def test_compressed_files_have_no_address_of_their_own(server: LiveServer) -> None:
    assert ask(server, f"/assets/{next((APP / 'assets').glob('*.br')).name}", key=None).status == 404


def test_without_the_app_the_page_says_how_to_build_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(APP.parent / "icon.svg", tmp_path)
    monkeypatch.setattr(files, "_package", lambda: tmp_path)
    assert files.app_index("") is None
    assert files.asset("index-01234567.js", "") is None
    assert files.asset("icon.svg", "") is not None
