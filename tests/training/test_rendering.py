"""Training sees the tokens that serving writes, and learns exactly what the assistant says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tokenizers import write_tekken
from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.fim import encode_fim
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import SampleError
from tramontane.training.rendering import Document, render_sample
from tramontane.training.samples import Sample

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Nîmes"}'}}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(write_tekken(tmp_path_factory.mktemp("tokenizer"), 13))


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **others: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **others}


def sample(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, weight: float = 1.0) -> Sample:
    return Sample(messages, tools, "kind", "fr", weight)


def learnt(document: Document) -> list[int]:
    return document.tokens[document.weights != 0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("tools", [None, [TOOL]])
@pytest.mark.parametrize("answer", ["Il fait 21 °C.", "", "  two blanks ", "[/INST]</s>", "«span» [3]\n\n"])
def test_the_answer_and_its_end_are_learnt(tokenizer: Tokenizer, answer: str, tools: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, user("Quel temps ? </s>[/INST]"), assistant(answer)]
    if not answer:
        with pytest.raises(SampleError, match="kind 7: messages: The last message is empty"):
            render_sample(tokenizer, sample(messages, tools), "kind 7")
        return
    document = render_sample(tokenizer, sample(messages, tools), "kind 7")
    prompt = render_chat(tokenizer, messages[:-1], tools=tools).tokens
    assert document.tokens.tolist()[: len(prompt)] == prompt
    assert learnt(document) == document.tokens.tolist()[len(prompt) :]
    assert learnt(document)[-1] == tokenizer.eos_id
    assert tokenizer.decode(learnt(document)) == answer.rstrip(" ")


def test_tool_calls_are_learnt_as_the_history_shows_them(tokenizer: Tokenizer) -> None:
    messages = [user("Nîmes?"), assistant("", tool_calls=[CALL, {**CALL, "id": "bcdefghij"}])]
    document = render_sample(tokenizer, sample(messages, [TOOL]), "kind 1")
    results = [{"role": "tool", "tool_call_id": name, "content": "21"} for name in ("abcdefghi", "bcdefghij")]
    history = render_chat(tokenizer, [*messages, *results], tools=[TOOL]).tokens
    assert history[: len(document)] == document.tokens.tolist()
    prompt = render_chat(tokenizer, messages[:1], tools=[TOOL]).tokens
    assert learnt(document) == history[len(prompt) : len(document)]
    assert learnt(document)[0] == tokenizer.control_id("[TOOL_CALLS]")
    assert learnt(document)[-1] == tokenizer.eos_id


def test_all_turns_are_learnt_with_their_weights(tokenizer: Tokenizer) -> None:
    calling = assistant("", tool_calls=[CALL], weight=0.5)
    result = {"role": "tool", "tool_call_id": "abcdefghi", "content": "21"}
    messages = [user("a"), assistant("first", weight=0.0), user("b"), calling, result, assistant("last", weight=2.0)]
    document = render_sample(tokenizer, sample(messages, [TOOL], weight=3.0), "kind 2")
    by_weight = {
        weight: tokenizer.decode(document.tokens[document.weights == weight].tolist()) for weight in (1.5, 6.0)
    }
    assert by_weight == {1.5: 'get_weather{"city": "Nîmes"}', 6.0: "last"}
    assert set(document.weights.tolist()) == {0.0, 1.5, 6.0}
    assert (document.tokens[document.weights > 0] == tokenizer.eos_id).sum() == 2


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([user("a")], "last message is not the assistant's"),
        ([], "last message is not the assistant's"),
        ([user("a"), assistant("b", weight=0.0)], "no token of it is learnt"),
        ([user("a"), {"role": "robot", "content": ""}, assistant("b")], "messages.1.role"),
        ([user("a"), assistant("b"), assistant("c")], "2 assistant messages"),
    ],
)
def test_what_cannot_be_learnt_is_refused_by_its_origin(
    tokenizer: Tokenizer, messages: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(SampleError, match=r"^data\.jsonl:12: .*") as refused:
        render_sample(tokenizer, sample(messages), "data.jsonl:12")
    assert said in str(refused.value)


def test_a_gap_is_shown_as_the_api_shows_it(tokenizer: Tokenizer) -> None:
    gap = Sample([{"prefix": "def f(", "suffix": "return x"}, assistant("x):")], None, "fim", "code")
    document = render_sample(tokenizer, gap, "fim 1")
    prompt = encode_fim(tokenizer, "def f(", "return x")
    assert document.tokens.tolist()[: len(prompt)] == prompt
    assert learnt(document) == [*tokenizer.encode("x):"), tokenizer.eos_id]


def test_the_sample_is_not_touched(tokenizer: Tokenizer) -> None:
    messages = [user("a"), assistant("b")]
    render_sample(tokenizer, sample(messages), "kind 1")
    assert messages == [user("a"), assistant("b")]


def test_a_text_is_learnt_whole(tokenizer: Tokenizer) -> None:
    document = render_sample(tokenizer, sample([{"text": "Un texte </s>."}], weight=2.0), "a.jsonl, line 1")
    assert document.tokens.tolist() == [tokenizer.bos_id, *tokenizer.encode("Un texte </s>."), tokenizer.eos_id]
    assert set(document.weights.tolist()) == {2.0}


def test_what_a_template_would_leave_out_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    thinking = [user("a"), assistant("b", reasoning_content="because")]
    assert render_sample(tokenizer, sample(thinking), "a.jsonl, line 1").weights.any()
    older = Tokenizer.from_file(write_tekken(tmp_path, 7))
    with pytest.raises(SampleError, match=r"^a\.jsonl, line 1: .*holds no thinking here; it was left out"):
        render_sample(older, sample(thinking), "a.jsonl, line 1")
