"""A generation as the engine's request: tokens, sampling parameters, and the grammar that the answer must follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tramontane.engine.grammar import ANY_OBJECT, Grammar, JsonSchema, thinking_tokens
from tramontane.engine.quotes import REFUSALS, Quotes
from tramontane.engine.request import Request, SamplingParams
from tramontane.engine.tool_grammar import ToolGrammar
from tramontane.errors import InvalidRequestError
from tramontane.gateway.requests import Chat, Continuation, Fim, Generation, Prompt, Sampling
from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.documents import Document, parse_documents, render_documents
from tramontane.tokenizer.fields import require_text
from tramontane.tokenizer.fim import encode_fim
from tramontane.tokenizer.tokenizer import Tokenizer

_THINK_FIRST = [
    {"type": "text", "text": "Work the problem out before you answer. Write your reasoning down first, in this form:"},
    {"type": "thinking", "thinking": [{"type": "text", "text": "Your reasoning, step by step."}]},
    {"type": "text", "text": "Then give the answer alone, in the language of the question."},
]


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt as the model sees it, and what is needed to read the answer."""

    tokens: Sequence[int]
    prefix: str = ""  # the beginning of the answer that the client wrote
    in_thinking: bool = False
    continues_text: bool = False
    grammar: Grammar | None = None
    documents: tuple[Document, ...] = ()  # that the answer quotes
    prediction: Sequence[int] = ()
    is_chat: bool = True  # whether there can be thoughts and tool calls in the answer
    notes: list[str] = field(default_factory=list)


def render_prompt(tokenizer: Tokenizer, prompt: Prompt) -> RenderedPrompt:
    """Raises InvalidRequestError with the path of the field that was wrong."""
    match prompt:
        case Fim():
            filled = encode_fim(tokenizer, prompt.prompt, prompt.suffix)
            return RenderedPrompt(filled, continues_text=True, is_chat=False)
        case Continuation():
            given = prompt.prompt
            tokens = tokenizer.encode(require_text("prompt", given), bos=True) if isinstance(given, str) else given
            return RenderedPrompt(tokens, continues_text=len(given) > 0, is_chat=False)
        case Chat():
            return _render_chat(tokenizer, prompt)


def engine_request(tokenizer: Tokenizer, generation: Generation, rendered: RenderedPrompt) -> Request:
    """The engine's request for a rendered prompt."""
    begun = tokenizer.encode(rendered.prefix) if rendered.grammar is not None and rendered.prefix else []
    return Request(
        id=generation.id,
        prompt=rendered.tokens,
        sampling=_sampling(tokenizer, generation.sampling, rendered),
        grammar=rendered.grammar,
        salt=generation.salt,
        continues_text=rendered.continues_text,
        begun=begun,
        prediction=rendered.prediction,
    )


def _sampling(tokenizer: Tokenizer, sampling: Sampling, rendered: RenderedPrompt) -> SamplingParams:
    given = {field.name: getattr(sampling, field.name) for field in fields(sampling)}
    given["top_k"] = min(sampling.top_k, tokenizer.vocab_size)
    if sampling.stop and rendered.grammar is not None and not rendered.grammar.has_free_text:
        # Many clients send their stop strings with every request. Cut there, the document would not be whole.
        rendered.notes.append("The stop strings had no effect: the format decides where this answer ends.")
        given["stop"] = ()
    return SamplingParams(**given)


def _render_chat(tokenizer: Tokenizer, chat: Chat) -> RenderedPrompt:
    messages, documents = _with_documents(chat)
    effort = chat.reasoning_effort
    if chat.thinks:
        messages, effort = _with_thinking(tokenizer, messages, effort)
    rendered = render_chat(
        tokenizer,
        messages,
        tools=chat.tools,
        reasoning_effort=effort,
        response_format=chat.format.shown,
    )
    return RenderedPrompt(
        rendered.tokens,
        prefix=rendered.prefix or "",
        in_thinking=rendered.in_thinking,
        continues_text=bool(rendered.prefix),
        grammar=_grammar(chat, documents, _speaks_of_thoughts(tokenizer, chat, rendered.tokens)),
        documents=documents,
        prediction=tokenizer.encode(chat.prediction) if chat.prediction else (),
        notes=rendered.notes,
    )


