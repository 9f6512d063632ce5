"""The running operator: worker threads, watches, periodic lists, and an orderly shutdown."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.errors import ReconcilerError
from reconciler.operator.crds import SOURCE_LABEL
from reconciler.operator.kube import KubeClient, KubeError
from reconciler.operator.queue import Next, RunEnd, WorkQueue
from reconciler.operator.reconcile import Reconciler
from reconciler.operator.registry import KnownKeys, Registry
from reconciler.operator.resources import ObjectKey, StackObject, key_in
from reconciler.operator.sources import SourceError, SourceFolder

LOG = logging.getLogger("reconciler.operator")

LIST_SECONDS = 600.0
"""Time between two lists of everything, in case a watch has missed an event."""
POLL_SECONDS = 15.0
"""Time between two comparisons of source folders."""
TICK_SECONDS = 1.0
STUCK_SECONDS = 120.0
"""Time without a tick after which the process counts as stuck."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_FAULT_INTERVAL = 600.0


class ServiceOptions(Struct, frozen=True):
    """How the operator runs."""

    namespaces: tuple[str, ...] = ()
    """Empty for the whole cluster."""
    workers: int = 4
    grace_seconds: float = 25.0
    """Time for runs to finish the calls in flight after a signal."""


class OperatorService:
    """Runs Stacks until it is stopped."""

    def __init__(
        self,
        registry: Registry,
        queue: WorkQueue,
        kube: KubeClient,
        sources: SourceFolder,
        reconciler: Reconciler,
        options: ServiceOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._queue = queue
        self._kube = kube
        self._source_revisions = SourceRevisions(sources)
        self._reconciler = reconciler
        self._options = options
        self._clock = clock
        self._stop = threading.Event()
        self._listed = threading.Event()
        self._running: dict[ObjectKey, threading.Event] = {}
        self._lock = threading.Lock()
        self._ticked = clock()
        self._workers: list[threading.Thread] = []
        self._watcher: threading.Thread | None = None

    # --- probes

    def live(self) -> str:
        """The problem of the process for the liveness probe; empty without one."""
        if self._clock() - self._ticked > STUCK_SECONDS:
            return "the scheduler does not run"
        return ""

    def ready(self) -> str:
        """Why the operator is not ready, for the readiness probe; empty if it is."""
        if not self._listed.is_set():
            return "Stacks are not listed yet"
        if self._stop.is_set():
            return "stopping"
        return self.live()

    # --- running

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, then finish the calls in flight."""
        watches = threading.Thread(target=self._watch, name="watches", daemon=True)
        self._watcher = watches
        try:
            if self._list_until_done(stop):
                self._start_workers()
                watches.start()
                self._tick(stop)
        finally:
            self._shut_down()

    def run_once(self, stop: threading.Event) -> None:
        """List everything, reconcile each Stack once, and return."""
        if not self._list_until_done(stop):
            return
        for stack in self._registry.stacks():
            if stop.is_set():
                return
            outcome = self._reconcile(stack.key)
            # A finalizer that was just added, or a source that moved, ends a run early.
            for _ in range(3):
                if outcome.next is Next.SOON and not stop.is_set():
                    outcome = self._reconcile(stack.key)

    def _start_workers(self) -> None:
        for number in range(self._options.workers):
            worker = threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            worker.start()
            self._workers.append(worker)

    def _tick(self, stop: threading.Event) -> None:
        """Compare sources and list the cluster from time to time, until `stop` is set."""
        next_list = self._clock() + LIST_SECONDS
        next_poll = self._clock() + POLL_SECONDS
        while not stop.wait(TICK_SECONDS):
            now = self._ticked = self._clock()
            if now >= next_poll:
                self._wake(self._source_revisions.readers_of_changed(self._registry.stacks()))
                next_poll = now + POLL_SECONDS
            if now >= next_list:
                next_list = now + LIST_SECONDS
                try:
                    self._list()
                except ReconcilerError as error:
                    LOG.warning("%s", error)

    def _shut_down(self) -> None:
        # In this order: no worker takes another Stack, then the runs in progress are told to end.
        self._stop.set()
        self._queue.close()
        with self._lock:
            running = list(self._running.values())
        for stop in running:
            stop.set()
        deadline = self._clock() + self._options.grace_seconds
        for worker in self._workers:
            worker.join(max(0.0, deadline - self._clock()))
        if self._watcher is not None and self._watcher.is_alive():
            self._watcher.join(max(0.0, deadline - self._clock()))
        self._kube.close()

    # --- work

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            outcome = self._reconcile(key)
            stack = self._registry.stack(key)
            group = None
            if stack is not None:
                group = stack.organization
            self._queue.finish(key, outcome, group)

    def _reconcile(self, key: ObjectKey) -> RunEnd:
        stop = threading.Event()
        with self._lock:
            self._running[key] = stop
            # The shutdown may have missed this run before it was in the list.
            if self._stop.is_set():
                stop.set()
        try:
            return self._reconciler.reconcile(key, stop)
        except Exception:
            # A defect in the run of one Stack must not end the operator.
            LOG.exception("%s: unexpected error", key)
            return RunEnd(Next.FAILED, _FAULT_INTERVAL)
        finally:
            with self._lock:
                self._running.pop(key, None)

    def _wake(self, keys: Iterable[ObjectKey]) -> None:
        """Reconcile Stacks at once."""
        for key in keys:
            self._queue.wake(key)

    def _interrupt(self, key: ObjectKey) -> None:
        """End the run of a Stack whose spec changed, after the calls in flight."""
        with self._lock:
            stop = self._running.get(key)
        if stop is not None:
            stop.set()

    # --- events of watches and lists

    def stack(self, body: Mapping[str, Any], *, is_gone: bool) -> None:
        """Take a Stack from a watch or a list."""
        key = key_in(body)
        before = self._registry.stack(key)
        if is_gone:
            woken = self._registry.drop_stack(key) | {key}
        else:
            woken = self._registry.put_stack(body)
        after = self._registry.stack(key)
        if before is not None and woken and _has_other_spec(before, after):
            self._interrupt(key)
        self._wake(woken)

    def organization(self, body: Mapping[str, Any], *, is_gone: bool) -> None:
        """Take an Organization from a watch or a list."""
        if is_gone:
            self._wake(self._registry.drop_organization(key_in(body)))
        else:
            self._wake(self._registry.put_organization(body))

    def config_map(self, body: Mapping[str, Any], *, is_gone: bool) -> None:
        """Take a ConfigMap from a watch or a list."""
        if is_gone:
            self._wake(self._registry.drop_config_map(key_in(body)))
        else:
            self._wake(self._registry.put_config_map(body))

    def _watch(self) -> None:
        from reconciler.operator.handlers import watch

        pause = _FIRST_PAUSE
        # kopf reads the custom resource definitions only once, and waits for missing ones forever.
        while self._list_until_done(self._stop):
            began = self._clock()
            try:
                watch(
                    self,
                    lambda: self._kube.cluster,
                    namespaces=self._options.namespaces,
                    stop=self._stop,
                )
            except Exception as error:  # noqa: BLE001 - kopf raises errors of many types
                LOG.warning("The watches ended, and begin again: %s", error)
            # Events may have been missed, so everything is listed again before the next watch.
            self._listed.clear()
            pause *= 2
            if self._clock() - began > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            self._stop.wait(min(pause, _LONGEST_PAUSE))

    # --- lists

    def _list_until_done(self, stop: threading.Event) -> bool:
        """List everything, and retry until it succeeds. False if stopped before."""
        pause = _FIRST_PAUSE
        while not stop.is_set():
            # An unreachable API server is no reason to restart this process.
            self._ticked = self._clock()
            try:
                self._kube.require_definitions()
                self._list()
            except ReconcilerError as error:
                if isinstance(error, KubeError) and error.status == 404:
                    LOG.warning(
                        "The custom resource definitions are not installed. Install them: kubectl "
                        "apply --server-side -f crds.yaml"
                    )
                else:
                    LOG.warning("%s", error)
                stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._listed.set()
                return True
        return False

    def _list(self) -> None:
        # Taken first: an object that a watch adds during the list may be missing in it, and stays.
        before = self._registry.known()
        namespaces: Sequence[str | None] = self._options.namespaces or (None,)
        stacks, organizations, config_maps = set(), set(), set()
        # Sources and keys first, so that no Stack is reconciled without them.
        for namespace in namespaces:
            for body in self._kube.config_maps(namespace, SOURCE_LABEL):
                config_maps.add(key_in(body))
                self.config_map(body, is_gone=False)
            for body in self._kube.organizations(namespace):
                organizations.add(key_in(body))
                self.organization(body, is_gone=False)
        for namespace in namespaces:
            for body in self._kube.stacks(namespace):
                stacks.add(key_in(body))
                self.stack(body, is_gone=False)
        listed = KnownKeys(frozenset(stacks), frozenset(organizations), frozenset(config_maps))
        gone = before.stacks - listed.stacks
        self._wake(self._registry.drop_missing(before, listed) | gone)


class SourceRevisions:
    """The revisions of source folders at their last comparison. No event announces a new one."""

    def __init__(self, sources: SourceFolder) -> None:
        self._sources = sources
        self._revisions: dict[tuple[str, str | None], str] = {}

    def readers_of_changed(self, stacks: Iterable[StackObject]) -> set[ObjectKey]:
        """Compare again: the Stacks whose folder has changed its revision."""
        readers: dict[tuple[str, str | None], set[ObjectKey]] = {}
        for stack in stacks:
            if stack.spec is None:
                continue
            source = stack.spec.source
            if source.path is not None:
                readers.setdefault((source.path, source.sub_path), set()).add(stack.key)
        affected: set[ObjectKey] = set()
        for place, keys in readers.items():
            try:
                revision = self._sources.resolve(*place).revision
            except SourceError:
                revision = ""
            # A folder that is compared for the first time was just read by its Stacks.
            if self._revisions.get(place, revision) != revision:
                affected |= keys
            self._revisions[place] = revision
        return affected


def _has_other_spec(before: StackObject, after: StackObject | None) -> bool:
    """Whether a run for the earlier Stack has become useless."""
    if after is None or before.uid != after.uid:
        return True
    return before.generation != after.generation or before.is_deleting != after.is_deleting
