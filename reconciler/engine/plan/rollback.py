"""Plans the inverse of a run from the pre-images that it stored.

A rollback is an ordinary plan of unusual resources. Each object that the run changed is declared as
it was right before, with the values that the API showed for managed fields; so a manual change that
the run overwrote comes back too. Objects that the run created are no longer declared. All others
are declared as recorded and stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.plan.removal import of_record
from reconciler.model.address import Address
from reconciler.model.answered import is_sendable
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.comparing import comparable, same, with_hidden
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import Field, Kind, Readable, Removal
from reconciler.model.resource import Lifecycle, Record, Resource
from reconciler.model.types import FileSetType, LocalFileType
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Spec, Template
from reconciler.state.runs import PreImage

_ON_EXISTING = frozenset({Action.UPDATE.value, Action.ADOPT.value, Action.NO_OP.value})
"""Actions of a run on an existing object without a record."""

_NOT_UNDONE = frozenset(
    {
        # Only the record changed, or the object went with its project.
        Reason.GONE.name,
        Reason.WITH_PROJECT.name,
        # The objects belonged to no resource, so there is nothing to declare again.
        Reason.LEFT_BEHIND.name,
        Reason.RETENTION.name,
    }
)
"""Reasons of changes that leave nothing for a rollback to undo."""

_MOST_ADDRESSES = 3
"""The most addresses that a warning lists."""


class RunHistory(Struct, frozen=True):
    """The pre-images of a run and of later runs."""

    run_id: int
    images: Sequence[PreImage]
    """The pre-images of the run."""
    later: Mapping[int, Sequence[PreImage]] = field(default_factory=dict)
    """The pre-images of later runs, by run number."""


class RollbackTarget(Struct, frozen=True):
    """The resources to plan for a rollback."""

    run_id: int
    resources: tuple[Resource, ...]
    changed_by_run: frozenset[Address]
    """The only addresses that the rollback may change."""
    to_release: frozenset[Address]
    """Addresses whose objects are restored and then forgotten."""
    warnings: tuple[Diagnostic, ...] = ()
    obstacles: tuple[Diagnostic, ...] = ()
    """Errors that are known without live state."""


def rollback_target(
    history: RunHistory,
    records: Mapping[Address, Record],
    kinds: Mapping[str, Kind],
    *,
    begun: Collection[Address] = (),
) -> RollbackTarget:
    """The resources that undo a run, given the current records; `begun` are changes that never
    ended."""
    images = _first_images(history.images, kinds)
    links = _links(history, images, records, kinds)
    resources: dict[Address, Resource] = {}
    changed: set[Address] = set()
    to_release: set[Address] = set()
    obstacles = []
    for address, image in images.items():
        kind = kinds[address.kind]
        changed.add(address)
        # The run may have renamed the resource.
        if image.record is not None:
            changed.add(image.record.address)
        if image.action == Action.CREATE and address in begun and address not in records:
            obstacles.append(_unsettled(history.run_id, address))
        # An object that existed before the run stays: a delete would destroy the work of somebody
        # else.
        if _is_released(image, kind):
            to_release.add(address)
        former = _former(image, records, kind)
        # Without a former resource, the record is undeclared, and the plan deletes it like any
        # other.
        if former is not None:
            # Old values can contain ids of objects that come back under new ones.
            resources[former.address] = _relinked(former, links)
    # A released object needs a resource, or there is nothing to restore.
    to_release &= resources.keys()
    # All other records are declared as they are, so that references and guards see them, and
    # nothing of them changes.
    for address, record in records.items():
        if address not in changed and address.kind in kinds:
            resources[address] = _as_recorded(record, kinds[address.kind])
    return RollbackTarget(
        history.run_id,
        tuple(resources.values()),
        frozenset(changed),
        frozenset(to_release),
        (*_changed_later(history, images), *_removed_by_rules(history)),
        tuple(obstacles),
    )


def as_rollback(
    plan: Plan, before: RollbackTarget, records: Mapping[Address, Record], kinds: Mapping[str, Kind]
) -> Plan:
    """The plan of these resources as a rollback: changed reasons, and everything else untouched."""
    changes: list[Change] = []
    planned: set[Address] = set()
    # `None` keeps warnings about the rollback as a whole.
    pending: set[Address | None] = {None}
    for change in plan.changes:
        address = change.address
        if address not in before.changed_by_run or change.reason is Reason.LEFT_BEHIND:
            continue
        changes.append(_rolled_back(change, is_released=address in before.to_release))
        planned.add(address)
        # A record that moves must not be reported a second time under its former address.
        if change.renamed_from is not None:
            planned.add(change.renamed_from)
        if changes[-1].is_change:
            pending.add(address)
    # Part of the plan, so that the share of deletions is measured against everything that is
    # managed.
    for address, record in records.items():
        if address not in planned and address.kind in kinds:
            changes.append(of_record(kinds[address.kind], record, Reason.UNTOUCHED))
    warnings = [warning for warning in before.warnings if warning.address in pending]
    return replace(
        plan,
        changes=tuple(changes),
        drift=tuple(drift for drift in plan.drift if drift.address in before.changed_by_run),
        rollback_of=before.run_id,
        diagnostics=(*warnings, *plan.diagnostics),
    )


def impossible(plan: Plan, before: RollbackTarget, projects: Iterable[str]) -> Iterator[Diagnostic]:
    """Errors for what a rollback cannot restore: archived projects and their contents.

    `projects` are the names of existing unmanaged projects.
    """
    known = set(projects)
    for resource in before.resources:
        if resource.kind.defines_project:
            known.add(resource.address.name)
    for change in plan.changes:
        if change.action is not Action.CREATE:
            continue
        # Planned as a create, because an archived object does not count as existing.
        if change.removal is Removal.ARCHIVE:
            yield Diagnostic(
                "Archived project cannot be restored",
                "The API cannot undo an archive, so the project's contents are lost too. To roll "
                "back the rest of the run, name it with --target. For a new project, restore the "
                "manifests and apply.",
                address=change.address,
            )
        elif change.address.project and change.address.project not in known:
            yield Diagnostic(
                "Project no longer managed",
                f'The id of the project "{change.address.project}" is unknown. First roll back the '
                "run that removed it from the state.",
                address=change.address,
            )


def uploads_of(change: Change, kind: Kind) -> Iterator[LocalFile]:
    """The local files whose content a change has to upload."""
    values = {**change.restored, **change.desired}
    if change.action not in (Action.CREATE, Action.REPLACE, Action.UPDATE):
        return
    is_update = change.action is Action.UPDATE
    for declared in kind.fields:
        value = values.get(declared.name)
        if isinstance(declared.type, LocalFileType) and isinstance(value, LocalFile):
            # An object that is a file gets its content at its creation alone.
            if not is_update:
                yield value
        elif isinstance(value, FileSet):
            files = _contents(value)
            # A collection is updated file by file. A bundle is always uploaded as a whole.
            if is_update and isinstance(declared.type, FileSetType):
                for key in _contents(change.before.get(declared.name)):
                    files.pop(key, None)
            yield from files.values()


# --- the changes of the run, and the resources that undo them ---------------------------------------------------------


def _first_images(images: Sequence[PreImage], kinds: Mapping[str, Kind]) -> dict[Address, PreImage]:
    """The first image of each address that a rollback undoes.

    A replacement keeps a second image in between; the first is from before all of it.
    """
    first: dict[Address, PreImage] = {}
    for image in images:
        kind = kinds.get(image.address.kind)
        if kind is None or image.reason in _NOT_UNDONE:
            continue
        # The work of a job cannot be undone. A rollback stops a job that the run started, and
        # starts none.
        if kind.job is not None and image.action != Action.CREATE:
            continue
        first.setdefault(image.address, image)
    return first


def _is_released(image: PreImage, kind: Kind) -> bool:
    """Whether the run adopted an existing object, so that undoing it means to forget the object."""
    # A removal of this kind restores the former values and forgets the object anyway.
    if kind.removal is Removal.RESTORE:
        return False
    existed = kind.always_exists or image.action in _ON_EXISTING
    return image.record is None and existed


def _former(image: PreImage, records: Mapping[Address, Record], kind: Kind) -> Resource | None:
    """The resource of an address as it was before the run; None where there was none."""
    record = image.record
    if image.action == Action.CREATE or (record is None and kind.removal is Removal.RESTORE):
        return None
    now = records.get(image.address)
    if _is_released(image, kind):
        # Declared with an empty spec, so that everything that was set since is reset.
        # `_rolled_back` turns the update into a release.
        if now is None:
            return None
        return Resource(image.address, kind, {}, restored=_sendable(kind, image.before))
    address, asked = image.address, image.before
    if record is not None:
        # The record of that time outranks the present one, which this run or a later one wrote.
        address, asked = record.address, record.applied
    elif now is not None:
        asked = now.applied
    spec = _spec(kind, asked, image)
    # Fields that no manifest set keep the values that they had by hand. A replacement would
    # otherwise lose them.
    unasked = _sendable(kind, image.before)
    for name in spec:
        unasked.pop(name, None)
    return Resource(address, kind, spec, _lifecycle(image, now), restored=unasked)


def _lifecycle(image: PreImage, now: Record | None) -> Lifecycle:
    """The lifecycle of a former resource; `now` is the present record of its address."""
    record = image.record
    # Protected at either time, so that a rollback is no way around it.
    is_protected = now is not None and now.prevent_destroy
    on_remove, renamed_from = None, None
    if record is not None:
        is_protected = is_protected or record.prevent_destroy
        on_remove = record.on_remove
        if record.address != image.address:
            renamed_from = image.address
    # A forgotten object still exists, so it comes back under its id.
    adopt: bool | str = False
    if image.action == Action.FORGET and image.id and now is None:
        adopt = image.id
    return Lifecycle(
        prevent_destroy=is_protected,
        on_remove=on_remove,
        adopt=adopt,
        renamed_from=renamed_from,
    )


def _sendable(kind: Kind, before: Spec) -> dict[str, Any]:
    """The values that an object had, without those that only the server can give it."""
    values = {}
    for name, value in before.items():
        field = kind.by_name.get(name)
        if field is not None and (field.has_own_calls or is_sendable(field.type, value)):
            values[name] = value
    return values


def _spec(kind: Kind, asked: Spec, image: PreImage) -> dict[str, Any]:
    """The values asked for then, with the manual changes that the run overwrote."""
    spec = {}
    for name, value in asked.items():
        field = kind.by_name.get(name)
        if field is None or value is None:
            continue
        # Where the API keeps its own answer, the shown value is no manual change.
        keeps_answer = image.record is not None and name in image.record.answered
        if not keeps_answer:
            value = _value_before(field, value, image.before)
        spec[name] = value
    return spec


def _value_before(field: Field, asked: Any, before: Spec) -> Any:
    """The value that a managed field had: as asked, unless the API showed another."""
    shown = before.get(field.name)
    if field.readable is Readable.NEVER or (
        shown is None and (field.readable is not Readable.ALWAYS or field.has_own_calls)
    ):
        return asked
    shown = with_hidden(field.type, shown, asked)
    left, right = comparable(field.type, asked, diff.default_of(field) if shown is None else shown)
    if same(left, right) or not (field.has_own_calls or is_sendable(field.type, shown)):
        return asked
    if isinstance(shown, FileSet):
        return _with_sizes(shown, asked)
    # In normal form, so that a spelling of the server does not show as a difference in the plan.
    return None if shown is None else right


def _with_sizes(shown: FileSet, asked: Any) -> FileSet:
    """The former members, with the sizes that we recorded: the API shows none."""
    # Keyed by path and content: the same path with other bytes is another file.
    known = _contents(asked)
    members = []
    for member in shown.members:
        content = member.content
        if content is not None:
            content = known.get((content.path, content.sha256), content)
            member = replace(member, content=content)
        members.append(member)
    return FileSet(tuple(members))


def _contents(value: Any) -> dict[tuple[str, str], LocalFile]:
    members = value.members if isinstance(value, FileSet) else ()
    contents = {}
    for member in members:
        if member.content:
            contents[member.content.path, member.content.sha256] = member.content
    return contents


def _as_recorded(record: Record, kind: Kind) -> Resource:
    lifecycle = Lifecycle(prevent_destroy=record.prevent_destroy, on_remove=record.on_remove)
    return Resource(record.address, kind, record.applied, lifecycle)


def _changed_later(history: RunHistory, images: Mapping[Address, PreImage]) -> Iterator[Diagnostic]:
    for address in sorted(images):
        runs = []
        for run, later in sorted(history.later.items()):
            if any(image.address == address for image in later):
                runs.append(str(run))
        if runs:
            detail = (
                f"Run {', '.join(runs)} changed it after run {history.run_id}. The rollback undoes "
                "that change too."
            )
            yield Diagnostic(
                "Changed by a later run", detail, address=address, severity=Severity.WARNING
            )


def _removed_by_rules(history: RunHistory) -> Iterator[Diagnostic]:
    removed = [image.address for image in history.images if image.reason == Reason.RETENTION.name]
    if not removed:
        return
    names = ", ".join(map(str, removed[:_MOST_ADDRESSES]))
    if len(removed) > _MOST_ADDRESSES:
        names += " …"
    detail = f"Retentions deleted {names} in that run."
    yield Diagnostic("Unmanaged objects cannot be restored", detail, severity=Severity.WARNING)


def _unsettled(run_id: int, address: Address) -> Diagnostic:
    return Diagnostic(
        "Outcome of the create unknown",
        f"Run {run_id} was stopped while it created the object. Run apply, which searches for it, "
        "and then roll back.",
        address=address,
    )


# --- the changes of the plan ------------------------------------------------------------------------------------------


def _rolled_back(change: Change, *, is_released: bool) -> Change:
    if is_released:
        return _release(change)
    if not change.is_change or change.action is Action.FORGET:
        return change
    return replace(change, reason=Reason.ROLLBACK)


def _release(change: Change) -> Change:
    """The change of an object that the run adopted: it gets its values back and is forgotten."""
    release = replace(change, action=Action.FORGET, fields=(), destructive="", warnings=())
    # The plan wants to create the object only because somebody deleted it since. Nothing but its
    # record is left.
    if change.action is Action.CREATE:
        return replace(release, reason=Reason.GONE)
    # Only a new object could have the former values of the other fields.
    fields = tuple(entry for entry in change.fields if not entry.forces_replacement)
    return replace(release, reason=Reason.ROLLBACK, fields=fields)


# --- ids --------------------------------------------------------------------------------------------------------------


def _links(
    history: RunHistory,
    images: Mapping[Address, PreImage],
    records: Mapping[Address, Record],
    kinds: Mapping[str, Kind],
) -> dict[str, str | Reference]:
    """Replacements for ids in old values: a reference if the object is rolled back too, else its
    current id.

    Old values contain ids, and objects that were deleted or replaced come back with new ones.
    """
    links: dict[str, str | Reference] = {}
    # Later runs too: their images name the ids that the objects had in between.
    for image in chain(images.values(), *history.later.values()):
        address = image.address
        if image.record is not None:
            address = image.record.address
        kind = kinds.get(address.kind)
        # Such objects keep their ids through deletes and creates.
        if image.id is None or kind is None or kind.always_exists or kind.calls.singleton:
            continue
        own_id = kind.parent_and_id(image.id)[1]
        if image.address in images and images[image.address].action != Action.CREATE:
            links[own_id] = Reference(address)
        # The object has been replaced since and is not rolled back, so its present id is meant.
        elif address in records:
            links[own_id] = kind.parent_and_id(records[address].id)[1]
    return links


def _relinked(resource: Resource, links: Mapping[str, str | Reference]) -> Resource:
    # A resource that referred to itself would be a cycle.
    links = {id: link for id, link in links.items() if link != Reference(resource.address)}
    # Longest first, because one id can be the prefix of another.
    ordered = sorted(links, key=len, reverse=True)
    # Without ids, a pattern that matches nothing.
    ids = re.compile("|".join(map(re.escape, ordered)) or "(?!)")

    def relink(text: str) -> Any:
        parts: list[str | Reference] = []
        at = 0
        for match in ids.finditer(text):
            parts += [text[at : match.start()], links[match[0]]]
            at = match.end()
        parts.append(text[at:])
        # A text that is nothing but one reference becomes the reference.
        kept = [part for part in parts if part != ""]
        if len(kept) == 1:
            return kept[0]
        if any(isinstance(part, Reference) for part in kept):
            return Template(tuple(kept))
        return "".join(map(str, kept))

    return replace(
        resource, spec=_mapped(resource.spec, relink), restored=_mapped(resource.restored, relink)
    )


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """The value with `change` applied to every text except paths of local files."""
    match value:
        case str():
            return change(value)
        case Member():
            id = None
            # A local file is identified by its content. Each upload gets another id.
            if not value.content:
                id = _mapped(value.file_id, change)
            return replace(value, file_id=id, attributes=_mapped(value.attributes, change))
        case FileSet(members):
            return FileSet(tuple(_mapped(member, change) for member in members))
        case Mapping():
            return {key: _mapped(element, change) for key, element in value.items()}
        case list() | tuple():
            return [_mapped(element, change) for element in value]
    return value
