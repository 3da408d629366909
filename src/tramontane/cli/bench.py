"""`tramontane bench`: how fast this machine serves a model, as a share of what the machine can do at all."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tramontane.cli.bench_engine import Figures, measure
from tramontane.cli.model_options import parse_quantization
from tramontane.cli.terminal import notes, tell
from tramontane.model.family import shape as family_shape
from tramontane.model.machine import this_machine

cli = typer.Typer(no_args_is_help=True, help="Measure speed, as a share of the machine's own limits.")


@cli.callback()
def _group() -> None:
    """Keeps `engine` a subcommand: others follow."""


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
