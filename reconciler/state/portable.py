"""State as JSON, for moving it to another backend or repairing it by hand.

An export has the facts that cannot be found again: the records, the outputs and some remarks.
Journal, history and lock belong to the file and the machine and are not exported. Reading is
strict, because people edit exports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.resource import Record
from reconciler.model.values import decode, encode
from reconciler.state.identity import Identity
from reconciler.state.rows import SPEC_COLUMNS, record_from_dict, record_to_dict

FORMAT = "reconciler-state"
VERSION = 4
"""Version 2 added `lineage`, `server` and `organization`; version 3 added `marked_later` to resources; version 4 added
`remarks`.

Earlier versions are still read.
"""

REMARKS = ("waits for terraform",)
"""The remarks that an export carries. All others describe this copy of the state."""

_SHOWN_PROBLEMS = 10
_MOST_SERIAL = 2**53
_TOP: Mapping[str, tuple[type, ...]] = {
    "format": (str,),
    "version": (int,),
    "stack": (str,),
    "environment": (str,),
    "serial": (int,),
    "lineage": (str,),
    "server": (str,),
    "organization": (str,),
    "resources": (list,),
    "outputs": (dict,),
    "remarks": (dict,),
}
_SINCE_VERSION_2 = frozenset({"lineage", "server", "organization"})
_SINCE_VERSION_4 = frozenset({"remarks"})
_RECORD: Mapping[str, tuple[type, ...]] = {
    "address": (str,),
    "id": (str,),
    "project_id": (str, type(None)),
    **dict.fromkeys(SPEC_COLUMNS, (dict,)),
    "prevent_destroy": (bool,),
    "on_remove": (str, type(None)),
    "depends_on": (list,),
    "deposed": (list,),
    "marked_later": (bool,),
}
_RECORD_SINCE_VERSION_3 = frozenset({"marked_later"})
_WORDS = {
    str: "text",
    int: "a number",
    list: "a list",
    dict: "a map",
    bool: "true or false",
    type(None): "null",
}


class ExportOrigin(Struct, frozen=True):
    """The origin of an export, or the destination of an import."""

    stack: str
    environment: str
    serial: int
    identity: Identity

    @property
    def name(self) -> str:
        """Stack and environment, as messages name them."""
        return f"{self.stack}/{self.environment}"


def to_data(
    *,
    stack: str,
    environment: str,
    serial: int,
    identity: Identity,
    records: list[Record],
    outputs: Mapping[str, Any],
    remarks: Mapping[str, str],
) -> dict[str, Any]:
    """The state as JSON values, the inverse of `from_data`."""
    # Values are encoded like those in the database, so a secret is refused with a TypeError.
    return {
        "format": FORMAT,
        "version": VERSION,
        "stack": stack,
        "environment": environment,
        "serial": serial,
        "lineage": identity.lineage,
        "server": identity.server,
        "organization": identity.organization,
        "resources": [record_to_dict(record) for record in records],
        "outputs": {name: encode(value) for name, value in outputs.items()},
        "remarks": dict(remarks),
    }


def from_data(data: Any) -> tuple[list[Record], dict[str, Any]]:
    """Records and outputs of an exported state. Raises StateError with all the problems found."""
    _check_version(data)
    version = data["version"]
    shape = dict(_TOP)
    if version < 2:
        shape = _without_fields(shape, _SINCE_VERSION_2)
    if version < 4:
        shape = _without_fields(shape, _SINCE_VERSION_4)
    # The shape first: everything below relies on the types that it has checked.
    problems = list(_check_map(data, shape, "the export"))
    if problems:
        raise _refuse(problems)
    if not 0 <= data["serial"] < _MOST_SERIAL:
        problems.append(f'the export: "serial" must be between 0 and {_MOST_SERIAL:,}')
    record_shape = _RECORD if version >= 3 else _without_fields(_RECORD, _RECORD_SINCE_VERSION_3)
    records = list(_read_records(data["resources"], record_shape, problems))
    outputs = _read_outputs(data["outputs"], problems)
    for name, value in data.get("remarks", {}).items():
        if name not in REMARKS or not isinstance(value, str):
            problems.append(f'the export: the remark "{name}" is not known, or is no text')
    # Twice the same address would leave one of two objects without a record.
    for address, count in Counter(str(record.address) for record in records).items():
        if count > 1:
            problems.append(f"resource {address} appears {count} times")
    if problems:
        raise _refuse(problems)
    return records, outputs


def origin_of(data: Mapping[str, Any]) -> ExportOrigin:
    """The origin of an export. The export has been checked by `from_data`."""
    parts = (data.get(name, "") for name in ("lineage", "server", "organization"))
    return ExportOrigin(data["stack"], data["environment"], data["serial"], Identity(*parts))


def check_is_ours(theirs: ExportOrigin, own: ExportOrigin) -> None:
    """Raise StateError for the export of another stack, environment, place or lineage."""
    hint = "If this is intended, use --from-elsewhere."
    if theirs.name != own.name:
        raise StateError(
            f"the export belongs to {theirs.name}, not to {own.name}",
            hint="Choose the other environment with -e, or use --from-elsewhere if this is intended.",
        )
    # Another server or organization has other objects under the same ids.
    if theirs.identity.conflicts_with(own.identity):
        raise StateError(
            f"the export belongs to {theirs.identity.place}, this state to {own.identity.place}",
            hint=hint,
        )
    if is_foreign(theirs, own):
        raise StateError(
            "the export belongs to another state with the same stack and environment: its lineage "
            f"is {theirs.identity.lineage}, the lineage here is {own.identity.lineage}",
            hint=hint,
        )


def check_is_newer(theirs: ExportOrigin, own: ExportOrigin, forgotten: Sequence[Address]) -> None:
    """Raise StateError for an export with a lower serial, naming what it would forget."""
    # Serials of different states count different things.
    if theirs.name != own.name or is_foreign(theirs, own) or theirs.serial >= own.serial:
        return
    raise StateError(
        f"the export is older than this state: its serial is {theirs.serial}, the serial here is "
        f"{own.serial}; {_forgetting(forgotten)}",
        hint="If this is intended, use --force-older.",
    )


def merged_identity(theirs: ExportOrigin, own: ExportOrigin) -> Identity:
    """The identity after an import: the objects of the export, in the place that it names."""
    # The export of another stack is a copy: its lineage stays with the original.
    lineage = theirs.identity.lineage if theirs.name == own.name else ""
    return Identity(
        lineage or own.identity.lineage,
        theirs.identity.server or own.identity.server,
        theirs.identity.organization or own.identity.organization,
    )


def is_foreign(theirs: ExportOrigin, own: ExportOrigin) -> bool:
    """Whether both have a lineage, the lineages differ, and the import would lose records."""
    # Exports of version 1 and states that were never written have no lineage.
    lineages = {theirs.identity.lineage, own.identity.lineage} - {""}
    return len(lineages) > 1 and own.serial > 0


def _forgetting(forgotten: Sequence[Address]) -> str:
    if not forgotten:
        return "importing it would lose later values, but no objects"
    names = ", ".join(map(str, forgotten[:_SHOWN_PROBLEMS]))
    rest = len(forgotten) - _SHOWN_PROBLEMS
    if rest > 0:
        names += f" and {rest} more"
    return f"importing it would forget {names}"


def _check_version(data: Any) -> None:
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise StateError(
            "this is not a state export", hint="use a file written by `reconciler state export`"
        )
    version = data.get("version")
    if isinstance(version, int) and version > VERSION:
        raise StateError(
            f"the export has version {version}, but this program supports versions up to {VERSION}",
            hint="use the version of reconciler that wrote it, or a later one",
        )
    # A bool is an int in Python, and no version.
    if type(version) is not int or version < 1:
        raise StateError(
            f"the export has no valid version: {version!r}", hint=f"this program writes {VERSION}"
        )


def _without_fields(
    shape: Mapping[str, tuple[type, ...]], names: frozenset[str]
) -> dict[str, tuple[type, ...]]:
    return {name: types for name, types in shape.items() if name not in names}


def _check_map(data: Any, shape: Mapping[str, tuple[type, ...]], where: str) -> Iterator[str]:
    if not isinstance(data, Mapping):
        yield f"{where} is not a map"
        return
    for name in data:
        if name not in shape:
            yield f'{where} has an unknown key "{name}".{nearest(str(name), shape)}'
    for name, types in shape.items():
        if name not in data:
            yield f'{where} lacks "{name}"'
        elif type(data[name]) not in types:
            yield f'{where}: "{name}" must be {" or ".join(_WORDS[kind] for kind in types)}'


def _read_records(
    entries: list[Any], shape: Mapping[str, tuple[type, ...]], problems: list[str]
) -> Iterator[Record]:
    for number, entry in enumerate(entries, 1):
        where = f"resource number {number}"
        if isinstance(entry, Mapping) and isinstance(entry.get("address"), str):
            where = f"resource {entry['address']}"
        misshapen = list(_check_map(entry, shape, where))
        problems += misshapen
        if misshapen:
            continue
        # An empty id would bind the address to every object and to none.
        if not entry["id"]:
            problems.append(f'{where}: "id" must not be empty')
        if not all(isinstance(id, str) for id in entry["deposed"]):
            problems.append(f'{where}: "deposed" must be a list of ids')
        try:
            yield record_from_dict(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{where}: {error}")


def _read_outputs(entries: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    outputs = {}
    for name, value in entries.items():
        try:
            outputs[name] = decode(value)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"output {name}: {error}")
    return outputs


def _refuse(problems: list[str]) -> StateError:
    shown = problems[:_SHOWN_PROBLEMS]
    rest = len(problems) - len(shown)
    more = f"; and {rest} more" if rest else ""
    return StateError(
        "the export cannot be imported: " + "; ".join(shown) + more, hint="nothing was changed"
    )
