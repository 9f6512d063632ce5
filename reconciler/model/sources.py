"""Sources: the places that secrets for the API are read from.

A manifest names a source as `{from: {SINK: VALUE}}`, with a target as in `write_to`. The drivers
are those of the sinks; a driver with `fetch` is a source. Plans and the state name a source as a
text: the name of its driver, a space, and the target as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from reconciler.errors import SinkError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Sink, named_sink, sink_classes


class SecretSource(Sink, Protocol):
    """A driver that can also read secrets that it did not deliver."""

    def fetch(self, target: Any) -> Secret | None:
        """The secret at a target; None if there is none.

        Raises SinkError with a sentence that names the place, and a hint with the cure.
        """


def is_source(sink: type[Sink]) -> bool:
    """Whether a driver can be named as a source."""
    return callable(getattr(sink, "fetch", None))


def source_classes() -> Iterator[type[Sink]]:
    """The drivers of all sources."""
    return filter(is_source, sink_classes())


def source_text(target: Mapping[str, Any]) -> str:
    """The text that stands for a target in a plan. Raises SinkError if it is no source."""
    # Canonical JSON, because plans compare the texts.
    sink, value = named_sink(target)
    if not is_source(sink):
        names = ", ".join(source.name for source in source_classes())
        raise SinkError(f'"{sink.name}" cannot be read', hint=f"write one of {names}")
    return f"{sink.name} {json.dumps(value, sort_keys=True)}"


def target_in(source: str) -> Mapping[str, Any] | None:
    """The target that a text stands for; None for a variable or a file."""
    name, _, rest = source.partition(" ")
    if not rest.startswith("{"):
        return None
    try:
        return {name: json.loads(rest)}
    except ValueError:
        return None
