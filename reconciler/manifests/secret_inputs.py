"""Secrets to send to the API: which sources manifests may name, and which values are never sent.

Manifests come from pull requests, and CI holds keys. So a manifest can only name variables with a
prefix that nothing else uses, and files below one folder. Whoever runs the program puts secrets
there; a pull request cannot. Keys that the program itself uses are refused even there. Every value
that is read is registered for redaction at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.manifests.closed import SENT_FOLDER
from reconciler.manifests.credentials import SENT_PREFIX
from reconciler.manifests.files import Files
from reconciler.manifests.paths import relative
from reconciler.manifests.problems import Problem
from reconciler.model.secret import LEAST_LENGTH, Secret
from reconciler.model.types import Either, ListOf, MapOf, Object, SecretValueType, Tagged, Type
from reconciler.model.values import SecretValue


class SecretInputs:
    """Reads secrets, each once. `in_use` are the keys that the program uses."""

    def __init__(
        self,
        files: Files,
        env: Mapping[str, str],
        in_use: Sequence[Secret],
        learn: Callable[[Secret], None],
    ) -> None:
        self._files = files
        self._env = env
        self._in_use = in_use
        self._learn = learn
        self._known: dict[str, Secret | Problem | None] = {}

    def read(self, value: SecretValue) -> Secret | None:
        """The secret; None if it is not set. Raises Problem if it must not be sent."""
        if value.source not in self._known:
            try:
                self._known[value.source] = self._read(value.source)
            except Problem as problem:
                self._known[value.source] = problem
        known = self._known[value.source]
        if isinstance(known, Problem):
            raise Problem(known.summary, known.detail)
        return known

    def value(self, written: Mapping[str, Any], kind: SecretValueType) -> SecretValue:
        """The source that a manifest names. Raises Problem; an unset secret is not a problem."""
        named = (
            SecretValue(f"env {written['from_env']}")
            if "from_env" in written
            else self._file(written["from_file"])
        )
        secret = self.read(named)
        if (
            secret is not None
            and not kind.multiline
            and any(char in secret.reveal() for char in "\r\n\0")
        ):
            raise Problem(
                "Not one line",
                f"The secret from {named.source} has several lines; only one line is allowed here.",
            )
        return named

    def _file(self, path: str) -> SecretValue:
        simple = relative(path)
        if not simple.startswith(f"{SENT_FOLDER}/"):
            detail = f'"{path}" is not in "{SENT_FOLDER}/": only files in that folder can be sent as secrets.'
            raise Problem("Not a file of secrets", detail)
        return SecretValue(f"file {simple}")

    def _read(self, source: str) -> Secret | None:
        origin, _, name = source.partition(" ")
        if origin == "env":
            text = self._env.get(name) if name.startswith(SENT_PREFIX) else None
        else:
            text = self._files.secret_text(name)
        if not text:
            return None
        secret = Secret(text)
        for line in (text, *text.splitlines()):
            self._learn(Secret(line))
        self._files.secrets += (text.encode(),) if len(text) >= LEAST_LENGTH else ()
        if any(key.reveal() in text for key in self._in_use):
            detail = (
                f"The secret from {source} contains a key that reconciler authenticates with, "
                "which must not be sent to the API as a secret."
            )
            raise Problem("Secret contains a credential", detail)
        if len(text) < LEAST_LENGTH:
            detail = f"The secret from {source} has fewer than {LEAST_LENGTH} characters, too few to redact it reliably."
            raise Problem("Secret too short", detail)
        return secret


Report = Callable[[Problem, tuple[str | int, ...]], None]


def with_sources(
    kind: Type, value: Any, inputs: SecretInputs, report: Report, trail: tuple[str | int, ...] = ()
) -> Any:
    """A value with the names of secrets replaced by `SecretValue`s. `report` is called with each
    Problem and its path."""

    def below(inner: Type, element: Any, *part: str | int) -> Any:
        return with_sources(inner, element, inputs, report, (*trail, *part))

    match kind:
        case SecretValueType() if isinstance(value, Mapping):
            try:
                return inputs.value(value, kind)
            except Problem as problem:
                report(problem, trail)
        case Object(properties) if isinstance(value, Mapping):
            types = {part.name: part.type for part in properties}
            return {
                name: below(types[name], element, name) if name in types else element
                for name, element in value.items()
            }
        case Tagged(variants, tag) if isinstance(value, Mapping) and value.get(tag) in variants:
            return below(variants[value[tag]], value)
        case ListOf(item=inner) if isinstance(value, list):
            return [below(inner, element, index) for index, element in enumerate(value)]
        case MapOf(value=inner) if isinstance(value, Mapping):
            return {name: below(inner, element, name) for name, element in value.items()}
        case Either(other=inner) if not isinstance(value, str):
            return below(inner, value)
    return value
