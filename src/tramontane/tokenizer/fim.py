"""Fill in the middle: the code before and after a gap as a prompt for what belongs between."""

from __future__ import annotations

from mistral_common.protocol.fim.request import FIMRequest

from tramontane.errors import InvalidRequestError
from tramontane.tokenizer.fields import require_text
from tramontane.tokenizer.tokenizer import Tokenizer


def encode_fim(tokenizer: Tokenizer, prompt: str, suffix: str | None = None) -> list[int]:
    """`<s>[SUFFIX]…[PREFIX]…`: the suffix first, so that what is generated continues the prompt.

    Raises InvalidRequestError for models without these tokens (v1 and v2, where mistral-common writes `<unk>`).
    """
    before, after = tokenizer.control_id("[PREFIX]"), tokenizer.control_id("[SUFFIX]")
    if before is None or after is None or tokenizer.version < 3:
        raise InvalidRequestError(
            "model", f"This model cannot fill in the middle: its tokenizer is v{tokenizer.version}."
        )
    request = FIMRequest(prompt=require_text("prompt", prompt), suffix=require_text("suffix", suffix or ""))
    tokens: list[int] = tokenizer.instruct.encode_fim(request).tokens
    return (
        tokens
        if tokenizer.kind == "spm"
        else _with_whole_suffix(tokenizer, tokens, after, before, request.suffix or "")
    )


def _with_whole_suffix(tokenizer: Tokenizer, tokens: list[int], after: int, before: int, suffix: str) -> list[int]:
    """mistral-common encodes the suffix behind a "☺" and cuts two tokens off, which is right for the published files;
    a small vocabulary that writes ☺ in three tokens would leave a broken character before the suffix.
    """
    begin, end = tokens.index(after) + 1, tokens.index(before)
    if b"".join(map(tokenizer.token_bytes, tokens[begin:end])) != suffix.encode():
        tokens[begin:end] = tokenizer.encode(suffix)
    return tokens
