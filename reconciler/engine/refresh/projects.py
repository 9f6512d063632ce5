"""The projects of a plan by name: which exist, and the id of each.

Objects of projects are read through their project, so the provider has to know the ids first.
"""

from __future__ import annotations

from collections.abc import Collection

from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.provider import LiveReader
from reconciler.model.resource import LiveObject


class LiveProjects:
    """Finds out which projects exist, and passes their ids to the provider."""

    def __init__(self, inputs: PlanInputs, provider: LiveReader, live: LiveState) -> None:
        self.ids: dict[str, str] = dict(inputs.projects)
        """The ids of the projects that exist, by name."""
        self.missing: set[str] = set()
        """Declared or recorded projects that do not exist. No object can exist in them."""
        self._inputs = inputs
        self._provider = provider
        self._live = live

    def bind_given(self) -> None:
        """Bind the projects of the stack file. They exist outside of this stack and need no read."""
        for name, id in self._inputs.projects.items():
            self._provider.bind_project(name, id)

    def bind(self, name: str, live: LiveObject | None) -> None:
        """Bind a project to its object, or note that it does not exist."""
        if live is None:
            self.missing.add(name)
        else:
            self.ids[name] = live.id
            self._provider.bind_project(name, live.id)

    def bind_recorded(self, declared: Collection[Address]) -> None:
        """Bind the projects that only records name."""
        kinds, records = self._inputs.kinds, self._inputs.records
        for address, record in records.items():
            kind = kinds.get(address.kind)
            if kind is not None and kind.defines_project and address not in declared:
                live = self._live.find(address.kind, address.project, record.id)
                # An archived project still answers, but nothing in it can be reached.
                if live is not None and is_gone(live):
                    live = None
                self.bind(address.name, live)
        # A project of another stack has no record here. The records of its objects know its id.
        known = self.ids.keys() | self.missing
        for address, record in records.items():
            if address.project and record.project_id and address.project not in known:
                self._provider.bind_project(address.project, record.project_id)

    def exists(self, kind: Kind, id: str) -> bool:
        """Whether an object of the organization exists. One that no list shows is read by id."""
        # Lists lag behind writes. An earlier project that only seems gone would make everything
        # recorded in it count as deleted.
        live = self._live.find(kind.name, None, id) or self._provider.get(kind, None, id)
        return live is not None and not is_gone(live)
