"""A sample as tokens with the weight of each: by the template that serves, and no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.fim import encode_fim
from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import SampleError
from tramontane.training.samples import Sample

Tokens = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float32]

# Behind these it is the assistant's turn, unless the prompt goes on with one of the others.
_OPENS_TURN = ("[/INST]", "[/TOOL_RESULTS]")
_NOT_THE_ASSISTANT = ("[INST]", "[TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]")


@dataclass(frozen=True)
class Document:
    """One sequence to learn from. `weights[i]` is what predicting `tokens[i]` from all before it counts; 0: not learnt.

    `origin` says where it came from, for people; `kind` and `language` are counted.
    """

    tokens: Tokens  # [L]
    weights: Weights  # [L]
    kind: str
    language: str
    origin: str

    def __len__(self) -> int:
        return len(self.tokens)


def render_sample(tokenizer: Tokenizer, sample: Sample, origin: str) -> Document:
    """The sample's conversation as a server would render it, and the answers that the model would have to write.

    Learnt are exactly the assistant's tokens, its end of sequence included; of a text all but its beginning. Raises
    SampleError, naming the origin, for a conversation that does not end with the assistant's message, that no template
    can write whole, or without a label.
    """
    messages = sample.messages
    if sample.is_gap:
        return _render_gap(tokenizer, sample, origin)
    if sample.is_text:
        return _render_text(tokenizer, sample, origin)
    if not messages or messages[-1].get("role") != "assistant":
        raise SampleError(f"{origin}: its last message is not the assistant's; there would be nothing to learn.")
    try:
        tokens = _conversation(tokenizer, messages, sample.tools)
    except InvalidRequestError as error:
        raise SampleError(f"{origin}: {error.field}: {error}") from error
    turns = [float(message.get("weight", 1.0)) for message in messages if message["role"] == "assistant"]
    weights = _weights(tokenizer, tokens, turns, origin) * np.float32(sample.weight)
    if not weights.any():
        raise SampleError(f"{origin}: no token of it is learnt, all weights are 0.")
    return Document(np.array(tokens, dtype=np.int32), weights, sample.kind, sample.language, origin)


def _render_gap(tokenizer: Tokenizer, sample: Sample, origin: str) -> Document:
    """Code with a gap, as `/v1/fim/completions` shows it; what fills it is learnt."""
    around, filling = sample.messages
    prompt = encode_fim(tokenizer, around["prefix"], around["suffix"])
    tokens = [*prompt, *tokenizer.encode(filling["content"]), tokenizer.eos_id]
    weights = np.full(len(tokens), sample.weight, dtype=np.float32)
    weights[: len(prompt)] = 0
    if not weights.any():
        raise SampleError(f"{origin}: no token of it is learnt, all weights are 0.")
    return Document(np.array(tokens, dtype=np.int32), weights, sample.kind, sample.language, origin)


def _render_text(tokenizer: Tokenizer, sample: Sample, origin: str) -> Document:
    """A text between the tokens that begin and end a sequence, as pieces of the corpus are."""
    tokens = tokenizer.encode(sample.messages[0]["text"], bos=True, eos=True)
    weights = np.full(len(tokens), sample.weight, dtype=np.float32)
    return Document(np.array(tokens, dtype=np.int32), weights, sample.kind, sample.language, origin)


def _conversation(tokenizer: Tokenizer, messages: list[dict[str, Any]], tools: Any) -> list[int]:
    """`render_chat` writes prompts: what it is asked for here is one that holds the last answer too."""
    *before, last = messages
    calls = last.get("tool_calls")
    if not calls:
        if not last.get("content"):
            raise InvalidRequestError("messages", "The last message is empty.")
        return [*_whole(tokenizer, [*before, {**last, "prefix": True}], tools), tokenizer.eos_id]
    results = [{"role": "tool", "content": "-", "tool_call_id": call.get("id")} for call in calls]
    followed = _whole(tokenizer, [*messages, *results], tools)
    end = len(followed) - 1 - followed[::-1].index(tokenizer.eos_id)  # what follows the last answer are results alone
    return followed[: end + 1]


def _whole(tokenizer: Tokenizer, messages: list[dict[str, Any]], tools: Any) -> list[int]:
    """The conversation's tokens. A server leaves out what a template has no place for; a sample is refused for it."""
    rendered = render_chat(tokenizer, messages, tools=tools)
    if rendered.notes:
        raise InvalidRequestError("messages", rendered.notes[0])
    return rendered.tokens


def _weights(tokenizer: Tokenizer, tokens: list[int], turns: list[float], origin: str) -> Weights:
    """No text can be a control token, so they tell exactly whose turn it is."""
    opening = {tokenizer.control_id(name) for name in _OPENS_TURN}
    others = {tokenizer.control_id(name) for name in _NOT_THE_ASSISTANT}
    weights = np.zeros(len(tokens), dtype=np.float32)
    turn, start = 0, 0  # start 0: not the assistant's turn
    for place, token in enumerate(tokens):
        if token in others:
            start = 0
        elif token in opening:
            start = place + 1
        elif token == tokenizer.eos_id and start:
            if turn < len(turns):
                weights[start : place + 1] = turns[turn]
            turn, start = turn + 1, 0
    if turn != len(turns):
        raise SampleError(f"{origin}: it has {len(turns)} assistant messages, but the template makes {turn} turns.")
    return weights
