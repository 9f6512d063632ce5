"""The parts of a key field that say how its keys take turns, for schemas and documentation."""

from __future__ import annotations

from reconciler.model.durations import PATTERN
from reconciler.model.types import Json, Object, Property, Text

_DURATION = Text(pattern=PATTERN, pattern_hint="a duration such as 90d, 24h, 30m or 1d12h")

ROTATE = Property(
    "rotate",
    Object(
        (
            Property(
                "every",
                _DURATION,
                "The age at which a key is rotated, such as `90d`. If omitted, keys are rotated "
                "only on request.",
            ),
            Property(
                "overlap",
                _DURATION,
                "How long the earlier key stays valid at least; `7d` unless set.",
            ),
            Property(
                "revoke",
                Object(
                    (
                        Property(
                            "when_unused_for",
                            _DURATION,
                            "How long the earlier key must be unused before it is revoked; `24h` "
                            "unless set.",
                            required=True,
                        ),
                    )
                ),
                "When to revoke the earlier key once the overlap has passed.",
            ),
        )
    ),
    "When to rotate the key. A new key is delivered beside the old one, which is revoked once "
    "nobody uses it. Durations are written as `90d`, `24h`, `30m` or `1d12h`.",
)

PREVIOUS_TO = Property(
    "previous_to",
    Json(),
    "A second slot: a destination that holds the earlier key while it is still valid. For sinks "
    "that keep no versions, such as files.",
)
