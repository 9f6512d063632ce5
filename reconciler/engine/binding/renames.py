"""New names in the configuration: of projects, whose records move along, and of single resources.

The name of a project is a label; its id identifies it. A record under a name that the configuration
no longer has belongs to the present name of the project. A resource names its earlier address as
`renamed_from`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.resource import Record, Resource


def with_renamed_projects(inputs: PlanInputs) -> PlanInputs:
    """The inputs with every address under the present name of its project; `moved` holds the stored
    addresses."""
    # Usually empty. Then the inputs stay untouched, without copying thousands of records.
    names = _present_names(inputs)
    if not names:
        return inputs
    moved: dict[Address, Address] = {}
    for address in inputs.records:
        present = _renamed(address, names)
        # A record under the new name is the newer one.
        if present != address and present not in inputs.records:
            moved[present] = address
    # Everything that names an address follows: targets, dependencies, key writers, the journal.
    present_of = {old: new for new, old in moved.items()}

    def moved_from(address: Address) -> Address:
        """The present address of a moved record; any other address as it is."""
        return present_of.get(address, address)

    def recently_written() -> dict[Address, float]:
        # Evaluated late, like the original: the server's time is known only after the first answers.
        return {moved_from(at): until for at, until in inputs.recently_written().items()}

    return replace(
        inputs,
        options=replace(
            inputs.options,
            targets=_each_once(map(moved_from, inputs.options.targets)),
            replace=_each_once(map(moved_from, inputs.options.replace)),
        ),
        records=_moved_records(inputs.records, present_of),
        moved={**inputs.moved, **moved},
        recently_written=recently_written,
        key_writers=_key_writers(inputs, names, present_of),
        ownership=_renamed_ownership(inputs.ownership, names),
    )


def _each_once(addresses: Iterable[Address]) -> tuple[Address, ...]:
    # The old and the new name of one address can both be given.
    return tuple(dict.fromkeys(addresses))


def _key_writers(
    inputs: PlanInputs, names: Mapping[str, str], present_of: Mapping[Address, Address]
) -> dict[str, Address]:
    """By present name of the project: the resource that delivers its key."""
    writers: dict[str, Address] = {}
    # Former names first, so that a key declared for the present name replaces a recorded one.
    for project in sorted(inputs.key_writers, key=lambda name: name not in names):
        writer = inputs.key_writers[project]
        writers[names.get(project, project)] = present_of.get(writer, writer)
    return writers


def _renamed_ownership(ownership: Ownership, names: Mapping[str, str]) -> Ownership:
    """The unfinished work of earlier runs, under present names."""
    unfinished: dict[Address, float] = {}
    for address, began in ownership.unfinished.items():
        unfinished[_renamed(address, names)] = began
    attempts: dict[Address, Sequence[CreateAttempt]] = {}
    for address, known in ownership.create_attempts.items():
        attempts[_renamed(address, names)] = known
    created_ids: dict[str, Address] = {}
    for id, address in ownership.created_ids.items():
        created_ids[id] = _renamed(address, names)
    return replace(
        ownership,
        unfinished=unfinished,
        create_attempts=attempts,
        created_ids=created_ids,
        renamed_projects={**ownership.renamed_projects, **names},
    )


def _present_names(inputs: PlanInputs) -> dict[str, str]:
    """By former name of a project: its present name."""
    # Project ids connect the two names: the record of the project, its adopted id, or an entry in
    # `spec.projects`.
    definers: dict[str, Resource] = {}
    declared: set[Address] = set()
    for resource in inputs.resources:
        if resource.kind.defines_project:
            definers[resource.address.name] = resource
            declared.add(resource.address)
    known = definers.keys() | inputs.projects.keys()
    # The stack file comes first, because an id that a person wrote there is no guess.
    by_id = {id: name for name, id in inputs.projects.items()}
    names: dict[str, str] = {}
    for name, resource in definers.items():
        source, adopted = resource.lifecycle.renamed_from, resource.lifecycle.adopt
        record = inputs.records.get(resource.address)
        # An explicit `renamed_from` counts even without a record, because the project may not have
        # been applied yet.
        if source is not None and source not in declared:
            record = record or inputs.records.get(source)
            if source.name not in known:
                names[source.name] = name
        if record is not None:
            by_id.setdefault(record.id, name)
        elif isinstance(adopted, str):
            by_id.setdefault(adopted, name)
    for address, record in inputs.records.items():
        if address.project and address.project not in known and record.project_id in by_id:
            names.setdefault(address.project, by_id[record.project_id])
    return names


def _renamed(address: Address, names: Mapping[str, str]) -> Address:
    present = names.get(address.project or "")
    return address if present is None else Address(address.kind, address.name, present)


def _moved_records(
    records: Mapping[Address, Record], stored: Mapping[Address, Address]
) -> dict[Address, Record]:
    moved = {}
    for address, record in records.items():
        # Dependencies are addresses too and have to follow.
        present = stored.get(address, address)
        depends_on = tuple(stored.get(need, need) for need in record.depends_on)
        if present != address or depends_on != record.depends_on:
            record = replace(record, address=present, depends_on=depends_on)
        moved[present] = record
    # In the order in which the state lists them, or a rename would reorder every report.
    return dict(sorted(moved.items(), key=lambda item: item[0].sort_key))


class RenamedResources:
    """The earlier addresses of resources. `project_id` returns the id of a project by its name."""

    def __init__(
        self,
        inputs: PlanInputs,
        live: LiveState,
        declared: Collection[Address],
        project_id: Callable[[str | None], str | None],
    ) -> None:
        self._records = inputs.records
        self._present_names = inputs.ownership.renamed_projects
        self._live = live
        self._declared = declared
        self._project_id = project_id

    def source(self, resource: Resource) -> Address | None:
        """The earlier address of a resource, with the present name of its project."""
        source = resource.lifecycle.renamed_from
        # A second apply with the same `renamed_from` finds the new record and has nothing to rename.
        if source is None or resource.address in self._records:
            return None
        # `renamed_from` is written with the name that the project had then.
        source = _renamed(source, self._present_names)
        return None if source in self._declared else source

    def is_elsewhere(self, resource: Resource, source: Address) -> bool:
        """Whether the record of the earlier address is in another project than the resource.

        Project ids decide, not names. Objects cannot move between projects.
        """
        record, address = self._records.get(source), resource.address
        if record is None or source.project == address.project:
            return False
        # The recorded id first: the name may belong to another project by now.
        before = record.project_id or self._project_id(source.project)
        after = self._project_id(address.project)
        if before is not None and after is not None:
            return before != after
        # Without both ids, the list that shows the object decides. Ids of unique-key kinds repeat in
        # every project, so they prove nothing.
        if resource.kind.unique_key:
            return True
        is_here = self._live.find(address.kind, address.project, record.id) is not None
        return not is_here and self._live.find(source.kind, source.project, record.id) is not None
