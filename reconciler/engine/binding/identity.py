"""What a plan says about identity: objects with two addresses, and objects that only carry a copy of a mark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import Kind
from reconciler.model.resource import MARK_KEY

if TYPE_CHECKING:
    from reconciler.engine.refresh.collect import Collector

Identity = tuple[str, str, str]
"""Which object something is: its kind, its id, and its project where ids are only unique within one."""


def identity_of(kind: Kind, project: str | None, project_id: str | None, id: str) -> Identity:
    """The identity of an object in a project, given by its name and, where it is known, by its id."""
    return (kind.name, id, (project_id or project or "") if kind.unique_key else "")


def bound_identities(survey: Collector) -> dict[Identity, list[Address]]:
    """The declared addresses that are bound to each object."""
    found: dict[Identity, list[Address]] = defaultdict(list)
    for address, binding in survey.bindings.items():
        if binding.live is not None:
            project_id = survey.project_id(address.project)
            found[identity_of(survey.kind(address), address.project, project_id, binding.live.id)].append(address)
    return found


def two_addresses(survey: Collector) -> Iterator[tuple[Address, Diagnostic]]:
    """An error for each object that is bound to a second address: the two would write their values in turn.

    The first of the two addresses comes with it.
    """
    for (_, id, _), addresses in bound_identities(survey).items():
        first, *others = sorted(addresses)
        for address in others:
            resource, place = survey.resources[address], survey.resources[first].location
            yield (
                first,
                Diagnostic(
                    "One object under two addresses",
                    f"{id} is the object of {first}{f' ({place})' if place else ''} too: keep one of the two",
                    address=address,
                    location=resource.location,
                ),
            )
    for name, address in survey.project_names.items():
        project_id = survey.project_id(name)
        for other, other_id in survey.inputs.projects.items():
            if project_id is not None and other != name and project_id == other_id:
                yield (
                    address,
                    Diagnostic(
                        "One project under two names",
                        f"{address} is {project_id}, and spec.projects.{other} of the stack names the same project. "
                        f'Remove that entry, and write "project: {name}" where resources say "project: {other}"',
                        address=address,
                        location=survey.resources[address].location,
                    ),
                )


def other_projects(
    survey: Collector, is_alive: Callable[[Kind, str], bool]
) -> Iterator[tuple[Sequence[Address], Diagnostic]]:
    """An error for each name of a project that means another project than when objects in it were recorded.

    Those objects are where they were. Taken for deleted, they would be created again, and the old ones would keep
    working unnoticed. Every recorded or declared address in the project comes with the error.
    """
    strays: dict[tuple[str, str, str], list[Address]] = defaultdict(list)
    for address, record in survey.inputs.records.items():
        now = survey.project_id(address.project) if address.project else None
        if now is not None and record.project_id is not None and now != record.project_id:
            strays[address.project or "", now, record.project_id].append(address)
    kind = next((kind for kind in survey.inputs.kinds.values() if kind.defines_project), None)
    for (name, now, before), addresses in strays.items():
        if kind is None or not is_alive(kind, before):
            continue
        first = addresses[0]
        declared = (address for address in survey.resources if address.project == name)
        yield (
            tuple(dict.fromkeys([*addresses, *declared])),
            Diagnostic(
                "A project has the name of another one",
                f'"{name}" is {now} now, and {len(addresses)} of the recorded objects ({first} for one) are in '
                f"{before}. Objects cannot move between projects. Give {before} a name of its own in spec.projects "
                f"and move the records there (reconciler state mv {first} KIND/PROJECT/NAME), or forget them "
                "(reconciler state rm).",
                address=first,
            ),
        )


def surplus_marks(survey: Collector) -> Iterator[Diagnostic]:
    """A warning for each object that carries a mark of ours and was never ours, as far as anybody knows."""
    for address, live in survey.surplus():
        binding = survey.bindings.get(address)
        bound = binding.live.id if binding is not None and binding.live is not None else None
        owner = f"{address} is bound to {bound}" if bound else f"{address} is bound to no object"
        yield Diagnostic(
            "An object carries a mark of this stack and is not managed by it",
            f"{live.kind.name} {live.id} carries the mark of {address}, and {owner}. Probably its metadata was copied. "
            f'It is left alone. Remove the key "{MARK_KEY}" from its metadata, or delete it if nobody needs it.',
            address=address,
            severity=Severity.WARNING,
        )
