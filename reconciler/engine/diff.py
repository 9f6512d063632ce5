"""The field changes of one resource: desired against live, with the prior state showing which side
changed.

A field that the manifest does not set and never set is up to the API. `model.comparing.comparable`
removes everything that is no difference (server defaults, aliases, order of sets, null against
absent) before the comparison; nothing is filtered out afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from msgspec.structs import replace

from reconciler.errors import ApiError
from reconciler.model.answered import Comparisons, misfit, with_missing
from reconciler.model.change import FieldChange, Origin
from reconciler.model.comparing import canonical, comparable, same, with_hidden
from reconciler.model.kind import KEEP, OVERWRITTEN, Field, Kind, Mutability, Readable
from reconciler.model.paths import Trail, undotted
from reconciler.model.resource import IGNORE_ALL, LiveObject, Record
from reconciler.model.types import SERVER_CHOSEN, KeySinkType, properties_in
from reconciler.model.values import SecretValue, Spec

_NOT_SHOWN: Any = object()
_ATOMS = (str, int, float)
_comparisons = Comparisons()
STRICT_NOTE = "strict: no manifest sets it"
"""The remark on a field that strict mode compares with the API's default."""
MOVED_NOTE = "strict: no manifest sets it, and it moved since the last apply"
"""The remark on a field or part without a known default, which strict mode compares with the value
seen after the last apply.
"""


def diff_fields(
    kind: Kind,
    *,
    desired: Spec,
    live: LiveObject,
    record: Record | None,
    restored: Spec | None = None,
) -> list[FieldChange]:
    """The changes that make `live` equal to `desired`, in the order of the kind's fields, one per
    leaf.

    `desired` may contain unknowns, which differ from everything. A field that was applied and is no
    longer desired is reset: to its value in `restored`, else to what we overwrote, else to the
    API's default. What an answer lacks is assumed to be as applied last. Raises ApiError for a
    value of the wrong type.
    """
    changes: list[FieldChange] = []
    for field in kind.fields:
        # Neither can be changed at the API. A warning reports changed FIXED fields instead.
        if field.mutability is Mutability.FIXED or field.client_only:
            continue
        if kind.job is not None and _ran_with(field, desired.get(field.name), live):
            continue
        if field.name in desired:
            value = desired[field.name]
            if not _is_shown_as(field, value, live):
                changes += _changes_of(field, wanted(field, value), live, record)
        # Only a field that we set ourselves is reset. Everything else is up to the API.
        elif record is not None and record.applied.get(field.name) is not None:
            changes += _reset_of(field, live, record, restored or {})
    return changes


def strict_changes(
    kind: Kind,
    *,
    declared: Collection[str],
    changed: Collection[str],
    live: LiveObject,
    ignore: tuple[str, ...],
    seen: Spec,
) -> list[FieldChange]:
    """The changes that reset undeclared fields and parts, in the order of the kind's fields.

    A field with a known default goes back to it, any other to the value `seen` after the last
    apply. Parts of `changed` fields are left out, because the write of a field sets all its parts.
    """
    if ignore == (IGNORE_ALL,):
        return []
    return [
        *_strict_fields(kind, declared={*declared, *changed}, live=live, ignore=ignore, seen=seen),
        *_strict_parts(kind, names={*declared} - {*changed}, live=live, ignore=ignore, seen=seen),
    ]


def _strict_fields(
    kind: Kind,
    *,
    declared: Collection[str],
    live: LiveObject,
    ignore: tuple[str, ...],
    seen: Spec,
) -> list[FieldChange]:
    # A path below a field leaves out the whole field, since no manifest says what the rest should
    # be.
    skipped = {*declared, *(str(undotted(path)[0]) for path in ignore)}
    changes: list[FieldChange] = []
    for field in kind.fields:
        if field.name in skipped:
            continue
        if not _is_restorable(field):
            changes += _moved_since(field, live, seen)
            continue
        shown = shown_value(field, live)
        # Nothing follows from an answer that lacks the field or has another type there.
        if shown is _NOT_SHOWN or misfit(field.type, shown):
            continue
        default = default_of(field)
        after, before = comparable(field.type, default, shown, shown)
        if not same(after, before):
            changes.append(
                FieldChange((field.name,), before, after, Origin.DRIFT, note=STRICT_NOTE)
            )
    return changes


