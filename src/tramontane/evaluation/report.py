"""Figures as rows of a table, for a terminal and for a model card."""

from __future__ import annotations

from dataclasses import dataclass

from tramontane.evaluation.running import Results
from tramontane.training.generators.material import LANGUAGES

HEADINGS = ("task", "measure", "grammar", *LANGUAGES, "asked")


@dataclass(frozen=True)
class Row:
    """One measure of a task, with the quote grammar, without, or "" where none is meant; a figure a language."""

    task: str
    measure: str
    grammar: str
    figures: tuple[str, ...]  # in the order of LANGUAGES; "–": not measured
    asked: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As many as there are headings."""
        return (self.task, self.measure, self.grammar, *self.figures, self.asked)


def rows(results: Results) -> list[Row]:
    """Shares of right answers in per cent, then perplexity and bits per byte of real text."""
    found = []
    for (task, measure, grammar), counts in sorted(results.counts.items()):
        shares = tuple(f"{100 * counts[language].share:.1f}" if language in counts else "–" for language in LANGUAGES)
        both = (task, measure, not grammar) in results.counts
        mode = "" if not both else "with" if grammar else "without"
        found.append(Row(task, measure, mode, shares, str(sum(count.all for count in counts.values()))))
    for measure, values in (("perplexity", results.perplexities), ("bits per byte", results.bits_per_byte)):
        figures = tuple(f"{values[language]:.4g}" if language in values else "–" for language in LANGUAGES)
        found.append(Row("real text", measure, "", figures, ""))
    return found


def markdown(results: Results) -> str:
    """The rows as a Markdown table."""
    lines = [HEADINGS, ("---", "---", "---", *("--:" for _ in LANGUAGES), "--:"), *(row.cells for row in rows(results))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
