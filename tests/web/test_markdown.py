"""Answers in a real browser, under the server's own policy: what is drawn, and what a hostile one cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.web.browsing import PHONE, WIDE, Window

RICH = r"""## A heading

Words that are **strong**, *stressed*, ~~gone~~, `code`, and a [link](https://example.org/a).

- [x] done
- [ ] open
  1. one
  2. two

| wind | from | force |
|:-----|:----:|------:|
| mistral | north-west | 8 |
| marin | south-east<br>or south | 4 |

```python
def wind(name: str) -> int:
    return len(name)  # in letters, and a line that is longer than any window is wide: 0123456789 0123456789 0123456789
```

Einstein: $E = mc^2$, and

$$\sum_{i=1}^{n} \frac{\sqrt{x_i}}{\begin{pmatrix} a & b \\ c & d \end{pmatrix}} = \int_0^\infty e^{-x}\,dx$$

> A quotation.

👍🏽 «The **mistral** blows | cold.» [1]
"""

HOSTILE = r"""<script>window.hacked = 1</script><img src="https://example.org/leak" onerror="window.hacked = 1">

![a](https://example.org/leak.png) ![b](/v1/conversations) ![c](data:image/svg+xml,<svg/onload=alert(1)>)

[a](javascript:window.hacked=1) [b](/sign-out) [c](data:text/html,<script>parent.hacked=1</script>)

<style>body { background: url(https://example.org/leak) }</style><svg onload="window.hacked = 1">

$\href{javascript:window.hacked=1}{x}$ $\includegraphics{https://example.org/leak.png}$
$\kern{-100em}\rule{100em}{100em}$

```html
<script>window.hacked = 1</script><img src="https://example.org/leak">
```
"""


def answer(content: str, quoted: str | None = None) -> dict[str, Any]:
    """An answer, as the API shows it; with a quotation of what is quoted in it."""
    start = content.index(quoted) if quoted else 0  # Python counts code points, as the API does
    quotes = (
        [{"number": 1, "document_id": None, "text_start": start, "text_end": start + len(quoted), "spans": []}]
        if quoted
        else []
    )
    return {
        "id": "a", "parent_id": "q", "author": "assistant", "state": "done", "content": content,
        "thinking": "", "tool_calls": [], "quotes": quotes, "given": [], "not_given": [], "model": "brise",
        "left_out": 0, "created_at": "2026-11-25T12:00:00Z", "siblings": ["a"],
    }  # fmt: skip


def show(window: Window, message: dict[str, Any]) -> Any:
    """Opens a shared conversation that holds this answer, and returns the part of the page that shows it."""
    shared = {"title": "Winds", "created_at": "2026-11-25T12:00:00Z", "data": [message]}
    window.page.route(
        "**/v1/shared/x", lambda route: route.fulfill(body=json.dumps(shared), content_type="application/json")
    )
    window.open("/shared/x")
    part = window.page.locator(".markdown")
    part.wait_for()
    return part


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_all_that_markdown_has(
    open_window: Callable[..., Window], tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    window = open_window(size=size, scheme=scheme, signed_in=False)
    part = show(window, answer(RICH, "The **mistral** blows | cold."))
    part.locator(".hljs-keyword").first.wait_for()
    part.locator("math").nth(1).wait_for()
    assert part.locator("q").inner_text() == "«The **mistral** blows | cold.»"
    assert part.locator("td").nth(4).inner_text() == "south-east\nor south"
    fraction = part.locator("mfrac").first.bounding_box()
    assert fraction["height"] > 25  # drawn as one, not in a row
    assert window.fits()
    assert window.violations() == []
    window.screenshot(f"markdown-{'phone' if size == PHONE else 'wide'}-{scheme}", tmp_path)


def test_a_hostile_answer_is_text(open_window: Callable[..., Window]) -> None:
    window = open_window(signed_in=False)
    part = show(window, answer(HOSTILE))
    window.page.wait_for_timeout(500)
    assert window.page.evaluate("window.hacked") is None
    assert part.locator("img, script, style, iframe, object").count() == 0
    links = part.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert links
    assert all(link.startswith("https://example.org/") for link in links)
    assert window.fits()