def _is_restorable(field: Field) -> bool:
    """Whether an update can set a field back to a default that is known."""
    return (
        field.on_update
        and field.in_body
        and not field.required
        and not field.defaults_to_name
        and field.readable is Readable.ALWAYS
        and field.default is not SERVER_CHOSEN
        and field.reset is not KEEP
        and field.reset is not OVERWRITTEN
    )


def _strict_parts(
    kind: Kind, *, names: Collection[str], live: LiveObject, ignore: tuple[str, ...], seen: Spec
) -> Iterator[FieldChange]:
    """The undeclared parts of declared fields that have no known default and that moved."""
    ignored = [tuple(undotted(path)) for path in ignore]
    for field in kind.fields:
        if field.name not in names or not _has_chosen_parts(field):
            continue
        for moved in _moved_since(field, live, seen):
            for part in _leaves(field, moved.before, moved.after, Origin.DRIFT):
                is_ignored = any(part.path[: len(path)] == path for path in ignored)
                if not is_ignored:
                    yield replace(part, note=MOVED_NOTE)


def seen_values(kind: Kind, *, values: Spec, declared: Collection[str]) -> dict[str, Any]:
    """The part of an object's current `values` that strict mode compares with later."""
    seen: dict[str, Any] = {}
    for field in kind.fields:
        value = values.get(field.name)
        if value is None or not _is_movable(field):
            continue
        # Of a declared field only undeclared parts can move. A field with a known default is
        # compared with that.
        is_compared = not _is_restorable(field)
        if field.name in declared:
            is_compared = _has_chosen_parts(field)
        if is_compared:
            if field.has_hidden:
                value = with_hidden(field.type, value, None)
            if not misfit(field.type, value):
                seen[field.name] = canonical(field.type, value)
    return seen


def _moved_since(field: Field, live: LiveObject, seen: Spec) -> Iterator[FieldChange]:
    """The change back to the seen value; none if nothing was seen or is shown."""
    if field.name not in seen or not _is_movable(field):
        return
    shown = shown_value(field, live)
    if shown is _NOT_SHOWN or shown is None or misfit(field.type, shown):
        return
    before, after = canonical(field.type, shown), canonical(field.type, seen[field.name])
    if not same(before, after):
        yield FieldChange((field.name,), before, after, Origin.DRIFT, note=MOVED_NOTE)


def _is_movable(field: Field) -> bool:
    """Whether an update can write back a value that the API showed."""
    return field.on_update and field.in_body and field.readable is Readable.ALWAYS


def _has_chosen_parts(field: Field) -> bool:
    return any(
        part.default is SERVER_CHOSEN and not part.required and not part.is_hidden
        for part in properties_in(field.type)
    )


def fixed_fields(kind: Kind, *, desired: Spec, record: Record | None) -> Iterator[Field]:
    """The fields that the manifest changed since creation and that nothing can change any more."""
    if record is None:
        return
    for field in kind.fields_by_mutability.get(Mutability.FIXED, ()):
        # In normal form, or a new spelling of the same value would be reported.
        after = canonical(field.type, desired.get(field.name))
        before = canonical(field.type, record.applied.get(field.name))
        if not same(after, before):
            yield field


