"""Reads API keys from Secrets for the environment of a session. They stay in memory.

A Secret is read again once its copy is old, and at once after the API refused one of its keys.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from reconciler.manifests.shapes import OPENAI_KEY
from reconciler.model.secret import Redactor, Secret
from reconciler.operator.resources import ObjectKey, OrganizationObject, SecretKey

ReadSecret = Callable[[ObjectKey], Mapping[str, bytes] | None]


class KeyProblem(Exception):
    """A key that cannot be used; the message is for the status."""


class KeyReader:
    """The keys of Organizations. Thread-safe."""

    def __init__(
        self, read: ReadSecret, redactor: Redactor, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._redactor = redactor
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[ObjectKey, tuple[float, Mapping[str, bytes] | None]] = {}
        self._readings: dict[ObjectKey, threading.Lock] = {}

    def environment(self, organization: OrganizationObject, *, max_age: float) -> dict[str, str]:
        """The variables that hold the keys of an Organization.

        Raises KeyProblem for a key that is missing or malformed, and KubeError.
        """
        variables: dict[str, str] = {}
        for variable, reference in _references(organization):
            place = ObjectKey(organization.key.namespace, reference.name)
            data = self._data(place, max_age)
            if data is None:
                raise KeyProblem(f'There is no Secret "{place}" for {variable}.')
            if reference.key not in data:
                raise KeyProblem(f'The Secret "{place}" has no key "{reference.key}".')
            value = data[reference.key].decode("utf-8", "replace").strip()
            # Before anything can fail, since the value may be a secret of another kind.
            self._redactor.add(Secret(value))
            if not OPENAI_KEY.fullmatch(value):
                raise KeyProblem(
                    f'The key "{reference.key}" of the Secret "{place}" is no key of the API: it '
                    "has another form."
                )
            variables[variable] = value
        return variables

    def forget(self, organization: OrganizationObject) -> None:
        """Read the Secrets of an Organization again at the next use."""
        with self._lock:
            for _, reference in _references(organization):
                self._known.pop(ObjectKey(organization.key.namespace, reference.name), None)

    def _data(self, place: ObjectKey, max_age: float) -> Mapping[str, bytes] | None:
        with self._lock:
            reading = self._readings.setdefault(place, threading.Lock())
        # Many Stacks start at once and share an Organization: one of them reads, the others wait.
        with reading:
            return self._fresh(place, max_age)

    def _fresh(self, place: ObjectKey, max_age: float) -> Mapping[str, bytes] | None:
        with self._lock:
            known = self._known.get(place)
            if known is not None and self._clock() - known[0] < max_age:
                return known[1]
        data = self._read(place)
        with self._lock:
            if data is None:
                # Not kept, so that a Secret that is created now is seen by the next run.
                self._known.pop(place, None)
            else:
                self._known[place] = (self._clock(), data)
        return data


def _references(organization: OrganizationObject) -> tuple[tuple[str, SecretKey], ...]:
    """The variable of each key, and where the key is; none for a spec that cannot be used."""
    if organization.spec is None:
        return ()
    return organization.spec.secrets()
