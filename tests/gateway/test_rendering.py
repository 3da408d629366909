"""From a neutral prompt to the engine's request: the grammar that fits, documents in their place, prefixes begun."""

from __future__ import annotations

import pytest

from tests.tokenizers import SPM_V3, write_tekken
from tramontane.engine.grammar import JsonSchema
from tramontane.engine.quotes import Quotes
from tramontane.engine.tool_grammar import ToolGrammar
from tramontane.errors import InvalidRequestError
from tramontane.gateway.providers.local.rendering import engine_request, render_prompt
from tramontane.gateway.requests import AnswerFormat, Chat, Continuation, Fim, Generation
from tramontane.tokenizer.documents import Document
from tramontane.tokenizer.tokenizer import Tokenizer

SPM = Tokenizer.from_file(SPM_V3)
ASKED = [{"role": "user", "content": "Which wind?"}]
WINDS = (Document("The mistral blows.", title="Winds", id="w"), Document("The marin is wet."))
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.from_file(write_tekken(tmp_path_factory.mktemp("v13"), 13))


def shown(chat: Chat, tokenizer: Tokenizer = SPM) -> str:
    return tokenizer.decode(render_prompt(tokenizer, chat).tokens)


def test_documents_stand_numbered_before_the_last_question() -> None:
    assert "[1] # Winds\nThe mistral blows.\n\n[2] The marin is wet.\n\nWhich wind?" in shown(
        Chat(ASKED, documents=WINDS)
    )


def test_quotes_come_from_the_field_or_from_the_last_message_that_has_documents() -> None:
    quotes = AnswerFormat("quotes", languages=("fr",))
    given = render_prompt(SPM, Chat(ASKED, documents=WINDS, format=quotes))
    assert given.grammar == Quotes(("The mistral blows.", "The marin is wet."), languages=("fr",))
    assert given.documents == WINDS
    history = [
        {"role": "user", "content": "[1] Old.\n\nWhat?"},
        {"role": "assistant", "content": "«Old» [1]"},
        {"role": "user", "content": "[1] New.\n\nWhat?"},
        {"role": "assistant", "content": "«New» [1]"},
        *ASKED,
    ]
    found = render_prompt(SPM, Chat(history, format=quotes))
    assert isinstance(found.grammar, Quotes)
    assert found.grammar.documents == ("New.",)


def test_quotes_without_documents_say_what_to_do() -> None:
    with pytest.raises(InvalidRequestError, match="Quotes need documents") as refused:
        render_prompt(SPM, Chat(ASKED, format=AnswerFormat("quotes")))
    assert refused.value.field == "documents"


def test_each_format_has_its_grammar(thinker: Tokenizer) -> None:
    schema = {"type": "object", "properties": {}}
    json_format = AnswerFormat("json", schema)
    assert render_prompt(SPM, Chat(ASKED)).grammar is None
    assert render_prompt(SPM, Chat(ASKED, format=json_format)).grammar == JsonSchema(schema)
    assert render_prompt(SPM, Chat(ASKED, tools=[TOOL])).grammar == ToolGrammar([TOOL], thinks=False)
    assert render_prompt(SPM, Chat(ASKED, tools=[TOOL], format=json_format)).grammar == ToolGrammar(
        [TOOL], schema=schema, thinks=False
    )
    assert render_prompt(thinker, Chat(ASKED, tools=[TOOL], tool_choice="none")).grammar == ToolGrammar(
        [TOOL], "none", thinks=False
    )
    # A form begins at once, unless the prompt speaks of thoughts.
    assert render_prompt(thinker, Chat(ASKED, format=json_format, thinks=True)).grammar == JsonSchema(schema, True)
    assert render_prompt(thinker, Chat(ASKED, tools=[TOOL], thinks=True)).grammar == ToolGrammar([TOOL])


def test_a_prefix_is_begun_in_the_grammar_and_continued_as_text() -> None:
    chat = Chat([*ASKED, {"role": "assistant", "content": '{"a', "prefix": True}], format=AnswerFormat("json"))
    rendered = render_prompt(SPM, chat)
    request = engine_request(SPM, Generation("r", chat), rendered)
    assert SPM.decode(request.begun) == '{"a'
    assert request.continues_text


def test_reasoning_is_asked_for_where_there_is_a_form_for_it(thinker: Tokenizer) -> None:
    asked = render_prompt(thinker, Chat(ASKED, thinks=True))
    assert thinker.control_id("[THINK]") in asked.tokens
    with pytest.raises(InvalidRequestError, match="no form for thoughts"):
        render_prompt(SPM, Chat(ASKED, thinks=True))


def test_texts_and_gaps_continue_what_is_there() -> None:
    assert render_prompt(SPM, Continuation("Once")).continues_text
    assert not render_prompt(SPM, Continuation("")).continues_text
    assert render_prompt(SPM, Continuation((1, 2))).tokens == (1, 2)
    assert render_prompt(SPM, Fim("def f", "return")).continues_text


def test_a_prediction_is_made_tokens() -> None:
    chat = Chat(ASKED, prediction="The mistral.")
    request = engine_request(SPM, Generation("r", chat), render_prompt(SPM, chat))
    assert SPM.decode(request.prediction) == "The mistral."