def drifted_fields(
    kind: Kind, *, live: LiveObject, record: Record, ignore: tuple[str, ...]
) -> list[FieldChange]:
    """The changes at the API since our last write, from the applied to the live values."""
    # Jobs are immutable, so every difference is one of representation.
    if kind.job is not None:
        return []
    changes: list[FieldChange] = []
    # Drift is relative to our last write. The present manifest is irrelevant.
    applied = without_ignored(record.applied, live=live, ignore=ignore)
    for field in kind.fields:
        # A null that was applied requested the default, which the API may change at any time.
        if applied.get(field.name) is None or field.mutability is Mutability.FIXED:
            continue
        asked = wanted(field, applied[field.name])
        shown = shown_value(field, live, applied[field.name])
        if shown is _NOT_SHOWN or field.readable is Readable.NEVER or same(asked, shown):
            continue
        # Parts that the answer lacks are taken to be as applied: absence is no drift.
        shown = _as_known(field, live, shown, applied[field.name])
        before, after = comparable(field.type, asked, shown)
        if not same(before, after) and not _is_standing(field, asked, shown, record):
            changes += _leaves(field, before, after, Origin.DRIFT)
    return changes


def image(kind: Kind, live: LiveObject) -> dict[str, Any]:
    """The comparable fields of an object, as a plan stores them for the later precondition."""
    values: dict[str, Any] = {}
    for field in kind.fields:
        value = _NOT_SHOWN if field.readable is Readable.NEVER else shown_value(field, live)
        if value is _NOT_SHOWN or value is None:
            continue
        # A value of the wrong type has no normal form, and still must not change unnoticed.
        is_misfit = misfit(field.type, value)
        values[field.name] = value if is_misfit else canonical(field.type, value)
    return values


def unseen_fields(kind: Kind, live: LiveObject) -> set[str]:
    """The fields that an answer lacks, of which nothing is known."""
    return {field.name for field in kind.fields if not live.shows(field.name)}


def moved_fields(kind: Kind, *, seen: Spec, now: Spec, but: Collection[str]) -> list[FieldChange]:
    """The differences between two images of an object, without the fields in `but`, in the kind's
    order."""
    changes: list[FieldChange] = []
    for field in kind.fields:
        before, after = seen.get(field.name), now.get(field.name)
        if field.name not in but and not same(before, after):
            changes += _leaves(field, before, after, Origin.DRIFT)
    return changes


def answered_otherwise(kind: Kind, *, asked: Spec, live: LiveObject) -> dict[str, Any]:
    """The fields that the API stored differently from what was sent, with its values."""
    otherwise: dict[str, Any] = {}
    for name, value in asked.items():
        field = kind.by_name[name]
        shown = shown_value(field, live, value)
        if (
            value is None
            or shown is _NOT_SHOWN
            or field.readable is Readable.NEVER
            or misfit(field.type, shown)
        ):
            continue
        # An answer that lacks a part does not show that the part was stored differently.
        left, right = comparable(field.type, value, with_missing(field.type, shown, value))
        if not same(left, right):
            otherwise[name] = right
    return otherwise


def beyond_defaults(kind: Kind, values: Spec) -> dict[str, Any]:
    """The values that differ from those of a new object, without values that the API chooses."""
    beyond = {}
    for name, value in values.items():
        field = kind.by_name[name]
        if field.default is SERVER_CHOSEN:
            continue
        if not same(*comparable(field.type, value, default_of(field))):
            beyond[name] = value
    return beyond


def without_ignored(spec: Spec, *, live: LiveObject, ignore: tuple[str, ...]) -> Spec:
    """The spec without ignored paths: ignored fields are dropped, deeper paths take the live value."""
    if not ignore:
        return spec
    # Without any desired field there is nothing to compare or to reset.
    if IGNORE_ALL in ignore:
        return {}
    result = {name: value for name, value in spec.items() if name not in ignore}
    for first, *below in map(undotted, ignore):
        if below and first in result:
            # The live value in place of the declared one, because a field is written as a whole.
            result[str(first)] = _overlaid(result[str(first)], live.value(str(first)), below)
    return result


def wanted(field: Field, value: Any) -> Any:
    """The meaning of an explicit value: null requests the API's default."""
    return default_of(field) if value is None else value


