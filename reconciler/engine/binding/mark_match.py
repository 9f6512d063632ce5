"""Finds the object of a resource by its mark, as far as the mark proves anything (see `marks`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.engine.binding import conflicts
from reconciler.engine.binding.bindings import BindingSource, Match
from reconciler.engine.binding.claims import Claims
from reconciler.engine.binding.marks import Marks
from reconciler.engine.inputs import PlanOptions
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.resource import LiveObject, Resource


class MarkMatcher:
    """Matches resources and marked objects that nothing is bound to. Errors go to `diagnostics`."""

    def __init__(
        self,
        marks: Marks,
        claims: Claims,
        *,
        declared: Mapping[Address, Resource],
        options: PlanOptions,
        diagnostics: list[Diagnostic],
    ) -> None:
        self._marks = marks
        self._claims = claims
        self._declared = declared
        self._options = options
        self._diagnostics = diagnostics

    def match(
        self, resource: Resource, renamed: Address | None, inputs: str | None
    ) -> Match | None:
        """The object with the mark of a resource; `renamed` is the earlier address of its record."""
        for address in self._addresses(resource, renamed):
            # Objects of others with a copy of the mark are among these.
            unbound = self._unbound(resource, address)
            candidates = self._trusted(resource, address, unbound, inputs)
            if len(candidates) > 1:
                self._diagnostics.append(
                    conflicts.several(resource, candidates, f'carry the mark of "{address}"')
                )
            if candidates:
                return candidates[0], BindingSource.MARK
            # A destroy deletes only what is certainly ours, so it need not ask about a copy.
            if unbound and resource.kind.job is None and not self._options.destroy:
                return self._by_unproved_mark(resource, unbound)
        job = self._job_of_undeclared_address(resource, inputs)
        return None if job is None else (job, BindingSource.MARK)

    def _addresses(self, resource: Resource, renamed: Address | None) -> Iterable[Address]:
        """The addresses that the mark can name, the present one first."""
        source = resource.lifecycle.renamed_from
        # A renamed object carries the mark of its earlier address until it is written again, even
        # if the record has the new address by now.
        if source is None or source in self._declared:
            source = renamed
        return dict.fromkeys(filter(None, (resource.address, source)))

    def _unbound(self, resource: Resource, address: Address) -> list[LiveObject]:
        """The objects with the mark of an address that a resource may have."""
        unbound: list[LiveObject] = []
        for live in self._marks.of(address):
            is_reserved = self._claims.is_reserved(live, resource.address)
            if not is_reserved and not self._claims.is_claimed(live):
                unbound.append(live)
        return unbound

    def _trusted(
        self, resource: Resource, address: Address, unbound: list[LiveObject], inputs: str | None
    ) -> list[LiveObject]:
        """The marked objects whose mark proves that they belong to the resource."""
        # A job belongs to its inputs: prefer one with the same inputs, else one that still runs.
        if resource.kind.job is not None:
            running = (live for live in unbound if live.runs)
            job = latest(with_inputs(unbound, inputs)) or latest(running)
            return [] if job is None else [job]
        # Without any history the state was lost, and the mark is the only evidence there is.
        proved = [live for live in unbound if self._marks.is_proved(address, live)]
        if not proved and not self._marks.has_history(address):
            return unbound
        return proved

    def _by_unproved_mark(self, resource: Resource, unbound: list[LiveObject]) -> Match | None:
        """Adopt the object with an unproved mark if that is asked for, or report it."""
        # The address has a history, and its own object is gone. Either the mark is a copy, or the
        # state is outdated. Nothing decides which.
        is_adopted = resource.lifecycle.adopt is True or self._options.adopt
        if len(unbound) == 1 and is_adopted:
            return unbound[0], BindingSource.ADOPTED
        self._diagnostics.append(conflicts.unproved_mark(resource, unbound))
        return None

    def _job_of_undeclared_address(
        self, resource: Resource, inputs: str | None
    ) -> LiveObject | None:
        """A job with the same inputs from an address that is no longer declared."""
        # The metadata of a job is immutable, so a renamed job keeps the mark of its old address.
        if resource.kind.job is None:
            return None
        home = (resource.address.kind, resource.address.project)
        free: list[LiveObject] = []
        for address, objects in self._marks.items():
            if (address.kind, address.project) == home and address not in self._declared:
                free += [live for live in objects if not self._claims.is_claimed(live)]
        return latest(with_inputs(free, inputs))


def with_inputs(jobs: Iterable[LiveObject], inputs: str | None) -> list[LiveObject]:
    """The jobs that were started with the inputs of a digest."""
    return [live for live in jobs if inputs is not None and live.inputs == inputs]


def latest(objects: Iterable[LiveObject]) -> LiveObject | None:
    """The object that was created last, as far as the answers tell."""
    return max(objects, key=lambda live: live.attributes.get("created_at") or 0, default=None)
