"""From a branch of a conversation and its documents to what the model is asked: as much as its context holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tramontane.accounts.principal import Principal
from tramontane.conversations import passages
from tramontane.conversations.choosing import Chosen, as_spans, choose_passages, choose_sentence
from tramontane.conversations.errors import NoRoomError
from tramontane.conversations.material import Material
from tramontane.conversations.passages import Piece
from tramontane.conversations.stop_words import language_of
from tramontane.conversations.tables import Conversation, ConversationMessage
from tramontane.gateway.answers import Quote
from tramontane.gateway.cards import LOCAL, ModelCard
from tramontane.gateway.exchange import Exchange
from tramontane.gateway.gateway import Gateway
from tramontane.gateway.requests import DEFAULT_TEMPERATURE, AnswerFormat, Chat, Continuation, Sampling
from tramontane.tokenizer.documents import Document

_RESERVED_TOKENS = 1024  # for an answer, where the conversation sets no limit; at most a quarter of the context
_SAMPLE = 4000  # characters, to see how many a token holds
_TRIES = 8
_WELL_FILLED, _A_LITTLE_LESS = 0.85, 0.96

Turn = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the model is asked, and what of the conversation it is not told."""

    chat: Chat
    sampling: Sampling
    is_whole: bool
    left_out: int  # earlier messages
    given: list[dict[str, Any]] = field(default_factory=list)
    not_given: list[str] = field(default_factory=list)
    pieces: list[list[Piece]] = field(default_factory=list)  # of each given document

    def place_quotes(self, quotes: Sequence[Quote]) -> list[dict[str, Any]]:
        """Quotes with their places in the documents themselves, as they are kept.

        Whoever quotes nothing but the mark of a gap has quoted nothing.
        """
        placed = [(quote, passages.locate(self.pieces[quote.document - 1], quote.start, quote.end)) for quote in quotes]
        return [
            {
                "number": quote.document,
                "document_id": self.given[quote.document - 1]["document_id"],
                "text_start": quote.text_start,
                "text_end": quote.text_end,
                "spans": as_spans(spans),
            }
            for quote, spans in placed
            if spans
        ]


async def prepare(
    gateway: Gateway,
    principal: Principal | None,
    exchange: Exchange,
    model: str,
    material: Material,
    begun: str,
) -> Prepared:
    """What fits the model's context; `begun` is the beginning of the answer, where one is to be continued.

    What has no room is left out: of documents the passages that rank last, of the conversation what is oldest. Raises
    NoRoomError where not one passage fits, and as `Gateway.generate` does.
    """
    card = gateway.card(model, principal)
    context = card.max_context
    asked = material.conversation.max_tokens
    most = min(_RESERVED_TOKENS, context // 4) if asked is None else asked
    room = context - min(most, context // 2)
    sample = material.sample(_SAMPLE)
    sampled = await gateway.count(principal, model, Continuation(sample), exchange)
    characters = int(room * len(sample) / max(1, sampled))
    best: Prepared | None = None
    for _ in range(_TRIES):
        # In a thread: of large libraries it takes a while, and others' answers go on.
        try:
            prepared = await asyncio.to_thread(_compose, material, characters, most, begun, card)
        except NoRoomError:
            if best is None:
                raise
            break  # with a little less there was no room for a passage: what did fit is the most
        used = await gateway.count(principal, model, prepared.chat, exchange)
        if used <= room:
            best = prepared
            if prepared.is_whole or used >= _WELL_FILLED * room:
                break
        elif best is not None or not (prepared.given or len(prepared.chat.messages) > 3):
            break
        characters = int(characters * room / used * _A_LITTLE_LESS)
    # What is too long even so is for the provider to refuse, or to answer in the tokens that are left.
    return best or prepared


def _compose(material: Material, characters: int, most: int, begun: str, card: ModelCard) -> Prepared:
    """The prompt of about so many characters; with focus the question by itself, with the sentence that fits it."""
    conversation, question = material.conversation, material.branch[-1].content
    # Other servers hold no answer to its documents: there it is told them, and answers in its own words.
    quotes = conversation.quotes and card.location == LOCAL
    is_focused = card.focus and quotes and bool(material.documents)
    all_turns = [] if is_focused else turns(material.branch[:-1])
    told = len(conversation.system_prompt) + len(question) + len(begun) + len(json.dumps(conversation.tools))
    left = characters - told
    lengths = [len(asked["content"]) + len(answer["content"]) for asked, answer in all_turns]
    documents = Chosen()
    if is_focused:
        documents = choose_sentence(material)
    elif material.documents:
        documents = choose_passages(material, left - min(sum(lengths), left // 4))
    left -= sum(len(document.text) for document in documents.given)
    # The newest turns first; one that has no room ends it, so that no conversation has a hole.
    num_told = sum(length <= left for length in accumulate(reversed(lengths)))
    messages: list[Mapping[str, Any]] = []
    if conversation.system_prompt:
        messages.append({"role": "system", "content": conversation.system_prompt})
    for asked, answer in all_turns[len(all_turns) - num_told :]:
        messages += [asked, answer]
    messages.append({"role": "user", "content": question})
    if begun:
        messages.append({"role": "assistant", "content": begun, "prefix": True})
    left_out = material.num_earlier + 2 * (len(all_turns) - num_told)
    return Prepared(
        chat=_chat(material, messages, documents.given, quotes),
        sampling=Sampling(temperature=_temperature(conversation, bool(documents.given) and quotes), max_tokens=most),
        is_whole=left_out == 0 and documents.are_whole,
        left_out=left_out,
        given=documents.described,
        not_given=documents.not_given,
        pieces=documents.pieces,
    )


def _chat(
    material: Material, messages: Sequence[Mapping[str, Any]], documents: Sequence[Document], quotes: bool
) -> Chat:
    if not (documents and quotes):
        return Chat(messages, tools=tuple(material.conversation.tools), documents=tuple(documents))
    # An answer of quotes calls no tools. Where the documents do not tell, it says so in the question's language.
    language = language_of(f"{material.branch[-1].content} {material.sample(_SAMPLE)}")
    answer = AnswerFormat("quotes", languages=None if language is None else (language,))
    return Chat(messages, format=answer, documents=tuple(documents))


def _temperature(conversation: Conversation, is_quoting: bool) -> float:
    """What the conversation says; else the usual one, but for quotations 0: they are to be found, not told."""
    if conversation.temperature is not None:
        return conversation.temperature
    return 0.0 if is_quoting else DEFAULT_TEMPERATURE


def turns(branch: Sequence[ConversationMessage]) -> list[Turn]:
    """Questions with their answers. A question whose answer failed, or is empty, is as if it had not been asked."""
    pairs = zip(branch[::2], branch[1::2], strict=True)
    return [
        ({"role": "user", "content": question.content}, {"role": "assistant", "content": said})
        for question, answer in pairs
        if answer.state != "failed" and (said := _said(answer)).strip()
    ]


def _said(answer: ConversationMessage) -> str:
    """An answer as later prompts repeat it: with its calls as text, since nobody has run them."""
    calls = [f"{call['name']}({call['arguments']})" for call in answer.tool_calls]
    return "\n".join([answer.content, *calls] if answer.content else calls)
