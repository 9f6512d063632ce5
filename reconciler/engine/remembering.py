"""A provider that answers from the state what need not be read again, and asks for everything else once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import Lock
from typing import Any, TypeVar

from reconciler.engine.incremental import Seat
from reconciler.engine.recorded import RecordedProvider
from reconciler.model.calls import Within
from reconciler.model.kind import Kind
from reconciler.model.provider import Provider
from reconciler.model.resource import LiveObject

T = TypeVar("T")


class RememberingProvider:
    """Reads for planning. Objects of `trusted` seats are as recorded, until `distrust`; no answer is asked for twice.

    Safe to use from threads. It never writes: what is applied goes through the provider itself.
    """

    def __init__(self, provider: Provider, recorded: RecordedProvider, trusted: Iterable[Seat]) -> None:
        self._provider = provider
        self._recorded = recorded
        self._trusted = set(trusted)
        self._answers: dict[Hashable, Any] = {}
        self._lock = Lock()

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._provider.calls

    def distrust(self, seats: Iterable[Seat]) -> None:
        """Read these from now on."""
        self._trusted -= set(seats)

    def bind_project(self, name: str, project_id: str) -> None:
        """Tell which API project a project name of the configuration is."""
        self._provider.bind_project(name, project_id)

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether objects of the kind can be read now."""
        return self._provider.can_read(kind, project)

    def expect(self, kind: Kind, project: str | None, *calls: str, within: Within = ()) -> None:
        """Tell that calls will be made soon, where they will."""
        if (kind.name, project) not in self._trusted:
            self._provider.expect(kind, project, *calls, within=within)

    def list(
        self, kind: Kind, project: str | None, within: Within = (), *, enough: frozenset[str] | None = None
    ) -> Sequence[LiveObject]:
        """All objects of a kind in a scope and surroundings."""
        if (kind.name, project) in self._trusted:
            return self._recorded.list(kind, project, within)
        key = ("list", kind.name, project, within, enough)
        return self._once(key, lambda: self._provider.list(kind, project, within, enough=enough))

    def get(self, kind: Kind, project: str | None, id: str) -> LiveObject | None:
        """One object."""
        if (kind.name, project) in self._trusted:
            return self._recorded.get(kind, project, id)
        return self._once(("get", kind.name, project, id), lambda: self._provider.get(kind, project, id))

    def read_carried(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of fields that have calls of their own."""
        wanted = frozenset(names)
        key = ("carried", live.kind.name, live.project, live.id, wanted)
        return self._once(key, lambda: self._provider.read_carried(live, wanted))

    def create(self, *_: Any, **__: Any) -> Any:
        """Refused: this only reads."""
        raise TypeError("plans are applied through the provider itself")

    update = create
    delete = create
    cancel = create
    said = create
    tidy = create
    read_touched = create

    def _once(self, key: Hashable, ask: Callable[[], T]) -> T:
        with self._lock:
            if key in self._answers:
                found: T = self._answers[key]
                return found
        answer = ask()
        with self._lock:
            self._answers[key] = answer
        return answer
