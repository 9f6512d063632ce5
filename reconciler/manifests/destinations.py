"""Checks the destinations of keys: each is allowed, known before apply, and used by one key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.errors import SinkError
from reconciler.manifests.key_targets import KeyTargets, folder_among
from reconciler.manifests.paths import relative
from reconciler.manifests.problems import ValueProblem
from reconciler.model.allowance import OPTION, VARIABLE, Allowance
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.sinks import named_sink
from reconciler.model.types import KeySinkType

_FILE = "file"

Report = Callable[[Resource, Trail, str, str], None]


class Destination(Struct, frozen=True):
    """A target of a key: the resource, the position of the value in its document, and the target."""

    resource: Resource
    trail: Trail
    target: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The path of a file, relative and normalized; empty for other sinks and unusable paths."""
        path = self.target.get(_FILE)
        if not isinstance(path, str):
            return ""
        try:
            return relative(path)
        except ValueProblem:
            return ""  # reported by `checks`


def destinations(resource: Resource) -> Iterator[Destination]:
    """The targets of a resource's keys."""
    for field in resource.kind.own_calls:
        if not isinstance(field.type, KeySinkType):
            continue
        for trail, target in targets_in(resource.spec.get(field.name)):
            yield Destination(resource, ("spec", field.name, *trail), target)


def targets_in(value: Any) -> Iterator[tuple[Trail, Mapping[str, Any]]]:
    """The targets of a field, each with the path to its value. Malformed ones are left out, since
    the schema reports them."""
    if not isinstance(value, Mapping):
        return
    candidates: list[tuple[Trail, Any]] = [(("previous_to",), value.get("previous_to"))]
    write_to = value.get("write_to")
    if isinstance(write_to, list | tuple):
        for index, target in enumerate(write_to):
            candidates.append((("write_to", index), target))
    else:
        candidates.append((("write_to",), write_to))
    for trail, target in candidates:
        if isinstance(target, Mapping) and len(target) == 1:
            yield (*trail, *target), target


def key_files(resource: Resource) -> Iterator[str]:
    """The files that a resource's keys are written to."""
    for destination in destinations(resource):
        if destination.file:
            yield destination.file


def check_destinations(
    used: Sequence[Destination], targets: KeyTargets, allowed: Sequence[str], report: Report
) -> None:
    """Report every destination that cannot be used. `allowed` are globs of places."""
    allowance = Allowance(allowed)
    written: dict[str, Destination] = {}
    for destination in used:
        place = _place(destination, report)
        if not place:
            continue
        objection = allowance.objection(place)
        other = written.setdefault(place, destination)
        if objection:
            detail = f"{objection}. Choose one of these, or change {VARIABLE} or {OPTION}."
            _report(report, destination, "Destination not allowed", _sentence(detail))
        elif other is not destination:
            _report_shared(destination, other, place, report)
        elif destination.file and (objection := targets.objection(destination.file)):
            detail = f"{objection} Choose another file."
            _report(report, destination, "Unusable file for a key", detail)
    files: dict[str, Destination] = {}
    for destination in written.values():
        if destination.file:
            files[destination.file] = destination
    # After all files are known, since a folder and a file in it can be declared in either order.
    for destination in files.values():
        if above := folder_among(destination.file, files):
            holder = files[above].resource.address
            detail = f'{holder} writes its key to "{above}", which therefore cannot be a folder.'
            _report(report, destination, "Unusable file for a key", detail)


def _place(destination: Destination, report: Report) -> str:
    """The place of a destination; empty, and reported, if it has none."""
    if _FILE in destination.target and not destination.file:
        return ""  # reported by `checks`
    try:
        sink, value = named_sink(destination.target)
    except SinkError:
        return ""  # reported by the schema, and where references are resolved
    try:
        return sink.place(value)
    except ValueError as error:
        _report(report, destination, "Invalid destination", _sentence(str(error)))
        return ""


def _report_shared(
    destination: Destination, other: Destination, place: str, report: Report
) -> None:
    if destination.resource is other.resource:
        detail = f'"{place}" is listed twice: remove one of the two.'
        _report(report, destination, "One destination twice", detail)
    elif destination.file:
        detail = f'{other.resource.address} also writes its key to "{destination.file}".'
        _report(report, destination, "Two keys in one file", detail)
    else:
        detail = f'{other.resource.address} also delivers its key to "{place}".'
        _report(report, destination, "Two keys in one place", detail)


def _report(report: Report, destination: Destination, summary: str, detail: str) -> None:
    report(destination.resource, destination.trail, summary, detail)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
