"""What a change destroys: the declarations on fields, and the losses that a plan finds by them.

An update can destroy as much as a deletion: it can revoke a key, cut off access, drop data or raise a limit. A field
declares such updates as `LossRule`s. `engine/plan/losses.py` compares the two sides of a change with the rules and puts
each `Loss` on the change, where guards count it and reports show it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Lost(StrEnum):
    """What is lost. Guards count everything but limits, which only let more happen than before."""

    KEY = "key"
    MEMBER = "member"
    ACCESS = "access"
    DATA = "data"
    LIMIT = "limit"

    @property
    def counts(self) -> bool:
        """Whether guards count it as they count a deletion."""
        return self is not Lost.LIMIT


class Loss(Struct, frozen=True):
    """One thing that a change destroys.

    `sentence` starts with a verb and has no full stop. `count` is the number of keys or members. `empties` is set
    where a collection holds nothing afterwards.
    """

    sentence: str
    lost: Lost
    count: int = 1
    empties: bool = False


class When(StrEnum):
    """How a value has to move for a rule to apply."""

    CHANGES = "changes"  # from anything that was set to anything else
    FALLS = "falls"
    RISES = "rises"
    LOSES = "loses"  # items of a list, or pairs of a map
    GAINS = "gains"


class LossRule(Struct, frozen=True):
    """An update of a field in place that destroys something.

    `sentence` may name `{before}`, `{after}` and, for items, `{items}`. `at` is a path below the field. `order` ranks
    values from the least to the most; numbers rank themselves, and a value that is not in the order ranks nowhere, so
    that both directions apply to it. `unset` is the value that null stands for: `EVERYTHING`, for which an empty list
    stands as well, ranks above every other value and has every item. `all_items` is a text that has every item. `to`
    is the only value that matters afterwards. `given` is the dotted path of another value of the object, and what
    that has to be on both sides. `empties` where a list with nothing left in it has to be allowed by address.
    """

    when: When
    lost: Lost
    sentence: str
    at: tuple[str, ...] = ()
    order: tuple[Any, ...] = ()
    unset: Any = None
    all_items: str | None = None
    to: Any = None
    given: tuple[str, Any] | None = None
    empties: bool = False


class _Everything:
    """More than any value, and all items: what a limit that is not set amounts to."""

    def __repr__(self) -> str:
        return "EVERYTHING"


EVERYTHING: Any = _Everything()
