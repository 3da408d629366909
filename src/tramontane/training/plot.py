"""The loss over the run as an SVG, drawn by hand: one line and a few labels need no library."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 860, 360, 60, 40, 20, 50
_POINTS = 400  # more would only make the file larger


@dataclass(frozen=True)
class Point:
    """One step: tokens since the run began, the loss in nats, the stage's name."""

    tokens: int
    loss: float
    stage: str


def loss_plot(points: Sequence[Point], title: str) -> str:
    """An SVG of the loss, each of up to 400 points the mean of its neighbours, with a mark where a stage begins."""
    if not points:
        return _svg(title, [])
    means = _means(points)
    top, right = max(loss for _, loss in means) * 1.05 or 1.0, points[-1].tokens or 1

    def x(tokens: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * tokens / right

    def y(loss: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * loss / top

    parts = []
    for tick in range(5):
        loss, tokens = top * tick / 4, right * tick / 4
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(loss):.1f}" y2="{y(loss):.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y(loss) + 4:.1f}" text-anchor="end">{loss:.2f}</text>')
        parts.append(f'<text x="{x(tokens):.1f}" y="{_HEIGHT - 28}" text-anchor="middle">{_short(tokens)}</text>')
    for point in _stage_starts(points):
        at = f"{x(point.tokens):.1f}"
        parts.append(f'<line x1="{at}" x2="{at}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" class="stage"/>')
        parts.append(f'<text x="{float(at) + 4:.1f}" y="{_TOP + 12}">{html.escape(point.stage)}</text>')
    line = " ".join(f"{x(tokens):.1f},{y(loss):.1f}" for tokens, loss in means)
    parts.append(f'<polyline points="{line}" class="loss"/>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">tokens</text>')
    return _svg(title, parts)


def _means(points: Sequence[Point]) -> list[tuple[float, float]]:
    size = max(1, -(-len(points) // _POINTS))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(p.tokens for p in g) / len(g), sum(p.loss for p in g) / len(g)) for g in groups]


def _stage_starts(points: Sequence[Point]) -> list[Point]:
    return [p for before, p in zip([None, *points], points, strict=False) if before is None or before.stage != p.stage]


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _svg(title: str, parts: Sequence[str]) -> str:
    style = (
        "text{font:12px system-ui,sans-serif;fill:#444}.grid{stroke:#ddd}.stage{stroke:#999;stroke-dasharray:4 3}"
        ".loss{fill:none;stroke:#c2410c;stroke-width:1.5}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">\n'
        f'<title>{html.escape(title)}</title><style>{style}</style><rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="22" style="font-size:14px">{html.escape(title)}: loss, nats a learnt token</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
