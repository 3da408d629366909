"""What the web app's first load costs, and that no file of it asks anybody else for anything."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

import tramontane.web

APP = Path(tramontane.web.__file__).parent / "app"
MOST_BYTES = 200_000  # of scripts, compressed
ENTRY = "index.html"

pytestmark = pytest.mark.skipif(not (APP / ENTRY).is_file(), reason="The web app is not built: make web")

# Names of vocabularies, and pages that error messages point to: none is ever asked for.
MENTIONED = (
    "http://www.w3.org/1998/Math/MathML",
    "http://www.w3.org/1999/xhtml",
    "http://www.w3.org/2000/svg",
    "https://svelte.dev/e/",
    "https://github.com/highlightjs/highlight.js/",
    "https://vllm.example.org/v1",  # shows how an address is written
)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((APP / ".vite" / "manifest.json").read_text())
    return found


def loaded(manifest: dict[str, Any], name: str) -> set[str]:
    """The files of a chunk and of all that it imports before it runs."""
    chunk = manifest[name]
    files = {chunk["file"], *chunk.get("css", [])}
    return files.union(*(loaded(manifest, other) for other in chunk.get("imports", [])))


def compressed(file: str) -> int:
    return len(gzip.compress((APP / file).read_bytes(), 9))


def test_the_first_load_is_small(manifest: dict[str, Any]) -> None:
    """The page's own scripts, and the messages of one language: the longest."""
    languages = [name for name in manifest if re.fullmatch(r"messages/\w+\.json", name)]
    assert len(languages) == 5
    own = sum(compressed(file) for file in loaded(manifest, ENTRY) if file.endswith(".js"))
    messages = max(compressed(manifest[name]["file"]) for name in languages)
    print(f"first load: {own + messages} bytes of scripts, compressed")
    assert own + messages <= MOST_BYTES


@pytest.mark.parametrize("part", ["temml", "markdown/languages", "console/Console.svelte", "messages/console-money/en"])
def test_what_only_some_need_comes_later(manifest: dict[str, Any], part: str) -> None:
    [name] = [name for name in manifest if part in name]
    assert manifest[name]["isDynamicEntry"]
    assert manifest[name]["file"] not in loaded(manifest, ENTRY)


def test_no_file_mentions_another_host() -> None:
    files = [file for file in APP.rglob("*") if file.suffix in (".js", ".css", ".html", ".svg")]
    assert len(files) > 5
    for file in files:
        addresses = re.findall(r"""(?:https?:|wss?:)?//[\w-]+(?:\.[\w-]+)+[^\s"'`)\\]*""", file.read_text())
        assert [address for address in addresses if not address.startswith(MENTIONED)] == [], file.name


def test_nothing_is_evaluated_or_inlined() -> None:
    """The policy of the pages forbids both; what is there in vain would be an error on the console."""
    for file in (APP / "assets").glob("*.js"):
        assert not re.search(r"\beval\(|new Function\(", file.read_text()), file.name
    for file in (APP / "assets").glob("*.css"):
        assert not re.search(r"@import|url\((?!/assets/)", file.read_text()), file.name