def default_of(field: Field) -> Any:
    """The API's default; None if the API chooses."""
    return None if field.default is SERVER_CHOSEN else field.default


def shown_value(field: Field, live: LiveObject, applied: Any = None) -> Any:
    """The live value with defaults filled; a private marker if the API does not show the field.

    Hidden parts are assumed to be as `applied`; hidden parts that were never applied are left out.
    """
    # The order matters: parts that are hidden have to be filled in before the value is compared
    # with its default.
    value = live.value(field.name)
    if field.has_hidden:
        value = with_hidden(field.type, value, applied)
    # These fields cost calls of their own and are read only if a resource manages them.
    if field.has_own_calls and field.name not in live.own_calls:
        return _NOT_SHOWN
    if value is None and (
        field.readable is Readable.SOMETIMES or _is_missing(field, live, applied)
    ):
        return _NOT_SHOWN
    return default_of(field) if value is None else value


def _is_missing(field: Field, live: LiveObject, applied: Any) -> bool:
    """Whether an answer lacks a field and its default must not be assumed.

    Servers omit fields with default values, so that is assumed for fields that we never set, unless
    an error would force a replacement.
    """
    if live.shows(field.name):
        return False
    return (
        applied is not None
        or field.default is SERVER_CHOSEN
        or field.mutability is Mutability.REPLACES
    )


def _as_known(field: Field, live: LiveObject, shown: Any, known: Any) -> Any:
    """A shown value completed with `known` parts that the answer lacks. Raises ApiError for the
    wrong type."""
    if field.has_own_calls:
        return shown
    _require_fit(live, misfit(field.type, shown, field.name))
    return with_missing(field.type, shown, known)


def _require_fit(live: LiveObject, wrong: str) -> None:
    # A wrong type usually comes from a proxy or a wrong base URL. Planning an update from it would
    # write to something else.
    if wrong:
        raise ApiError(
            f"{live.kind.name} {live.id}: the API answered with a value of the wrong type: {wrong}",
            hint="Nothing is planned for it. Check the server and any proxy in between, and plan again.",
        )


def _ran_with(field: Field, value: Any, live: LiveObject) -> bool:
    """Whether a job shows an input as desired. It then ran with it, however that was asked for."""
    shown = live.attributes.get(field.name)
    if value is None or shown is None or misfit(field.type, shown):
        return False
    return same(*comparable(field.type, value, shown))


def _is_shown_as(field: Field, value: Any, live: LiveObject) -> bool:
    """Whether a text or number is shown exactly as desired, which is the usual case."""
    # This shortcut decides most fields of most resources. It must agree with the full comparison,
    # so it requires equal types: in Python, True equals 1.
    shown = live.attributes.get(field.name)
    return (
        type(value) in _ATOMS
        and type(shown) is type(value)
        and shown == value
        and field.readable is Readable.ALWAYS
    )


def _changes_of(
    field: Field, value: Any, live: LiveObject, record: Record | None
) -> Iterator[FieldChange]:
    # Hidden and missing parts of the answer are assumed to be as applied last.
    prior = None if record is None else record.applied.get(field.name)
    shown = _NOT_SHOWN if field.readable is Readable.NEVER else shown_value(field, live, prior)
    if shown is _NOT_SHOWN:
        yield from _unshown_change(field, value, record)
        return
    # Equal values need no normal form, which costs far more than this comparison.
    if same(value, shown):
        return
    changes = _shown_changes(field, value, shown, live, record, known=prior)
    # A part that an answer lacks or hides never causes a replacement. Without a record, its value
    # is assumed to be as declared.
    if prior is None and any(change.forces_replacement for change in changes):
        shown = shown_value(field, live, value)
        changes = _shown_changes(field, value, shown, live, record, known=value)
    yield from changes


