"""Projects with a new name in the configuration: their records move along.

The name of a project is a label; its id identifies it. A record under a name that the configuration
no longer has belongs to the present name of the project.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from reconciler.engine.inputs import PlanInputs
from reconciler.model.address import Address
from reconciler.model.resource import Record


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
        # A record that is there already under the new name is the newer one.
        if present != address and present not in inputs.records:
            moved[present] = address
    stored = {old: new for new, old in moved.items()}
    ownership, options = inputs.ownership, inputs.options
    return replace(
        inputs,
        options=replace(
            options,
            targets=tuple(
                dict.fromkeys(stored.get(address, address) for address in options.targets)
            ),
            replace=tuple(
                dict.fromkeys(stored.get(address, address) for address in options.replace)
            ),
        ),
        records=_moved_records(inputs.records, stored),
        moved={**inputs.moved, **moved},
        recently_written=lambda: {
            stored.get(address, address): until
            for address, until in inputs.recently_written().items()
        },
        key_writers={
            names.get(project, project): stored.get(
                inputs.key_writers[project], inputs.key_writers[project]
            )
            # A key that is declared for the present name counts more than one that is recorded for a former name.
            for project in sorted(inputs.key_writers, key=lambda name: name not in names)
        },
        ownership=replace(
            ownership,
            unfinished={
                _renamed(address, names): began for address, began in ownership.unfinished.items()
            },
            create_attempts={
                _renamed(address, names): attempts
                for address, attempts in ownership.create_attempts.items()
            },
            created_ids={
                id: _renamed(address, names) for id, address in ownership.created_ids.items()
            },
            renamed_projects={**ownership.renamed_projects, **names},
        ),
    )


def _present_names(inputs: PlanInputs) -> dict[str, str]:
    """By former name of a project: its present name."""
    # Project ids connect the two names: the record of the project, its adopted id, or an entry in
    # `spec.projects`.
    definers = {
        declared_project.address.name: declared_project
        for declared_project in inputs.resources
        if declared_project.kind.defines_project
    }
    known = {*definers, *inputs.projects}
    declared = {declared_project.address for declared_project in definers.values()}
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
    return dict(sorted(moved.items(), key=lambda item: item[0].sort_key))
