"""Which licences a source may have, and what a Debian package says about its own."""

from __future__ import annotations

import re
from pathlib import Path

from tramontane.training.errors import SourceError

# Free licences that let text be copied and changed; by SPDX's name or Debian's, lower case, without a version.
ALLOWED = (
    *("gpl", "lgpl", "agpl", "gfdl", "fdl", "mpl", "apache", "expat", "mit", "isc", "zlib", "x11", "bsd", "psf"),
    *("python", "cc0", "cc-by", "cc-by-sa", "public-domain", "permissive", "artistic", "verbatim", "sleepycat"),
    "linux-man-pages",
)
# What forbids commerce or change makes a licence another one.
_NEVER = re.compile(r"(^|-)(nc|nd|proprietary|non-?free)(-|$)")
_MACHINE_READABLE = "https://www.debian.org/doc/packaging-manuals/copyright-format/"
# How older copyright files, plain prose, name a licence.
_PROSE = {
    "gpl": r"GNU General\s+Public\s+License|/common-licenses/GPL",
    "gfdl": r"GNU Free\s+Documentation\s+License|/common-licenses/GFDL",
    "psf": r"PSF LICENSE AGREEMENT|PYTHON SOFTWARE FOUNDATION LICENSE",
    "mpl": r"Mozilla\s+Public\s+License",
    "verbatim-and-modified": r"granted\s+to\s+copy\s+and\s+distribute\s+modified\s+versions",
}


def check_licence(name: str, licence: str) -> str:
    """The licence, if every part of it ("GPL-2+ or MIT") is on the list; else SourceError that names the source."""
    parts = [part for part in re.split(r"\s+(?:and|or|with)\s+|[,;|]", licence.strip(), flags=re.IGNORECASE) if part]
    if not parts:
        raise SourceError(f"The source {name} names no licence; it cannot be used without one.")
    for part in parts:
        plain = part.strip(" ()").lower().replace(" ", "-")
        if _NEVER.search(plain) or not any(re.match(rf"{re.escape(known)}(?![a-z])", plain) for known in ALLOWED):
            raise SourceError(
                f"The source {name} has the licence {part.strip()!r}, which is not on the list of free licences "
                f"({', '.join(ALLOWED)}); leave it out."
            )
    return licence.strip()


def package_licence(package: str, copyright_file: Path, covered: str = "") -> str:
    """The licences that a package's copyright file names, checked; SourceError when it names none that is allowed.

    `covered` narrows it to the paragraph that begins `Files: <covered>`, where that is the one of the text.
    """
    try:
        text = copyright_file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f"The package {package} has no readable copyright file: {error}.") from error
    if _MACHINE_READABLE in text[:400].replace("http://", "https://").replace("//dep.debian", "//www.debian"):
        names = _machine_readable(package, text, covered)
    else:
        names = sorted(name for name, pattern in _PROSE.items() if re.search(pattern, text))
    return " and ".join(check_licence(package, name) for name in names) or check_licence(package, "")


def _machine_readable(package: str, text: str, covered: str) -> list[str]:
    paragraphs = [
        p for p in text.split("\n\n") if not covered or re.search(rf"^Files:\s*{re.escape(covered)}\s", p, re.M)
    ]
    if not paragraphs:
        raise SourceError(f"The copyright file of {package} has no paragraph for the files {covered}.")
    named = re.findall(r"^License:[ \t]*(\S[^\n]*)$", "\n\n".join(paragraphs), flags=re.MULTILINE)
    return sorted({name.strip() for name in named})
