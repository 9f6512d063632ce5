"""How many stacks of a fleet may need objects of the same list.

A list that several stacks need is read once for all of them, so what one stack needs of it does not
decide whether single reads take fewer calls.
"""

from __future__ import annotations

from reconciler.model.kind import Kind


def sharers_of(kind: Kind, project: str | None, stacks: int) -> int:
    """How many of the `stacks` of an organization may need objects of a list.

    All of them for lists of the organization. For a project nobody knows: it may be this stack's
    own, or common to some. Two makes a list that is hardly longer than a page a common one, and
    leaves long ones alone.
    """
    if project is None and kind.scope.needs_admin_key:
        return stacks
    return min(2, stacks)
