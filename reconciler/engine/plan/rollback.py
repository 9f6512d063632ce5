"""Plans the inverse of a run from the pre-images that it stored.

A rollback is an ordinary plan of unusual resources. Each object that the run changed is declared as
it was right before, with the values that the API showed for managed fields; so a manual change that
the run overwrote comes back too. Objects that the run created are no longer declared. All others
are declared as recorded and stay unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.engine import diff
from reconciler.engine.plan.removal import of_record
from reconciler.model.address import Address
from reconciler.model.answered import is_sendable
from reconciler.model.change import Action, Change, FieldChange, Plan, Reason
from reconciler.model.comparing import comparable, same, with_hidden
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.kind import Field, Kind, Readable, Removal
from reconciler.model.resource import Lifecycle, Record, Resource
from reconciler.model.types import FileSetType, LocalFileType
from reconciler.model.values import FileSet, LocalFile, Member, Reference, Spec, Template
from reconciler.state.runs import PreImage

_OF_WHAT_WAS_THERE = frozenset({Action.UPDATE.value, Action.ADOPT.value, Action.NO_OP.value})
"""Actions of a run on an existing object without a record."""

_NOTHING_DONE = frozenset({Reason.GONE.name, Reason.WITH_PROJECT.name})


class RunHistory(Struct, frozen=True):
    """What is known of a run and of later runs."""

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
    # The first image per address is from before the run. A replacement keeps a second one in
    # between.
    images = _first_images(history.images, kinds)
    links = _links(history, images, records, kinds)
    resources: dict[Address, Resource] = {}
    touched: set[Address] = set()
    released: set[Address] = set()
    for image in images.values():
        touched |= {image.address, *([image.record.address] if image.record else [])}
        # What was there before the run stays: the rollback gives back its values and lets go of it.
        # A deletion would destroy what somebody else had made.
        if _is_released(image, kinds[image.address.kind]):
            released.add(image.address)
        former = _former(image, records, kinds[image.address.kind])
        # Without a former resource, the record is undeclared, and the plan deletes it like any
        # other.
        if former is not None:
            # Old values can contain ids of objects that come back under new ones.
            resources[former.address] = _relinked(former, links)
    # All other records are declared as they are, so that references and guards see them, and
    # nothing of them changes.
    standing = (
        _standing(record, kinds[address.kind])
        for address, record in records.items()
        if address not in touched and address.kind in kinds
    )
    obstacles = []
    for image in images.values():
        is_open_create = image.action == Action.CREATE and image.address in begun
        if is_open_create and image.address not in records:
            obstacles.append(_unsettled(history.run_id, image.address))
    return RollbackTarget(
        history.run_id,
        (*resources.values(), *standing),
        frozenset(touched),
        frozenset(released & set(resources)),
        (*_changed_later(history, images), *_swept(history)),
        tuple(obstacles),
    )


def as_rollback(
    plan: Plan, before: RollbackTarget, records: Mapping[Address, Record], kinds: Mapping[str, Kind]
) -> Plan:
    """The plan of these resources as a rollback: changed reasons, and everything else untouched."""
    changes = [
        _rolled_back(change, is_released=change.address in before.to_release)
        for change in plan.changes
        if change.address in before.changed_by_run and change.reason is not Reason.LEFT_BEHIND
    ]
    # `None` keeps warnings about the rollback as a whole.
    pending = {None, *(change.address for change in changes if change.is_change)}
    planned = {change.address for change in changes}
    # A record that moves must not be reported a second time under its former address.
    planned |= {change.renamed_from for change in changes if change.renamed_from}
    # Part of the plan, so that the share of deletions is measured against everything that is
    # managed.
    untouched = [
        of_record(kinds[address.kind], record, Reason.UNTOUCHED)
        for address, record in records.items()
        if address not in planned and address.kind in kinds
    ]
    return replace(
        plan,
        changes=(*changes, *untouched),
        drift=tuple(drift for drift in plan.drift if drift.address in before.changed_by_run),
        rollback_of=before.run_id,
        diagnostics=(
            *(warning for warning in before.warnings if warning.address in pending),
            *plan.diagnostics,
        ),
    )


def impossible(plan: Plan, before: RollbackTarget, projects: Iterable[str]) -> Iterator[Diagnostic]:
    """Errors for what a rollback cannot restore: archived projects and their contents.

    `projects` are the names of existing unmanaged projects.
    """
    homes = {
        *projects,
        *(resource.address.name for resource in before.resources if resource.kind.defines_project),
    }
    for change in plan.changes:
        # Planned as a create, because an archived object does not count as existing.
        if change.action is Action.CREATE and change.removal is Removal.ARCHIVE:
            yield Diagnostic(
                "What was archived does not come back",
                "Nothing can undo an archive, so nothing that was in it can be brought back either. To roll back the "
                "rest of the run, name it with --target; for a new one in its place, restore the manifests and apply.",
                address=change.address,
            )
        elif (
            change.action is Action.CREATE
            and change.address.project
            and change.address.project not in homes
        ):
            yield Diagnostic(
                "Its project is not managed any more",
                f'Nothing says which project "{change.address.project}" is. Roll back the run that let it go first.',
                address=change.address,
            )


def uploads_of(change: Change, kind: Kind) -> Iterator[LocalFile]:
    """The local files whose content a change has to upload."""
    values = {**change.restored, **change.desired}
    for declared in kind.fields:
        value = values.get(declared.name)
        if isinstance(declared.type, LocalFileType) and isinstance(value, LocalFile):
            if change.action in (Action.CREATE, Action.REPLACE):
                yield value
        elif isinstance(value, FileSet) and change.action in (
            Action.CREATE,
            Action.REPLACE,
            Action.UPDATE,
        ):
            # A collection is updated file by file. A bundle is always uploaded as a whole.
            one_by_one = change.action is Action.UPDATE and isinstance(declared.type, FileSetType)
            stays = _contents(change.before.get(declared.name)) if one_by_one else {}
            yield from (file for key, file in _contents(value).items() if key not in stays)


# --- what the run did, and how to have it undone ----------------------------------------------------------------------


def _first_images(images: Sequence[PreImage], kinds: Mapping[str, Kind]) -> dict[Address, PreImage]:
    """One image an address: a replacement keeps two, and the first is from before all of it.

    What a job has done is done: a rollback stops one that the run started, and starts none.
    """
    first: dict[Address, PreImage] = {}
    for image in images:
        # Leftovers and matches of rules were nobody's resources, so there is nothing to declare
        # again.
        undoes_nothing = image.reason in {
            *_NOTHING_DONE,
            Reason.LEFT_BEHIND.name,
            Reason.RETENTION.name,
        }
        is_rerun = (
            image.address.kind in kinds
            and kinds[image.address.kind].job
            and image.action != Action.CREATE
        )
        if image.address.kind in kinds and not undoes_nothing and not is_rerun:
            first.setdefault(image.address, image)
    return first


def _is_released(image: PreImage, kind: Kind) -> bool:
    """Whether the run took over what was there already, and only letting go of it undoes that."""
    restores_itself = kind.removal is Removal.RESTORE
    was_there = kind.always_exists or image.action in _OF_WHAT_WAS_THERE
    return image.record is None and was_there and not restores_itself


def _former(image: PreImage, records: Mapping[Address, Record], kind: Kind) -> Resource | None:
    """The resource of an address as it was before the run; None where there was none."""
    record = image.record
    if image.action == Action.CREATE or (record is None and kind.removal is Removal.RESTORE):
        return None
    if _is_released(image, kind):
        # Declared with nothing: so all that we set since goes back, and `_rolled_back` makes a letting go of it.
        if image.address not in records:
            return None
        return Resource(image.address, kind, {}, restored=_sendable(kind, image.before))
    now = records.get(image.address)
    address, asked = image.address, image.before
    if record is not None:
        # The record of that time outranks the present one, which the run or a later one has written.
        address, asked = record.address, record.applied
    elif now is not None:
        asked = now.applied
    spec = _spec(kind, asked, image)
    lifecycle = Lifecycle(
        # Protected at either time, so that a rollback is no way around it.
        prevent_destroy=any(source.prevent_destroy for source in (record, now) if source),
        on_remove=record.on_remove if record else None,
        adopt=image.id if image.action == Action.FORGET and image.id and now is None else False,
        renamed_from=image.address if address != image.address else None,
    )
    # Fields that no manifest set, with the values that they had by hand. A replacement would
    # otherwise lose them.
    unasked = {
        name: value for name, value in _sendable(kind, image.before).items() if name not in spec
    }
    return Resource(address, kind, spec, lifecycle, restored=unasked)


def _sendable(kind: Kind, before: Spec) -> dict[str, Any]:
    """The values that an object had, without those that only the server can give it."""
    fields = ((kind.by_name[name], value) for name, value in before.items() if name in kind.by_name)
    return {
        declared.name: value
        for declared, value in fields
        if declared.has_own_calls or is_sendable(declared.type, value)
    }


def _spec(kind: Kind, asked: Spec, image: PreImage) -> dict[str, Any]:
    answered = image.record.answered if image.record else {}
    spec = {}
    for name, value in asked.items():
        declared = kind.by_name.get(name)
        if declared is None or value is None:
            continue
        if name not in answered:
            value = _value_before(declared, value, image.before)
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
    """The members that were there. The API tells no sizes; what we asked for does."""
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
    return {
        (member.content.path, member.content.sha256): member.content
        for member in members
        if member.content
    }


def _standing(record: Record, kind: Kind) -> Resource:
    lifecycle = Lifecycle(prevent_destroy=record.prevent_destroy, on_remove=record.on_remove)
    return Resource(record.address, kind, record.applied, lifecycle)


def _changed_later(history: RunHistory, images: Mapping[Address, PreImage]) -> Iterator[Diagnostic]:
    for address in sorted(images):
        runs = []
        for run, later in sorted(history.later.items()):
            if any(image.address == address for image in later):
                runs.append(str(run))
        if runs:
            detail = f"Run {', '.join(runs)} changed it after run {history.run_id}; that is undone with it."
            yield Diagnostic(
                "A later run changed it too", detail, address=address, severity=Severity.WARNING
            )


def _swept(history: RunHistory) -> Iterator[Diagnostic]:
    swept = [
        str(image.address) for image in history.images if image.reason == Reason.RETENTION.name
    ]
    if swept:
        detail = f"Rules of retention matched {', '.join(swept[:3])}{' …' if len(swept) > 3 else ''} in that run."
        yield Diagnostic("What was nobody's does not come back", detail, severity=Severity.WARNING)


def _unsettled(run_id: int, address: Address) -> Diagnostic:
    return Diagnostic(
        "Nobody knows what became of it",
        f"Run {run_id} began to create it and did not end. Apply once more, which looks for it, and then roll back.",
        address=address,
    )


# --- the changes of the plan ------------------------------------------------------------------------------------------


def _rolled_back(change: Change, *, is_released: bool) -> Change:
    if is_released:
        return _letting_go(change)
    if not change.is_change or change.action is Action.FORGET:
        return change
    return replace(change, reason=Reason.ROLLBACK)


def _letting_go(change: Change) -> Change:
    """An object that the run adopted gets its values back and is released."""
    # The plan wants to create it only because somebody deleted it since. There is nothing to let go
    # of but the record.
    gone = change.action is Action.CREATE
    fields: tuple[FieldChange, ...] = ()
    if not gone:
        fields = tuple(entry for entry in change.fields if not entry.forces_replacement)
    return replace(
        change,
        action=Action.FORGET,
        reason=Reason.GONE if gone else Reason.ROLLBACK,
        fields=fields,
        destructive="",
        warnings=(),
    )


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
    for image in (
        *images.values(),
        *(later_image for later in history.later.values() for later_image in later),
    ):
        address = image.record.address if image.record else image.address
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
    ids = re.compile("|".join(map(re.escape, sorted(links, key=len, reverse=True))) or "(?!)")

    def relink(text: str) -> Any:
        parts, at = [], 0
        for match in ids.finditer(text):
            parts += [text[at : match.start()], links[match[0]]]
            at = match.end()
        kept = [part for part in (*parts, text[at:]) if part != ""]
        if all(isinstance(part, str) for part in kept):
            return "".join(map(str, kept))
        return kept[0] if len(kept) == 1 else Template(tuple(kept))

    return replace(
        resource, spec=_mapped(resource.spec, relink), restored=_mapped(resource.restored, relink)
    )


def _mapped(value: Any, change: Callable[[str], Any]) -> Any:
    """The value with `change` applied to every text except paths of local files."""
    match value:
        case str():
            return change(value)
        case Member():
            # A local file is known by its content: the id of an earlier upload would only be in the way.
            id = None if value.content else _mapped(value.file_id, change)
            return replace(value, file_id=id, attributes=_mapped(value.attributes, change))
        case FileSet(members):
            return FileSet(tuple(_mapped(member, change) for member in members))
        case Mapping():
            return {key: _mapped(element, change) for key, element in value.items()}
        case list() | tuple():
            return [_mapped(element, change) for element in value]
    return value
