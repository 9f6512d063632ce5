"""Turns manual changes of live objects into changes of the manifests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.addresses import parse_addresses
from reconciler.app.applying import locked
from reconciler.app.plans import PlanRequest, plan_stack
from reconciler.app.session import Session
from reconciler.errors import ConfigurationError, ReconcilerError, StalePlanError, UsageError
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import load_configuration
from reconciler.manifests.accepting import (
    MISSING,
    FileChange,
    ManifestEditor,
    Refused,
    check_syntax,
)
from reconciler.manifests.text_edit import Uneditable
from reconciler.model.accepting import accepted
from reconciler.model.address import Address
from reconciler.model.change import Change, Origin, Plan
from reconciler.model.comparing import comparable, same
from reconciler.model.diagnostic import nearest
from reconciler.model.kind import Field
from reconciler.model.resource import SEEN, Record, by_address, without_seen
from reconciler.model.values import Reference, Spec, Unknown, has_unknown, substitute, value_at
from reconciler.rules import RULE_KINDS

_BOM = b"\xef\xbb\xbf"


class Acceptance(Struct, frozen=True):
    """What accepting would change."""

    files: Sequence[FileChange] = ()
    refused: Sequence[Refused] = ()
    fields: Mapping[Address, Mapping[str, Any]] = field(default_factory=dict)
    """The live values of the accepted fields, by address and name."""


def prepare(session: Session, addresses: Sequence[str], *, everything: bool) -> Acceptance:
    """Find out what to write. Reads live state, and changes nothing.

    Raises UsageError for an address that no manifest declares.
    """
    records = session.store.records()
    lookup = _lookup(records)
    # The manifests are read before live state, so that an edit in between is noticed at the end.
    editor = ManifestEditor(
        session.settings,
        KINDS,
        RULE_KINDS,
        identify=lookup,
        refer=_expressions(records).get,
    )
    wanted = parse_addresses(addresses, "ADDRESS")
    _require_declared(session, wanted)
    # A full refresh: no value of a record may get into a manifest.
    targets = () if everything else tuple(map(str, wanted))
    plan = plan_stack(session, PlanRequest(refresh="full", target=targets), tolerant=True)
    live: dict[Address, dict[str, Any]] = {}
    refused = _gone(plan, None if everything else wanted)
    for change in plan.changes:
        if everything or change.address in wanted:
            for name in _changed_outside(change):
                declared = KINDS[change.address.kind].by_name[name]
                reason = _unwritable(declared, change)
                if reason:
                    refused.append(Refused(change.address, name, reason, change.location))
                    continue
                live.setdefault(change.address, {})[name] = change.before.get(name)
                seen = _strict_value(records.get(change.address), name)
                editor.accept(change.address, name, _value(declared, change, lookup, seen))
    files, objections, written = editor.result()
    fields = {}
    for address, values in live.items():
        kept = {name: value for name, value in values.items() if (address, name) in written}
        if kept:
            fields[address] = kept
    return Acceptance(
        files=[change for change in files if change.before != change.after],
        refused=[*refused, *objections],
        fields=fields,
    )


def write(session: Session, acceptance: Acceptance) -> None:
    """Write the files, check that they match live state, and record that in the state.

    Each file is replaced as a whole. Raises StalePlanError if a file was edited since it was read,
    and ReconcilerError if the result does not match live state; no file is changed then.
    """
    for change in acceptance.files:
        try:
            check_syntax(change)
        except Uneditable as error:
            raise ReconcilerError(f"{error}. Nothing was written.") from error
        # All files are compared before the first is written, so that a refusal leaves nothing half
        # done.
        if _text_of(change.path) != change.before:
            raise StalePlanError(
                f"{change.name} was edited after it was read. Nothing was written.",
                hint="Run `reconciler accept` again.",
            )
    with locked(session, "accept"):
        written: list[FileChange] = []
        try:
            for change in acceptance.files:
                _replace_file(change.path, change.after)
                written.append(change)
            # Load the manifests again as any run would: an edit of YAML can look right and mean
            # something else.
            specs = _checked(session, acceptance)
        except BaseException:
            # On Ctrl-C too: unchecked manifests must not stay.
            for change in reversed(written):
                _replace_file(change.path, change.before)
            raise
        _record(session, acceptance, specs)


def _checked(session: Session, acceptance: Acceptance) -> dict[Address, Spec]:
    """The declared specs after the edit. Raises ReconcilerError unless they match live state."""
    try:
        configuration = load_configuration(session.settings, KINDS, RULE_KINDS)
    except ConfigurationError as error:
        raise ReconcilerError(
            f"The manifests would not be valid any more: {error}. Nothing was written.",
            hint="Edit them by hand.",
        ) from error
    lookup = _lookup(session.store.records())
    resources = by_address(configuration.resources)
    specs: dict[Address, Spec] = {}
    for address, fields in acceptance.fields.items():
        spec = specs[address] = resources[address].resolved(lookup) if address in resources else {}
        for name, live in fields.items():
            kind = KINDS[address.kind].by_name[name].type
            if not same(*comparable(kind, spec.get(name), live)) and spec.get(name) is not None:
                raise ReconcilerError(
                    f"{address}: {name} would not be what the API has. Nothing was written.",
                    hint="Edit the manifest by hand.",
                )
    return specs


def _record(session: Session, acceptance: Acceptance, specs: Mapping[Address, Spec]) -> None:
    """Record the accepted values in the state, so that they are no longer drift."""
    store = session.writable()
    records = store.records()
    for address, fields in acceptance.fields.items():
        record = records.get(address)
        if record is None:
            continue
        applied = dict(record.applied)
        for name in fields:
            value = specs[address].get(name)
            applied.pop(name, None)
            # A null and an unknown are no values that were applied.
            if value is not None and not has_unknown(value):
                applied[name] = value
        store.put(replace(record, applied=applied, answered=_without_seen(record, fields)))


def _without_seen(record: Record, names: Collection[str]) -> dict[str, Any]:
    """The answered values, without those that strict mode saw of accepted fields."""
    answered = without_seen(record.answered)
    seen = {name: value for name, value in record.seen.items() if name not in names}
    return {**answered, SEEN: seen} if seen else answered


# Values


def _changed_outside(change: Change) -> list[str]:
    """The fields that were changed outside of the manifests, in the order of the kind."""
    if change.id is None:
        return []
    names = [entry.name for entry in change.fields if entry.origin is not Origin.CONFIG]
    return list(dict.fromkeys(names))


def _unwritable(declared: Field, change: Change) -> str:
    """Why a field cannot be written from what the API shows; empty if it can."""
    if declared.has_own_calls:
        return "files and keys cannot be read back; change the files, or apply to restore them"
    if declared.takes_secrets:
        return "it holds secrets, which nobody can read back"
    if declared.required and change.before.get(declared.name) is None:
        return "it is required, and the API shows no value"
    return ""


def _strict_value(record: Record | None, name: str) -> Any:
    """The value that strict mode compares a field with."""
    return None if record is None else record.seen.get(name)


def _value(declared: Field, change: Change, lookup: Callable[[Reference], Any], seen: Any) -> Any:
    """The value for the manifest; MISSING if the field must stay unset."""
    desired = substitute(change.desired.get(declared.name), lookup)
    value = accepted(declared.type, desired, change.before.get(declared.name), seen)
    if value is None:
        return None if declared.nullable else MISSING
    return value


def _lookup(records: Mapping[Address, Record]) -> Callable[[Reference], Any]:
    """The value of a reference, as the state knows it."""

    def value_of(reference: Reference) -> Any:
        record = records.get(reference.address)
        if record is None:
            return Unknown(str(reference))
        if reference.path:
            value = value_at(record.applied, reference.path)
            return Unknown(str(reference)) if value is None else value
        return ALL_KINDS[reference.address.kind].parent_and_id(record.id)[1]

    return value_of


def _expressions(records: Mapping[Address, Record]) -> dict[str, str]:
    """The expression for the id of each managed object."""
    expressions = {}
    for address, record in records.items():
        kind = ALL_KINDS.get(address.kind)
        if kind is not None:
            expressions[kind.parent_and_id(record.id)[1]] = str(address)
    return expressions


def _gone(plan: Plan, wanted: Sequence[Address] | None) -> list[Refused]:
    reason = "the object is gone; remove its declaration, or apply to create it again"
    refused = []
    for drift in plan.drift:
        is_wanted = wanted is None or drift.address in wanted
        if drift.deleted and is_wanted:
            refused.append(Refused(drift.address, "", reason, drift.location))
    return refused


def _require_declared(session: Session, wanted: Sequence[Address]) -> None:
    declared = {resource.address for resource in session.declared.resources}
    for address in wanted:
        if address not in declared:
            hint = nearest(str(address), map(str, declared))
            raise UsageError(f'no manifest declares "{address}".{hint}')


# Files


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def _replace_file(path: Path, text: str) -> None:
    """Replace a file in one step, with its permissions and byte order mark."""
    before = path.read_bytes()
    mark = _BOM if before.startswith(_BOM) else b""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), path.stat().st_mode & 0o7777)
            stream.write(mark + text.encode())
            stream.flush()
            # Before the rename, or a crash could leave an empty file under the name.
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
