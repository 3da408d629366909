"""Answers that quote: whatever the weights, each quotation is in its document, word for word, where its span says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.api.live import LiveServer
from tests.api.raw import CHAT, Reply, events_of, post

MODELS = ["small", "v11"]
REFUSALS = {
    "de": "Die Dokumente sagen es nicht.",
    "en": "The documents do not say.",
    "es": "Los documentos no lo dicen.",
    "fr": "Les documents ne le disent pas.",
    "it": "I documenti non lo dicono.",
}

QUESTION = [{"role": "user", "content": "Which wind is cold?"}]
DOCUMENTS = [
    {"id": "winds-1", "title": "Winds", "text": "The mistral blows from\nthe  north-west. 🌬️ It is cold, and dry."},
    {"text": "Cafe\u0301, naïve: a family 👩‍👩‍👧 says 👍🏽 and goes. 東京は寒い。"},
    {"id": "winds-3", "text": "« The marin »\tis wet\r\n\r\nand warm."},
]


def ask(server: LiveServer, model: str, **fields: Any) -> Reply:
    """Eight answers: what they quote is up to the weights."""
    wanted = {"type": "quotes", **fields.pop("format", {})}
    body = {"model": model, "messages": QUESTION, "response_format": wanted, "max_tokens": 100, "random_seed": 3}
    return post(server, CHAT, {**body, "n": 8, **fields})


def messages_of(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, reply.body
    return [choice["message"] for choice in reply.json["choices"]]


def assert_verbatim(message: dict[str, Any], texts: Sequence[str]) -> None:
    """Each quote is what its document says, and what its answer says, but for white space."""
    answer = message["content"]
    for quote in message["quotes"]:
        assert 1 <= quote["document"] <= len(texts)
        said = answer[quote["text_start"] : quote["text_end"]]
        written = texts[quote["document"] - 1][quote["start"] : quote["end"]]
        assert said
        assert re.sub(r"\s+", " ", written) == said
        assert answer[quote["text_end"] + 1 :].startswith(f" [{quote['document']}]")


def quotes_of(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [quote for message in messages for quote in message["quotes"]]


@pytest.mark.parametrize("model", [*MODELS, "tekken"])
def test_every_quote_is_verbatim(server: LiveServer, model: str) -> None:
    messages = messages_of(ask(server, model, documents=DOCUMENTS, format={"languages": []}, max_tokens=60))
    for message in messages:
        assert_verbatim(message, [document["text"] for document in DOCUMENTS])
    quotes = quotes_of(messages)
    assert len(quotes) >= 4
    assert {quote["document"] for quote in quotes} >= {2}


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_ended_is_nothing_but_quotes(server: LiveServer, model: str) -> None:
    reply = ask(server, model, documents=DOCUMENTS, format={"languages": []}, max_tokens=200)
    ended = [choice["message"] for choice in reply.json["choices"] if choice["finish_reason"] == "stop"]
    assert ended
    for message in ended:
        rest = message["content"]
        for quote in reversed(message["quotes"]):
            rest = rest[: quote["text_start"] - 1] + rest[quote["text_end"] + 1 + len(f" [{quote['document']}]") :]
        assert rest.strip() == ""


def test_a_quote_carries_what_the_caller_calls_its_document(server: LiveServer) -> None:
    messages = messages_of(ask(server, "v11", documents=DOCUMENTS, format={"languages": []}, n=24))
    quotes = quotes_of(messages)
    assert {quote["document"] for quote in quotes} == {1, 2, 3}
    called = {quote["document"]: (quote["document_id"], quote["title"]) for quote in quotes}
    assert called == {1: ("winds-1", "Winds"), 2: (None, None), 3: ("winds-3", None)}


@pytest.mark.parametrize("model", MODELS)
def test_documents_may_stand_in_the_message(server: LiveServer, model: str) -> None:
    content = "[1] # Winds\nThe mistral blows cold.\n\n[2] The marin is wet.\n\nWhich wind is cold?"
    messages = messages_of(
        ask(server, model, messages=[{"role": "user", "content": content}], format={"languages": []})
    )
    for message in messages:
        assert_verbatim(message, ["The mistral blows cold.", "The marin is wet."])
    titles = {quote["document"]: quote["title"] for quote in quotes_of(messages)}
    assert titles.items() <= {1: "Winds", 2: None}.items()
    assert titles


def test_a_later_question_is_answered_from_the_documents_of_an_earlier_one(server: LiveServer) -> None:
    talk = [
        {"role": "user", "content": "[1] The mistral blows cold.\n\nWhich wind is cold?"},
        {"role": "assistant", "content": "«mistral» [1]"},
        {"role": "user", "content": "Sure?"},
    ]
    messages = messages_of(ask(server, "v11", messages=talk, format={"languages": []}))
    for message in messages:
        assert_verbatim(message, ["The mistral blows cold."])
    assert quotes_of(messages)


@pytest.mark.parametrize("model", MODELS)
def test_offsets_count_characters_also_beyond_the_first_plane(server: LiveServer, model: str) -> None:
    text = "👍🏽 e\u0301a 🌬️ x👩‍👩‍👧y 東京 z"
    messages = messages_of(ask(server, model, documents=[{"text": text}], format={"languages": []}))
    for message in messages:
        assert_verbatim(message, [text])
    assert quotes_of(messages)


@pytest.mark.parametrize("language", REFUSALS)
def test_a_refusal_is_in_an_allowed_language(server: LiveServer, language: str) -> None:
    # Nothing in the document can be quoted: what is left is to say so.
    reply = ask(server, "v11", documents=[{"text": "…"}], format={"languages": [language]})
    for message in messages_of(reply):
        assert message["content"] == REFUSALS[language]
        assert message["quotes"] == []


def test_without_a_word_on_languages_a_refusal_is_in_any(server: LiveServer) -> None:
    messages = messages_of(ask(server, "v11", documents=[{"text": "…"}], n=16))
    assert {message["content"] for message in messages} <= set(REFUSALS.values())


@pytest.mark.parametrize("model", MODELS)
def test_free_text_between_quotes_cannot_be_taken_for_one(server: LiveServer, model: str) -> None:
    format_ = {"free_text": True, "languages": []}
    messages = messages_of(ask(server, model, documents=DOCUMENTS[:2], format=format_))
    for message in messages:
        assert_verbatim(message, [document["text"] for document in DOCUMENTS])
        text = message["content"]
        for quote in reversed(message["quotes"]):
            text = text[: quote["text_start"] - 1] + text[quote["text_end"] + 1 + len(f" [{quote['document']}]") :]
        free = text.partition("«")[0]  # after it stands a quotation that was cut
        assert re.search(r'["“”„‹›「」\[\]»]', free) is None


@pytest.mark.parametrize("model", ["small", "v11"])
def test_a_streamed_answer_has_its_quotes_at_the_end(server: LiveServer, model: str) -> None:
    reply = ask(server, model, documents=DOCUMENTS, format={"languages": []}, n=1, stream=True)
    deltas = [chunk["choices"][0]["delta"] for chunk in events_of(reply.body)]
    assert all("quotes" not in delta for delta in deltas[:-1])
    message = {"content": "".join(delta["content"] for delta in deltas), "quotes": deltas[-1]["quotes"]}
    assert message["quotes"]
    assert_verbatim(message, [document["text"] for document in DOCUMENTS])


def test_other_answers_have_no_quotes(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=DOCUMENTS, format={"type": "text"}, max_tokens=4)
    assert all("quotes" not in message for message in messages_of(reply))


def test_documents_are_shown_to_the_model_also_without_quotes(server: LiveServer) -> None:
    def prompt_tokens(**fields: Any) -> int:
        reply = ask(server, "v11", format={"type": "text"}, max_tokens=1, **fields)
        return int(reply.json["usage"]["prompt_tokens"])

    assert prompt_tokens(documents=DOCUMENTS) > prompt_tokens() + 50


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", ["Which wind?", "[2] The marin is wet.\n\nWhich?", "The [1] mistral", ""])
def test_quotes_without_documents_say_what_to_do(server: LiveServer, content: str) -> None:
    reply = ask(server, "v11", messages=[{"role": "user", "content": content}])
    assert reply.status == 400
    assert reply.json["param"] == "documents"
    assert "`documents`" in reply.json["message"]
    assert "[1]" in reply.json["message"]


def test_documents_without_a_word_cannot_be_quoted(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=[{"text": "…"}], format={"languages": []})
    assert reply.status == 400
    assert "no word" in reply.json["message"]


def test_an_unknown_language_is_named(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=DOCUMENTS, format={"languages": ["la"]})
    assert reply.status == 422
    assert reply.json["message"]["detail"][0]["loc"] == ["body", "response_format", "languages", 0]


def test_quotes_and_tools_exclude_each_other(server: LiveServer) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    reply = ask(server, "v11", documents=DOCUMENTS, tools=tools)
    assert reply.status == 400
    assert reply.json["param"] == "tools"


def test_documents_need_a_question(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=DOCUMENTS, messages=[{"role": "system", "content": "Be brief."}])
    assert reply.status == 400
    assert reply.json["param"] == "messages"


def test_a_document_without_a_text_is_named(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=[{"title": "Winds"}])
    assert reply.status == 422
    assert reply.json["message"]["detail"][0]["loc"] == ["body", "documents", 0, "text"]


def test_half_a_surrogate_pair_in_a_document_is_no_text(server: LiveServer) -> None:
    reply = ask(server, "v11", documents=[{"text": "half \ud83d"}])
    assert reply.status == 400
    assert "surrogate" in reply.json["message"]
