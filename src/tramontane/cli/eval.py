"""`tramontane eval`: how good a model is at what brise does, asked through its own engine as a client would."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tramontane.cli.asking import whole_choice
from tramontane.cli.eval_sentence import with_its_sentence
from tramontane.cli.eval_tasks import run_tasks
from tramontane.cli.model_options import find_device, find_model, parse_quantization, parse_size
from tramontane.cli.models_loading import loading_bars
from tramontane.cli.terminal import notes, tell
from tramontane.errors import InvalidRequestError, TramontaneError
from tramontane.evaluation.asking import Question, Reply
from tramontane.evaluation.held_out import draw_questions, real_texts
from tramontane.evaluation.report import HEADINGS, markdown, rows
from tramontane.evaluation.running import Results, evaluate, measure_texts
from tramontane.evaluation.texts import texts_in
from tramontane.gateway.answers import Choice
from tramontane.gateway.providers.local.provider import LocalOptions, LocalProvider
from tramontane.gateway.providers.local.sources import Source, open_reference
from tramontane.gateway.requests import AnswerFormat, Chat, Continuation, Generation, Prompt, Sampling
from tramontane.training.export import write_evaluation
from tramontane.training.generators.material import LANGUAGES

_CONCURRENCY = 64


def eval(
    model: Annotated[str, typer.Argument(metavar="REF", help="Folder, owner/name, short name, or random:SHAPE.")],
    items: Annotated[int, typer.Option(min=1, help="Questions of each task in each language.")] = 50,
    documents: Annotated[str, typer.Option(help="How many documents a question has, as 2-4,12-24.")] = "2-4,12-24",
    seed: Annotated[int, typer.Option(help="The same seed asks the same questions.")] = 0,
    sentence: Annotated[bool, typer.Option("--sentence", help="Of documents only the sentence that fits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the table.")] = False,
    texts: Annotated[Path | None, typer.Option(help="A folder of fr.txt, de.txt…: real text for perplexity.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Put the figures into the model's card and record.")] = False,
    tasks: Annotated[str | None, typer.Option(help="Tasks of lm-eval instead, as arc_easy,my_task.")] = None,
    include_path: Annotated[Path | None, typer.Option(help="A folder with tasks of your own.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task of lm-eval.")] = None,
    quantization: Annotated[str, typer.Option(help="none, int8 or int4.")] = "none",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    kv_memory: Annotated[str, typer.Option(help="Memory for keys and values, as 4GiB.")] = "4GiB",
) -> None:
    """Measure a model on held-out questions: quotes from documents, tools, sums, language, perplexity.

    Example: [bold]tramontane eval ./brise --items 100 --json[/]
    """
    source, asked = open_reference(find_model(model)), Asked(items, seed, _ranges(documents), texts, sentence)
    options = LocalOptions(parse_quantization(quantization), find_device(device), parse_size(kv_memory))
    if tasks is not None:
        if write:
            raise TramontaneError("--write is for the held-out questions: leave it out with --tasks.")
        run_tasks(source, options, tasks, include_path, limit, as_json)
        return
    if include_path is not None or limit is not None:
        raise TramontaneError("--include-path and --limit belong to --tasks: name some, or leave them out.")
    if write and source.folder is None:
        raise TramontaneError(f"{source.name} has random weights and no folder to write figures into.")
    if write and sentence:
        raise TramontaneError("--write is for what the model can by itself: leave it out with --sentence.")
    results = measure(source, asked, options)
    if write:
        write_figures(source, asked, results)
    if as_json:
        print(json.dumps(_figures(source, asked, results), ensure_ascii=False))
    else:
        Console().print(_table(source.name, results))


@dataclass(frozen=True)
class Asked:
    """What is asked: so many questions of each task in each language, on so many documents; which texts are read.

    `texts`: a folder of files by language; None: the documents that were written by hand.
    """

    items: int
    seed: int = 0
    documents: tuple[tuple[int, int], ...] = ((2, 4), (12, 24))
    texts: Path | None = None
    sentence: bool = False  # only the sentence of the documents that fits the question

    @property
    def ranges(self) -> str:
        """As the option `--documents` has them."""
        return ",".join(f"{low}-{high}" for low, high in self.documents)

    def read_texts(self) -> dict[str, list[str]]:
        """The texts by language."""
        if self.texts is None:
            return {language: real_texts(language) for language in LANGUAGES}
        return {language: parts for language, parts in texts_in(self.texts).items() if language in LANGUAGES}


def measure(source: Source, asked: Asked, options: LocalOptions) -> Results:
    """Loads the model and asks it everything."""
    if not source.has_output_head:
        raise TramontaneError(f"{source.name} has no output head: it is a model for embeddings and cannot write.")
    questions, texts = list(draw_questions(asked.items, asked.seed, asked.documents)), asked.read_texts()
    if asked.sentence:
        questions = [with_its_sentence(question) for question in questions]
    provider = LocalProvider([source], options)
    with loading_bars() as report:
        tell(provider.load(report))
    asking = _Asking(provider, source.name)
    try:
        results = asyncio.run(_measure(asking, questions, texts))
    finally:
        provider.close()
    if asking.refused:
        tell([f"{asking.refused} requests were refused and count as wrong, the last because: {asking.reason}"])
    return results


def write_figures(source: Source, asked: Asked, results: Results) -> None:
    """Puts what was measured into the model's folder: card, record and evaluation.json."""
    assert source.folder is not None
    texts = "the documents written by hand" if asked.texts is None else "documents of the sources that were held out"
    given = "" if asked.texts is None else f" --texts {asked.texts.name}"
    section = (
        "Right on held-out questions, in per cent, greedily, through the engine: documents, names, templates and tools "
        f"that training has not seen; {asked.items} questions of each task in each language. “Real documents” are "
        f"letters, minutes, press articles and product sheets written by hand. Perplexity is on {texts}. Measured by "
        f"`tramontane eval {source.name} --items {asked.items} --documents {asked.ranges} --seed {asked.seed}{given}`."
    )
    write_evaluation(source.folder, _figures(source, asked, results), f"{section}\n\n{markdown(results)}")


def _figures(source: Source, asked: Asked, results: Results) -> dict[str, Any]:
    held = {"items": asked.items, "seed": asked.seed, "documents": asked.ranges, "sentence": asked.sentence}
    return {"model": source.name, **held, **results.as_json()}


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
        return await whole_choice(self._provider, self._model, Generation(f"eval-{self._serial}", prompt, sampling))


async def _measure(asking: _Asking, questions: list[Question], texts: dict[str, list[str]]) -> Results:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bar:
        task = bar.add_task("Asking", total=None)
        results = await evaluate(
            questions, asking.answer, _CONCURRENCY, lambda done, total: bar.update(task, completed=done, total=total)
        )
        await measure_texts(results, texts, asking.score)
    return results


def _ranges(text: str) -> tuple[tuple[int, int], ...]:
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= low <= high:
            raise TramontaneError(f"{text!r} is no number of documents; write it as 12-24, or 8, or 2-4,12-24.")
        found.append((low, high))
    return tuple(found)


def _table(name: str, results: Results) -> Table:
    table = Table(title=f"{name}: right on held-out questions, in per cent", title_justify="left", box=SIMPLE_HEAD)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in (*LANGUAGES, "asked") else "left", no_wrap=True)
    for row in rows(results):
        table.add_row(*row.cells)
    return table
