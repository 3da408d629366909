"""What is taken out of text before it is learnt: personal data, and what was there already."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

# Addresses and numbers that reach a person. Each is replaced by its name, in brackets that no document uses.
_PERSONAL = {
    "e-mail": re.compile(r"[\w.+%-]+(?:@|\s?\(at\)\s?|\s?<at>\s?)[\w-]+(?:\.[\w-]+)+"),
    "telephone": re.compile(r"(?<![\w.])\+\d{1,3}(?:[ ./()-]{0,2}\d){7,12}(?!\w)"),
    "iban": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
}
_SHORTEST = 80  # characters; shorter paragraphs recur by nature (headings, options) and are no copies


@dataclass
class Cleaner:
    """Cleans documents one after another, and counts. `seen` is shared by sources, so that copies between them go."""

    seen: set[bytes] = field(default_factory=set)
    personal_data_hits: int = 0
    duplicates_removed: int = 0

    def clean(self, text: str) -> str:
        """The text without personal data and without paragraphs that came before; maybe empty."""
        kept = []
        for paragraph in text.split("\n\n"):
            digest = hashlib.sha256(paragraph.encode()).digest()[:12]
            if len(paragraph) >= _SHORTEST and digest in self.seen:
                self.duplicates_removed += 1
                continue
            self.seen.add(digest)
            kept.append(self._without_personal_data(paragraph))
        return "\n\n".join(kept).strip()

    def count_personal_data(self, text: str) -> None:
        """Counts what a text has of it, and changes nothing."""
        self._without_personal_data(text)

    def _without_personal_data(self, text: str) -> str:
        for name, pattern in _PERSONAL.items():
            text, hits = pattern.subn(f"⟨{name}⟩", text)
            self.personal_data_hits += hits
        return text
