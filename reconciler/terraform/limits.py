"""Decides which rate limits a configuration sets, in a state that holds all limits of a model.

Two providers store every limit that the API answers, whether or not the configuration sets it. The
limits of an organization without any configuration are not published, and differ between
organizations. So only the state gives evidence: a value that most projects have for a model, while
others have another, is taken to be the organization's own. Without such evidence, nothing is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

LIMITS = (
    "max_requests_per_1_minute",
    "max_tokens_per_1_minute",
    "max_images_per_1_minute",
    "max_audio_megabytes_per_1_minute",
    "max_requests_per_1_day",
    "batch_1_day_max_input_tokens",
)

IsUsual = Callable[[str, str, int], bool]


def usual_limits(stored: Iterable[tuple[str, str, int]]) -> IsUsual:
    """A test whether a limit is the organization's own, learnt from the limits of a state.

    `stored` and the test take the model, the name of the limit and its value.
    """
    values: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for model, name, value in stored:
        values[model, name][value] += 1

    def is_usual(model: str, name: str, value: int) -> bool:
        counts = values.get((model, name), Counter())
        # With a single value, nothing shows whether somebody has set it everywhere.
        return len(counts) > 1 and counts[value] > counts.total() / 2

    return is_usual
