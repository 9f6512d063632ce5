"""The `ignore` list of a stack: unmanaged objects that no report needs to mention."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from msgspec import Struct

from reconciler.model.patterns import compiled


class IgnoreRules(Struct, frozen=True, dict=True):
    """Patterns for kinds, addresses, names and ids; `*` and `?` are wildcards, also across slashes.

    A pattern with a slash is an address: `KIND/NAME`, `KIND/ID`, or either with the project in
    between. A pattern without one is a kind, a name or an id.
    """

    patterns: Sequence[str] = ()

    def match(self, kind: str, names: Collection[str], projects: Iterable[str]) -> bool:
        """Whether an object is ignored; `names` include its id, `projects` the project's id."""
        if not self.patterns:
            return False
        # A user may know an object by its name or its id, and a project by either too.
        addresses = [f"{kind}/{name}" for name in names]
        for project in projects:
            addresses += [f"{kind}/{project}/{name}" for name in names]
        return any(map(self._expression.fullmatch, (kind, *names, *addresses)))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return compiled(self.patterns)
