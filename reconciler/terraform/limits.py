"""Which rate limits a configuration sets, where a state holds all limits of a model.

Two providers store every limit that the API answers, whether or not the configuration sets it. The
usage tiers of the platform give each model family the same limits, so values that belong to the
organization's tier are taken to be its own. The tier is the one that explains the most values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

LIMITS = (
    "max_requests_per_1_minute",
    "max_tokens_per_1_minute",
    "max_images_per_1_minute",
    "max_audio_megabytes_per_1_minute",
    "max_requests_per_1_day",
    "batch_1_day_max_input_tokens",
)
_REQUESTS, _TOKENS, _IMAGES, _AUDIO, _DAILY, _BATCH = LIMITS
_Values = Mapping[str, int]


def _values(requests: int, tokens: int, batch: int) -> _Values:
    return {_REQUESTS: requests, _TOKENS: tokens, _BATCH: batch}


_LARGE = (
    _values(500, 30_000, 90_000),
    _values(5_000, 450_000, 1_350_000),
    _values(5_000, 800_000, 50_000_000),
    _values(10_000, 2_000_000, 200_000_000),
    _values(10_000, 30_000_000, 5_000_000_000),
)
_SMALL = (
    _values(500, 200_000, 2_000_000),
    _values(5_000, 2_000_000, 20_000_000),
    _values(5_000, 4_000_000, 40_000_000),
    _values(10_000, 10_000_000, 1_000_000_000),
    _values(30_000, 150_000_000, 15_000_000_000),
)
_EMBEDDING = (
    _values(3_000, 1_000_000, 3_000_000),
    _values(5_000, 1_000_000, 20_000_000),
    _values(5_000, 5_000_000, 100_000_000),
    _values(10_000, 5_000_000, 500_000_000),
    _values(10_000, 10_000_000, 4_000_000_000),
)
_ANY_TIER = {_IMAGES: 50_000}
"""Limits that chat models have in every tier."""

IsUsual = Callable[[str, str, int], bool]


def usual_limits(stored: Iterable[tuple[str, str, int]]) -> IsUsual:
    """A test whether a limit is the organization's own, learnt from the limits of a state.

    `stored` and the test take the model, the name of the limit and its value.
    """
    votes: Counter[int] = Counter()
    for model, name, value in stored:
        for tier, values in enumerate(_family(model)):
            votes[tier] += values.get(name) == value
    most = max(votes.values(), default=0)
    likely = [tier for tier, count in votes.items() if count == most and most > 0]

    def is_usual(model: str, name: str, value: int) -> bool:
        family = _family(model)
        return _ANY_TIER.get(name) == value or any(
            family[tier].get(name) == value for tier in likely
        )

    return is_usual


def _family(model: str) -> tuple[_Values, ...]:
    if "embedding" in model:
        return _EMBEDDING
    return _SMALL if "mini" in model or "nano" in model else _LARGE
