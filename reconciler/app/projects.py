"""Projects by what the configuration calls them, where the API knows ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.errors import UsageError
from reconciler.kinds import KINDS
from reconciler.model.diagnostic import nearest

if TYPE_CHECKING:
    from reconciler.app.session import Session


class Projects(Struct, frozen=True):
    """The projects of a stack, those that it manages and those that its stack file names: ids and names."""

    names: dict[str, str]

    @classmethod
    def of(cls, session: Session) -> Projects:
        """What the stack file and the state know; calls nothing."""
        named = {id: name for name, id in session.stack.projects.items()}
        kinds = {name for name, kind in KINDS.items() if kind.defines_project}
        records = session.store.records().items()
        return cls(named | {record.id: address.name for address, record in records if address.kind in kinds})

    def name(self, id: str | None) -> str:
        """What the configuration calls a project, else its id."""
        return "(no project)" if id is None else self.names.get(id, id)

    def ids(self, wanted: Sequence[str]) -> list[str]:
        """The ids of projects that were given by name or by id; raises UsageError."""
        return [self.id(name) for name in wanted]

    def id(self, name: str) -> str:
        """The id of a project that was given by name or by id; raises UsageError."""
        known = {known: id for id, known in self.names.items()}
        if name in known or name in self.names or name.startswith("proj_"):
            return known.get(name, name)
        raise UsageError(
            f'the state and the stack file know no project "{name}".{nearest(name, known)}',
            hint="Give the id of a project that is not managed here.",
        )
