"""Problems of identity: objects with two addresses, and copied marks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from reconciler.engine.snapshot import BlockingProblem, Snapshot
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import Kind
from reconciler.model.resource import MARK_KEY

Identity = tuple[str, str, str]
"""What identifies an object: kind, id, and project if ids are unique only within one."""


def identity_of(kind: Kind, project: str | None, project_id: str | None, id: str) -> Identity:
    """The identity of an object in a project, given by name and, if known, by id."""
    if kind.unique_key:
        return kind.name, id, project_id or project or ""
    return kind.name, id, ""


def bound_identities(snapshot: Snapshot) -> dict[Identity, list[Address]]:
    """The declared addresses bound to each object."""
    addresses: dict[Identity, list[Address]] = defaultdict(list)
    for address, binding in snapshot.bindings.items():
        if binding.live is not None:
            kind, project_id = snapshot.kind(address), snapshot.project_id(address.project)
            identity = identity_of(kind, address.project, project_id, binding.live.id)
            addresses[identity].append(address)
    return addresses


def two_addresses(snapshot: Snapshot) -> Iterator[BlockingProblem]:
    """An error for each object that is bound to two addresses, which would write to it in turn."""
    # This covers objects that are reachable under two project names, which the matcher cannot see.
    for (_, id, _), addresses in bound_identities(snapshot).items():
        # Sorted, so that the same address is blamed in every run.
        first, *others = sorted(addresses)
        for address in others:
            location = snapshot.resources[first].location
            where = f" ({location})" if location else ""
            diagnostic = Diagnostic(
                "One object under two addresses",
                f"{id} is the object of {first}{where} too: keep one of the two",
                address=address,
                location=snapshot.resources[address].location,
            )
            yield BlockingProblem(diagnostic, [first, address])
    # The same project under a declared and a given name: each name would have its own resources,
    # and a limit of one would be drift for the other.
    for name, address in snapshot.selection.projects.items():
        project_id = snapshot.project_id(name)
        for other, other_id in snapshot.inputs.projects.items():
            if project_id is not None and other != name and project_id == other_id:
                diagnostic = Diagnostic(
                    "One project under two names",
                    f"{address} is {project_id}, and spec.projects.{other} of the stack names the same project. "
                    f'Remove that entry, and write "project: {name}" where resources say "project: {other}"',
                    address=address,
                    location=snapshot.resources[address].location,
                )
                yield BlockingProblem(diagnostic, [address])


def other_projects(
    snapshot: Snapshot, exists: Callable[[Kind, str], bool]
) -> Iterator[BlockingProblem]:
    """An error for each project name that now means another project than when its objects were
    recorded.

    The objects are still in the former project. Treated as deleted, they would be created again
    while the old ones keep working. So everything recorded or declared in the project is blocked.
    """
    # One diagnostic per project instead of one per object: there can be thousands.
    strays: dict[tuple[str, str, str], list[Address]] = defaultdict(list)
    for address, record in snapshot.inputs.records.items():
        if address.project is None or record.project_id is None:
            continue
        now = snapshot.project_id(address.project)
        if now is not None and now != record.project_id:
            strays[address.project, now, record.project_id].append(address)
    kind = next((kind for kind in snapshot.inputs.kinds.values() if kind.defines_project), None)
    # By id and not by name. Whoever renames a project and gives its old name to another would
    # otherwise have every object deleted there and created here.
    for (name, now, before), addresses in strays.items():
        # If the earlier project is gone, its objects are gone too and can be created again.
        if kind is None or not exists(kind, before):
            continue
        first = addresses[0]
        declared = [address for address in snapshot.resources if address.project == name]
        diagnostic = Diagnostic(
            "Project name reused",
            f'"{name}" is {now} now, but {len(addresses)} recorded objects, such as {first}, are in {before}. '
            f"Objects cannot move between projects. Give {before} another name in spec.projects and move "
            f"the records (reconciler state mv {first} KIND/PROJECT/NAME), or forget them "
            "(reconciler state rm).",
            address=first,
        )
        yield BlockingProblem(diagnostic, [*addresses, *declared])


def surplus_marks(snapshot: Snapshot) -> Iterator[BlockingProblem]:
    """A warning for each object with our mark that was never ours."""
    for address, live in snapshot.leftovers.copies:
        bound = snapshot.live_of(address)
        owned = bound.id if bound is not None else "no object"
        diagnostic = Diagnostic(
            "An object carries a mark of this stack and is not managed by it",
            f"{live.kind.name} {live.id} carries the mark of {address}, and {address} is bound to "
            f"{owned}. Probably its metadata was copied. It is left alone. Remove the key "
            f'"{MARK_KEY}" from its metadata, or delete it if nobody needs it.',
            address=address,
            severity=Severity.WARNING,
        )
        yield BlockingProblem(diagnostic)
