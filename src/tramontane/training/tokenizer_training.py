"""A tokenizer of our own: byte-level BPE learnt from the run's own text, written as a tekken file (v13)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from tramontane.tokenizer.tokenizer import Tokenizer
from tramontane.training.errors import TrainingError
from tramontane.training.files import write_text

# Where words are cut before any merge. A word keeps the blank *behind* it, a digit is alone, and so are the marks
# around a quotation: thus a word that begins a quotation has the same entries as the word in the document, and copying
# begins with the very token that is to be found. (With the blank in front, it would be another entry.)
PATTERN = r"[\p{L}\p{M}]+ ?|\p{N}|[«»“”] ?|[^\s\p{L}\p{M}\p{N}«»“”]+ ?|\s*[\r\n]+|\s+"

# The control tokens of v13, in the order of the family's files but without the reserved ids between them: each id costs
# a row of the embedding.
CONTROL_TOKENS = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]",
    "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]",
)  # fmt: skip
NUM_SPECIAL_TOKENS = 32


def train_tokenizer(texts: Iterable[str], entries: int, path: Path) -> Tokenizer:
    """Learns `entries` ordinary entries, the 256 bytes included, and writes them to `path`.

    Raises TrainingError when the text is too little for so many.
    """
    learnt = _learn(texts, entries)
    if len(learnt) < entries:
        raise TrainingError(
            f"The text of the recipe makes {len(learnt)} entries, not the {entries} that tokenizer.entries asks for: "
            "give it more text, or ask for fewer."
        )
    write_text(path, json.dumps(_tekken(learnt), ensure_ascii=False))
    return Tokenizer.from_file(path)


def _learn(texts: Iterable[str], entries: int) -> list[bytes]:
    """The entries in the order of their ranks: all single bytes, then merges."""
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=entries, initial_alphabet=alphabet, show_progress=False, min_frequency=2)
    bpe.train_from_iterator(texts, trainer)
    ranked = sorted(bpe.get_vocab().items(), key=lambda entry: entry[1])
    merged = [_as_bytes(entry) for entry, _ in ranked if len(entry) > 1]
    return [bytes([byte]) for byte in range(256)] + merged


def _as_bytes(entry: str) -> bytes:
    return bytes(_BYTE_OF[character] for character in entry)


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level BPE writes for bytes (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(rest)}


_BYTE_OF = _byte_alphabet()


def _tekken(entries: list[bytes]) -> dict[str, object]:
    def shown(entry: bytes) -> str | None:
        try:
            return entry.decode()
        except UnicodeDecodeError:
            return None

    return {
        "config": {
            "pattern": PATTERN,
            "num_vocab_tokens": len(entries),
            "default_vocab_size": len(entries) + NUM_SPECIAL_TOKENS,
            "default_num_special_tokens": NUM_SPECIAL_TOKENS,
            "version": "v13",
        },
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(entry).decode(), "token_str": shown(entry)}
            for rank, entry in enumerate(entries)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(CONTROL_TOKENS)
        ],
    }
