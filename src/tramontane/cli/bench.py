"""`tramontane bench`: how fast this machine serves a model, as a share of what the machine can do at all."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tramontane.cli.bench_engine import Figures, measure
from tramontane.cli.bench_server import EngineFigures, EngineWork, HttpFigures, measure_engine, measure_http
from tramontane.cli.bench_soak import SoakFigures, measure_soak
from tramontane.cli.model_options import parse_quantization
from tramontane.cli.terminal import notes, tell
from tramontane.errors import TramontaneError
from tramontane.model.family import shape as family_shape
from tramontane.model.machine import this_machine

cli = typer.Typer(no_args_is_help=True, help="Measure speed, as a share of the machine's own limits.")


@cli.command("engine")
def bench_engine(
    shape: Annotated[str, typer.Option(help="A shape of the family, such as mistral-7b.")] = "mistral-7b",
    layers: Annotated[int | None, typer.Option(help="So many layers in place of the shape's own.")] = None,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "int8",
    long_prompt: Annotated[int, typer.Option(help="Tokens of the long prompt; 0 leaves it out.")] = 16_384,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON line alone.")] = False,
) -> None:
    """Measure the whole engine on random weights: prompts, decoding, cached prefixes, latency under load.

    Example: [bold]tramontane bench engine --shape mistral-7b --layers 8 --quantization int8[/]
    """
    config = family_shape(shape)
    if layers is not None:
        config = replace(config, num_layers=layers, windows=config.windows[:layers])
    with notes.status("measuring") as status:
        figures = measure(
            config,
            parse_quantization(quantization),
            long_prompt=min(long_prompt, config.max_context - 64),
            tell=status.update,
            show_notices=tell,
        )
    line = {"shape": shape, "layers": config.num_layers, **asdict(figures)}
    line["processor"] = this_machine().processor
    if not as_json:
        _print_table(f"{shape}, {config.num_layers} layers, {figures.quantization}", figures)
    print(json.dumps(line))


def _print_table(title: str, figures: Figures) -> None:
    console = Console()
    table = Table(title=title, title_justify="left")
    for heading in ("tokens/s", "measured", "linears alone", "share", "roof", "share"):
        table.add_column(heading, justify="left" if heading == "tokens/s" else "right")
    for rate in figures.rates:
        table.add_row(
            rate.name,
            f"{rate.tokens_per_second:,.1f}",
            f"{rate.linears_tokens_per_second:,.1f}",
            f"{rate.tokens_per_second / rate.linears_tokens_per_second:.0%}",
            f"{rate.roof_tokens_per_second:,.1f}",
            f"{rate.tokens_per_second / rate.roof_tokens_per_second:.0%}",
        )
    console.print(table)
    console.print("\n".join(figures.sentences()), highlight=False)


@cli.command("server")
def bench_server(
    part: Annotated[str, typer.Option(help="http: mock models; engine: a real one; both.")] = "both",
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each figure of the HTTP layer is measured.")] = 10,
    rate: Annotated[float, typer.Option(min=1, help="Requests a second of the open loop.")] = 150,
    shape: Annotated[str, typer.Option(help="A shape of the family, such as mistral-7b.")] = "mistral-7b",
    layers: Annotated[int | None, typer.Option(help="So many layers in place of the shape's own.")] = None,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "int8",
    streams: Annotated[int, typer.Option(min=1, help="Streams at once.")] = 16,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 16,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens of each answer.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds through HTTP, each between two straight ones.")] = 3,
    database_url: Annotated[
        str | None, typer.Option(help="An empty database, such as postgresql://…; SQLite in a temporary folder.")
    ] = None,
    soak: Annotated[
        float | None,
        typer.Option(min=0.02, help="Minutes of mixed load at the rate, to watch memory; in place of a part."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON line alone.")] = False,
) -> None:
    """Measure the server from outside: what HTTP adds to an answer, how much it carries, what of an engine arrives.

    Example: [bold]tramontane bench server --shape mistral-7b --layers 8 --quantization int8[/]
    """
    if part not in ("http", "engine", "both"):
        raise TramontaneError(f"The part {part!r} is not known; choose http, engine or both.")
    if database_url is not None and part == "both" and soak is None:
        raise TramontaneError("Each part wants an empty database: with --database-url choose --part http or engine.")
    family_shape(shape)  # refused before anything is started
    work = EngineWork(shape, layers, parse_quantization(quantization), streams, prompt, tokens, rounds)
    http = engine = soaked = None
    with notes.status("measuring") as status:
        if soak is not None:
            soaked = measure_soak(rate=rate, minutes=soak, database_url=database_url, tell=status.update)
        if soak is None and part != "engine":
            http = measure_http(rate=rate, seconds=seconds, database_url=database_url, tell=status.update)
        if soak is None and part != "http":
            engine = measure_engine(work, database_url=database_url, tell=status.update, show_notices=tell)
    if not as_json:
        _print_server_tables(http, engine, soaked)
    line = {"http": http and asdict(http), "engine": engine and asdict(engine), "soak": soaked and asdict(soaked)}
    print(json.dumps({**line, "processor": this_machine().processor, "cores": len(os.sched_getaffinity(0))}))


def _print_server_tables(http: HttpFigures | None, engine: EngineFigures | None, soaked: SoakFigures | None) -> None:
    if soaked is not None:
        title = f"{soaked.minutes:g} min at {soaked.rate:g} requests/s, on {soaked.database}"
        _print_rows(title, ("", "measured", "bar"), soaked.rows(), soaked.sentences())
    if http is not None:
        _print_rows(f"The platform alone, on {http.database}", ("", "measured", "bar"), http.rows(), http.sentences())
    if engine is not None:
        work = engine.work
        title = (
            f"{work.shape}, {engine.layers} layers, {work.quantization}: {work.streams} streams at once, "
            f"{work.prompt_tokens} + {work.tokens} tokens"
        )
        headings = ("", "engine", "through HTTP", "share", "bar")
        _print_rows(title, headings, engine.rows(), engine.sentences())


def _print_rows(title: str, headings: Sequence[str], rows: Sequence[tuple[str, ...]], sentences: Sequence[str]) -> None:
    console = Console()
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print("\n".join(sentences), highlight=False)
