"""What is shown of an answer: whole characters, in order, and nothing of the string that ended it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tramontane.engine.text import TextStream
from tramontane.tokenizer.incremental import Control
from tramontane.tokenizer.tokenizer import Tokenizer

TEXT = "L’hiver, le vent du nord — la « tramontane » — souffle sur Perpignan 🌬️🌬️. It blows, and blows, and blows!\n\n"

pytestmark = pytest.mark.parametrize("name", ["spm", "tekken"])


@pytest.fixture
def tokenizer(name: str, spm: Tokenizer, tekken: Tokenizer) -> Tokenizer:
    return spm if name == "spm" else tekken


def tokens_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text)


def shown(stream: TextStream, tokens: list[int], min_tokens: int = 0) -> list[str]:
    """What is shown after each token, and at the end."""
    pieces = []
    for number, token in enumerate(tokens, start=1):
        pieces.append("".join(map(str, stream.feed(token, may_stop=number >= min_tokens))))
        if stream.stopped_by is not None:
            break
    return [*pieces, "".join(map(str, stream.flush()))]


def test_without_stop_strings_everything_comes_at_once(tokenizer: Tokenizer) -> None:
    tokens = tokens_of(tokenizer, TEXT)
    pieces = shown(TextStream(tokenizer), tokens)
    assert "".join(pieces) == TEXT
    assert "�" not in "".join(pieces)
    assert sum(map(bool, pieces)) > len(pieces) // 2


@pytest.mark.parametrize("stop", ["nord", "d — l", "🌬", "️🌬️.", "blows, and blows!", "\n", "\n\n", "L", "!\n\n", TEXT])
def test_the_text_ends_before_its_stop_string(tokenizer: Tokenizer, stop: str) -> None:
    stream = TextStream(tokenizer, [stop])
    assert "".join(shown(stream, tokens_of(tokenizer, TEXT))) == TEXT[: TEXT.index(stop)]
    assert stream.stopped_by == stop


def test_a_stop_string_across_tokens_is_held_back(tokenizer: Tokenizer) -> None:
    """Each beginning of it waits, and is shown as soon as it can be one no more."""
    stop, tokens = "blows, and blows!", tokens_of(tokenizer, "It blows, and blows, and stops")
    pieces = shown(TextStream(tokenizer, [stop]), tokens)
    for number in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:number])
        held = max(length for length in range(len(stop)) if text.endswith(stop[:length]))
        assert "".join(pieces[:number]) == text[: len(text) - held]
    assert "" in pieces
    assert "".join(pieces) == "It blows, and blows, and stops"


def test_what_is_held_at_the_end_is_shown(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, ["blows, and stops"])
    pieces = shown(stream, tokens_of(tokenizer, "It blows, and"))
    assert "".join(pieces) == "It blows, and"
    assert pieces[-1] == "blows, and"
    assert stream.stopped_by is None


def test_half_a_character_is_never_shown_before_the_end(tokenizer: Tokenizer) -> None:
    tokens = tokens_of(tokenizer, "wind 🌬")
    assert "".join(shown(TextStream(tokenizer), tokens)) == "wind 🌬"
    cut = shown(TextStream(tokenizer), tokens[:-1])
    assert cut[-1] == "�"
    assert "".join(cut[:-1]).strip() == "wind"


def test_after_the_stop_string_nothing_is_shown(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, ["vent"])
    tokens = tokens_of(tokenizer, "le vent du nord")
    pieces = [piece for token in tokens for piece in ([] if stream.stopped_by else stream.feed(token))]
    assert "".join(map(str, pieces)) == "le "
    assert stream.flush() == []


def test_control_tokens_come_in_their_place(tokenizer: Tokenizer) -> None:
    control = tokenizer.control_id("[INST]")
    assert control is not None
    tokens = [*tokens_of(tokenizer, "one st"), control, *tokens_of(tokenizer, "op two")]
    stream = TextStream(tokenizer, ["stop"])
    pieces = [piece for token in tokens for piece in stream.feed(token)] + stream.flush()
    at = pieces.index(Control(control, "[INST]"))
    assert "".join(map(str, pieces[:at])) == "one st"  # a stop string does not reach across
    assert "".join(map(str, pieces[at + 1 :])).strip() == "op two"
    assert stream.stopped_by is None


def test_stop_strings_before_the_least_length_are_text(tokenizer: Tokenizer) -> None:
    tokens = tokens_of(tokenizer, "blows, and blows, and blows")
    first = len(tokens_of(tokenizer, "blows, and"))
    stream = TextStream(tokenizer, ["blows"])
    assert "".join(shown(stream, tokens, min_tokens=first)) == "blows, and "
    assert stream.stopped_by == "blows"


def expected(tokenizer: Tokenizer, tokens: list[int], stops: list[str]) -> tuple[str, str | None]:
    """Looks at the whole text after each token."""
    text = ""
    for number in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:number]).rstrip("�")
        if found := [(text.index(stop), stop) for stop in stops if stop in text]:
            at, stop = min(found)
            return text[:at], stop
    return text, None


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_stop_strings_end_the_text_where_the_first_is_complete(tokenizer: Tokenizer, data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab é🌬", min_size=1, max_size=25) | st.just(TEXT))
    stops = []
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text) - 1))
        stops.append(text[start : start + data.draw(st.integers(1, 9))] + data.draw(st.sampled_from(["", "", "x"])))
    tokens = tokens_of(tokenizer, text)
    stream = TextStream(tokenizer, stops)
    assert ("".join(shown(stream, tokens)), stream.stopped_by) == expected(tokenizer, tokens, stops)