def _shown_changes(
    field: Field, value: Any, shown: Any, live: LiveObject, record: Record | None, *, known: Any
) -> list[FieldChange]:
    """The changes of a field, with missing parts of `shown` assumed to be as `known`."""
    if field.has_own_calls:
        after, before = comparable(field.type, value, shown, known)
    else:
        # Cached, because many resources have the same tools and the same formats.
        comparison = _comparisons(field.type, value, shown, known, field.name)
        _require_fit(live, comparison.misfit)
        shown, after, before = comparison.shown, comparison.after, comparison.before
    if same(after, before) or _is_standing(field, value, shown, record):
        return []
    return list(_leaves(field, before, after, _origin(field, value, shown, record)))


def _unshown_change(field: Field, value: Any, record: Record | None) -> Iterator[FieldChange]:
    # The API does not show the field, so only the record can be compared. For an object that we
    # created, the record also tells which fields were not set. Without that knowledge, a field that
    # only another object could change is taken to be right: a replacement destroys, and is never
    # planned on a guess.
    if is_unknown(field, record):
        return
    if record is None:
        if value is not None:
            yield from _leaves(field, None, canonical(field.type, value), Origin.UNKNOWN)
        return
    applied = record.applied.get(field.name)
    after, before = comparable(field.type, value, wanted(field, applied), applied)
    if not same(after, before):
        yield from _leaves(field, before, after, Origin.CONFIG)


def is_unknown(field: Field, record: Record | None) -> bool:
    """Whether nothing tells the value of a hidden field that only another object can have."""
    needs_object = field.mutability is Mutability.REPLACES or (
        isinstance(field.type, KeySinkType) and field.type.shown_in is not None
    )
    return needs_object and (record is None or field.name not in record.applied)


def _reset_of(
    field: Field, live: LiveObject, record: Record, restored: Spec
) -> Iterator[FieldChange]:
    is_restored = restored.get(field.name) is not None
    is_former = is_restored or field.reset is OVERWRITTEN
    target = restored[field.name] if is_restored else _reset_target(field, record)
    # Without the former value there is nothing to write back.
    if is_former and target is None:
        return
    applied = record.applied.get(field.name)
    shown = _NOT_SHOWN if field.readable is Readable.NEVER else shown_value(field, live, applied)
    # A hidden field is assumed to be as applied, and so are the parts that an answer lacks.
    shown = applied if shown is _NOT_SHOWN else _as_known(field, live, shown, applied)
    after, before = comparable(field.type, target, shown, applied)
    # The API cannot clear such a field, and a change that does nothing would come back in every
    # plan.
    if (field.reset is KEEP and not is_restored) or same(after, before):
        return
    note = "reset to its previous value" if is_former else "back to the API's default"
    yield FieldChange(
        path=(field.name,),
        before=before,
        after=after,
        origin=Origin.CONFIG,
        forces_replacement=field.mutability is Mutability.REPLACES,
        note=note,
    )


def _reset_target(field: Field, record: Record) -> Any:
    if field.reset is OVERWRITTEN:
        return record.overwritten.get(field.name)
    # A field with `KEEP` has no empty value at the API. The caller leaves it alone.
    if field.reset is None or field.reset is KEEP:
        return default_of(field)
    return field.reset


def _is_standing(field: Field, asked: Any, shown: Any, record: Record | None) -> bool:
    """Whether the API keeps its own value, as it did when we last requested this one."""
    # Both must be known: the requested value, and the value that the API made of it.
    if record is None or field.name not in record.answered or field.name not in record.applied:
        return False
    applied = record.applied[field.name]
    # The same request was answered with this value before, so repeating it would change nothing.
    question = comparable(field.type, asked, applied, applied)
    answer = comparable(field.type, record.answered[field.name], shown)
    return same(*question) and same(*answer)


