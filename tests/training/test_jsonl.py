"""A line is a sample or a sentence that says why it is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.data import turn
from tramontane.training import jsonl
from tramontane.training.errors import SampleError, SourceError
from tramontane.training.jsonl import line_at, raw_lines, read_sample

CALL = {"id": "abcdefghi", "function": {"name": "find", "arguments": "{}"}}


def read(line: Any) -> Any:
    content = line if isinstance(line, bytes) else json.dumps(line).encode()
    return read_sample(content, "a.jsonl, line 3", "support", "fr")


def test_a_text_and_a_conversation() -> None:
    text = read({"text": "Un texte."})
    assert (text.is_text, text.kind, text.language, list(text.texts())) == (True, "support", "fr", ["Un texte."])
    tool = {"type": "function", "function": {"name": "find", "parameters": {}}}
    line = turn("Où ?", "Ici.", weight=0.5) | {"tools": [tool]}
    conversation = read(line)
    assert not conversation.is_text
    assert conversation.messages == line["messages"]
    assert list(conversation.texts()) == ["Où ?", "Ici.", json.dumps([tool])]
    assert read(turn("a", "b") | {"tools": None}).tools is None


def test_texts_are_what_tokens_will_say() -> None:
    calling = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    chunks = {"role": "user", "content": [{"type": "text", "text": "Où ?"}]}
    assert list(read({"messages": [chunks, calling]}).texts()) == ["Où ?", json.dumps(CALL["function"])]


@pytest.mark.parametrize("line", [b"", b"\n", b"  \r\n"])
def test_empty_lines_are_nothing(line: bytes) -> None:
    assert read(line) is None


def test_windows_files_are_read() -> None:
    assert read(b'\xef\xbb\xbf{"text": "a"}\r\n').messages == [{"text": "a"}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"text": "a"', r"it is not JSON \(Expecting ',' delimiter at character 13\)"),
        (b"hello", "it is not JSON"),
        (b"\xff\xfe{", "it is not UTF-8"),
        (b"[" * 100_000, "it is not JSON that can be read"),
        (b"9" * 5000, "it is not JSON that can be read"),
        (b'["a"]', "it must be an object"),
        ({}, "neither a text nor a list of messages"),
        ({"messages": []}, "neither a text nor a list of messages"),
        ({"messages": "a"}, "neither a text nor a list of messages"),
        ({"prompt": "a"}, "'prompt' is not a key that lines have beside 'messages'"),
        ({"text": "a", "tools": []}, "'tools' is not a key that lines have beside 'text'"),
        ({"text": " "}, "its text must be a text that is not empty"),
        ({"text": 3}, "its text must be a text that is not empty"),
        (turn("a", "b") | {"tools": {}}, "its tools must be a list of objects"),
        ({"messages": ["a"]}, "messages.0 must be an object"),
        (turn("a", "b", weigth=0), r"messages\.1\.weigth is not a key that messages have; known are role, "),
        (turn("a", "b", weight=-1), r"messages\.1\.weight must be a number of at least 0"),
        (turn("a", "b", weight=True), r"messages\.1\.weight must be a number"),
        (turn("a", "b", weight=float("nan")), r"messages\.1\.weight must be a number"),
        (turn("a", "b", weight=float("inf")), r"messages\.1\.weight must be a number"),
        (turn("a", "b", tool_calls=3), r"messages\.1\.tool_calls must be a list of objects"),
        (turn("a", "b", tool_calls=[{"id": "x"}]), r"messages\.1\.tool_calls must be a list .* with a function"),
        ({"messages": [{"role": "user", "content": "a", "weight": 1}]}, r"messages\.0\.weight is of a message that"),
    ],
)
def test_what_is_no_sample_is_refused_by_its_line(line: Any, said: str) -> None:
    with pytest.raises(SampleError, match=rf"^a\.jsonl, line 3: .*{said}") as refused:
        read(line)
    assert len(str(refused.value).splitlines()) == 1


def test_lines_are_found_again_by_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes("é\n\nzwei\u2028drei\r\nvier".encode())
    lines = list(raw_lines(path))
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [line.content.decode().strip() for line in lines] == ["é", "", "zwei\u2028drei", "vier"]
    assert [line_at(path, line.start) for line in lines] == [line.content for line in lines]


def test_a_line_as_long_as_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"short\n" + b"x" * 300)
    monkeypatch.setattr(jsonl, "LONGEST", 200)
    with pytest.raises(SampleError, match=r"a\.jsonl, line 2: it has more than"):
        list(raw_lines(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for read_it in (lambda path: list(raw_lines(path)), lambda path: line_at(path, 0)):
        with pytest.raises(SourceError, match=r"The data file .*a\.jsonl cannot be read \(No such file"):
            read_it(tmp_path / "a.jsonl")
    with pytest.raises(SourceError, match="Is a directory"):
        list(raw_lines(tmp_path))
