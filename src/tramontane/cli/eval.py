"""`tramontane eval`: how good a model is at what brise does, asked through its own engine as a client would."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tramontane.cli.model_options import find_device, find_model, parse_quantization, parse_size
from tramontane.cli.models_loading import loading_bars, open_source
from tramontane.cli.terminal import notes, tell
from tramontane.errors import InvalidRequestError, TramontaneError
from tramontane.evaluation.asking import Question, Reply
from tramontane.evaluation.held_out import draw_questions, real_texts
from tramontane.evaluation.running import Results, evaluate, measure_texts
from tramontane.gateway.answers import Answer, Choice
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.requests import AnswerFormat, Chat, Continuation, Generation, Prompt, Sampling
from tramontane.training.generators.material import LANGUAGES

_CONCURRENCY = 64


def eval(
    model: Annotated[str, typer.Argument(metavar="REF", help="Folder, owner/name, short name, or random:SHAPE.")],
    items: Annotated[int, typer.Option(min=1, help="Questions of each task in each language.")] = 50,
    documents: Annotated[str, typer.Option(help="Documents of a question, as 12-24.")] = "12-24",
    seed: Annotated[int, typer.Option(help="The same seed asks the same questions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kv_memory: Annotated[str, typer.Option(help="Memory for keys and values, as 4GiB.")] = "4GiB",
) -> None:
    """Measure a model on held-out questions: quotes from documents, tools, sums, language, perplexity.

    Example: [bold]tramontane eval ./brise --items 100 --json[/]
    """
    source = open_source(find_model(model))
    if not source.has_output_head:
        raise TramontaneError(f"{source.name} has no output head: it is a model for embeddings and cannot write.")
    questions = list(draw_questions(items, seed, _range(documents)))
    provider = LocalProvider(
        [source], LocalOptions(parse_quantization(quantization), find_device(device), parse_size(kv_memory))
    )
    with loading_bars() as report:
        tell(provider.load(report))
    asking = _Asking(provider, source.name)
    try:
        results = asyncio.run(_measure(asking, questions))
    finally:
        provider.close()
    if asking.refused:
        tell([f"{asking.refused} requests were refused and count as wrong, the last because: {asking.reason}"])
    if as_json:
        print(json.dumps({"model": source.name, "items": items, "seed": seed, **results.as_json()}, ensure_ascii=False))
    else:
        Console().print(_table(source.name, results))


class _Asking:
    """Questions to one model of a provider, greedily."""

    def __init__(self, provider: LocalProvider, model: str) -> None:
        self.refused, self.reason = 0, ""
        self._provider, self._model, self._serial = provider, model, 0

    async def answer(self, question: Question, *, grammar: bool) -> Reply:
        """The answer; an empty one where the model cannot take the question."""
        chat = Chat(
            question.messages, tools=question.tools, format=AnswerFormat("quotes") if grammar else AnswerFormat()
        )
        try:
            choice = await self._choice(chat, Sampling(temperature=0, max_tokens=question.max_tokens))
        except InvalidRequestError as error:
            self.refused, self.reason = self.refused + 1, str(error)
            return Reply("")
        return Reply(choice.text, [(call.name, call.arguments) for call in choice.tool_calls])

    async def score(self, text: str) -> tuple[float, int]:
        """How likely the model finds the text; its first token, which nothing precedes, is not judged."""
        choice = await self._choice(Continuation(text), Sampling(temperature=0, max_tokens=1, prompt_logprobs=0))
        scores = choice.prompt_scores or []
        return sum(score.logprob for score in scores), len(scores)

    async def _choice(self, prompt: Prompt, sampling: Sampling) -> Choice:
        self._serial += 1
        answer = Answer(1)
        async for event in await self._provider.generate(
            self._model, Generation(f"eval-{self._serial}", prompt, sampling)
        ):
            answer.add(event)
        return answer.choices[0]


async def _measure(asking: _Asking, questions: list[Question]) -> Results:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bar:
        task = bar.add_task("Asking", total=None)
        results = await evaluate(
            questions, asking.answer, _CONCURRENCY, lambda done, total: bar.update(task, completed=done, total=total)
        )
        await measure_texts(results, {language: real_texts(language) for language in LANGUAGES}, asking.score)
    return results


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= low <= high:
        raise TramontaneError(f"{text!r} is no number of documents; write it as 12-24 or 8.")
    return low, high


def _table(name: str, results: Results) -> Table:
    table = Table(title=f"{name}: right on held-out questions, in per cent", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("quote grammar")
    for language in LANGUAGES:
        table.add_column(language, justify="right")
    table.add_column("judged", justify="right")
    for (task, measure, grammar), counts in sorted(results.counts.items()):
        shares = [f"{100 * counts[language].share:.1f}" if language in counts else "–" for language in LANGUAGES]
        quotes = "" if task not in ("documents", "real documents") else "with" if grammar else "without"
        judged = sum(count.all for count in counts.values())
        table.add_row(f"{task}, {measure}", quotes, *shares, str(judged))
    for measure, values in (("perplexity", results.perplexities), ("bits per byte", results.bits_per_byte)):
        table.add_row(f"real text, {measure}", "", *(f"{values[language]:.4g}" for language in LANGUAGES), "")
    return table
