"""Writes to the API server: the status of a run, Events and our finalizer.

A status is written if something changed in it, and otherwise at most every second interval, so that
`lastRun` shows that the operator is alive. An Event is created only for a condition that changed.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from reconciler.model.secret import Redactor
from reconciler.operator.conditions import Judgement
from reconciler.operator.crds import API_VERSION, FINALIZER, ORGANIZATIONS, STACKS
from reconciler.operator.kube import COMPONENT, KubeClient, KubeError
from reconciler.operator.ownership import set_owned
from reconciler.operator.registry import Registry, StateClaim, claim_of
from reconciler.operator.resources import (
    DeletionPolicy,
    ObjectKey,
    OrganizationObject,
    StackObject,
)
from reconciler.operator.status import (
    RunFacts,
    Transition,
    is_news,
    merge_patch,
    organization_status_of,
    status_of,
    timestamp,
    transitions,
)

LOG = logging.getLogger("reconciler.operator")
HEARTBEAT_INTERVALS = 1.8
"""Intervals after which a status is written even if nothing changed; below two because of jitter."""
_LONGEST_NAME = 200


class StatusWriter:
    """Writes about Stacks and Organizations. Thread-safe, one thread for each Stack at a time.

    `wake` is called for a Stack whose spec is newer in an answer than in the registry. `places` gives
    the places of the keys of a stack in an environment; it may raise Obstacle.
    """

    def __init__(
        self,
        kube: KubeClient,
        registry: Registry,
        redactor: Redactor,
        *,
        places: Callable[[str, str], Iterable[str]] = lambda *_: (),
        wake: Callable[[ObjectKey], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._kube = kube
        self._registry = registry
        self._redactor = redactor
        self._places = places
        self._wake = wake
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._written: dict[str, float] = {}

    def write(self, stack: StackObject, facts: RunFacts, *, is_run: bool = True) -> None:
        """Write the status after a run, if it has news or a heartbeat is due. Raises KubeError.

        `is_run` is False for a suspended Stack, which has no heartbeat.
        """
        current = self._registry.stack(stack.key)
        # A new Stack under the same name is unrelated to the run.
        if current is None or current.uid != stack.uid:
            return
        # The run was about the generation that it began with. What is kept comes from the present
        # status, which another operator may have written.
        base = current.status
        after = status_of(stack, facts, before=base, clean=self._redactor, now=self._wall_clock())
        if not is_news(base, after) and not (is_run and self._is_heartbeat_due(stack)):
            return
        if not is_run and "lastRun" in base:
            after["lastRun"] = base["lastRun"]
        answer = self._kube.patch_status(STACKS, stack.key, stack.uid, merge_patch(base, after))
        with self._lock:
            self._written[stack.uid] = self._clock()
        if answer is None:
            return
        self._store_answer(answer)
        for transition in transitions(base, after):
            self._log(stack, transition)
            self._event(stack, transition)

    def forget(self, uid: str) -> None:
        """Forget a Stack that is gone."""
        with self._lock:
            self._written.pop(uid, None)

    def _is_heartbeat_due(self, stack: StackObject) -> bool:
        now = self._clock()
        with self._lock:
            last = self._written.setdefault(stack.uid, now)
        return now - last >= HEARTBEAT_INTERVALS * stack.interval

    def write_organization(self, organization: OrganizationObject, judgement: Judgement) -> None:
        """Write whether an Organization can be used, if that changed."""
        before = organization.status
        after = organization_status_of(organization, judgement, self._redactor, self._wall_clock())
        if before == after:
            return
        patch = merge_patch(before, after)
        try:
            answer = self._kube.patch_status(
                ORGANIZATIONS, organization.key, organization.uid, patch
            )
        except KubeError as error:
            # The statuses of its Stacks say the same.
            LOG.info("%s: %s", organization.key, error)
            return
        if answer is not None:
            self._registry.put_organization(answer)

    def record_claim(self, stack: StackObject, claim: StateClaim) -> None:
        """Write the claim of a Stack into its status, before the first run writes anything.

        After a restart the status says which Stack manages a state, and in which state the places of
        Secrets are. Raises KubeError and Obstacle.
        """
        current = self._registry.stack(stack.key)
        if current is None or current.uid != stack.uid or claim_of(current) == claim:
            return
        if current.has_finalizer:
            # The Stack managed another state before. Its Secrets must outlive the Stack, because
            # nothing destroys the objects of that state.
            self._set_owned(current, owned=False)
        patch = {"stack": claim.stack, "environment": claim.environment}
        answer = self._kube.patch_status(STACKS, stack.key, stack.uid, patch)
        if answer is not None:
            self._store_answer(answer)

    # --- the finalizer

    def align_finalizer(self, stack: StackObject) -> bool:
        """Add our finalizer to a Stack if its deletion deletes objects, and remove it otherwise.

        False if the Stack changed meanwhile.
        """
        wanted = stack.deletion_policy is DeletionPolicy.DELETE
        if wanted == stack.has_finalizer:
            return True
        if not wanted:
            return self.release(stack)
        self._set_owned(stack, owned=True)
        return self._changed(stack, _adding(stack))

    def release(self, stack: StackObject) -> bool:
        """Remove our finalizer. False if the Stack changed meanwhile, which makes it due again."""
        if stack.deletion_policy is DeletionPolicy.RETAIN:
            # Otherwise Kubernetes would delete Secrets with keys that stay in use.
            self._set_owned(stack, owned=False)
        return self._changed(stack, _removing(stack))

    def _set_owned(self, stack: StackObject, *, owned: bool) -> None:
        managed = claim_of(stack)
        if managed is not None:
            places = self._places(managed.stack, managed.environment)
            set_owned(self._kube, stack, places, owned=owned)

    def _changed(self, stack: StackObject, operations: list[dict[str, Any]]) -> bool:
        answer = self._kube.patch(stack.key, operations)
        if answer is None:
            return False
        self._store_answer(answer)
        return True

    def _store_answer(self, answer: Any) -> None:
        for key in self._registry.put_stack(answer):
            self._wake(key)

    # --- Events

    def _log(self, stack: StackObject, transition: Transition) -> None:
        level = logging.WARNING if transition.is_warning else logging.INFO
        LOG.log(level, "%s: %s: %s", stack.key, transition.reason, transition.message)

    def _event(self, stack: StackObject, transition: Transition) -> None:
        try:
            self._kube.create_event(
                stack.key.namespace, _event_of(stack, transition, self._wall_clock())
            )
        except KubeError as error:
            # The condition says the same, so a lost Event is no failure of the run.
            LOG.info("%s: %s", stack.key, error)


def _event_of(stack: StackObject, transition: Transition, now: float) -> dict[str, Any]:
    moment = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "generateName": f"{stack.key.name[:_LONGEST_NAME]}.",
            "namespace": stack.key.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": "Stack",
            "name": stack.key.name,
            "namespace": stack.key.namespace,
            "uid": stack.uid,
        },
        "reason": transition.reason,
        "message": transition.message[:1000],
        "type": "Warning" if transition.is_warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": f"{COMPONENT}.dev/operator",
        "reportingInstance": socket.gethostname()[:128],
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def _adding(stack: StackObject) -> list[dict[str, Any]]:
    """A JSON patch that adds our finalizer, and fails if the list changed meanwhile."""
    tests: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": stack.uid}]
    if stack.finalizers:
        path = "/metadata/finalizers"
        tests.append({"op": "test", "path": path, "value": list(stack.finalizers)})
        return [*tests, {"op": "add", "path": f"{path}/-", "value": FINALIZER}]
    # `test` cannot say that a field is missing, so the version stands for the absent list.
    version = {"op": "test", "path": "/metadata/resourceVersion", "value": str(stack.version)}
    return [*tests, version, {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}]


def _removing(stack: StackObject) -> list[dict[str, Any]]:
    """A JSON patch that removes our finalizer, and fails if the list changed meanwhile."""
    path = "/metadata/finalizers"
    kept = [name for name in stack.finalizers if name != FINALIZER]
    return [
        {"op": "test", "path": "/metadata/uid", "value": stack.uid},
        {"op": "test", "path": path, "value": list(stack.finalizers)},
        {"op": "replace", "path": path, "value": kept},
    ]
