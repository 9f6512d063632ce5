"""Secrets to send to the API: which sources manifests may name, and which values are never sent.

Manifests come from pull requests, and CI holds keys. So a manifest can only name variables with a
prefix that nothing else uses, files below one folder, and places of secret managers that the caller
allows. A pull request can change none of these. Keys that the program itself uses are refused even
there. Every value is registered for redaction as soon as it is read.

Variables and files are read here. Secret managers are read by `app/secret_sources.py` once a plan
needs a value, so that validation makes no network calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.errors import SinkError
from reconciler.manifests.closed import SENT_FOLDER
from reconciler.manifests.credentials import SENT_PREFIX
from reconciler.manifests.files import Files
from reconciler.manifests.paths import relative
from reconciler.manifests.problems import Report, ValueProblem
from reconciler.model.allowance import SourceAllowance, how_to_allow_source
from reconciler.model.secret import LEAST_LENGTH, Secret
from reconciler.model.sinks import place_of
from reconciler.model.sources import source_text
from reconciler.model.types import Either, ListOf, MapOf, Object, SecretValueType, Tagged, Type
from reconciler.model.values import SecretValue, walk

_BREAK = re.compile(r"[\r\n\0]")


class SecretInputs:
    """Reads secrets, each once. `in_use` are the keys that the program uses."""

    def __init__(
        self,
        files: Files,
        env: Mapping[str, str],
        in_use: Sequence[Secret],
        learn: Callable[[Secret], None],
        allowed: SourceAllowance | None = None,
    ) -> None:
        self._allowed = allowed or SourceAllowance(())
        self._files = files
        self._env = env
        self._in_use = in_use
        self._learn = learn
        self._known: dict[str, Secret | ValueProblem | None] = {}

    def read(self, value: SecretValue) -> Secret | None:
        """The secret; None if it is not set. Raises Problem if it must not be sent."""
        if value.source not in self._known:
            try:
                self._known[value.source] = self._read(value.source)
            except ValueProblem as problem:
                self._known[value.source] = problem
        known = self._known[value.source]
        # A new exception each time, since each caller adds its own traceback.
        if isinstance(known, ValueProblem):
            raise ValueProblem(known.summary, known.detail)
        return known

    def value(self, written: Mapping[str, Any], kind: SecretValueType) -> SecretValue:
        """The source that a manifest names. Raises Problem; an unset secret is not a problem."""
        if "from" in written:
            return self._place(written["from"])
        if "from_env" in written:
            named = SecretValue(f"env {written['from_env']}")
        else:
            named = self._file(written["from_file"])
        secret = self.read(named)
        # A line break in a header value would begin another header.
        if secret is not None and not kind.multiline and _BREAK.search(secret.reveal()):
            raise ValueProblem(
                "Not one line",
                f"The secret from {named.source} has several lines; only one line is allowed here.",
            )
        return named

    def _place(self, target: Any) -> SecretValue:
        """A place in a secret manager, which is not read here."""
        if not all(isinstance(leaf, str | int) for leaf in walk(target)):
            detail = (
                "The place of a secret must be known before apply, so it cannot be a reference."
            )
            raise ValueProblem("Reference not possible here", detail)
        try:
            source, place = source_text(target), place_of(target)
        except SinkError as error:
            raise ValueProblem("Not a source of secrets", f"{error}. {error.hint}.") from None
        if not self._allowed.allows(place):
            detail = f'Manifests may read "{place}" only if the caller allows it.'
            raise ValueProblem("Source not allowed", f"{detail} {how_to_allow_source(place)}")
        return SecretValue(source)

    def _file(self, path: str) -> SecretValue:
        simple = relative(path)
        if not simple.startswith(f"{SENT_FOLDER}/"):
            detail = f'"{path}" is not in "{SENT_FOLDER}/": only files in that folder can be sent as secrets.'
            raise ValueProblem("Not a secret file", detail)
        return SecretValue(f"file {simple}")

    def _read(self, source: str) -> Secret | None:
        origin, _, name = source.partition(" ")
        if origin == "env":
            text = self._env.get(name) if name.startswith(SENT_PREFIX) else None
        elif origin == "file":
            text = self._files.secret_text(name)
        else:
            text = None  # a secret manager, which is not read here
        if not text:
            return None
        # Each line too, because a tool can print one line of a private key.
        for line in (text, *text.splitlines()):
            self._learn(Secret(line))
        # A shorter text would be found in every file.
        if len(text) >= LEAST_LENGTH:
            self._files.secrets += (text.encode(),)
        return require_sendable(source, text, self._in_use)


def require_sendable(source: str, text: str, in_use: Iterable[Secret]) -> Secret:
    """A text from a source as a secret to send. Raises Problem for a key in use, and for a text
    that is too short to be redacted."""
    if any(key.reveal() in text for key in in_use):
        detail = (
            f"The secret from {source} contains a key that reconciler authenticates with, "
            "which must not be sent to the API as a secret."
        )
        raise ValueProblem("Secret contains a credential", detail)
    if len(text) < LEAST_LENGTH:
        detail = f"The secret from {source} has fewer than {LEAST_LENGTH} characters, too few to redact it reliably."
        raise ValueProblem("Secret too short", detail)
    return Secret(text)


def one_line_sources(kind: Type, value: Any) -> Iterator[str]:
    """The sources in a value whose secrets must be single lines."""
    match kind:
        case SecretValueType(multiline=False) if isinstance(value, SecretValue):
            yield value.source
        case Object(properties) if isinstance(value, Mapping):
            for part in properties:
                yield from one_line_sources(part.type, value.get(part.name))
        case Tagged(variants, tag) if isinstance(value, Mapping) and value.get(tag) in variants:
            yield from one_line_sources(variants[value[tag]], value)
        case ListOf(item=inner) if isinstance(value, list):
            for element in value:
                yield from one_line_sources(inner, element)
        case MapOf(value=inner) if isinstance(value, Mapping):
            for element in value.values():
                yield from one_line_sources(inner, element)
        case Either(other=inner) if not isinstance(value, str):
            yield from one_line_sources(inner, value)


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
            except ValueProblem as problem:
                report(problem, trail)
        case Object(properties) if isinstance(value, Mapping):
            elements = dict(value)
            for part in properties:
                if part.name in value:
                    elements[part.name] = below(part.type, value[part.name], part.name)
            return elements
        case Tagged(variants, tag) if isinstance(value, Mapping) and value.get(tag) in variants:
            return below(variants[value[tag]], value)
        case ListOf(item=inner) if isinstance(value, list):
            return [below(inner, element, index) for index, element in enumerate(value)]
        case MapOf(value=inner) if isinstance(value, Mapping):
            return {name: below(inner, element, name) for name, element in value.items()}
        case Either(other=inner) if not isinstance(value, str):
            return below(inner, value)
    return value
