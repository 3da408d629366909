"""Which of the five languages a text is in, told by its commonest words."""

from __future__ import annotations

import re

_WORDS = {
    "fr": "le la les des du un une et est dans pour je vous ne pas que qui sur à de ce suis mais donc font avec "
    "disent plus bonjour merci au cela voir retenue reste autre question service revoir bientôt votre vos te "
    "documents j n c qu mon ma mes ton sa son ses leur leurs nous ils elle elles on où quand comment pourquoi "
    "si ou sans sous entre aussi très bien fait faire dit peut peux sont ont ai avez êtes être avoir cette "
    "ces cet même autres tout tous toute toutes jamais rien quelque quelques chez vers après avant pendant "
    "moi toi lui chose connais sais en l d s y a la écrire",
    "de": "der die das den dem ein eine und ist in für ich sie nicht dass wer auf zu von aber also mit es sagen bin "
    "mehr guten tag danke im dabei übertrag bleibt kann mir ihnen dokumente aus bis bald bitte gern noch "
    "frage wiedersehen alles gute geliehen dies diese dieser dieses ihr ihre ihren mich dich dir uns wir er "
    "man was wie wo wann warum wenn oder ohne unter über zwischen auch sehr gut haben hat habe wird werden "
    "wurde war sein sind kein keine keinen einem einen einer eines am zum zur vom beim nach vor seit während "
    "nur schon immer nie nichts etwas alle allem bei durch gegen um dann doch weil daß kenne weiß dafür darum "
    "anderes",
    "es": "el los las del un una y es en para yo usted no que quién de lo dicen por pero con soy más hola gracias "
    "al eso tanto llevo puedo cuentas se documentos a mucho gusto su qué alguna otra pregunta adiós le vaya "
    "hasta pronto nada servicio pido mi mis tu tus sus este esta estos estas ese esa ha han he hay son está "
    "están ser estar tiene tengo nos les te os sin sobre entre desde cuando cómo dónde cuál porque si o ni "
    "también muy bien todo todos toda todas nunca nadie algo alguien otro otros otras solo sólo puede pueden "
    "hacer decir cosa sí ya después antes conozco sé dice la próxima aquí estaré me",
    "it": "il lo gli i dei del un una e è per io non che chi di su ma quindi con sono dicono più buongiorno grazie "
    "al ciò riporto posso si della documenti a da altra domanda prego presto arrivederci qui prestito prendo "
    "mi ti ci vi ne lei lui noi voi loro mio mia miei tuo tua suo sua suoi questo questa questi queste quello "
    "quella ha hanno ho sia essere avere fa fare dire dice nel nella nei nelle dal dalla dai dalle dello "
    "degli delle sul sulla sui alla allo agli alle come quando dove perché se o né anche molto bene tutto "
    "tutti tutta tutte mai niente nulla qualcosa altro altri altre solo può possono dopo prima senza tra fra "
    "conosco la le in l d mie vostre vostri ciao cosa volete chiedetemi meglio potete nel aiuto",
    "en": "the a an and is in for i you not that who on to of but so with are do say am more hello thank this it "
    "carry can my documents from goodbye another question at your see soon service welcome me we they he she "
    "his her its our their us them there here what when where why how if or nor no yes without about into "
    "than then very well have has had was were be been being would could should will shall only just "
    "some any every all other others one please ask by as these those which whose most such let because "
    "between after before know does did bye until next time",
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
