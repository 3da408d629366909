"""`tramontane generate`: one answer of one model, streamed to the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tramontane.catalogue.bundled import BUNDLED_MODEL
from tramontane.cli.model_options import (
    find_device,
    find_model,
    load_with_progress,
    parse_quantization,
    parse_size,
)
from tramontane.cli.terminal import notes, plain, tell
from tramontane.engine.engine import Engine, EngineConfig
from tramontane.engine.grammar import Grammar, JsonSchema, Regex
from tramontane.engine.quotes import Quotes
from tramontane.engine.request import Output, Request, SamplingParams
from tramontane.errors import TramontaneError
from tramontane.model.checkpoint import Checkpoint
from tramontane.tokenizer.chat import render_chat
from tramontane.tokenizer.documents import Document, render_documents
from tramontane.tokenizer.tokenizer import Tokenizer


def generate(
    prompt: Annotated[str, typer.Argument(help="What to say to the model; - reads standard input.")],
    model: Annotated[
        str, typer.Option(help="A folder, a short name, or owner/name of a pulled model.")
    ] = BUNDLED_MODEL,
    system: Annotated[str | None, typer.Option(help="System prompt.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, without the chat template.")] = False,
    max_tokens: Annotated[int, typer.Option(help="Tokens to write at most.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.7,
    top_p: Annotated[float, typer.Option(help="Draw from the likeliest tokens of this total probability.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be repeated.")] = None,
    schema: Annotated[Path | None, typer.Option(help="JSON schema file that the answer must follow.")] = None,
    regex: Annotated[str | None, typer.Option(help="Regular expression that the answer must match.")] = None,
    document: Annotated[
        list[Path] | None,
        typer.Option(help="Text file to answer from, by verbatim quotes with their source; may be repeated."),
    ] = None,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kv_memory: Annotated[str, typer.Option(help="Memory for keys and values, as 4GiB.")] = "4GiB",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the text.")] = False,
) -> None:
    """Write one answer to a prompt.

    Example: [bold]tramontane generate --model ./Mistral-7B-Instruct-v0.3 "Name three winds of Provence."[/]
    """
    # Whatever can be refused is refused before gigabytes are read.
    folder, limits = find_model(model).require_folder(), EngineConfig(kv_memory_bytes=parse_size(kv_memory))
    checkpoint, tokenizer = Checkpoint.open(folder), Tokenizer.from_folder(folder)
    tokenizer.check_fits(checkpoint.config.vocab_size)
    if not checkpoint.has_output_head:
        raise TramontaneError(f"{folder} has no output head: it is a model for embeddings and cannot write.")
    text = sys.stdin.read() if prompt == "-" else prompt
    documents = [Document(_read(path), title=path.name) for path in document or []]
    grammar = _grammar(schema, regex, documents)
    if documents:
        text = render_documents(documents, text)
    if raw:
        tokens = tokenizer.encode(text, bos=True)
    else:
        history = [{"role": "system", "content": system}] if system else []
        tokens = render_chat(tokenizer, [*history, {"role": "user", "content": text}]).tokens
    sampling = SamplingParams(
        temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens, stop=tuple(stop or ())
    )
    sampling.validate(checkpoint.config.vocab_size)
    request = Request("generate", tokens, sampling, grammar=grammar, continues_text=raw)
    loaded = load_with_progress(folder, parse_quantization(quantization), find_device(device))
    engine = Engine(loaded.model, tokenizer, limits)
    tell(engine.notices)
    started = time.perf_counter()
    outputs = list(_show(_run(engine, request), quiet=as_json))
    seconds = time.perf_counter() - started
    _report(outputs, seconds, as_json, request)


def _grammar(schema: Path | None, regex: str | None, documents: list[Document]) -> Grammar | None:
    chosen: list[Grammar] = []
    if schema is not None:
        chosen.append(JsonSchema(_read_schema(schema)))
    if regex is not None:
        chosen.append(Regex(regex))
    if documents:
        chosen.append(Quotes(tuple(document.text for document in documents)))
    if len(chosen) > 1:
        raise TramontaneError("Give one of --schema, --regex and --document: an answer follows one grammar.")
    return chosen[0] if chosen else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TramontaneError(f"{path} cannot be read as text: {error}.") from error


def _read_schema(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(_read(path))
    except ValueError as error:
        raise TramontaneError(f"{path} is not JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise TramontaneError(f"{path} holds no JSON schema: an object is expected.")
    return schema


def _run(engine: Engine, request: Request) -> Iterator[Output]:
    engine.submit(request)
    while engine.has_work:
        yield from engine.step()


def _show(outputs: Iterator[Output], quiet: bool) -> Iterator[Output]:
    """Prints the text as it comes."""
    for output in outputs:
        if not quiet:
            sys.stdout.write(plain(output.text))
            sys.stdout.flush()
        yield output


def _report(outputs: list[Output], seconds: float, as_json: bool, request: Request) -> None:
    last = outputs[-1]
    assert last.usage is not None
    if last.finish_reason == "error":
        raise TramontaneError(last.detail or "The engine failed.")
    rate = last.usage.output / seconds
    if as_json:
        result = {
            "text": "".join(output.text for output in outputs),
            "finish_reason": last.finish_reason,
            "usage": {"prompt_tokens": last.usage.prompt, "completion_tokens": last.usage.output},
            "seconds": round(seconds, 3),
            "tokens_per_second": round(rate, 2),
        }
        print(json.dumps(result, ensure_ascii=False))
        return
    print()
    notes.print(
        f"[dim]{last.usage.prompt} prompt tokens, {last.usage.output} written in {seconds:.1f} s "
        f"({rate:.1f} tokens/s); ended by {last.finish_reason}[/]"
    )
