"""Resolves references during an apply.

Objects appear step by step, so a reference is looked up when a change needs it: in the object that
this run wrote, else in the values of the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from reconciler.engine.jobs import WAIT
from reconciler.errors import ApiError, JobError
from reconciler.model.address import Address
from reconciler.model.change import Change, Plan, Reason
from reconciler.model.job import Job
from reconciler.model.kind import Kind
from reconciler.model.resource import LiveObject, shown_to_others
from reconciler.model.values import (
    LocalFile,
    Reference,
    Spec,
    Unknown,
    by_content,
    has_unknown,
    references_in,
    substitute,
    value_at,
)


class ReferenceValues:
    """The present value of every reference of a plan.

    Safe to use from threads: each address is written by one step, which others wait for.
    """

    def __init__(self, plan: Plan, kinds: Mapping[str, Kind], outputs: Mapping[str, Any]) -> None:
        self._kinds = kinds
        self._changes: dict[Address, Change] = {}
        # Outputs count as well: they are resolved last, when nothing else asks for their targets.
        specs: list[Mapping[str, Any]] = [outputs]
        for change in plan.changes:
            specs.append(change.desired)
            # References mean the object that took the place of one that was left behind.
            if change.reason is not Reason.LEFT_BEHIND:
                self._changes[change.address] = change
        self._targets = {reference.address for reference in references_in(specs)}
        self._written: dict[Address, LiveObject] = {}

    def remember(self, change: Change, live: LiveObject) -> None:
        """Keep the object that a change wrote, if anything asks for it later."""
        # An object is a whole answer, and nothing refers to most of the thousands of a large plan.
        if change.wait_for_job or change.address in self._targets:
            self._written[change.address] = live

    def written(self, address: Address) -> LiveObject | None:
        """The object that `remember` kept for an address."""
        return self._written.get(address)

    def lookup(self, reference: Reference) -> Any:
        """The value of a reference, or an Unknown where it has none yet."""
        change = self._changes.get(reference.address)
        live = self._written.get(reference.address)
        if not reference.path:
            return self._id(reference, change, live)
        # The plan's own value comes first: it was approved. Where the plan says Unknown, only the
        # object has the value.
        sources: list[Spec] = []
        if change is not None:
            sources.append(change.after)
        if live is not None:
            sources.append(shown_to_others(live))
        elif change is not None and change.id is not None:
            # No write of this run: the object is as the plan saw it.
            sources += [change.before, change.results]
        # The first source with a known value wins. A null counts as no value, since answers show
        # null for fields that a later write will set.
        for source in sources:
            value = value_at(source, reference.path)
            if isinstance(value, LocalFile):
                return value.path
            if value is not None and not isinstance(value, Unknown):
                return value
        return Unknown(str(reference))

    def resolve(self, change: Change) -> dict[str, Any]:
        """The desired spec of a change without references.

        Raises ApiError where a reference has no value, JobError where that is due to a job.
        """
        # Resolved at the step and not before it: a target may have been created by this apply.
        resolved: dict[str, Any] = dict(substitute(change.desired, self.lookup))
        if not has_unknown(resolved):
            return resolved
        for reference in references_in(change.desired):
            # A failed job is the one case in which the user can do something about it, so it is
            # named first.
            job = self._kinds[reference.address.kind].job
            if job is not None and reference.path and isinstance(self.lookup(reference), Unknown):
                self._raise_missing_result(reference, job)
        raise ApiError(
            "a value that this needs was never created",
            hint="Look at the failures above, and plan again.",
        )

    def inputs_digest(self, change: Change) -> str | None:
        """The digest of a job's inputs, files by content; None for other kinds."""
        kind = self._kinds[change.address.kind]
        if kind.job is None:
            return None
        # By content and not by id: another upload of the same file is the same input.
        specs = {}
        for reference in references_in(change.desired):
            target = self._changes.get(reference.address)
            if target is not None:
                specs[reference.address] = target.desired
        return kind.inputs_digest(substitute(change.desired, by_content(specs, self.lookup)))

    def resolve_outputs(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs that have a value."""
        resolved = {}
        for name, declared in outputs.items():
            value = substitute(declared, self.lookup)
            # An output whose target failed is left out, rather than shown with half of its value.
            if not has_unknown(value):
                resolved[name] = value
        return resolved

    def _id(self, reference: Reference, change: Change | None, live: LiveObject | None) -> Any:
        if live is not None:
            return live.own_id
        if change is None or change.id is None:
            return Unknown(str(reference))
        # The recorded id contains the ids of the parent; a body takes the object's own id only.
        _, own_id = self._kinds[reference.address.kind].parent_and_id(change.id)
        return own_id

    def _raise_missing_result(self, reference: Reference, job: Job) -> NoReturn:
        """Raise JobError for a missing result of a job: it still runs, or has no such result."""
        change, live = self._changes.get(reference.address), self._written.get(reference.address)
        name, progress = ".".join(reference.path), ""
        if live is not None:
            progress = job.progress_of(live.attributes)
        elif change is not None:
            progress = change.job_progress
        # Without an object of this run, only the progress that the plan saw is known.
        if progress and (live is None or live.runs):
            raise JobError(
                f"{reference.address} still runs ({progress}), so its {name} is not known yet",
                hint=f"Say {WAIT}: true there, or apply again once it has ended.",
            )
        suffix = f" ({progress})" if progress else ""
        raise JobError(
            f"{reference.address} has ended without a {name}{suffix}",
            hint="Look at how it ended: reconciler plan says what failed.",
        )
