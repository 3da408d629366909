"""Questions on documents, answered by a quotation and the number of its document, in the form of the quote grammar.

The question names one thing and one of its attributes; other documents of the same family tell the same attribute of
other things, and the same document tells other attributes of this one. So both must be matched. Where the documents do
not tell, the answer is the grammar's sentence in the language of the question.

A sample asks several questions about its documents, one after another: reading documents is what costs, and only
answers are learnt.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from tramontane.engine.quotes import REFUSALS, Quotes
from tramontane.tokenizer.documents import Document, render_documents
from tramontane.training.generators.disguise import draw_disguise, family_stems
from tramontane.training.generators.documents import Drawn, Entry, Wish, draw_document
from tramontane.training.generators.families import Family
from tramontane.training.generators.material import LANGUAGES, Material, training_material
from tramontane.training.samples import Sample

Materials = Callable[[str], Material]

_DISGUISED = 0.5  # samples of which many words are invented
_MOST_OF_A_LIST = 7  # things of one list in the documents of a question


@dataclass(frozen=True)
class Difficulty:
    """How hard a question is; shares are probabilities."""

    documents: tuple[int, int] = (2, 24)  # at least and at most
    sentences: tuple[int, int] = (2, 9)  # of a document, about
    same_family: float = 0.5  # other documents that are of the same family as the one that answers
    paraphrase: float = 0.6  # questions in other words than the documents'
    abstain: float = 0.0  # questions without an answer
    foreign: float = 0.1  # questions in another language than the documents'
    whole_sentence: float = 0.06  # questions that ask for the whole sentence
    mentions: float = 0.1  # other documents that name the thing that is asked for, and do not answer
    questions: tuple[int, int] = (1, 6)  # of a sample, at least and at most
    keywords: float = 0.0  # questions that are a label and a name: "Delivery date, VD-157?"


# The first lessons: which document (each tells one thing), and what of it (one document, which tells several).
WHICH = Difficulty(
    (2, 5), (1, 1), same_family=0.9, paraphrase=0.0, foreign=0.0, whole_sentence=0.0, mentions=0.0, questions=(2, 6),
    keywords=0.3,
)  # fmt: skip
WHAT = Difficulty(
    (1, 1), (3, 7), paraphrase=0.0, foreign=0.0, whole_sentence=0.0, mentions=0.0, questions=(3, 8), keywords=0.3
)
EASY = Difficulty((1, 4), (1, 3), same_family=0.5, paraphrase=0.0, foreign=0.0, whole_sentence=0.0, mentions=0.0)
SHORT = Difficulty((2, 8), (1, 6), questions=(2, 10))
FULL = Difficulty(questions=(2, 14))
LONG = Difficulty((12, 24), (3, 8), questions=(4, 18))


@dataclass(frozen=True)
class QuoteQuestion:
    """A question on documents. `span` and `number` are the answer, None where there is none."""

    language: str  # of the question
    documents: list[Document]
    question: str
    span: str | None
    number: int | None
    identity: str = ""  # what is asked for,
    attribute: str = ""  # and what of it
    entries: tuple[tuple[Entry, ...], ...] = ()  # what each document tells

    @property
    def answer(self) -> str:
        """What the model is to say: `«span» [number]`, or the refusal."""
        if self.span is None:
            return REFUSALS[self.language]
        pair = Quotes(tuple(document.text for document in self.documents)).delimiters
        return f"{pair[0]}{self.span}{pair[1]} [{self.number}]"

    def with_span(self, span: str) -> QuoteQuestion:
        """The same question, with another piece of the same document as its answer."""
        return replace(self, span=span)


def is_refusal(text: str) -> bool:
    """Whether it is the sentence which says that the documents do not tell, in any language."""
    return text in REFUSALS.values()


def draw_question(
    rng: random.Random, language: str, difficulty: Difficulty, materials: Materials = training_material
) -> QuoteQuestion:
    """A question in documents of the language."""
    return _Draw(rng, language, difficulty, materials).question()


def draw_several(
    rng: random.Random, language: str, difficulty: Difficulty, materials: Materials = training_material
) -> list[QuoteQuestion]:
    """Questions on the same documents of the language, one at least, as many as the difficulty asks for at most."""
    drawing = _Draw(rng, language, difficulty, materials)
    asked = [drawing.question()]
    for _ in range(rng.randint(*difficulty.questions) - 1):
        another = drawing.another()
        if another is not None:
            asked.append(another)
    return asked


def quote_sample(rng: random.Random, kind: str, language: str, difficulty: Difficulty) -> Sample:
    """Questions on documents as a conversation; its language is that of the first question."""
    asked = draw_several(rng, language, difficulty)
    if rng.random() < _DISGUISED:
        asked = _disguised(rng, language, asked)
    return Sample(conversation(asked), None, kind, asked[0].language)


def _disguised(rng: random.Random, language: str, asked: list[QuoteQuestion]) -> list[QuoteQuestion]:
    """The same questions on the same documents, in words that stand in no template."""
    languages = {language, *(question.language for question in asked)}
    disguise = draw_disguise(rng, frozenset().union(*map(family_stems, languages)))
    documents = [
        Document(disguise(document.text), document.title and disguise(document.title))
        for document in asked[0].documents
    ]
    return [
        replace(
            question,
            documents=documents,
            question=disguise(question.question),
            span=None if question.span is None else disguise(question.span),
        )
        for question in asked
    ]


def look_up_sample(rng: random.Random, kind: str, language: str) -> Sample:
    """The simplest documents: one line each, a key and a value; the value is quoted with the number of its line."""
    material = training_material(language)
    names, values = material.names, material.values
    keys: dict[str, str] = {}
    for _ in range(rng.randint(2, 24)):
        key = rng.choice((names.person, names.code, names.brand, names.place))(rng)
        keys[key] = values.draw(rng.choice(("code", "place", "date", "count", "person", "time", "price")), rng)
    documents = [Document(f"{key}: {value}") for key, value in keys.items()]
    asked = [
        QuoteQuestion(language, documents, material.phrase("look_up", rng, e=key), keys[key], list(keys).index(key) + 1)
        for key in rng.sample(list(keys), rng.randint(1, min(8, len(keys))))
    ]
    return Sample(conversation(asked), None, kind, language)


def conversation(asked: list[QuoteQuestion]) -> list[dict[str, str]]:
    """Documents and a question, its answer, and further questions with theirs."""
    messages = []
    for place, question in enumerate(asked):
        content = render_documents([] if place else question.documents, question.question)
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": question.answer}]
    return messages


def abstaining(difficulty: Difficulty) -> Difficulty:
    """The same difficulty, where the documents never tell."""
    return replace(difficulty, abstain=1.0)


def _stands(value: str, text: str) -> bool:
    """Whether the value stands in the text, wherever its lines end: a quotation takes no notice of that."""
    return " ".join(value.split()) in " ".join(text.split())


class _Draw:
    """Documents being drawn and asked about: names that are taken, what was asked already."""

    def __init__(self, rng: random.Random, language: str, difficulty: Difficulty, materials: Materials) -> None:
        self._rng, self._difficulty, self._materials = rng, difficulty, materials
        self._material = materials(language)
        self._taken: set[str] = set()
        self._num_named: Counter[str] = Counter()  # by the kind of identity
        self._asked = ""  # the identity in the first question
        self._family: Family = rng.choice(list(self._material.families.values()))
        self._attribute = rng.choice(list(self._family.attributes))
        self._drawn: list[Drawn] = []
        self._known: set[tuple[str, str]] = set()  # (identity, attribute) of all questions

    def question(self) -> QuoteQuestion:
        """The first question, and the documents."""
        rng, difficulty = self._rng, self._difficulty
        abstains = rng.random() < difficulty.abstain
        count = rng.randint(*difficulty.documents)
        language = self._question_language()
        if abstains and rng.random() < 0.5:  # nothing tells of the one that is asked for
            target, entry = None, None
            self._asked = self._identity(self._family)
        else:
            target = self._target(told=not abstains)
            entry = rng.choice(target.entries)
            self._asked = entry.identity
        value = None if abstains or entry is None else entry.values[self._attribute]
        others = [self._other(value) for _ in range(count - (target is not None))]
        place = rng.randint(0, len(others))
        self._drawn = [*others[:place], *([target] if target else []), *others[place:]]
        told = None if abstains else entry
        return self._ask(language, self._family, self._asked, self._attribute, told, place)

    def another(self) -> QuoteQuestion | None:
        """A further question on the same documents; None where the one drawn was asked already, or is not clear."""
        rng = self._rng
        place = rng.randrange(len(self._drawn))
        drawn = self._drawn[place]
        entry = rng.choice(drawn.entries)
        told, identity = list(entry.values), entry.identity
        untold = [name for name in drawn.family.attributes if name not in entry.values]
        abstains = self._difficulty.abstain > 0 and rng.random() < 0.5
        if abstains and rng.random() < 0.5 and not self._is_exhausted(drawn.family):
            identity, untold = self._identity(drawn.family), list(drawn.family.attributes)
        if not (untold if abstains else told):
            return None
        attribute = rng.choice(untold if abstains else told)
        if (identity, attribute) in self._known:
            return None
        if not abstains and any(
            _stands(entry.values[attribute], other.document.text) for other in self._drawn if other is not drawn
        ):
            return None  # another document would be as right a citation
        language = self._question_language()
        return self._ask(language, drawn.family, identity, attribute, None if abstains else entry, place)

    def _ask(
        self, language: str, family: Family, identity: str, attribute: str, told: Entry | None, place: int
    ) -> QuoteQuestion:
        """The question for an attribute of an identity, which `told` of the document at `place` answers, if any."""
        whole = told is not None and attribute in told.sentences
        whole = whole and self._rng.random() < self._difficulty.whole_sentence
        span = None if told is None else told.sentences[attribute] if whole else told.values[attribute]
        self._known.add((identity, attribute))
        return QuoteQuestion(
            language,
            [one.document for one in self._drawn],
            self._words(language, "wrap_sentence" if whole else "wrap", family, identity, attribute),
            span,
            None if span is None else place + 1,
            identity,
            attribute,
            tuple(tuple(one.entries) for one in self._drawn),
        )

    def _question_language(self) -> str:
        if self._rng.random() < self._difficulty.foreign:
            return self._rng.choice([language for language in LANGUAGES if language != self._material.language])
        return self._material.language

    def _words(self, language: str, wrap: str, family: Family, identity: str, attribute: str) -> str:
        """The question in the language, in words near or far from the documents'."""
        rng, material = self._rng, self._materials(language)
        forms = material.families[family.name].attributes[attribute]
        if forms.labels and rng.random() < self._difficulty.keywords:
            label = material.fill(rng.choice(forms.labels), rng)
            return rng.choice(("{l}, {e}?", "{e}: {l}?", "{l} – {e}")).format(l=label, e=identity)
        far = rng.random() < self._difficulty.paraphrase
        words = rng.choice(forms.far_questions if far else forms.near_questions)
        return material.phrase(wrap, rng, q=material.fill(words, rng, lambda _: identity))

    def _sentences(self) -> int:
        return self._rng.randint(*self._difficulty.sentences)

    def _target(self, *, told: bool) -> Drawn:
        """The document of what is asked for, with or without the attribute."""
        must, without = (self._attribute, None) if told else (None, self._attribute)
        wish = Wish(self._sentences(), must, without)
        return draw_document(self._rng, self._material, self._family, wish, lambda: self._identity(self._family))

    def _other(self, value: str | None) -> Drawn:
        """A document that does not answer; it may tell the same of something else, with another value."""
        rng, difficulty = self._rng, self._difficulty
        same = rng.random() < difficulty.same_family and not self._is_exhausted(self._family)
        family = self._family if same else rng.choice(list(self._material.families.values()))
        while self._is_exhausted(family):
            family = rng.choice(list(self._material.families.values()))
        wish = Wish(self._sentences(), must=self._attribute if same and rng.random() < 0.7 else None)
        for _ in range(3):
            drawn = draw_document(rng, self._material, family, wish, lambda: self._identity(family))
            if value is None or not _stands(value, drawn.document.text):
                break
        if rng.random() < difficulty.mentions:
            mention = self._material.phrase("mention", rng, e=self._asked)
            apart = rng.choice((" ", "\n")) if drawn.document.text.endswith(".") else "\n"
            text = f"{drawn.document.text}{apart}{mention}"
            drawn = replace(drawn, document=replace(drawn.document, text=text))
        return drawn

    def _identity(self, family: Family) -> str:
        """A name that no document of this question has yet; of persons sometimes one of the same surname."""
        rng, names = self._rng, self._material.names
        while True:
            name = self._material.values.draw(family.identity, rng)
            if family.identity == "person" and " " in self._asked and rng.random() < 0.1:
                name = f"{names.first(rng)} {self._asked.split(' ', 1)[1]}"
            if name not in self._taken and name != self._asked:
                self._taken.add(name)
                self._num_named[family.identity] += 1
                return name

    def _is_exhausted(self, family: Family) -> bool:
        """Whether its things come from a list, animals say, of which so many were named that few are left."""
        return family.identity.startswith("word:") and self._num_named[family.identity] >= _MOST_OF_A_LIST
