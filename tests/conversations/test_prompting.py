"""What the model is asked fits its context, whatever the conversation: by the tokens of a real tokenizer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.live import write_spm_model
from tramontane.conversations.errors import NoRoomError
from tramontane.conversations.material import Material
from tramontane.conversations.passages import Key, Span, cut
from tramontane.conversations.prompting import Prepared, prepare
from tramontane.conversations.tables import Conversation, ConversationMessage, StoredDocument
from tramontane.gateway.answers import Quote
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.metrics import Metrics
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import open_folder
from tramontane.storage.base import new_id

CONTEXT, ROOM = 2048, 2048 - 512
WORDS = "The mistral blows from the north-west, cold and dry. "


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    provider = LocalProvider(
        [open_folder("small", write_spm_model(tmp_path_factory.mktemp("model"), max_context=CONTEXT))],
        LocalOptions(kv_memory_bytes=8 * 2**20),
    )
    provider.load()
    yield Gateway([provider], Metrics())
    provider.close()


def conversation(**settings: Any) -> Conversation:
    plain: dict[str, Any] = {"system_prompt": "", "temperature": None, "max_tokens": None, "quotes": True, "tools": []}
    return Conversation(id=new_id(), model="small", **{**plain, **settings})


def message(author: Any, content: str, **fields: Any) -> ConversationMessage:
    return ConversationMessage(author=author, content=content, **{"state": "done", "tool_calls": [], **fields})


def turn(question: str, answer: str, **fields: Any) -> list[ConversationMessage]:
    return [message("user", question), message("assistant", answer, **fields)]


def material(
    history: list[ConversationMessage],
    question: str = "Which wind?",
    texts: tuple[str, ...] = (),
    ranking: tuple[tuple[int, int], ...] = (),
    num_earlier: int = 0,
    **settings: Any,
) -> Material:
    documents = [StoredDocument(id=new_id(), name=f"{n}.txt", text=text) for n, text in enumerate(texts)]
    return Material(
        conversation(**settings),
        [*history, message("user", question)],
        num_earlier,
        documents,
        {document.id: [Span(*span) for span in cut(document.text)] for document in documents},
        [Key(*key) for key in ranking],
    )


def prepared(gateway: Gateway, given_: Material, begun: str = "") -> tuple[Prepared, int]:
    """The prompt, and how many tokens it has."""

    async def scenario() -> tuple[Prepared, int]:
        made = await prepare(gateway, None, Exchange("x"), "small", given_, begun)
        return made, len(await gateway.tokenize(None, "small", made.chat, Exchange("x")))

    return asyncio.run(scenario())


def contents(made: Prepared) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in made.chat.messages]


def test_all_is_told_where_there_is_room(gateway: Gateway) -> None:
    made, _ = prepared(gateway, material(turn("q1", "a1"), "q2", system_prompt="Be brief."))
    assert contents(made) == [("system", "Be brief."), ("user", "q1"), ("assistant", "a1"), ("user", "q2")]
    assert (made.left_out, made.is_whole, made.sampling.max_tokens) == (0, True, 512)


def test_failed_and_empty_answers_go_with_their_questions(gateway: Gateway) -> None:
    called = [{"id": "abcdefghi", "name": "wind", "arguments": '{"of": "Arles"}'}]
    history = [
        *turn("failed", "half an answ", state="failed"),
        *turn("stopped at once", " ", state="stopped"),
        *turn("stopped", "half an answ", state="stopped"),
        *turn("called", "", tool_calls=called),
    ]
    made, _ = prepared(gateway, material(history))
    assert [text for role, text in contents(made) if role == "user"] == ["stopped", "called", "Which wind?"]
    assert ("assistant", 'wind({"of": "Arles"})') in contents(made)
    assert made.left_out == 0


def test_the_oldest_is_left_out_and_counted(gateway: Gateway) -> None:
    history = [one for n in range(40) for one in turn(f"question {n} {WORDS}", f"answer {n} {WORDS * 5}")]
    made, used = prepared(gateway, material(history, num_earlier=100, system_prompt="Be brief."))
    told = contents(made)
    assert 0.8 * ROOM <= used <= ROOM
    assert told[0] == ("system", "Be brief.")
    assert told[-2][1].startswith("answer 39 ")
    assert [role for role, _ in told[1:]] == ["user", "assistant"] * ((len(told) - 2) // 2) + ["user"]
    assert made.left_out == 100 + len(history) - (len(told) - 2)


def test_the_beginning_of_an_answer_comes_last(gateway: Gateway) -> None:
    made, _ = prepared(gateway, material([]), begun="The mis")
    assert made.chat.messages[-1] == {"role": "assistant", "content": "The mis", "prefix": True}


def test_of_long_documents_the_best_passages_are_given(gateway: Gateway) -> None:
    long = "\n\n".join(f"Paragraph {n}. {WORDS * 4}" for n in range(200))
    number = next(n for n, (start, end) in enumerate(cut(long)) if "Paragraph 150." in long[start:end])
    made, used = prepared(gateway, material(turn("q", "a"), texts=("Short.", long), ranking=((1, number), (1, 3))))
    assert used <= ROOM
    assert [given_["whole"] for given_ in made.given] == [True, False]
    shown = made.chat.documents[1].text
    assert "Paragraph 150." in shown
    assert made.chat.format.kind == "quotes"
    start = shown.index("Paragraph 150.")
    [quote] = made.place_quotes([Quote(2, start, start + 14, 1, 15)])
    [span] = quote["spans"]
    assert long[span["start"] : span["end"]] == "Paragraph 150."
    plain, _ = prepared(gateway, material([], texts=("Short.",), quotes=False, tools=[]))
    assert (plain.chat.format.kind, plain.is_whole) == ("text", True)


def test_documents_without_room_are_named_or_refused(gateway: Gateway) -> None:
    texts = tuple(f"Document {n}. {WORDS * 14}" for n in range(20))
    made, used = prepared(gateway, material([], texts=texts))
    assert used <= ROOM
    assert len(made.given) + len(made.not_given) == 20
    assert made.not_given
    assert [given_["number"] for given_ in made.given] == list(range(1, len(made.given) + 1))
    with pytest.raises(NoRoomError):
        prepared(gateway, material([], WORDS * 110, texts=texts))


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 3000)), max_size=12),
    st.lists(st.integers(1, 20_000), max_size=5),
    st.sampled_from([WORDS, "é", "風が吹く。", "a b c d e f g ", "\n\n- 1\n", "🌬️ "]),
    st.integers(1, 200),
    st.booleans(),
)
def test_whatever_the_conversation_the_prompt_fits(
    gateway: Gateway, lengths: list[tuple[int, int]], sizes: list[int], words: str, asked: int, quotes: bool
) -> None:
    def text(length: int) -> str:
        return (words * (length // len(words) + 1))[:length]

    history = [one for question, answer in lengths for one in turn(text(question) or "?", text(answer))]
    texts = tuple(text(size) for size in sizes if text(size).strip())
    ranking = tuple((n, number) for n, one in enumerate(texts) for number in range(len(cut(one)), 0, -2))
    try:
        made, used = prepared(gateway, material(history, text(asked), texts, ranking, quotes=quotes))
    except NoRoomError:
        assert texts  # a passage, or a character that takes several tokens, may be more than there is room for
        return
    assert used <= ROOM
    roles = [message["role"] for message in made.chat.messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
