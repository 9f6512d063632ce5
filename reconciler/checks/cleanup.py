"""Removes the objects that a check creates, even if it failed or the run was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import starmap
from typing import Any

from reconciler.checks.client import CheckClient, body_of
from reconciler.errors import NotFoundError, ReconcilerError
from reconciler.model.values import Spec
from reconciler.rules.operations import Operation


class Cleanup:
    """The objects that one check creates. Call `note` after its call, and `remove` in any case."""

    def __init__(self, client: CheckClient, operation: Operation, spec: Spec) -> None:
        self._client = client
        self._operation = operation
        self._body = body_of(operation, spec)
        self._parameters: Mapping[str, Any] = spec.get("parameters") or {}
        self._made: list[tuple[str, dict[str, Any]]] = []
        self._before: set[str] | None = None

    def look_before(self) -> None:
        """Remember the items of the list that the call adds to."""
        if self._operation.adds_to is not None:
            self._before = set(map(_id_of, self._listed(self._operation.adds_to)))

    def note(self, answer: dict[str, Any]) -> None:
        """Remember the objects that a successful call created."""
        leaves = self._operation.leaves
        if leaves is not None and (not leaves.stored or self._body.get("store")):
            self._made.append((leaves.call, answer))

    def remove(self) -> list[str]:
        """Remove all these objects; return a sentence for each failure."""
        # The calls are marked `last`, which the client permits after the run was stopped.
        try:
            calls = [*self._made, *self._added()]
        except ReconcilerError as error:
            return [f"Cannot remove the items added to {self._operation.adds_to}: {error}"]
        return list(filter(None, starmap(self._removed, calls)))

    def _removed(self, call: str, answer: dict[str, Any]) -> str:
        """Remove one object; return the reason of a failure, or an empty text."""
        try:
            self._client.follow(call, answer, last=True)
        except NotFoundError:
            return ""
        except ReconcilerError as error:
            return f"Cannot remove the object ({call.format_map(_Shown(answer))}): {error}"
        return ""

    def _added(self) -> Iterator[tuple[str, dict[str, Any]]]:
        path = self._operation.adds_to
        if path is None or self._before is None:
            return
        for answer in self._listed(path, last=True):
            if _id_of(answer) not in self._before:
                yield f"DELETE {path}/{{id}}", {**self._parameters, **answer}

    def _listed(self, path: str, *, last: bool = False) -> list[dict[str, Any]]:
        # The newest hundred, which is more than a run adds.
        answer = self._client.follow(f"GET {path}", self._parameters, last=last)
        items = answer.get("data")
        if not isinstance(items, list):
            return []
        return [entry for entry in items if isinstance(entry, dict)]


def _id_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id"))


class _Shown(dict[str, Any]):
    """The parameters of a call in a message, with `?` for those that the answer lacked."""

    def __missing__(self, name: str) -> str:
        return "?"
