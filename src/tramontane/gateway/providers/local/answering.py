"""The engine's outputs as events: text, thoughts, whole tool calls, scores with words, quotes with their place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tramontane.engine.async_engine import OutputStream
from tramontane.engine.quotes import Quotes, parse_quotes
from tramontane.engine.request import Output, TokenLogprob
from tramontane.gateway.answers import ChoiceUsage, Event, FinishReason, Quote, TokenScore
from tramontane.gateway.providers.local.rendering import RenderedPrompt
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.tokenizer.tool_calls import OutputParser, Part, Text


class LocalAnswer:
    """The events of one request that the engine has accepted."""

    def __init__(self, outputs: OutputStream, tokenizer: Tokenizer, rendered: RenderedPrompt, num_choices: int) -> None:
        self.num_prompt_tokens, self.notes = len(rendered.tokens), rendered.notes
        self._outputs = outputs
        self._choices = [_ChoiceReader(index, tokenizer, rendered) for index in range(num_choices)]

    def __aiter__(self) -> LocalAnswer:
        return self

    async def __anext__(self) -> Event:
        output = await self._outputs.__anext__()
        return self._choices[output.index].read(output)

    async def aclose(self) -> None:
        """Cancels the request, unless every choice has ended."""
        await self._outputs.aclose()


class _ChoiceReader:
    """Reads the outputs of one choice."""

    def __init__(self, index: int, tokenizer: Tokenizer, rendered: RenderedPrompt) -> None:
        self._index, self._tokenizer, self._rendered = index, tokenizer, rendered
        self._parser = OutputParser(tokenizer, in_thinking=rendered.in_thinking)
        self._at_beginning = True
        # Where the choice's quotes are to be found, its text is kept.
        self._text: list[str] | None = [] if isinstance(rendered.grammar, Quotes) else None

    def read(self, output: Output) -> Event:
        event = Event(self._index, num_tokens=len(output.token_ids), cached=output.num_cached)
        if self._at_beginning and self._rendered.prefix:
            event.parts.append(Text(self._rendered.prefix))  # the reply includes the prefix
        event.parts += self._parser.feed(output.pieces) if self._rendered.is_chat else _as_text(output)
        event.scores = self._scores(output.logprobs or (), self._at_beginning and not self._rendered.continues_text)
        if output.prompt_logprobs is not None:
            # They begin with the prompt's second token, which begins the text where the first was <s>.
            begins_text = self._tokenizer.is_control(self._rendered.tokens[0])
            event.prompt_scores = self._scores(output.prompt_logprobs, begins_text)
        self._at_beginning = False
        if output.finish_reason is not None:
            event.parts += self._parser.finish(was_cut=output.finish_reason != "stop")
        if self._text is not None:
            self._text += [part.text for part in event.parts if isinstance(part, Text)]
        if output.finish_reason is not None:
            self._finish(event, output)
        return event

    def _finish(self, event: Event, output: Output) -> None:
        event.finish_reason, event.detail = _reason(output, self._parser.num_tool_calls), output.detail
        if output.usage is not None:
            usage = output.usage
            event.usage = ChoiceUsage(
                usage.prompt,
                usage.cached,
                usage.output,
                usage.queue_seconds,
                usage.accepted_predictions,
                usage.rejected_predictions,
            )
        if self._text is not None:
            event.quotes = self._quotes("".join(self._text))

    def _quotes(self, answer: str) -> list[Quote]:
        assert isinstance(self._rendered.grammar, Quotes)
        found = []
        for span in parse_quotes(answer, self._rendered.grammar):
            source = self._rendered.documents[span.document - 1]
            place = (span.document, span.start, span.end, span.text_start, span.text_end)
            found.append(Quote(*place, document_id=source.id, title=source.title))
        return found

    def _scores(self, logprobs: Iterable[TokenLogprob], at_beginning: bool) -> list[TokenScore]:
        scores = []
        for entry in logprobs:
            top = tuple(self._score(token_id, logprob, at_beginning) for token_id, logprob in entry.top)
            scores.append(replace(self._score(entry.token_id, entry.logprob, at_beginning), top=top))
            at_beginning = False
        return scores

    def _score(self, token_id: int, logprob: float, at_beginning: bool) -> TokenScore:
        name = self._tokenizer.control_name(token_id)
        read = self._tokenizer.first_bytes if at_beginning else self._tokenizer.token_bytes
        spelled = read(token_id) if name is None else name.encode()
        return TokenScore(spelled.decode("utf-8", "replace"), spelled, token_id, logprob)


def _as_text(output: Output) -> list[Part]:
    """Outside a chat nothing means a call or a thought."""
    return [Text(output.text)] if output.text else []


def _reason(output: Output, num_tool_calls: int) -> FinishReason:
    """`tool_calls` where calls were made; who was cut off by a closing engine gets an error, not half an answer."""
    match output.finish_reason:
        case "stop" if num_tool_calls:
            return "tool_calls"
        case "stop" | "length" | "model_length" as reason:
            return reason
    return "error"
