"""Bar charts as tables: each row has a label, the number as text, and the bar as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from reconciler import __version__
from reconciler.render.escape import markup
from reconciler.render.html.page import page, section
from reconciler.render.spending import share

_WIDTH = 480
_HEIGHT = 16
_MOST_ROWS = 200


class ChartBar(Struct, frozen=True):
    """One row. `shown` is the value as text; `limit` is its declared maximum, if any."""

    label: str
    value: Decimal
    shown: str
    limit: Decimal | None = None
    limit_shown: str = ""


class Chart(Struct, frozen=True):
    """Bars on a common scale. Only the heading names the `unit`."""

    title: str
    bars: tuple[ChartBar, ...]
    unit: str = ""
    note: str = ""


def chart_page(title: str, summary: str, charts: Sequence[Chart]) -> str:
    """A page of charts; `summary` is the sentence below its heading."""
    head = (
        f'<header>\n<h1>{markup(title)}</h1>\n<p class="verdict">{markup(summary)}</p>\n</header>\n'
        '<main id="main" tabindex="-1">\n'
    )
    body = [head]
    for at, chart in enumerate(charts):
        content = section(chart.title, _chart(chart), id=f"chart-{at}")
        body.append(content)
    return page(title, [*body, "</main>\n"], f"reconciler {__version__}")


def _chart(chart: Chart) -> Iterator[str]:
    if not chart.bars:
        return
    if chart.note:
        yield f'<p class="soft">{markup(chart.note)}</p>\n'
    limits = [bar.limit for bar in chart.bars if bar.limit is not None]
    # Limits are part of the scale, so that the dashed lines are inside of the picture.
    most = max(limits + [bar.value for bar in chart.bars])
    cells = f'<th scope="col"></th><th scope="col">{markup(chart.unit or "Amount")}</th>'
    if limits:
        cells += '<th scope="col">Limit</th>'
    cells += '<th scope="col" class="text">Chart</th>'
    yield '<div class="scroll" tabindex="0" role="group" aria-label="Chart">'
    yield f'<table class="numbers"><thead><tr>{cells}</tr></thead><tbody>\n'
    for bar in chart.bars[:_MOST_ROWS]:
        yield _row(bar, most, has_limits=bool(limits))
    yield "</tbody></table></div>\n"
    if len(chart.bars) > _MOST_ROWS:
        yield f'<p class="soft">{len(chart.bars) - _MOST_ROWS:,} more; JSON and CSV have all.</p>\n'


def _row(bar: ChartBar, most: Decimal, *, has_limits: bool) -> str:
    limit = ""
    if has_limits:
        limit = f"<td>{markup(_limit_text(bar))}</td>"
    return (
        f'<tr><th scope="row">{markup(bar.label)}</th><td>{markup(bar.shown)}</td>{limit}'
        f'<td class="text">{_picture(bar, most)}</td></tr>\n'
    )


def _limit_text(bar: ChartBar) -> str:
    if bar.limit is None:
        return ""
    if bar.limit <= 0:
        return bar.limit_shown
    return f"{bar.limit_shown} ({share(bar.value, bar.limit)})"


def _picture(bar: ChartBar, most: Decimal) -> str:
    """The bar, and a dashed line at its limit. The numbers beside it say the same."""
    style, line = "bar", ""
    length = _length(bar.value, most)
    if bar.limit is not None:
        at = _length(bar.limit, most)
        line = f'<line class="limit" x1="{at}" x2="{at}" y1="0" y2="{_HEIGHT}"/>'
        if bar.value > bar.limit:
            style = "bar over"
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'
        f'<rect class="track" width="{_WIDTH}" height="{_HEIGHT}"/>'
        f'<rect class="{style}" width="{length}" height="{_HEIGHT}"/>{line}</svg>'
    )


def _length(value: Decimal, most: Decimal) -> str:
    if value <= 0 or most <= 0:
        return "0"
    # Anything above zero is visible.
    return f"{max(Decimal(1), value / most * _WIDTH):.1f}"