def _origin(field: Field, value: Any, shown: Any, record: Record | None) -> Origin:
    if record is None:
        return Origin.UNKNOWN
    if field.name not in record.applied:
        return Origin.CONFIG
    # Three-way comparison: applied against desired shows our change, applied against live shows
    # theirs.
    applied = wanted(field, record.applied[field.name])
    is_config = not same(*comparable(field.type, value, applied, applied))
    is_drift = not same(*comparable(field.type, applied, shown))
    if is_config and is_drift:
        return Origin.BOTH
    return Origin.CONFIG if is_config else Origin.DRIFT


def _leaves(field: Field, before: Any, after: Any, origin: Origin) -> Iterator[FieldChange]:
    # A change of type is one change of the whole value, not many of its parts.
    if not _is_container(before) or not _is_container(after) or type(before) is not type(after):
        yield FieldChange((field.name,), before, after, origin, field.replaces())
        return
    left, right = before, after
    if isinstance(before, Mapping):
        left, right = _unlike_parts(before, after)
    # The comparison of the library can find nothing where ours does. Then the field changes as a
    # whole.
    for path, old, new in list(_deep(left, right)) or [((), before, after)]:
        note = _note(old, new, origin)
        yield FieldChange((field.name, *path), old, new, origin, field.replaces(path), note=note)


def _note(before: Any, after: Any, origin: Origin) -> str:
    """The remark on a secret that is sent although nothing shows that it changed."""
    is_again = isinstance(after, SecretValue) and before is None and origin is not Origin.CONFIG
    if is_again:
        return "it cannot be read back and no record has it: it is sent again"
    return ""


def _unlike_parts(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two maps without their equal entries: of ten thousand files in a store, a few differ."""
    # Before the library sees them, because its time grows with the size of its input.
    alike = {key for key, element in before.items() if key in after and same(element, after[key])}
    return (
        {key: element for key, element in before.items() if key not in alike},
        {key: element for key, element in after.items() if key not in alike},
    )


def _is_container(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _deep(before: Any, after: Any) -> Iterator[tuple[Trail, Any, Any]]:
    # Imported here, because it takes as long as the rest of the program and most objects do not
    # differ.
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent
    from deepdiff.operator import BaseOperator

    class AsAWhole(BaseOperator):
        """Compares secret values as a whole: their parts must not show."""

        def give_up_diffing(self, level: Any, diff_instance: Any) -> bool:
            if level.t1 != level.t2:
                diff_instance.custom_report_result("values_changed", level, {})
            return True

    differences = DeepDiff(
        before,
        after,
        view="tree",
        verbose_level=2,
        threshold_to_diff_deeper=0,
        ignore_private_variables=False,
        custom_operators=[AsAWhole(types=[SecretValue])],
    )
    leaves: dict[tuple[str | int, ...], tuple[Any, Any]] = {}
    for level in chain.from_iterable(differences.values()):
        path = tuple(level.path(output_format="list"))
        old, new = leaves.get(path, (None, None))
        # An element that left a list and one that came into it are two differences, and can have
        # the same index.
        if level.t1 is not notpresent:
            old = level.t1
        if level.t2 is not notpresent:
            new = level.t2
        leaves[path] = (old, new)
    for path in sorted(leaves, key=_by_part):
        yield path, *leaves[path]


def _by_part(path: Sequence[str | int]) -> list[tuple[bool, str]]:
    # Padded, so that element 10 of a list comes after element 9.
    return [(isinstance(part, str), str(part).zfill(6)) for part in path]


def _overlaid(value: Any, live: Any, path: Sequence[str | int]) -> Any:
    """`value` with the live value at `path`, at any depth."""
    result = deepcopy(value)
    target, source = result, live
    for part in path[:-1]:
        target, source = _down(target, part), _down(source, part)
    last = path[-1]
    element = _down(source, last)
    if isinstance(target, dict):
        if element is None:
            target.pop(last, None)
        else:
            target[last] = element
    elif isinstance(target, list) and isinstance(last, int) and last < len(target):
        target[last] = element
    return result


def _down(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None
