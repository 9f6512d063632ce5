"""Sentences about live state that could not be read, for the diagnostics of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.engine.refresh.reader import Scope
from reconciler.errors import ApiError, CredentialError, RetiredError
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.diagnostic import SourceLocation as SourceLocation
from reconciler.model.kind import Kind

_FEW = 3
_SERVER_ERROR = 500


def out_of_reach(project: str, mine: Sequence[Address], writer: Address | None) -> Diagnostic:
    """The error of recorded objects in a project that no key opens; `writer` delivers the key, if any does."""
    remedy = f", or make a new key with --target {writer} --replace {writer}" if writer else ""
    return Diagnostic(
        f'Project "{project}" cannot be read',
        f"The key that opens it is missing, and this stack manages {len(mine)} objects in it ({mine[0]} for one). "
        f"Put the key back where credentials.projects.{project} has it{remedy}.",
        address=mine[0],
    )


def not_yet(project: str, writer: Address | None) -> Diagnostic:
    """The warning about a project of which nothing is recorded yet."""
    return Diagnostic(
        f'Objects of project "{project}" cannot be read yet',
        "The key that opens it does not exist yet. Each object planned for it is looked for right before it is made.",
        address=writer,
        severity=Severity.WARNING,
    )


def refused(
    kind: Kind, place: Scope, error: ApiError, affected: Sequence[Address], source: SourceLocation | None
) -> Diagnostic:
    """The error of resources whose list, or whose own read, the API refused."""
    where = f' of project "{place.project}"' if place.project else ""
    summary, way_out = f"{kind.name} objects{where} could not be read", error.hint
    if isinstance(error, RetiredError):
        summary, way_out = f"The server has no {kind.name} objects any more", _way_out(kind)
    more = f" and {len(affected) - _FEW} more" if len(affected) > _FEW else ""
    parts = [f"{error}{_status(error)}", way_out, f"Not planned: {', '.join(map(str, affected[:_FEW]))}{more}."]
    return Diagnostic(summary, "\n".join(filter(None, parts)), address=affected[0], location=source)


def forgotten(kind: Kind, error: ApiError, affected: Sequence[Address]) -> Diagnostic:
    """The warning that records of a retired kind go, because nothing declares them."""
    count = f"{len(affected)} {kind.name} object{'s' if len(affected) != 1 else ''}"
    return Diagnostic(
        f"The server has no {kind.name} objects any more",
        f"{error}{_status(error)}\nThe state forgets {count} ({affected[0]} for one).",
        severity=Severity.WARNING,
    )


def not_searched(searched: Mapping[Scope, ApiError | CredentialError]) -> Diagnostic:
    """One warning for all places that were only searched, with a line for each kind."""
    lines: dict[str, str] = {}
    for place, error in sorted(searched.items(), key=lambda item: (item[0].kind, item[0].project or "")):
        lines.setdefault(place.kind, f"{place.kind}: {error}{_status(error)}")
    return Diagnostic(
        "Some kinds could not be searched for objects of this stack",
        "\n".join([*lines.values(), "No declared resource needs them, so the plan goes on."]),
        severity=Severity.WARNING,
    )


def may_pass(error: ApiError | CredentialError) -> bool:
    """Whether a later search may fare better: the server had an error, or something before it answered."""
    return isinstance(error, ApiError) and (error.status is None or error.status >= _SERVER_ERROR)


def _way_out(kind: Kind) -> str:
    successor = kind.retirement.successor if kind.retirement else ""
    instead = f"declare kind {successor} instead, or " if successor else ""
    return f"To go on, {instead}remove the documents: what is no longer declared is forgotten."


def _status(error: ApiError | CredentialError) -> str:
    status = error.status if isinstance(error, ApiError) else None
    return f" ({status})" if status and str(status) not in str(error) else ""
