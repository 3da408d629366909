"""Questions on the sources' own text: how does a sentence of one of these passages go on?

Templates have a few hundred words; real prose has all of them. Who can find a sentence by some of its words, among
others that nobody wrote for the purpose, finds them in documents of any kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tramontane.tokenizer.documents import Document
from tramontane.training.generators.material import LANGUAGES
from tramontane.training.generators.quotes import QuoteQuestion, conversation
from tramontane.training.samples import Sample

# The words that are asked for are followed by a blank, as they are in their sentence: so they are the same tokens.
# fmt: off
_ASKING = {
    "fr": ["Comment continue : {c} … ?", "Que disent les documents après {c} … ?", "{c} … et puis ?"],
    "de": ["Wie geht es weiter: {c} …?", "Was sagen die Dokumente nach {c} …?", "{c} … und dann?"],
    "es": ["¿Cómo sigue: {c} …?", "¿Qué dicen los documentos después de {c} …?", "{c} … ¿y luego?"],
    "it": ["Come continua: {c} …?", "Che cosa dicono i documenti dopo {c} …?", "{c} … e poi?"],
    "en": ["How does it go on: {c} …?", "What do the documents say after {c} …?", "{c} … and then?"],
}
# fmt: on
_SENTENCE_START = re.compile(r"(?<=[.!?:])\s+|\n+")
_EDGE = "\"'().,;:!?«»“”„…-–—*#/ "
_MOST_WORDS = 7  # of an answer
_TRIES = 6  # sentences that are looked at for a question

Passage = Callable[[random.Random, str, int], str]
"""A piece of the sources' text in a language, of about so many tokens."""


@dataclass(frozen=True)
class _Cloze:
    cue: str
    answer: str


def continue_sample(rng: random.Random, kind: str, passage: Passage) -> Sample | None:
    """Some passages and questions on them; None where the passages that were drawn make no clear question."""
    language = rng.choice(LANGUAGES)
    texts = [_whole_sentences(passage(rng, language, rng.randint(40, 160))) for _ in range(rng.randint(2, 10))]
    texts = [text for text in texts if text]
    if len(texts) < 2:
        return None
    documents = [Document(text) for text in texts]
    asked = []
    for _ in range(rng.randint(2, 10)):
        place = rng.randrange(len(texts))
        cloze = _draw_cloze(rng, texts[place])
        if cloze is None or any(cloze.answer in text for n, text in enumerate(texts) if n != place):
            continue
        question = rng.choice(_ASKING[language]).format(c=cloze.cue)
        asked.append(QuoteQuestion(language, documents, question, cloze.answer, place + 1))
    return Sample(conversation(asked), None, kind, language) if asked else None


def _whole_sentences(text: str) -> str:
    """The text without the sentence that it begins in the middle of, and the one that it breaks off in."""
    pieces = _SENTENCE_START.split(text.strip())
    kept = " ".join(" ".join(piece.split()) for piece in pieces[1:-1])
    return kept if len(kept) > 60 else ""  # characters: less is a heading


def _draw_cloze(rng: random.Random, text: str) -> _Cloze | None:
    """Some words of a sentence, and those that follow them up to its next mark."""
    for _ in range(_TRIES):
        words = rng.choice(_SENTENCE_START.split(text)).split()
        if len(words) < 6:  # too short for a cue and an answer
            continue
        start = rng.randint(3, len(words) - 1)
        cue = _thinned(rng, words[max(0, start - rng.randint(3, 6)) : start])
        answer = _up_to_mark(words[start : start + _MOST_WORDS])
        if cue and any(character.isalnum() for character in answer) and text.count(answer) == 1:
            return _Cloze(cue, answer)
    return None


def _thinned(rng: random.Random, words: Sequence[str]) -> str:
    """The words, at times without some of them: a question rarely repeats a sentence."""
    if rng.random() < 0.5:  # half of the times
        words = [*(word for word in words[:-1] if rng.random() < 0.7), words[-1]]  # most of them
    return " ".join(words).strip(_EDGE)


def _up_to_mark(words: Sequence[str]) -> str:
    """The words up to the first that ends with a mark, without marks at either end; "" where none does."""
    for count, word in enumerate(words, start=1):
        if word[-1] in ".,;:!?)":
            return " ".join(words[:count]).strip(_EDGE)
    return ""
