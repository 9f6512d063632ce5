"""Keys in use that got into what people write: each told once, and taken out before anything else
looks at it.

Messages quote values, cut to a glance, and resources are called by their names. So a value that
holds a key is replaced by an `Unknown` before a schema sees it or an address is made of it: nothing
later can print it, not even a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from reconciler.manifests.problems import Problems
from reconciler.manifests.source_map import Document
from reconciler.manifests.validate import shortened
from reconciler.model.address import Address
from reconciler.model.paths import Trail
from reconciler.model.secret import Redactor, Secret
from reconciler.model.values import Template, Unknown

_KEY_SHAPE = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}")
_TAKE_IT_OUT = "The value contains a key that is in use. Remove it from the {what} and from its version history."

_Texts = list[tuple[Trail, str, bool]]


class CredentialScan:
    """Looks for secrets in values. `what` is the sort of file that they are read from."""

    def __init__(
        self, secrets: Iterable[Secret], problems: Problems, what: str = "manifest"
    ) -> None:
        secrets = list(secrets)
        values = [re.escape(secret.reveal()) for secret in secrets]
        self.redact = Redactor(secrets)
        self._holds = re.compile("|".join(values)) if values else None
        self._suspect = re.compile("|".join([*values, "sk-", r"\$\{"]))
        self._problems = problems
        self._what = what

    def taken_out(
        self, value: Any, document: Document, above: Trail = (), address: Address | None = None
    ) -> Any:
        """The value without what holds a key, each noted; the value itself where there is none.

        `above` is where the value stands in its document. What only looks odd is noted as a warning
        and stays.
        """
        found: _Texts = []
        self._look_into(value, above, found)
        leaks = [(trail, is_key) for trail, text, is_key in found if self.holds(text)]
        for trail, is_key in leaks:
            summary = f"A credential does not belong in a {self._what}"
            detail = _TAKE_IT_OUT.format(what=self._what)
            self._problems.add(
                summary, detail, place=document.location_of(trail, key=is_key), address=address
            )
        for trail, text, is_key in found:
            if not self.holds(text):
                self._look_at_shape(text, document, trail, address)
            if is_key:
                self._look_at_key(text, document, trail, address)
        return self._without(value) if leaks else value

    def holds(self, text: str) -> bool:
        """Whether a text contains a key that is in use."""
        return self._holds is not None and self._holds.search(text) is not None

    def _look_into(self, value: Any, trail: Trail, found: _Texts) -> None:
        if isinstance(value, str):
            if self._suspect.search(value):
                found.append((trail, value, False))
        elif isinstance(value, dict):
            suspect = self._suspect.search
            for key, item in value.items():
                if isinstance(item, str):
                    if suspect(item):
                        found.append(((*trail, key), item, False))
                elif isinstance(item, dict | list | Template):
                    self._look_into(item, (*trail, key), found)
                if suspect(key):
                    found.append(((*trail, key), key, True))
        elif isinstance(value, list | Template):
            for index, item in enumerate(value if isinstance(value, list) else value.parts):
                self._look_into(item, (*trail, index) if isinstance(value, list) else trail, found)

    def _look_at_shape(
        self, text: str, document: Document, trail: Trail, address: Address | None
    ) -> None:
        if "sk-" in text and _KEY_SHAPE.search(text):
            detail = "The text contains something that looks like an API key."
            self._problems.warn(
                "Looks like a key", detail, place=document.location_of(trail), address=address
            )

    def _look_at_key(
        self, text: str, document: Document, trail: Trail, address: Address | None
    ) -> None:
        # What an expression inserted is never expanded, so only keys that the text itself has are
        # worth a word.
        if "${" in text and trail[0] == "spec" and document.has(trail):
            detail = f"{shortened(self.redact(text))} is used literally: expressions are expanded in values, not in keys."
            place = document.location_of(trail, key=True)
            self._problems.warn("A key is not expanded", detail, place=place, address=address)

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            return Unknown("") if self.holds(value) else value
        if isinstance(value, dict):
            return {key: self._without(item) for key, item in value.items() if not self.holds(key)}
        if isinstance(value, list):
            return [self._without(item) for item in value]
        if isinstance(value, Template):
            texts = (part for part in value.parts if isinstance(part, str))
            return Unknown("") if any(self.holds(text) for text in texts) else value
        return value


def masked(value: Any, redact: Redactor) -> Any:
    """A value for messages: the same with every secret in it replaced by dots, before anything is
    cut short.
    """
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): masked(item, redact) for key, item in value.items()}
    return [masked(item, redact) for item in value] if isinstance(value, list) else value
