"""Text is used if its origin is known and its licence is free; else it is refused in a sentence."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tramontane.training.errors import SourceError
from tramontane.training.recipe import SourceRecipe
from tramontane.training.sources.cleaning import Cleaner
from tramontane.training.sources.licences import check_licence
from tramontane.training.sources.markup import html_to_text, man_to_text
from tramontane.training.sources.source import find_source

DEP5 = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n"
PAGE = (
    r""".\" a comment
.TH LS 1 "March 2024"
.SH NOM
ls \- afficher le contenu de r\['e]pertoires
.SH DESCRIPTION
.PP
Afficher les informations des
.I FICHIERs
\(Fo du r\[u00E9]pertoire courant \(Fc, voir
.BR dircolors (1).
.TS
table
.TE
"""
    + "Une phrase assez longue pour compter comme un document. " * 10
)


def install(root: Path, name: str, copyright_text: str, pages: dict[str, bytes]) -> None:
    """Debian's files of a package, as dpkg leaves them."""
    info = root / "var/lib/dpkg/info"
    info.mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").write_text(f"Package: other\nVersion: 9\n\nPackage: {name}\nVersion: 1.2-3\n\n")
    (info / f"{name}.list").write_text("\n".join(["/.", *pages]))
    doc = root / "usr/share/doc" / name
    doc.mkdir(parents=True)
    (doc / "copyright").write_text(copyright_text)
    for path, content in pages.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


PAGES = {"/usr/share/man/fr/man1/ls.1.gz": gzip.compress(PAGE.encode()), "/usr/bin/ls": b"\x00"}


def test_a_debian_package_tells_all_about_itself(tmp_path: Path) -> None:
    install(tmp_path, "manpages-fr", DEP5 + "Files: *\nLicense: GPL-3+ or MIT\n", PAGES)
    source = find_source(SourceRecipe("fr", package="manpages-fr"), tmp_path)
    assert (source.name, source.version, source.licence) == ("manpages-fr", "1.2-3", "GPL-3+ or MIT")
    assert source.origin == "https://packages.debian.org/manpages-fr"
    assert len(source.obtained) == 10
    ((path, text),) = source.documents()
    assert path.endswith("ls.1.gz")
    assert text.startswith("# NOM\n\nls - afficher")
    assert "FICHIERs «du répertoire courant», voir dircolors(1)." in text.replace("« ", "«").replace(" »", "»")
    assert "table" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEP5 + "Files: *\nLicense: CC-BY-NC-4.0\n", "has the licence 'CC-BY-NC-4.0', which is not on the list"),
        (DEP5 + "Files: *\nLicense: MIT\n\nFiles: logo\nLicense: other\n", "has the licence 'other'"),
        ("Copyright: us. All rights reserved.", "names no licence"),
    ],
)
def test_a_package_without_a_free_licence_is_refused(tmp_path: Path, text: str, said: str) -> None:
    install(tmp_path, "p", text, PAGES)
    with pytest.raises(SourceError, match=said):
        find_source(SourceRecipe("fr", package="p"), tmp_path)


def test_the_paragraph_that_covers_the_text_can_be_named(tmp_path: Path) -> None:
    install(tmp_path, "p", DEP5 + "Files: help/*\nLicense: MPL-2.0\n\nFiles: logo\nLicense: other\n", PAGES)
    assert find_source(SourceRecipe("fr", package="p", covered="help/*"), tmp_path).licence == "MPL-2.0"
    with pytest.raises(SourceError, match="no paragraph for the files text"):
        find_source(SourceRecipe("fr", package="p", covered="text/*"), tmp_path)


def test_prose_is_read_for_its_licence(tmp_path: Path) -> None:
    install(tmp_path, "p", "see /usr/share/common-licenses/GPL-2\n", PAGES)
    assert find_source(SourceRecipe("fr", package="p"), tmp_path).licence == "gpl"


def test_a_package_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="manpages-xx is not installed; apt-get install manpages-xx"):
        find_source(SourceRecipe("fr", package="manpages-xx"), tmp_path)


def _folder(tmp_path: Path, **changes: str) -> SourceRecipe:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("Ein Satz. " * 60)
    known = {"folder": str(folder), "licence": "CC0-1.0", "origin": "written here", "obtained": "2026-11-24"}
    return SourceRecipe("de", **(known | changes))


def test_a_folder_says_what_a_package_would(tmp_path: Path) -> None:
    source = find_source(_folder(tmp_path))
    assert [text for _, text in source.documents()] == [("Ein Satz. " * 60).strip()]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"licence": ""}, "names no licence"),
        ({"licence": "proprietary"}, "has the licence 'proprietary'"),
        ({"licence": "MIT and unknown"}, "has the licence 'unknown'"),
        ({"origin": ""}, "does not say origin"),
        ({"obtained": "yesterday"}, "obtained 'yesterday', which is no date"),
        ({"folder": "/nowhere/at/all"}, "does not exist"),
    ],
)
def test_a_folder_of_unknown_provenance_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(SourceError, match=said):
        find_source(_folder(tmp_path, **changes))


@pytest.mark.parametrize(("content", "said"), [(b"\x1f\x8b broken", "is damaged"), (b"\xff\x00\x01", "is damaged")])
def test_a_corrupt_file_is_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    recipe = _folder(tmp_path)
    (Path(recipe.folder) / "b.txt.gz").write_bytes(content)
    with pytest.raises(SourceError, match=rf"b\.txt\.gz {said}"):
        list(find_source(recipe).documents())


def test_what_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    recipe = _folder(tmp_path)
    (Path(recipe.folder) / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"b\.txt is not text"):
        list(find_source(recipe).documents())


@pytest.mark.parametrize("licence", ["GPL-3+", "cc-by-sa-4.0", "PSF-2.0", "MPL-1.1 or GPL-2 or LGPL-2", "BSD-3-clause"])
def test_free_licences(licence: str) -> None:
    assert check_licence("s", licence) == licence


@pytest.mark.parametrize("licence", ["CC-BY-ND-4.0", "mitigated", "non-free", "all rights reserved", "cc-by-nc-sa"])
def test_other_licences(licence: str) -> None:
    with pytest.raises(SourceError, match="not on the list of free licences"):
        check_licence("s", licence)


def test_html_becomes_paragraphs_and_code_keeps_its_lines() -> None:
    page = (
        "<head><title>x</title></head><nav>menu</nav><h1>Titre</h1><p>Un <b>mot</b>&nbsp;é\nici.</p><pre>a\n  b</pre>"
    )
    assert html_to_text(page) == "# Titre\n\nUn mot é ici.\n\na\n  b"
    assert html_to_text("<p>open <b>to the end") == "open to the end"


def test_a_manual_page_of_nothing_is_nothing() -> None:
    assert man_to_text("") == ""
    assert man_to_text(".TH X 1\n.so man1/ls.1\n") == ""


def test_personal_data_and_copies_go_and_are_counted() -> None:
    cleaner = Cleaner()
    long = "Ein Absatz, der lang genug ist, um nicht zufällig zweimal dazustehen, kommt nur einmal vor."
    text = cleaner.clean(f"Ask anna.b@example.org or +33 1 23 45 67 89.\n\n{long}\n\nshort\n\n{long}")
    assert text == f"Ask ⟨e-mail⟩ or ⟨telephone⟩.\n\n{long}\n\nshort"
    assert cleaner.clean(long) == ""
    assert (cleaner.personal_data_hits, cleaner.duplicates_removed) == (2, 2)
    assert cleaner.clean("IBAN DE89 3704 0044 0532 0130 00, page 12 345 678") == "IBAN ⟨iban⟩, page 12 345 678"
