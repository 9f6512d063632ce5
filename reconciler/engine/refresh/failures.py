"""Turns failed reads and unbound resources into diagnostics of the plan.

A refused read is an error of the addresses that need it, and of no others. If none needs it, it is
a warning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from reconciler.engine.binding.identity import two_addresses
from reconciler.engine.binding.matcher import Matcher
from reconciler.engine.refresh.targets import ReadTargets
from reconciler.engine.scope import Scope
from reconciler.engine.snapshot import BlockingProblem, Snapshot
from reconciler.errors import ApiError, CredentialError, RetiredError
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.inventory import sentences_of
from reconciler.model.kind import Kind

_FEW = 3
_SERVER_ERROR = 500


def unreadable_projects(snapshot: Snapshot) -> list[BlockingProblem]:
    """A problem for each project that no key opens: an error of its recorded objects, else a
    warning.

    Unread objects can be neither planned nor reported as unchanged.
    """
    inputs, selection = snapshot.inputs, snapshot.selection
    projects = {scope.project for scope in snapshot.live.unreadable}
    # The usual case, without a pass over thousands of records.
    if not projects:
        return []
    recorded: dict[str, list[Address]] = defaultdict(list)
    # By record, since a declared resource without one has no object that could be lost.
    for address in inputs.records:
        if snapshot.is_unreadable(address):
            recorded[address.project or ""].append(address)
    problems: list[BlockingProblem] = []
    for project in sorted(filter(None, projects)):
        declared, writer = selection.projects.get(project), inputs.key_writers.get(project)
        # A project that is still to be created has no objects, so there is nothing unreadable.
        if declared is not None and snapshot.live_of(declared) is None:
            continue
        affected = recorded.get(project, [])
        if affected:
            problems.append(BlockingProblem(_out_of_reach(project, affected, writer), affected))
        else:
            problems.append(BlockingProblem(_not_yet(project, writer)))
    return problems


def with_refused_reads(snapshot: Snapshot, targets: ReadTargets) -> Snapshot:
    """The snapshot with every refused read reported.

    Raises the refusal if the API refused everything, because then no single kind is at fault.
    """
    live, unsearched = snapshot.live, dict(snapshot.live.unsearched)
    _raise_if_all_refused(snapshot, targets)
    problems: list[BlockingProblem] = []
    retired: set[Address] = set()
    for scope, error in sorted(live.failed.items(), key=_by_kind):
        affected = _affected_by(snapshot, targets, scope)
        blocked: list[Address] = []
        for address in affected:
            # A retired kind has no objects any more, so its records can only be forgotten.
            if _is_retired(snapshot, address, error):
                retired.add(address)
            else:
                blocked.append(address)
        if blocked:
            problems.append(_refused(snapshot, scope, error, blocked))
        elif affected:
            problems.append(
                BlockingProblem(_forgotten(snapshot.inputs.kinds[scope.kind], error, affected))
            )
        else:
            # No address needs this list, so its refusal is only a warning.
            unsearched[scope] = error
    # Refusals of single objects block only the addresses that are bound to them.
    for (scope, id), error in live.failed_objects.items():
        # An object that was only searched for concerns no address.
        if affected := _affected_by(snapshot, targets, scope, id):
            problems.append(_refused(snapshot, scope, error, affected))
    if unsearched:
        problems.append(BlockingProblem(_not_searched(unsearched)))
    return replace(
        snapshot.with_problems(problems),
        retired=frozenset(retired),
        search_failed=any(map(_may_pass, live.unsearched.values())),
    )


def _raise_if_all_refused(snapshot: Snapshot, targets: ReadTargets) -> None:
    """Raise the first refusal if the API refused every list that the plan needs and asked for."""
    live = snapshot.live
    refusals = [error for error in live.failed.values() if not isinstance(error, RetiredError)]
    needed = targets.needed(snapshot.current_value)
    # If every needed list is refused, the cause is the key or the server. One error says more than
    # dozens.
    if len(refusals) > 1 and needed & live.listed.keys() <= live.failed.keys():
        raise refusals[0]


def with_unread_lists(snapshot: Snapshot) -> Snapshot:
    """The snapshot with a warning that names the lists which an overview lacks."""
    unread = snapshot.overview.unread
    # The warning about failed searches names these already.
    known = {(scope.kind, scope.project) for scope in snapshot.live.unsearched}
    silent = [entry for entry in unread if (entry.kind, entry.project) not in known]
    if not silent:
        return snapshot
    diagnostic = Diagnostic(
        f"{len(silent):,} lists could not be read, so their contents are unknown",
        "\n".join(sentences_of(silent)),
        severity=Severity.WARNING,
    )
    return snapshot.with_problems([BlockingProblem(diagnostic)])


def with_unbound(snapshot: Snapshot, matcher: Matcher) -> Snapshot:
    """The snapshot with the errors of binding. Missing objects that are to be destroyed cause none."""
    destroying = snapshot.inputs.options.destroy
    problems: list[BlockingProblem] = []
    # The first error of an address is usually the cause of the others.
    blocked = set(snapshot.errors)
    for diagnostic in matcher.diagnostics:
        address = diagnostic.address
        # There is nothing to destroy, so whatever made the address ambiguous is moot.
        if address is not None and destroying and snapshot.live_of(address) is None:
            problems.append(BlockingProblem(replace(diagnostic, severity=Severity.WARNING)))
        elif address is None or address in blocked:
            problems.append(BlockingProblem(diagnostic))
        else:
            # Both sides stop: deleting the recorded side would destroy the object that the declared
            # side means.
            addresses = [address, *_contested_with(snapshot, matcher.keys.contested.get(address))]
            problems.append(BlockingProblem(diagnostic, addresses))
            blocked.update(addresses)
    # Two addresses of one object are harmless if both are destroyed.
    if not destroying:
        problems += two_addresses(snapshot)
    return snapshot.with_problems(problems)


def _contested_with(snapshot: Snapshot, owner: Address | None) -> list[Address]:
    """The recorded address that has the object of a resource, with everything recorded in it.

    The declaration may have a new address without `renamed_from`. Until that is settled, the record
    must stay.
    """
    if owner is None:
        return []
    contested = [owner]
    if snapshot.kind(owner).defines_project:
        contested += [at for at in snapshot.inputs.records if at.project == owner.name]
    return contested


def _affected_by(
    snapshot: Snapshot, targets: ReadTargets, scope: Scope, id: str | None = None
) -> list[Address]:
    """The addresses of which nothing is known without a list, or without one object of it."""

    def has_id(address: Address) -> bool:
        record, live = snapshot.inputs.records.get(address), snapshot.live_of(address)
        is_recorded = record is not None and record.id == id
        return id is None or is_recorded or (live is not None and live.id == id)

    affected: set[Address] = set()
    for address in targets.recorded:
        if targets.record_scopes[address] == scope and has_id(address):
            affected.add(address)
    # Declared ones too: a resource without a record needs its list to bind.
    for address in snapshot.selection.selected:
        resource = snapshot.resources[address]
        is_in_scope = targets.declared_scope(resource, snapshot.current_value) == scope
        # A resource without an object would be created. Whether it is needed depends on the list of
        # the other kind.
        could_be_unnecessary = (
            resource.kind.made_unnecessary_by == scope.kind and snapshot.live_of(address) is None
        )
        if could_be_unnecessary or (is_in_scope and has_id(address)):
            affected.add(address)
    return sorted(affected)


def _is_retired(snapshot: Snapshot, address: Address, error: ApiError) -> bool:
    """Whether an unwanted object disappeared with its kind."""
    # While a manifest declares it, the user has to decide about the successor.
    is_wanted = address in snapshot.resources and not snapshot.inputs.options.destroy
    return isinstance(error, RetiredError) and not is_wanted


def _refused(
    snapshot: Snapshot, scope: Scope, error: ApiError, affected: Sequence[Address]
) -> BlockingProblem:
    """The error of resources whose list or own read the API refused."""
    kind, first = snapshot.inputs.kinds[scope.kind], snapshot.resources.get(affected[0])
    if isinstance(error, RetiredError):
        summary, way_out = f"The server has no {kind.name} objects any more", _way_out(kind)
    else:
        where = f' of project "{scope.project}"' if scope.project else ""
        summary, way_out = f"{kind.name} objects{where} could not be read", error.hint
    more = f" and {len(affected) - _FEW:,} more" if len(affected) > _FEW else ""
    not_planned = f"Not planned: {', '.join(map(str, affected[:_FEW]))}{more}."
    diagnostic = Diagnostic(
        summary,
        "\n".join(filter(None, (with_status(error), way_out, not_planned))),
        address=affected[0],
        location=first.location if first is not None else None,
    )
    return BlockingProblem(diagnostic, affected)


def _out_of_reach(project: str, affected: Sequence[Address], writer: Address | None) -> Diagnostic:
    """The error of recorded objects in a project that no key opens; `writer` delivers the key, if
    any does."""
    remedy = f"Put the key back where credentials.projects.{project} has it"
    if writer is not None:
        remedy += f", or deliver a new key with `reconciler rotate --now --keep-old {writer}`"
    return Diagnostic(
        f'Project "{project}" cannot be read',
        f"The key that opens it is missing, and this stack manages {len(affected):,} objects in it "
        f"({affected[0]} for one). {remedy}.",
        address=affected[0],
    )


def _not_yet(project: str, writer: Address | None) -> Diagnostic:
    """The warning about a project without records."""
    return Diagnostic(
        f'Objects of project "{project}" cannot be read yet',
        "The key that opens it does not exist yet. Apply searches for each object planned for it right before the create.",
        address=writer,
        severity=Severity.WARNING,
    )


def _forgotten(kind: Kind, error: ApiError, affected: Sequence[Address]) -> Diagnostic:
    """The warning that undeclared records of a retired kind are dropped."""
    count = f"{len(affected):,} {kind.name} object{'s' if len(affected) != 1 else ''}"
    return Diagnostic(
        f"The server has no {kind.name} objects any more",
        f"{with_status(error)}\nThe state forgets {count} ({affected[0]} for one).",
        severity=Severity.WARNING,
    )


def _not_searched(searched: Mapping[Scope, ApiError | CredentialError]) -> Diagnostic:
    """One warning for all scopes that were only searched, with a line per kind."""
    lines: dict[str, str] = {}
    for scope, error in sorted(searched.items(), key=_by_kind):
        # One line per kind: the same refusal repeats in every project.
        lines.setdefault(scope.kind, f"{scope.kind}: {with_status(error)}")
    return Diagnostic(
        "Some kinds could not be searched for objects of this stack",
        "\n".join([*lines.values(), "No declared resource needs them, so the plan goes on."]),
        severity=Severity.WARNING,
    )


def _may_pass(error: ApiError | CredentialError) -> bool:
    """Whether a later search may succeed: the server had an error, or something in between
    answered."""
    return isinstance(error, ApiError) and (error.status is None or error.status >= _SERVER_ERROR)


def _way_out(kind: Kind) -> str:
    instead = ""
    if kind.retirement is not None and kind.retirement.successor:
        instead = f"declare kind {kind.retirement.successor} instead, or "
    return f"To go on, {instead}remove the documents: what is no longer declared is forgotten."


def with_status(error: ApiError | CredentialError) -> str:
    """The message of an error, with the HTTP status unless the message names it already."""
    text = str(error)
    if isinstance(error, ApiError) and error.status and str(error.status) not in text:
        return f"{text} ({error.status})"
    return text


def _by_kind(entry: tuple[Scope, object]) -> tuple[str, str]:
    scope, _ = entry
    return scope.kind, scope.project or ""
