"""Translates between the project names of the configuration and the ids of the API."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.errors import ReconcilerError, UsageError
from reconciler.kinds import KINDS
from reconciler.model.diagnostic import nearest

if TYPE_CHECKING:
    from reconciler.app.session import Session


_LIMIT_KIND = "SpendLimit"


class Projects(Struct, frozen=True):
    """Names by id of the projects that a stack manages or that its stack file names."""

    names: dict[str, str]

    @classmethod
    def of(cls, session: Session) -> Projects:
        """The projects in the stack file and the state; makes no call."""
        names = {id: name for name, id in session.stack.projects.items()}
        for address, record in session.store.records().items():
            kind = KINDS.get(address.kind)
            if kind is not None and kind.defines_project:
                names[record.id] = address.name
        return cls(names)

    def name(self, id: str | None) -> str:
        """The name of a project in the configuration, else its id."""
        return "(no project)" if id is None else self.names.get(id, id)

    def ids(self, wanted: Sequence[str]) -> list[str]:
        """The ids of projects given by name or id; raises UsageError."""
        return [self.id(name) for name in wanted]

    def id(self, name: str) -> str:
        """The id of a project given by name or id; raises UsageError."""
        known = {known: id for id, known in self.names.items()}
        if name in known or name in self.names or name.startswith("proj_"):
            return known.get(name, name)
        raise UsageError(
            f'the state and the stack file know no project "{name}".{nearest(name, known)}',
            hint="Give the id of a project that is not managed here.",
        )


def declared_limits(session: Session) -> dict[str, Decimal]:
    """The monthly spend limits that manifests declare, in US dollars, by the name of the project.

    Empty if the manifests cannot be read: costs are useful without limits.
    """
    try:
        resources = session.configuration.resources
    except ReconcilerError:
        return {}
    limits = {}
    for resource in resources:
        cents = resource.spec.get("threshold_amount")
        project = resource.address.project
        if resource.kind.name == _LIMIT_KIND and project and isinstance(cents, int):
            limits[project] = Decimal(cents) / 100
    return limits
