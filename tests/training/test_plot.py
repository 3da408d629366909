"""The plot is a well-formed SVG, whatever the run."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from tramontane.training.plot import Point, loss_plot


@pytest.mark.parametrize("steps", [0, 1, 2, 399, 5000])
def test_it_is_well_formed_and_small(steps: int) -> None:
    points = [Point(step * 1000, 5 / (1 + step), "a<b" if step < 100 else "second") for step in range(steps)]
    svg = loss_plot(points, "brise & co")
    ElementTree.fromstring(svg)
    assert len(svg) < 20_000
    assert svg.count('class="stage"') == min(2, (steps > 0) + (steps > 100))
