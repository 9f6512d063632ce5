"""Finds keys of this run in manifests. Each is reported once, and removed before any other check.

Messages quote shortened values, and addresses contain names. So a value with a key becomes an
`Unknown` before the schema check and before its address is made. After that, no output can contain
even a part of it.
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
_REMEDY = "The value contains a key that is in use. Remove it from the {file_kind} and from its version history."

_Texts = list[tuple[Trail, str, bool]]
"""Texts to look at: the path, the text, and whether it is a key of a map."""


class CredentialScan:
    """Searches values for secrets. `file_kind` names the kind of file in messages."""

    def __init__(
        self, secrets: Iterable[Secret], problems: Problems, file_kind: str = "manifest"
    ) -> None:
        secrets = list(secrets)
        values = [re.escape(secret.reveal()) for secret in secrets]
        self.redact = Redactor(secrets)
        self._holds = re.compile("|".join(values)) if values else None
        # One pattern for all texts that need a closer look, so that the other texts, which are
        # nearly all, are searched once.
        self._suspect = re.compile("|".join([*values, "sk-", r"\$\{"]))
        self._problems = problems
        self._file_kind = file_kind

    def without_keys(
        self, value: Any, document: Document, above: Trail = (), address: Address | None = None
    ) -> Any:
        """The value without secrets, each of which is reported; the value itself if there is none.

        `above` is the path of the value in its document. Values that only look like a credential
        cause a warning and stay.
        """
        texts: _Texts = []
        self._collect(value, above, texts)
        has_leaks = False
        for trail, text, is_key in texts:
            if self.holds(text):
                has_leaks = True
                summary = f"A credential does not belong in a {self._file_kind}"
                detail = _REMEDY.format(file_kind=self._file_kind)
                location = document.location_of(trail, key=is_key)
                self._problems.add(summary, detail, place=location, address=address)
            else:
                self._warn_of_shape(text, document, trail, address)
            if is_key:
                self._warn_of_expression(text, document, trail, address)
        return self._without_secrets(value) if has_leaks else value

    def holds(self, text: str) -> bool:
        """Whether a text contains a key of this run."""
        return self._holds is not None and self._holds.search(text) is not None

    def _collect(self, value: Any, trail: Trail, texts: _Texts) -> None:
        """Add the texts that need a closer look."""
        if isinstance(value, str):
            if self._suspect.search(value):
                texts.append((trail, value, False))
        elif isinstance(value, dict):
            suspect = self._suspect.search
            for key, element in value.items():
                # Texts without a further call, because most values are texts of a map.
                if isinstance(element, str):
                    if suspect(element):
                        texts.append(((*trail, key), element, False))
                elif isinstance(element, dict | list | Template):
                    self._collect(element, (*trail, key), texts)
                if suspect(key):
                    texts.append(((*trail, key), key, True))
        elif isinstance(value, list):
            for index, element in enumerate(value):
                self._collect(element, (*trail, index), texts)
        elif isinstance(value, Template):
            for part in value.parts:
                self._collect(part, trail, texts)

    def _warn_of_shape(
        self, text: str, document: Document, trail: Trail, address: Address | None
    ) -> None:
        if "sk-" in text and _KEY_SHAPE.search(text):
            detail = "The text contains something that looks like an API key."
            self._problems.warn(
                "Looks like a key", detail, place=document.location_of(trail), address=address
            )

    def _warn_of_expression(
        self, text: str, document: Document, trail: Trail, address: Address | None
    ) -> None:
        # Only about keys that the author wrote: an expression can insert a map with such keys, and
        # inserted values are never expanded.
        if "${" in text and trail[0] == "spec" and document.has(trail):
            detail = f"{shortened(self.redact(text))} is used literally: expressions are expanded in values, not in keys."
            location = document.location_of(trail, key=True)
            self._problems.warn("A key is not expanded", detail, place=location, address=address)

    def _without_secrets(self, value: Any) -> Any:
        if isinstance(value, str):
            return Unknown("") if self.holds(value) else value
        if isinstance(value, dict):
            kept: dict[str, Any] = {}
            for key, element in value.items():
                if not self.holds(key):
                    kept[key] = self._without_secrets(element)
            return kept
        if isinstance(value, list):
            return [self._without_secrets(element) for element in value]
        if isinstance(value, Template):
            for part in value.parts:
                if isinstance(part, str) and self.holds(part):
                    return Unknown("")
        return value


def masked(value: Any, redact: Redactor) -> Any:
    """A value for messages: secrets are replaced by dots before anything is shortened."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): masked(element, redact) for key, element in value.items()}
    return [masked(element, redact) for element in value] if isinstance(value, list) else value
