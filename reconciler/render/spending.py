"""Bars, amounts and column names for tables of costs and usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_BAR_CELLS = 24

WORDS = {
    "num_model_requests": "Requests",
    "num_requests": "Calls",
    "num_sessions": "Sessions",
    "input_tokens": "Input tokens",
    "input_cached_tokens": "Cached input",
    "output_tokens": "Output tokens",
    "images": "Images",
    "characters": "Characters",
    "seconds": "Seconds",
    "usage_bytes": "Most bytes",
}
"""The figures that text and Markdown tables show, in column order; JSON and CSV have all."""

_LEADING = (
    "input_tokens",
    "images",
    "characters",
    "seconds",
    "usage_bytes",
    "num_sessions",
    "num_requests",
)


def bar(value: Decimal | int, most: Decimal | int) -> str:
    """A bar for `value`, full at `most`; any value above zero is visible."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(Decimal(value) / Decimal(most) * _BAR_CELLS * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def money(amount: Decimal) -> str:
    """An amount with two decimals, or all of them if it would round to zero."""
    rounded = f"{amount:,.2f}"
    rounds_to_zero = not Decimal(rounded.replace(",", ""))
    if amount and rounds_to_zero:
        return f"{amount.normalize():,f}"
    return rounded


def share(part: Decimal, whole: Decimal) -> str:
    """`part` as a percentage of `whole`; empty if `whole` is zero."""
    if whole <= 0:
        return ""
    return f"{part / whole * 100:.0f} %"


def leading(figures: Sequence[str]) -> str | None:
    """The figure that the bars show."""
    return next((name for name in _LEADING if name in figures), None)


def figure_columns(rows: Sequence[Mapping[str, int]]) -> list[str]:
    """The figures that occur in the rows, in column order."""
    figures = frozenset[str]().union(*rows)
    return [name for name in WORDS if name in figures]
