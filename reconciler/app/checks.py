"""Runs checks: the client and the budget they need, and the values of references outside a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from reconciler.api.objects.uploads import Uploader
from reconciler.app.projects import Projects
from reconciler.app.session import Session
from reconciler.checks import CheckTools, run_checks
from reconciler.checks.budget import Budgets
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, OutcomeStatus
from reconciler.model.checking import CheckOutcome, CheckReport, CheckStatus
from reconciler.model.resource import LiveObject, Resource
from reconciler.model.rule import Rule
from reconciler.model.values import LocalFile, Reference, Unknown, value_at
from reconciler.rules import CHECK

UNTOUCHED = "nothing that it refers to was changed by this apply"


def declared_checks(session: Session) -> list[Rule]:
    """The checks that manifests declare."""
    return [rule for rule in session.configuration.rules if rule.kind is CHECK]


def carry_out_checks(
    session: Session,
    rules: Sequence[Rule],
    *,
    may_cost: Callable[[Rule], bool],
    left_out: Iterable[CheckOutcome] = (),
) -> CheckReport:
    """Run checks. The report also lists the outcomes of `left_out`."""
    stack = session.configuration.stack
    started, calls = time.monotonic(), session.client.calls
    outcomes = run_checks(rules, _tools(session, may_cost)) if rules else []
    return CheckReport(
        stack=stack.name,
        environment=stack.environment,
        outcomes=(*outcomes, *left_out),
        calls=session.client.calls - calls,
        seconds=time.monotonic() - started,
        interrupted=session.stop.is_set(),
    )


def checks_after(session: Session, result: ApplyResult) -> CheckReport:
    """Run the checks that refer to a changed object, directly or through other objects."""
    changed = {outcome.change.address for outcome in result.of(OutcomeStatus.APPLIED)}
    is_concerned = _concerned_by(session, changed)
    concerned: list[Rule] = []
    skipped: list[CheckOutcome] = []
    for rule in declared_checks(session):
        if is_concerned(rule):
            concerned.append(rule)
        else:
            outcome = CheckOutcome(
                rule.address, CheckStatus.SKIPPED, location=rule.location, message=UNTOUCHED
            )
            skipped.append(outcome)
    return carry_out_checks(session, concerned, may_cost=lambda _: False, left_out=skipped)


def _concerned_by(session: Session, changed: set[Address]) -> Callable[[Rule], bool]:
    """Whether a check refers to a changed address: itself, through resources, or by its project."""
    resources: dict[Address, Resource] = {}
    projects: dict[str, Address] = {}
    for resource in session.configuration.resources:
        resources[resource.address] = resource
        if resource.kind.defines_project:
            projects[resource.address.name] = resource.address

    @cache
    def reaches(address: Address) -> bool:
        # Loading refuses reference cycles, so this ends.
        if address in changed:
            return True
        resource = resources.get(address)
        return resource is not None and any(map(reaches, sorted(resource.references)))

    def is_concerned(rule: Rule) -> bool:
        own = projects.get(rule.address.project or "")
        return own in changed or any(map(reaches, sorted(rule.references)))

    return is_concerned


def _tools(session: Session, may_cost: Callable[[Rule], bool]) -> CheckTools:
    provider = session.provider
    by_name = {name: id for id, name in Projects.of(session).names.items()}
    for name, id in by_name.items():
        provider.bind_project(name, id)
    return CheckTools(
        client=session.client,
        keys=session.keys,
        redactor=session.redactor,
        uploader=Uploader(session.configuration.stack.root),
        budgets=Budgets(session.client, session.keys, today=lambda: datetime.now(UTC).date()),
        client_for=provider.client_for_project,
        project_id=by_name.get,
        lookup=_lookup(session),
        may_cost=may_cost,
        parallelism=session.parallelism,
    )


def _lookup(session: Session) -> Callable[[Reference], Any]:
    """The value of a reference: an id or an applied field from the state, else the live field."""
    records = session.store.records()

    @cache
    def live(address: Address, id: str) -> LiveObject | None:
        return session.provider.get(KINDS[address.kind], address.project, id)

    def lookup(reference: Reference) -> Any:
        record = records.get(reference.address)
        if record is None:
            return Unknown(str(reference))
        if not reference.path:
            return KINDS[reference.address.kind].parent_and_id(record.id)[1]
        value = value_at(record.applied, reference.path)
        if value is None:
            # The API chose this field, so no manifest set it.
            shown = live(reference.address, record.id)
            value = value_at(shown.attributes, reference.path) if shown is not None else None
        if isinstance(value, LocalFile):
            return value.path
        return Unknown(str(reference)) if value is None else value

    return lookup
