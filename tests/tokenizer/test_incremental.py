"""A stream of tokens shows whole characters only, and adds up to the decoding of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.texts import TEXTS, texts
from tramontane.tokenizer.incremental import Control, IncrementalDecoder
from tramontane.tokenizer.tokenizer import Tokenizer

Load = Callable[[str], Tokenizer]


def stream(tokenizer: Tokenizer, ids: Iterable[int], *, continues: bool = False) -> list[str | Control]:
    decoder = IncrementalDecoder(tokenizer, continues=continues)
    return [piece for token_id in ids for piece in decoder.feed(token_id)] + decoder.flush()


def strings(pieces: list[str | Control]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


def test_random_ids_add_up_to_the_decoding_of_the_whole(tokenizer: Tokenizer) -> None:
    controls = sorted(tokenizer.control_names)
    byte_tokens = [token_id for token_id, data in enumerate(tokenizer.byte_table) if len(data) == 1]
    ids_of = st.integers(-1, tokenizer.vocab_size) | st.sampled_from(byte_tokens) | st.sampled_from(controls)

    @given(st.lists(ids_of, max_size=30))
    @settings(deadline=None)
    def check(ids: list[int]) -> None:
        pieces = stream(tokenizer, ids)
        assert strings(pieces) == tokenizer.decode(ids)
        assert [piece.id for piece in pieces if isinstance(piece, Control)] == [i for i in ids if i in controls]
        assert "" not in pieces

    check()


def test_real_text_adds_up_and_never_shows_half_a_character(tokenizer: Tokenizer) -> None:
    @given(texts)
    @settings(deadline=None)
    def check(text: str) -> None:
        pieces = stream(tokenizer, tokenizer.encode(text))
        assert strings(pieces) == text
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in pieces if isinstance(piece, str))

    check()


def test_each_character_comes_with_its_last_byte(tokenizer: Tokenizer) -> None:
    byte_ids = {data[0]: i for i, data in reversed([*enumerate(tokenizer.byte_table)]) if len(data) == 1}
    decoder = IncrementalDecoder(tokenizer, continues=True)
    text = "é☺𝄞"
    shown = [decoder.feed(byte_ids[byte]) for byte in text.encode()]
    assert shown == [[], ["é"], [], [], ["☺"], [], [], [], ["𝄞"]]


def test_invalid_bytes_are_replaced_as_soon_as_they_are_certain(load: Load) -> None:
    tokenizer = load("tekken-v13")
    byte_ids = {data[0]: i for i, data in enumerate(tokenizer.byte_table) if len(data) == 1}
    decoder = IncrementalDecoder(tokenizer)
    assert decoder.feed(byte_ids[0xFF]) == ["\ufffd"]
    assert decoder.feed(byte_ids[0xE2]) == []
    assert decoder.feed(byte_ids[0x41]) == ["\ufffdA"]
    assert decoder.feed(byte_ids[0xF0]) == []
    assert decoder.feed(tokenizer.eos_id) == ["\ufffd", Control(tokenizer.eos_id, "</s>")]
    assert decoder.feed(byte_ids[0xC3]) == []
    assert decoder.flush() == ["\ufffd"]
    assert decoder.flush() == []


def test_the_leading_blank_is_dropped_at_the_beginning_and_kept_in_a_continuation(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Hello there")
    blank = " " if tokenizer.kind == "spm" else ""
    assert strings(stream(tokenizer, ids)) == "Hello there"
    assert strings(stream(tokenizer, [tokenizer.bos_id, *ids])) == "Hello there"
    assert strings(stream(tokenizer, ids, continues=True)) == blank + "Hello there"


def test_a_text_cut_in_two_is_continued_seamlessly(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        ids = tokenizer.encode(text)
        for cut in range(1, len(ids)):
            begun = IncrementalDecoder(tokenizer)
            head = [piece for token_id in ids[:cut] for piece in begun.feed(token_id)]
            if begun.flush():
                continue  # the cut is inside a character
            assert strings(head) + strings(stream(tokenizer, ids[cut:], continues=True)) == text


def test_it_takes_a_few_microseconds_a_token(load: Load) -> None:
    tokenizer = load("tekken-v3")
    ids = tokenizer.encode("The wind that blows beside the mistral. " * 2000)
    started = time.perf_counter()
    stream(tokenizer, ids)
    assert (time.perf_counter() - started) / len(ids) < 20e-6  # 0.4 µs on an idle core
