"""Bar charts as tables: each row has a label, the number as text, and the bar as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from reconciler import __version__
from reconciler.render.escape import markup
from reconciler.render.html.page import page, section

_WIDTH = 480
_HEIGHT = 16
_MOST_ROWS = 200


class ChartBar(Struct, frozen=True):
    """One row. `shown` is the value as text, and `limit` what it may be at most, if declared."""

    label: str
    value: Decimal
    shown: str
    limit: Decimal | None = None
    limit_shown: str = ""


class Chart(Struct, frozen=True):
    """Bars on a common scale. `unit` is said once, in the heading."""

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
    sections = [
        section(chart.title, _chart(chart), id=f"chart-{at}") for at, chart in enumerate(charts)
    ]
    return page(title, [head, *sections, "</main>\n"], f"reconciler {__version__}")


def _chart(chart: Chart) -> Iterator[str]:
    if not chart.bars:
        return
    if chart.note:
        yield f'<p class="soft">{markup(chart.note)}</p>\n'
    limits = [bar.limit for bar in chart.bars if bar.limit is not None]
    most = max([bar.value for bar in chart.bars] + limits)
    heads = ["", chart.unit or "Amount", *(["Limit"] if limits else []), "Chart"]
    cells = "".join(f'<th scope="col">{markup(head)}</th>' for head in heads[:-1])
    cells += f'<th scope="col" class="text">{heads[-1]}</th>'
    yield '<div class="scroll" tabindex="0" role="group" aria-label="Chart">'
    yield f'<table class="numbers"><thead><tr>{cells}</tr></thead><tbody>\n'
    for bar in chart.bars[:_MOST_ROWS]:
        yield _row(bar, most, has_limits=bool(limits))
    yield "</tbody></table></div>\n"
    if len(chart.bars) > _MOST_ROWS:
        yield f'<p class="soft">{len(chart.bars) - _MOST_ROWS:,} more; JSON and CSV have all.</p>\n'


def _row(bar: ChartBar, most: Decimal, *, has_limits: bool) -> str:
    limit = f"<td>{markup(_limit_text(bar))}</td>" if has_limits else ""
    return (
        f'<tr><th scope="row">{markup(bar.label)}</th><td>{markup(bar.shown)}</td>{limit}'
        f'<td class="text">{_picture(bar, most)}</td></tr>\n'
    )


def _limit_text(bar: ChartBar) -> str:
    if bar.limit is None:
        return ""
    share = f" ({bar.value / bar.limit * 100:.0f} %)" if bar.limit > 0 else ""
    return f"{bar.limit_shown}{share}"


def _picture(bar: ChartBar, most: Decimal) -> str:
    """The bar, and a dashed line at its limit. The numbers beside it say the same."""
    over = " over" if bar.limit is not None and bar.value > bar.limit else ""
    length = _length(bar.value, most)
    line = ""
    if bar.limit is not None:
        at = _length(bar.limit, most)
        line = f'<line class="limit" x1="{at}" x2="{at}" y1="0" y2="{_HEIGHT}"/>'
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true">'
        f'<rect class="track" width="{_WIDTH}" height="{_HEIGHT}"/>'
        f'<rect class="bar{over}" width="{length}" height="{_HEIGHT}"/>{line}</svg>'
    )


def _length(value: Decimal, most: Decimal) -> str:
    if value <= 0 or most <= 0:
        return "0"
    # Anything above zero is visible.
    return f"{max(Decimal(1), value / most * _WIDTH):.1f}"
