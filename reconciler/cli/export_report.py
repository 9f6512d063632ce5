"""The report of an export: written objects, omissions, and whether the plan is empty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from reconciler.app.export_choice import SkippedObjects
from reconciler.app.export_request import ExportRequest
from reconciler.app.exporting import ExportResult
from reconciler.app.live_organization import Unread
from reconciler.export.resource import ExportedResource
from reconciler.model.change import Change
from reconciler.render.escape import prose
from reconciler.render.jsonview import document
from reconciler.render.values import count, redacted

FORMAT_VERSION = "1.0"
_MOST_STALE = 10
_MOST_IDS = 3


def as_text(result: ExportResult, request: ExportRequest) -> str:
    """The summary and the verdict. `remarks` has the rest."""
    lines = [*_summary(result, request), verdict(result)]
    return "\n".join(lines) + "\n"


def as_markdown(result: ExportResult, request: ExportRequest) -> str:
    """A comment: the summary, the verdict, and a list of everything else."""
    head = " ".join(map(_prose, _summary(result, request)))
    lines = [f"### Export\n\n{head}\n\n{_prose(verdict(result))}\n"]
    lines += [f"- {_prose(sentence)}" for sentence in remarks(result, request)]
    return "\n".join(lines) + "\n"


def as_json(result: ExportResult, request: ExportRequest) -> str:
    """Every object and file, and everything that is not in the manifests."""
    return document(
        {
            "format_version": FORMAT_VERSION,
            "folder": str(request.out),
            "complete": result.is_complete,
            "plan_is_empty": not result.differing,
            "calls": result.calls,
            "bound": result.bound,
            "files": sorted(result.files),
            "stale_files": list(result.stale_files),
            "resources": [_resource(resource) for resource in result.resources],
            "left_out": [_left_out(skipped) for skipped in result.left_out],
            "archived_projects": result.archived,
            "unread": [_unread(unread) for unread in result.unread],
            "rules": list(map(redacted, result.rules)),
            "differing": [_differing(change) for change in result.differing],
        }
    )


def remarks(result: ExportResult, request: ExportRequest) -> Iterator[str]:
    """A sentence for each rule, and for everything that is not in the manifests."""
    for rule in result.rules:
        yield f"Rule: {rule}"
    if result.archived:
        yield f"Left out: {count(result.archived, 'archived project')}, with all that is in them."
    # One line for a reason that many projects share: an organization may have thousands of them.
    groups: dict[tuple[str, str], list[SkippedObjects]] = defaultdict(list)
    for skipped in result.left_out:
        groups[skipped.kind, skipped.reason].append(skipped)
    for (kind, reason), group in groups.items():
        ids: list[str] = []
        for skipped in group:
            ids += skipped.ids
        shown = ", ".join(ids[:_MOST_IDS])
        if len(ids) > _MOST_IDS:
            shown += ", …"
        place = _place(group[0].project)
        if len(group) > 1:
            place = f" in {count(len(group), 'place')}"
        yield f"Left out: {len(ids):,} {kind}{place} ({shown}): {reason}"
    for unread in result.unread:
        yield f"Not read: {unread.kind}{_place(unread.project)}: {unread.reason}"
    if result.stale_files:
        names = ", ".join(f"{request.out}/{name}" for name in result.stale_files[:_MOST_STALE])
        yield f"Not of this export: {names}"
    for change in result.differing:
        yield _difference(change)


def verdict(result: ExportResult) -> str:
    """Whether the plan of the written manifests changes anything."""
    if result.plan is None:
        return "There is nothing to export."
    if result.differing:
        differing = count(len(result.differing), "object")
        return f"The plan of these manifests is not empty: {differing} differ."
    marks = ""
    if result.unmarked:
        objects = count(result.unmarked, "object")
        marks = f" The first apply adopts {objects} and writes the stack's mark into the metadata."
    return f"The plan of these manifests is empty.{marks}"


def _summary(result: ExportResult, request: ExportRequest) -> Iterator[str]:
    lines = sum(text.count("\n") for text in result.files.values())
    yield (
        f"Wrote {count(len(result.resources), 'object')} to {count(len(result.files), 'file')} in "
        f"{request.out} ({lines} lines, {result.calls} calls)."
    )
    if result.bound:
        yield f"Bound {count(result.bound, 'object')} in the state."


def _prose(text: str) -> str:
    return prose(redacted(text))


def _resource(resource: ExportedResource) -> dict[str, Any]:
    return {"address": str(resource.address), "id": resource.id}


def _left_out(skipped: SkippedObjects) -> dict[str, Any]:
    return {
        "kind": skipped.kind,
        "project": skipped.project,
        "reason": redacted(skipped.reason),
        "ids": list(skipped.ids),
    }


def _unread(unread: Unread) -> dict[str, Any]:
    return {
        "kind": unread.kind,
        "project": unread.project,
        "reason": redacted(unread.reason),
        "expected": unread.is_expected,
    }


def _differing(change: Change) -> dict[str, Any]:
    return {
        "address": str(change.address),
        "action": change.action.value,
        "fields": list(change.field_names),
        "blocked": redacted(change.blocked),
    }


def _place(project: str | None) -> str:
    if not project:
        return ""
    return f" in {project}"


def _difference(change: Change) -> str:
    """How a plan of the manifests would change an object, and why."""
    fields = ", ".join(change.field_names)
    action = f"{change.action.value} {fields}".rstrip()
    reason = change.reason.value
    if change.blocked:
        reason = "it has an error"
    return f"Differs: {change.address}: {action} ({reason})"
