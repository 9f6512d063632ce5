"""Models that manifests name: whether they end soon, and whether the keys can use them.

Dates are those that the server announces now; where no key can list models, the shipped ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

from reconciler.app.model_shutdowns import NEAR_DAYS, shutdown_warnings, uses_of_models
from reconciler.app.session import Session
from reconciler.errors import UsageError
from reconciler.manifests import Configuration
from reconciler.model.doctor import DoctorFinding, FindingStatus

Models = Mapping[str, Sequence[Mapping[str, object]]]


def model_findings(
    session: Session, configuration: Configuration | None, models: Models
) -> Iterator[DoctorFinding]:
    """A warning for each declared model that ends soon, has ended, or is not listed."""
    if configuration is None:
        return
    today = datetime.now(UTC).date()
    announced = dict(_announced(models))
    try:
        base_url = session.base_url
    except UsageError:
        return
    resources = configuration.resources
    warnings = shutdown_warnings(resources, base_url=base_url, today=today, announced=announced)
    for warning in warnings:
        yield DoctorFinding("models", FindingStatus.WARNING, f"{warning.summary}.", warning.detail)
    used = uses_of_models(resources)
    # Without a list, no model can be missing from it.
    unlisted = sorted(name for name in used if announced and name not in announced)
    for name in unlisted:
        resource, path = used[name][0]
        yield DoctorFinding(
            "models",
            FindingStatus.WARNING,
            f"No key lists the model {name}, which {resource.address} names in {path}.",
            "Check its spelling, whether it was shut down, and whether the project may use it.",
        )
    if used and not warnings and not unlisted:
        source = "the server's list" if announced else "the dates known to this version"
        number = "1 model" if len(used) == 1 else f"{len(used)} models"
        yield DoctorFinding(
            "models",
            FindingStatus.OK,
            f"The manifests name {number}; none ends within {NEAR_DAYS} days by {source}.",
        )


def _announced(models: Models) -> Iterator[tuple[str, date | None]]:
    """Every listed model, with its announced end."""
    for entries in models.values():
        for entry in entries:
            name = entry.get("id") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                yield name, _date(entry.get("shutdown_date"))


def _date(text: object) -> date | None:
    if not isinstance(text, str):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
