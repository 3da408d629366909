"""`tramontane chat`: a conversation with a model in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Annotated

import typer

from tramontane.catalogue.bundled import BUNDLED_MODEL
from tramontane.cli.chat_session import ChatSession
from tramontane.cli.model_options import find_device, find_model, parse_quantization, parse_size
from tramontane.cli.models_loading import loading_bars
from tramontane.cli.terminal import notes, tell
from tramontane.errors import TramontaneError
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import open_reference
from tramontane.gateway.requests import DEFAULT_TEMPERATURE

PROMPT = "› "
CONTINUED = "… "


def chat(
    model: Annotated[str, typer.Option(help="Folder, owner/name, short name, or random:SHAPE.")] = BUNDLED_MODEL,
    system: Annotated[str, typer.Option(help="System prompt.")] = "",
    document: Annotated[list[Path] | None, typer.Option(help="Text file to answer from; may be repeated.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0: the likeliest.")] = DEFAULT_TEMPERATURE,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer at most.")] = 1024,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kv_memory: Annotated[str, typer.Option(help="Memory for keys and values, as 4GiB.")] = "4GiB",
) -> None:
    """Talk to a model. Ctrl-C stops an answer; /help lists the commands; Ctrl-D or /quit ends.

    Example: [bold]tramontane chat --model ./Mistral-7B-Instruct-v0.3 --quantization int8[/]
    """
    source = open_reference(find_model(model))
    if not source.has_output_head:
        raise TramontaneError(f"{source.name} has no output head: it is a model for embeddings and cannot write.")
    options = LocalOptions(parse_quantization(quantization), find_device(device), parse_size(kv_memory))
    provider = LocalProvider([source], options)
    tell(provider.warnings())
    with loading_bars() as report:
        notices = provider.load(report)
    tell(notices)
    session = ChatSession(provider, source.name, system, temperature, max_tokens)
    for path in document or []:
        session.attach(path)
    notes.print(f"{source.name} listens. /help lists the commands.", style="dim", markup=False)
    try:
        with asyncio.Runner() as runner:
            converse(session, runner)
    finally:
        provider.close()


def converse(session: ChatSession, runner: asyncio.Runner) -> None:
    """Reads lines and has them answered until the end of the input or /quit."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (makes `input` an editor with a history, where the system has it)
    while not session.ended:
        try:
            said = _read_message()
        except EOFError:
            break
        except KeyboardInterrupt:
            notes.print("\n/quit or Ctrl-D ends.", style="dim")
            continue
        try:
            # The runner turns Ctrl-C into the cancellation of what it runs, which gives the engine its memory back.
            runner.run(session.take(said))
        except KeyboardInterrupt:
            session.interrupted()
        except TramontaneError as error:
            notes.print(str(error), style="red", markup=False)


def _read_message() -> str:
    """One message; a line that ends with a backslash goes on with the next."""
    lines = [input(PROMPT)]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input(CONTINUED))
    return "\n".join(lines).strip()
