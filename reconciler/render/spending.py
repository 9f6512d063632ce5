"""Costs and usage as tables with bars: the longest bar is the most that one row has."""

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
"""The figures that tables show, in their order, and what they are called there; JSON and CSV have all."""

_LEADING = ("input_tokens", "images", "characters", "seconds", "usage_bytes", "num_sessions", "num_requests")


def bar(value: Decimal | int, most: Decimal | int) -> str:
    """A bar for a value where the longest is for `most`: anything above nothing can be seen."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(Decimal(value) / Decimal(most) * _BAR_CELLS * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def money(amount: Decimal) -> str:
    """An amount as people read it: two places, more only where nothing would be left."""
    rounded = f"{amount:,.2f}"
    return f"{amount.normalize():,f}" if amount and not Decimal(rounded.replace(",", "")) else rounded


def share(part: Decimal, whole: Decimal) -> str:
    """A part in per cent of the whole."""
    return f"{part / whole * 100:.0f} %" if whole > 0 else ""


def leading(figures: Sequence[str]) -> str | None:
    """The figure that bars are drawn of."""
    return next((name for name in _LEADING if name in figures), None)


def figure_columns(rows: Sequence[Mapping[str, int]]) -> list[str]:
    """The figures that a table of these rows shows."""
    return [name for name in WORDS if any(name in row for row in rows)]