def _speaks_of_thoughts(tokenizer: Tokenizer, chat: Chat, prompt: Sequence[int]) -> bool:
    """Whether the model was asked to think, by its effort or by thoughts in the prompt: else a form begins at once."""
    asked = chat.reasoning_effort is not None and chat.reasoning_effort != "none"
    return asked or chat.thinks or not thinking_tokens(tokenizer).isdisjoint(prompt)


def _grammar(chat: Chat, documents: tuple[Document, ...], thinks: bool) -> Grammar | None:
    kind = chat.format.kind
    schema = dict(chat.format.schema or ANY_OBJECT) if kind == "json" else None
    if kind == "quotes":
        if chat.tools and chat.tool_choice != "none":
            raise InvalidRequestError("tools", "An answer of quotes calls no tools: leave out the tools.")
        texts = tuple(document.text for document in documents)
        languages = tuple(REFUSALS) if chat.format.languages is None else chat.format.languages
        return Quotes(texts, free_text=chat.format.free_text, languages=languages)
    if chat.tools:
        tools = [dict(tool) for tool in chat.tools]
        return ToolGrammar(tools, chat.tool_choice, chat.parallel_tool_calls, schema, thinks)
    return None if schema is None else JsonSchema(schema, thinks)


def _with_thinking(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], effort: str | None
) -> tuple[Sequence[Mapping[str, Any]], str | None]:
    """Asks the model to think: by its reasoning effort where it has one (v15), else by a system message (v13)."""
    if not thinking_tokens(tokenizer):
        raise InvalidRequestError("prompt_mode", "This model has no form for thoughts: leave out prompt_mode.")
    if tokenizer.version >= 15:
        return messages, effort or "high"
    return [{"role": "system", "content": _THINK_FIRST}, *messages], effort


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _with_documents(chat: Chat) -> tuple[Sequence[Mapping[str, Any]], tuple[Document, ...]]:
    """The messages with the request's documents before the last question, and the documents to quote from."""
    quotes = chat.format.kind == "quotes"
    if chat.documents:
        return _insert(chat.messages, chat.documents), chat.documents if quotes else ()
    if not quotes:
        return chat.messages, ()
    for message in reversed(chat.messages):
        found, _ = parse_documents(_text_of(message)) if _is_user(message) else ([], "")
        if found:
            return chat.messages, tuple(found)
    raise InvalidRequestError(
        "documents",
        "Quotes need documents: give the field `documents`, or begin a user's message with `[1] …` and so on.",
    )


def _insert(messages: Sequence[Mapping[str, Any]], documents: Sequence[Document]) -> list[Mapping[str, Any]]:
    places = [index for index, message in enumerate(messages) if _is_user(message)]
    if not places:
        raise InvalidRequestError("messages", "Documents stand before a user's question: send a user message.")
    asked = messages[places[-1]]
    content = render_documents(documents, _text_of(asked))
    return [*messages[: places[-1]], {**asked, "content": content}, *messages[places[-1] + 1 :]]


def _is_user(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "user"


def _text_of(message: Mapping[str, Any]) -> str:
    """A user's text; raises InvalidRequestError where there is something else in it."""
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return content or ""
    texts: list[str] = []
    for chunk in content if isinstance(content, Sequence) else [content]:
        if not isinstance(chunk, Mapping) or not isinstance(chunk.get("text"), str):
            raise InvalidRequestError("messages", "Beside documents a user's message holds text only.")
        texts.append(chunk["text"])
    return "\n\n".join(texts)
