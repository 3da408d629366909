"""One source of text: its documents, and where they come from."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tramontane.training.errors import SourceError
from tramontane.training.recipe import SourceRecipe
from tramontane.training.sources.licences import check_licence, package_licence
from tramontane.training.sources.markup import html_to_text, man_to_text

_READERS: dict[str, Callable[[str], str]] = {
    ".html": html_to_text,
    ".htm": html_to_text,
    ".txt": str,
    ".md": str,
    ".py": str,
}
_MAN = re.compile(r"/man/(?:[a-z]{2}(?:[._][A-Za-z0-9-]+)?/)?man\d\w*/[^/]+\.\d\w*$")
_SHORTEST = 400  # characters: less is a redirection or an index


@dataclass(frozen=True)
class Source:
    """Text with a known origin and a free licence. `files` are read in the order of their names."""

    name: str
    version: str
    licence: str
    origin: str
    obtained: str  # YYYY-MM-DD
    language: str
    files: tuple[Path, ...]

    def documents(self) -> Iterator[tuple[str, str]]:
        """Each file's text with its path. Raises SourceError for a file that cannot be read as text."""
        for path in self.files:
            text = _read(path)
            if len(text) >= _SHORTEST:
                yield str(path), text


def find_source(recipe: SourceRecipe, root: Path = Path("/")) -> Source:
    """The source that a recipe names, its licence checked. Raises SourceError that says what is missing.

    `root` is where Debian's own files begin.
    """
    return _package(recipe, root) if recipe.package else _folder(recipe)


def _package(recipe: SourceRecipe, root: Path) -> Source:
    """An installed Debian package: its licence, version and files as the package itself states them."""
    name = recipe.package
    info = root / "var/lib/dpkg/info"
    lists = [path for path in (info / f"{name}.list", *sorted(info.glob(f"{name}:*.list"))) if path.is_file()]
    if not lists:
        raise SourceError(f"The Debian package {name} is not installed; apt-get install {name}.")
    licence = package_licence(name, root / "usr/share/doc" / name / "copyright", recipe.covered)
    paths = [root / line.lstrip("/") for line in lists[0].read_text().splitlines() if _is_text(line)]
    obtained = datetime.fromtimestamp(lists[0].stat().st_mtime, UTC).date().isoformat()
    version = _version(name, root / "var/lib/dpkg/status")
    files = tuple(sorted(path for path in paths if path.is_file() and not path.is_symlink()))
    if not files:
        raise SourceError(f"The Debian package {name} has no text to read; was its documentation left out?")
    return Source(name, version, licence, f"https://packages.debian.org/{name}", obtained, recipe.language, files)


def _version(package: str, status: Path) -> str:
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        if paragraph.startswith(f"Package: {package}\n"):
            match = re.search(r"^Version: (.+)$", paragraph, flags=re.MULTILINE)
            return match[1] if match else ""
    raise SourceError(f"{status} does not know the version of {package}.")


def _folder(recipe: SourceRecipe) -> Source:
    folder = Path(recipe.folder)
    if not folder.is_dir():
        raise SourceError(f"The source folder {folder} does not exist.")
    for key in ("origin", "obtained"):
        if not getattr(recipe, key):
            raise SourceError(f"The source {folder} does not say {key}; provenance must be known.")
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", recipe.obtained):
        raise SourceError(f"The source {folder} was obtained {recipe.obtained!r}, which is no date like 2026-11-24.")
    licence = check_licence(str(folder), recipe.licence)
    files = tuple(path for path in sorted(folder.rglob("*")) if path.is_file() and _is_text(str(path)))
    if not files:
        raise SourceError(f"The source folder {folder} holds no text (.txt, .md, .html, .py, manual pages).")
    return Source(folder.name, "", licence, recipe.origin, recipe.obtained, recipe.language, files)


def _is_text(path: str) -> bool:
    plain = path.removesuffix(".gz")
    return bool(_MAN.search(plain)) or Path(plain).suffix in _READERS


def _read(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        if b"\x00" in content:
            raise SourceError(f"{path} is not text; take it out of its source.") from None
        text = content.decode("latin-1")  # which any byte can be; a few old pages are
    except (OSError, EOFError, ValueError) as error:
        raise SourceError(f"{path} is damaged: {error}.") from error
    plain = str(path).removesuffix(".gz")
    reader = man_to_text if _MAN.search(plain) else _READERS[Path(plain).suffix]
    return reader(text.replace("\r\n", "\n")).strip()
