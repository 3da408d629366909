"""Words that stand in every question and tell nothing of what is asked, in five languages, without their accents."""

from __future__ import annotations

import re

from tramontane.conversations.plain_text import folded

_ENGLISH = """a about all also am an and any are as at be because been but by can could did do does for from had has
have he her his how i if in into is it its me my no not of on or our she should so some such than that the their them
then there these they this those to us was we were what when where which who whom whose why will with would you your"""

_FRENCH = """a ai alors au aux avec c ce ceci cela ces cet cette ceux ci comment d dans de des du elle elles en est et
etait etre eu fait il ils j je l la le les leur leurs lui m ma mais me mes moi mon n ne nos notre nous on ont ou par
pas pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa sans se ses si son sont sur t ta te tes toi ton
tu un une vos votre vous y"""

_GERMAN = """aber alle als also am an auch auf aus bei bin bis bist da damit dann das dass dem den denn der des dessen
die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es euer fur hat hatte
ich ihm ihn ihr ihre im in ist ja kann kein keine mein mich mir mit nach nicht noch nun nur ob oder sein seine sich sie
sind so uber um und uns unser unter vom von vor wann war waren warum was weil welche welchem welchen welcher welches
wem wen wenn wer werden wessen wie wieso wir wird wo wurde zu zum zur"""

_SPANISH = """a al algo como con cual cuales cuando cuanta cuantas cuanto cuantos de del desde donde e el ella ellas
ellos en entre era eres es esa ese eso esta estan este esto fue ha han hasta hay la las le les lo los mas me mi mis muy
ni no nos o para pero por porque que quien quienes se ser si sin sobre son su sus te tiene tu tus un una uno unos y ya
yo"""

_ITALIAN = """a ad agli ai al alla alle allo anche c che chi ci come con cosa cui da dai dal dalla dalle dallo d degli
dei del della delle dello di dove e ed era gli ha hanno i il in io l la le lei lo loro lui ma mi mia mie mio ne nei nel
nella nelle nello noi non o per perche piu quale quali quando quanta quante quanti quanto quella quello questa questo s
se sei si sono su sua sue sugli sui sul sulla suo tra tu un una uno voi"""

_WORDS = {"en": _ENGLISH, "fr": _FRENCH, "de": _GERMAN, "es": _SPANISH, "it": _ITALIAN}
_OF_LANGUAGE = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")

STOP_WORDS = frozenset().union(*_OF_LANGUAGE.values())
"""In lower case. A word of one language that tells something in another, such as `die`, is no loss to a ranking."""


def language_of(text: str) -> str | None:
    """Which of the five languages a text has most of these words of; None where none is ahead."""
    words = _WORD.findall(folded(text))
    counts = {language: sum(word in known for word in words) for language, known in _OF_LANGUAGE.items()}
    best = max(counts.values())
    ahead = [language for language, count in counts.items() if count == best]
    return ahead[0] if best and len(ahead) == 1 else None
