"""Reads the secrets that manifests name, from all their sources.

Variables and files are read when manifests are loaded. A secret manager is read here, when a plan
compares its value or an apply sends it, and once a run for each secret. A secret that cannot be
read counts as not set: the plan reports it and continues.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reconciler.errors import SinkError
from reconciler.manifests import ValueProblem
from reconciler.manifests.secret_inputs import require_sendable
from reconciler.model.allowance import SourceAllowance, how_to_allow_source
from reconciler.model.secret import Secret
from reconciler.model.sinks import place_of
from reconciler.model.sources import target_in
from reconciler.model.values import SecretValue


class SecretSources:
    """All sources of a run. Thread-safe.

    `read_here` reads variables and files, `fetch` reads a target and raises SinkError. `in_use` are
    the keys that this run authenticates with, and `was_delivered` recognizes keys that a run has
    delivered: neither is ever sent. `learn` is called with every value.
    """

    def __init__(
        self,
        read_here: Callable[[SecretValue], Secret | None],
        fetch: Callable[[Mapping[str, Any]], Secret | None],
        *,
        allowed: SourceAllowance,
        in_use: Iterable[Secret] = (),
        was_delivered: Callable[[bytes], bool] = lambda _: False,
        learn: Callable[[Secret], None] = lambda _: None,
    ) -> None:
        self._read_here = read_here
        self._fetch = fetch
        self._allowed = allowed
        self._in_use = tuple(in_use)
        self._was_delivered = was_delivered
        self._learn = learn
        self._lock = threading.Lock()
        self._known: dict[str, Secret | ValueProblem | None] = {}
        self._reasons: dict[str, str] = {}

    def read(self, value: SecretValue) -> Secret | None:
        """The secret; None if there is none, or it cannot be read now. Raises Problem if it must
        not be sent."""
        target = target_in(value.source)
        if target is None:
            return self._read_here(value)
        # Under the lock: threads that need the same secret ask its server once.
        with self._lock:
            if value.source not in self._known:
                self._known[value.source] = self._look_up(value.source, target)
            known = self._known[value.source]
        if isinstance(known, ValueProblem):
            raise ValueProblem(known.summary, known.detail)
        return known

    def reason(self, value: SecretValue) -> str:
        """Why there is no secret, as a sentence."""
        problem = self._reasons.get(value.source)
        if problem:
            return f"The secret from {value.source} cannot be read: {problem}."
        return f"There is no secret in {value.source}."

    def _look_up(self, source: str, target: Mapping[str, Any]) -> Secret | ValueProblem | None:
        try:
            place = place_of(target)
            # Manifests were checked when they were loaded. A saved plan was not.
            if not self._allowed.allows(place):
                detail = f'"{place}" may not be read. {how_to_allow_source(place)}'
                return ValueProblem("Source not allowed", detail)
            secret = self._fetch(target)
        except SinkError as error:
            self._reasons[source] = f"{error} ({error.hint})" if error.hint else str(error)
            return None
        if secret is None:
            return None
        text = secret.reveal().removesuffix("\n")
        # Line by line, because a message may show a single one.
        for line in (text, *text.splitlines()):
            self._learn(Secret(line))
        if self._was_delivered(text.encode()):
            detail = (
                f"The secret from {source} is a key that reconciler has delivered, which must not "
                "be sent to the API as a secret."
            )
            return ValueProblem("Secret contains a credential", detail)
        try:
            return require_sendable(source, text, self._in_use)
        except ValueProblem as problem:
            return problem
