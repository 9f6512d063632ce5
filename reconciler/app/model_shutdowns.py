"""Warns of models that OpenAI shuts down soon, or has shut down.

The dates are those that `GET /models` announced when this version was made, so that `validate` can
warn without a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from reconciler.api.transport.base_url import DEFAULT_BASE_URL
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.paths import Trail, dotted
from reconciler.model.resource import Resource

NEAR_DAYS = 90
"""How long before its end a model is worth a warning."""
_MOST_PLACES = 5
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_ENDS = {
    "2026-10-23": "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-turbo gpt-4.1-nano "
    "gpt-4o-2024-05-13 o1 o3-mini o4-mini gpt-image-1",
    "2026-12-01": "gpt-image-1-mini gpt-image-1.5",
    "2026-12-11": "gpt-5 gpt-5-mini gpt-5-nano o3",
    "2027-01-06": "tts-1 gpt-4o-mini-tts",
    "2027-01-14": "gpt-4o gpt-4o-mini gpt-4.1 gpt-4.1-mini",
    "2027-01-20": "gpt-audio-mini",
    "2027-02-26": "whisper-1 gpt-4o-transcribe gpt-4o-mini-transcribe",
    "2027-04-01": "gpt-5.1 gpt-5.4-nano",
}
SHUTDOWNS: Mapping[str, date] = {
    name: date.fromisoformat(day) for day, names in _ENDS.items() for name in names.split()
}
"""The last day of each model. A dated form ends with the model unless it has an entry of its own."""


def shutdown_of(model: str) -> date | None:
    """The day on which a model shuts down; None if none is announced."""
    return SHUTDOWNS.get(model) or SHUTDOWNS.get(_DATED.sub("", model))


def shutdown_warnings(
    resources: Iterable[Resource],
    *,
    base_url: str,
    today: date,
    announced: Mapping[str, date | None] | None = None,
) -> list[Diagnostic]:
    """A warning for each model that ends soon or has ended, with the places that name it.

    `announced` are the ends that the server itself lists, by model. Without them, the shipped dates
    count, and only for OpenAI's own server: others may keep a model.
    """
    is_openai = urlsplit(base_url).hostname == urlsplit(DEFAULT_BASE_URL).hostname
    if not announced and not is_openai:
        return []
    warnings = []
    for model, places in sorted(uses_of_models(resources).items()):
        end = announced.get(model) if announced else None
        if end is None and is_openai:
            end = shutdown_of(model)
        if end is not None and (end - today).days <= NEAR_DAYS:
            warnings.append(_warning(model, end, places, today))
    return warnings


def uses_of_models(resources: Iterable[Resource]) -> dict[str, list[tuple[Resource, str]]]:
    """The places that need a model, by model: a resource and the path of a field."""
    uses: dict[str, list[tuple[Resource, str]]] = {}
    for resource in resources:
        # Settings of a model, such as rate limits, do no harm when the model ends.
        if resource.kind.always_exists or resource.kind.job is not None:
            continue
        for trail, model in _models_in(resource.spec):
            uses.setdefault(model, []).append((resource, dotted(trail)))
    return uses


def _models_in(value: Any, above: Trail = ()) -> Iterator[tuple[Trail, str]]:
    if isinstance(value, Mapping):
        for key, element in value.items():
            if key == "model" and isinstance(element, str):
                yield (*above, key), element
            else:
                yield from _models_in(element, (*above, key))
    elif isinstance(value, list | tuple):
        for at, element in enumerate(value):
            yield from _models_in(element, (*above, at))


def _warning(model: str, end: date, places: list[tuple[Resource, str]], today: date) -> Diagnostic:
    days = (end - today).days
    when = f"shuts down on {end}, in {days} days" if days > 0 else f"was shut down on {end}"
    lines = []
    for resource, path in places[:_MOST_PLACES]:
        place = resource.locations.get(path) or resource.location
        where = f" ({place})" if place else ""
        lines.append(f"{resource.address}: {path}{where}")
    if len(places) > _MOST_PLACES:
        lines.append(f"and {len(places) - _MOST_PLACES:,} more")
    resource, path = places[0]
    return Diagnostic(
        f"The model {model} {when}",
        "\n".join([*lines, "Choose another model."]),
        address=resource.address,
        location=resource.locations.get(path) or resource.location,
        severity=Severity.WARNING,
    )
