"""The report of an export: what was written, what was not, and whether the plan is empty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from reconciler.app.export_choice import SkippedObjects
from reconciler.app.export_request import ExportRequest
from reconciler.app.exporting import ExportResult
from reconciler.model.change import Change
from reconciler.render.escape import prose
from reconciler.render.jsonview import document
from reconciler.render.values import count, redacted

FORMAT_VERSION = "1.0"
_MOST_STALE = 10


def as_text(result: ExportResult, request: ExportRequest) -> str:
    """What was written, and the verdict. `remarks` has the rest."""
    return "".join(f"{line}\n" for line in (*_written(result, request), verdict(result)))


def as_markdown(result: ExportResult, request: ExportRequest) -> str:
    """A comment: what was written, the verdict, and a list of everything else."""
    head = " ".join(prose(redacted(line)) for line in _written(result, request))
    lines = [f"### Export\n\n{head}\n\n{prose(redacted(verdict(result)))}\n"]
    lines += [f"- {prose(redacted(sentence))}" for sentence in remarks(result, request)]
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
            "resources": [
                {"address": str(resource.address), "id": resource.id}
                for resource in result.resources
            ],
            "left_out": [_left_out(left) for left in result.left_out],
            "archived_projects": result.archived,
            "unread": [
                {
                    "kind": unread.kind,
                    "project": unread.project,
                    "reason": redacted(unread.reason),
                    "expected": unread.is_expected,
                }
                for unread in result.unread
            ],
            "rules": list(map(redacted, result.rules)),
            "differing": [_differing(change) for change in result.differing],
        }
    )


def remarks(result: ExportResult, request: ExportRequest) -> Iterator[str]:
    """A sentence for each rule, and for everything that is not in the manifests."""
    yield from (f"Rule: {rule}" for rule in result.rules)
    if result.archived:
        yield f"Left out: {count(result.archived, 'archived project')}, with all that is in them."
    together: dict[tuple[str, str], list[SkippedObjects]] = defaultdict(list)
    for left in result.left_out:
        together[left.kind, left.reason].append(left)
    for (kind, reason), several in together.items():
        ids = [id for left in several for id in left.ids]
        shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        place = _place(several[0].project)
        if len(several) > 1:
            place = f" in {count(len(several), 'place')}"
        yield f"Left out: {len(ids)} {kind}{place} ({shown}): {reason}"
    for unread in result.unread:
        yield f"Not read: {unread.kind}{_place(unread.project)}: {unread.reason}"
    if result.stale_files:
        names = ", ".join(f"{request.out}/{name}" for name in result.stale_files[:_MOST_STALE])
        yield f"Not of this export: {names}"
    for change in result.differing:
        yield _difference(change)


def verdict(result: ExportResult) -> str:
    """Whether the plan of what was written changes anything."""
    if result.plan is None:
        return "There is nothing to export."
    if result.differing:
        differing = count(len(result.differing), "object")
        return f"The plan of these manifests is not empty: {differing} differ."
    marks = ""
    if result.unmarked:
        what = count(result.unmarked, "object")
        marks = f" The first apply adopts {what} and writes the stack's mark into the metadata."
    return f"The plan of these manifests changes nothing.{marks}"


def _written(result: ExportResult, request: ExportRequest) -> Iterator[str]:
    lines = sum(text.count("\n") for text in result.files.values())
    yield (
        f"Wrote {count(len(result.resources), 'object')} to {count(len(result.files), 'file')} in "
        f"{request.out} ({lines} lines, {result.calls} calls)."
    )
    if result.bound:
        yield f"Bound {count(result.bound, 'object')} in the state."


def _left_out(left: SkippedObjects) -> dict[str, Any]:
    return {
        "kind": left.kind,
        "project": left.project,
        "reason": redacted(left.reason),
        "ids": list(left.ids),
    }


def _differing(change: Change) -> dict[str, Any]:
    return {
        "address": str(change.address),
        "action": change.action.value,
        "fields": list(change.field_names),
        "blocked": redacted(change.blocked),
    }


def _place(project: str | None) -> str:
    return f" in {project}" if project else ""


def _difference(change: Change) -> str:
    """What a plan of the manifests would do to an object, and why."""
    fields = ", ".join(change.field_names)
    what = f"{change.action.value} {fields}".rstrip()
    reason = "it has an error" if change.blocked else change.reason.value
    return f"Differs: {change.address}: {what} ({reason})"
