"""Secrets that go to the API: where manifests may take them from, and what is no secret for
anybody.

Manifests come from pull requests, and CI holds keys. So a manifest cannot name any variable or
file: only variables whose name begins with a prefix that nothing else uses, and only files below
one folder. Who runs this program puts there what may be sent, and no pull request can add to it.
The keys that the program itself works with are refused even there. What is read is learnt at once,
so that it is taken out of all that is ever printed or kept.
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
    """Reads secrets, each once. `in_use` are the keys that this program works with."""

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
        """The secret, None where there is none now; raises Problem where it must not be sent."""
        if value.source not in self._known:
            try:
                self._known[value.source] = self._read(value.source)
            except Problem as problem:
                self._known[value.source] = problem
        found = self._known[value.source]
        if isinstance(found, Problem):
            raise Problem(found.summary, found.detail)
        return found

    def value(self, written: Mapping[str, Any], kind: SecretValueType) -> SecretValue:
        """What a manifest names as the source of a secret; raises Problem. That there is none yet
        is none.
        """
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
    """A value with what names a secret made a `SecretValue`; `report` is told each Problem with its
    path.
    """

    def below(inner: Type, item: Any, *part: str | int) -> Any:
        return with_sources(inner, item, inputs, report, (*trail, *part))

    match kind:
        case SecretValueType() if isinstance(value, Mapping):
            try:
                return inputs.value(value, kind)
            except Problem as problem:
                report(problem, trail)
        case Object(properties) if isinstance(value, Mapping):
            types = {part.name: part.type for part in properties}
            return {
                name: below(types[name], item, name) if name in types else item
                for name, item in value.items()
            }
        case Tagged(variants, tag) if isinstance(value, Mapping) and value.get(tag) in variants:
            return below(variants[value[tag]], value)
        case ListOf(item=inner) if isinstance(value, list):
            return [below(inner, item, index) for index, item in enumerate(value)]
        case MapOf(value=inner) if isinstance(value, Mapping):
            return {name: below(inner, item, name) for name, item in value.items()}
        case Either(other=inner) if not isinstance(value, str):
            return below(inner, value)
    return value
