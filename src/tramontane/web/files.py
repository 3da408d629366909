"""Which files the pages may ask for, and in which form each is sent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

_PAGE_FILES = ("page.css", "docs.js", "icon.svg")  # named one by one: nothing else of the package can be asked for
_MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
    "woff2": "font/woff2",
    "md": "text/markdown",
}
_COMPRESSED = {"br": ".br", "gzip": ".gz"}  # the better one first
# The build puts a digest of the content into a name: what such a name stands for never changes.
_HASHED = re.compile(r"-[\w-]{8}\.\w+$")


@dataclass(frozen=True)
class WebFile:
    """A file in the form in which it is sent."""

    content: bytes
    media_type: str
    headers: dict[str, str]


def document(name: str) -> WebFile:
    """A page that comes with the package, by its name."""
    return _read(_package() / name, "")


def app_index(accepted: str) -> WebFile | None:
    """The web app's page; None if the app was not built. `accepted` is the request's Accept-Encoding."""
    index = _package() / "app" / "index.html"
    return _read(index, accepted) if index.is_file() else None


def asset(name: str, accepted: str) -> WebFile | None:
    """A file that a page loads, None if there is none of this name.

    The name is looked up among those that there are, and never joined to a path.
    """
    if name in _PAGE_FILES:
        return _read(_package() / name, accepted)
    folder = _package() / "app" / "assets"
    if not folder.is_dir():
        return None
    found = next((file for file in folder.iterdir() if file.name == name), None)
    if found is None or _extension(name) not in _MEDIA_TYPES:
        return None
    return _read(found, accepted)


def _package() -> Traversable:
    return resources.files("tramontane.web")


def _extension(name: str) -> str:
    return name.rpartition(".")[2]


def _read(file: Traversable, accepted: str) -> WebFile:
    cached = "public, max-age=31536000, immutable" if _HASHED.search(file.name) else "no-cache"
    headers = {"cache-control": cached, "vary": "accept-encoding"}
    media_type = _MEDIA_TYPES[_extension(file.name)]
    encodings = _encodings(accepted)
    with resources.as_file(file) as path:
        for encoding, suffix in _COMPRESSED.items():
            compressed = path.with_name(path.name + suffix)
            if encoding in encodings and compressed.is_file():
                return WebFile(compressed.read_bytes(), media_type, {**headers, "content-encoding": encoding})
        return WebFile(path.read_bytes(), media_type, headers)


def _encodings(accepted: str) -> set[str]:
    """What an Accept-Encoding header allows by name."""
    allowed = set()
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        if not re.fullmatch(r"q=0(\.0*)?", weight.strip()):
            allowed.add(name.strip())
    return allowed
