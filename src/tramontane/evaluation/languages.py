"""Which of the five languages a text is in, told by its commonest words."""

from __future__ import annotations

import re

_WORDS = {
    "fr": "le la les des du un une et est dans pour je vous ne pas que qui sur à de ce suis mais donc font avec "
    "disent plus bonjour merci au cela voir retenue reste autre question service revoir bientôt votre vos te "
    "documents",
    "de": "der die das den dem ein eine und ist in für ich sie nicht dass wer auf zu von aber also mit es sagen bin "
    "mehr guten tag danke im dabei übertrag bleibt kann mir ihnen dokumente aus bis bald bitte gern noch frage "
    "wiedersehen alles gute geliehen",
    "es": "el los las del un una y es en para yo usted no que quién de lo dicen por pero con soy más hola gracias al "
    "eso tanto llevo puedo cuentas se documentos a mucho gusto su qué alguna otra pregunta adiós le vaya hasta "
    "pronto nada servicio pido",
    "it": "il lo gli i dei del un una e è per io non che chi di su ma quindi con sono dicono più buongiorno grazie "
    "al ciò riporto posso si della documenti a da altra domanda prego presto arrivederci qui prestito prendo",
    "en": "the a an and is in for i you not that who on to of but so with are do say am more hello thank this it "
    "carry can my documents from goodbye another question at your see soon service welcome",
}
_SETS = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")


def language_of(text: str) -> str | None:
    """The language whose commonest words the text has most of; None where no one is ahead."""
    words = _WORD.findall(text.lower())
    counts = {language: sum(word in known for word in words) for language, known in _SETS.items()}
    best = max(counts.values())
    ahead = [language for language, count in counts.items() if count == best]
    return ahead[0] if best and len(ahead) == 1 else None
