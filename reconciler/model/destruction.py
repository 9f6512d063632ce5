"""Losses: declarations of updates that destroy something, and the losses that a plan finds with them.

An update can destroy as much as a deletion: it can revoke a key, cut off access, drop data or raise a limit. A field
declares such updates as `LossRule`s. `engine/plan/losses.py` compares the two sides of a change with the rules and puts
each `Loss` on the change, where guards count it and reports show it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Lost(StrEnum):
    """What is lost. Guards count everything except limits: without one, more is permitted and
    nothing is gone."""

    KEY = "key"
    MEMBER = "member"
    ACCESS = "access"
    DATA = "data"
    LIMIT = "limit"

    @property
    def counts(self) -> bool:
        """Whether guards count the loss like a deletion."""
        return self is not Lost.LIMIT


class Loss(Struct, frozen=True):
    """One loss that a change causes."""

    sentence: str
    """Starts with a verb and has no full stop."""
    lost: Lost
    count: int = 1
    """The number of keys or members."""
    empties: bool = False
    """Whether a collection is empty afterwards."""


class When(StrEnum):
    """The direction of a change for which a rule applies."""

    CHANGES = "changes"  # from anything that was set to anything else
    FALLS = "falls"
    RISES = "rises"
    LOSES = "loses"  # items of a list, or pairs of a map
    GAINS = "gains"


class LossRule(Struct, frozen=True):
    """Declares that an update of a field in place destroys something."""

    when: When
    lost: Lost
    sentence: str
    """May contain `{before}`, `{after}` and, for items, `{items}`."""
    at: tuple[str, ...] = ()
    """A path below the field."""
    order: tuple[Any, ...] = ()
    """Values from the least to the most. Numbers need no order. Both directions apply to a value
    that the order lacks."""
    unset: Any = None
    """The value that null stands for. EVERYTHING ranks above all values and contains every item; an
    empty list stands for it too."""
    all_items: str | None = None
    """A text that stands for every item."""
    to: Any = None
    """The rule applies only if this is the new value."""
    # An allow list and a deny list of one field lose opposite things.
    given: tuple[str, Any] | None = None
    """The dotted path of another value of the object, and the value that it must have on both
    sides."""
    empties: bool = False
    """Whether an update that leaves the list empty needs permission for the address."""


class _Everything:
    """The rank of an unset limit: more than any value, and all items."""

    def __repr__(self) -> str:
        return "EVERYTHING"


EVERYTHING: Any = _Everything()
