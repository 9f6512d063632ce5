"""How many stacks of a fleet may need objects of the same list.

A list that several stacks need is read once for all of them, so what one stack needs of it does not
decide whether single reads take fewer calls.
"""

from __future__ import annotations

from reconciler.model.kind import Kind


def sharers_of(kind: Kind, project: str | None, stacks: int) -> int:
    """How many of the `stacks` of an organization may need objects of a list."""
    # Every stack may need objects of the organization. A project may belong to one stack or to
    # several, which is unknown here. With two, a short list counts as shared and a long one does not.
    if project is None and kind.scope.needs_admin_key:
        return stacks
    return min(2, stacks)
