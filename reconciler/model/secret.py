"""Secrets: values that are never printed or stored, and sent only to their sink.

`Secret` formats as dots and cannot be serialized. `Redactor` removes known secrets from text of
other origin: an API's error message, a proxy's page, a log line.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "•••"
LEAST_LENGTH = 8
"""The minimum length of a secret, in characters. Shorter values could not be told from ordinary
words in messages."""

_KEY_SHAPE = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}")


class Secret:
    """A value that only `reveal()` returns. Equality compares values; `repr`, `str` and formatting
    print dots."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plain value. Call it only to hand the value to a sink or to the network."""
        return self._value

    @property
    def hint(self) -> str:
        """The last four characters, so that a person can tell keys apart; only dots for short
        values."""
        return f"{MASK}{self._value[-4:]}" if len(self._value) >= 16 else MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")


class Redactor:
    """Replaces known secrets, and everything shaped like an API key, by dots."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        # Replaced as a whole: threads of other stacks read it meanwhile.
        self._values: tuple[str, ...] = ()
        self._by_start: Mapping[str, tuple[str, ...]] = {}
        self._guard = threading.Lock()
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Register a secret. Ignores values under eight characters, which would blank ordinary
        words."""
        value = secret.reveal()
        if len(value) >= LEAST_LENGTH and value not in self._values:
            # Also as JSON spells it, because answers are searched before they are parsed. Servers
            # escape characters outside of ASCII or send them as they are.
            escaped = json.dumps(value)[1:-1]
            unescaped = json.dumps(value, ensure_ascii=False)[1:-1]
            with self._guard:
                known = {value, escaped, unescaped, *self._values}
                # The longest first, since one secret may contain another.
                self._values = tuple(sorted(known, key=len, reverse=True))
                self._by_start = _by_start(self._values)

    def __call__(self, text: str) -> str:
        return _KEY_SHAPE.sub(MASK, self._without_known(text))

    def masked(self, value: Any) -> Any:
        """A JSON value with known secrets replaced by dots. Text that is only shaped like a key
        stays."""
        if isinstance(value, str):
            return self._without_known(value)
        if isinstance(value, dict):
            return {
                self._without_known(key): self.masked(element) for key, element in value.items()
            }
        return [self.masked(element) for element in value] if isinstance(value, list) else value

    def _without_known(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        return text

    def holds(self, text: str) -> bool:
        """Whether `text` contains a known secret. Shapes are not considered."""
        # Keys of the API begin alike, so one search rules out all keys of a fleet in most texts.
        return any(
            start in text and any(value in text for value in values)
            for start, values in self._by_start.items()
        )


def _by_start(values: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for value in values:
        grouped[value[:LEAST_LENGTH]].append(value)
    return {start: tuple(group) for start, group in grouped.items()}
