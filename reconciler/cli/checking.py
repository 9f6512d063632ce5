"""What `check` and `apply --check` share: the wiring, and what references are worth outside a plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.api.objects.uploads import Uploader
from reconciler.checks import CheckTools, run_checks
from reconciler.checks.budget import Budgets
from reconciler.cli.failures import redactor
from reconciler.cli.projects import Projects
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import ApplyResult, OutcomeStatus
from reconciler.model.checking import CheckOutcome, CheckReport, CheckStatus
from reconciler.model.resource import LiveObject
from reconciler.model.rule import Rule
from reconciler.model.values import LocalFile, Reference, Unknown, value_at
from reconciler.rules import CHECK

if TYPE_CHECKING:
    from reconciler.cli.session import Session

UNTOUCHED = "nothing that it refers to was changed by this apply"


def declared_checks(session: Session) -> list[Rule]:
    """The checks of the configuration."""
    return [rule for rule in session.configuration.rules if rule.kind is CHECK]


def carry_out_checks(
    session: Session,
    rules: Sequence[Rule],
    *,
    may_cost: Callable[[Rule], bool],
    left_out: Iterable[CheckOutcome] = (),
) -> CheckReport:
    """Run checks, and report on them together with those that were left out."""
    stack = session.configuration.stack
    started, calls = time.monotonic(), session.client.calls
    outcomes = run_checks(rules, _tools(session, may_cost)) if rules else []
    return CheckReport(
        stack=stack.name,
        environment=stack.environment,
        outcomes=(*outcomes, *left_out),
        calls=session.client.calls - calls,
        seconds=time.monotonic() - started,
        interrupted=session.interrupts.stop.is_set(),
    )


def checks_after(session: Session, result: ApplyResult) -> CheckReport:
    """Run the checks that refer to something which an apply has changed, be it by way of others."""
    changed = {outcome.change.address for outcome in result.of(OutcomeStatus.APPLIED)}
    touched = _reaching(session, changed)
    concerned: list[Rule] = []
    rest: list[Rule] = []
    for rule in declared_checks(session):
        (concerned if touched(rule) else rest).append(rule)
    skipped = [CheckOutcome(rule.address, CheckStatus.SKIPPED, place=rule.location, message=UNTOUCHED) for rule in rest]
    return carry_out_checks(session, concerned, may_cost=lambda _: False, left_out=skipped)


def _reaching(session: Session, changed: set[Address]) -> Callable[[Rule], bool]:
    """Whether a check refers to one of the addresses: itself, by way of other resources, or as its project."""
    resources = {resource.address: resource for resource in session.configuration.resources}
    projects = {address.name: address for address in resources if KINDS[address.kind].defines_project}

    @cache
    def reaches(address: Address) -> bool:
        # References form no ring, so this comes to an end.
        found = resources.get(address)
        return address in changed or (found is not None and any(map(reaches, sorted(found.references))))

    def touched(rule: Rule) -> bool:
        own = projects.get(rule.address.project or "")
        return own in changed or any(map(reaches, sorted(rule.references)))

    return touched


def _tools(session: Session, may_cost: Callable[[Rule], bool]) -> CheckTools:
    provider, ids = session.provider, Projects.of(session).names
    by_name = {name: id for id, name in ids.items()}
    for name, id in by_name.items():
        provider.bind_project(name, id)
    return CheckTools(
        client=session.client,
        keys=session.keys,
        redactor=redactor,
        uploader=Uploader(session.configuration.stack.root),
        budgets=Budgets(session.client, session.keys, today=lambda: datetime.now(UTC).date()),
        client_for=provider.client_for_project,
        project_id=by_name.get,
        lookup=_lookup(session),
        may_cost=may_cost,
        parallelism=session.options.parallelism,
    )


def _lookup(session: Session) -> Callable[[Reference], Any]:
    """What a reference is now: an id from the state, a field as it was applied or, where the API chose it, is shown."""
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
        found = value_at(record.applied, reference.path)
        if found is None:
            shown = live(reference.address, record.id)
            found = value_at(shown.attributes, reference.path) if shown is not None else None
        if isinstance(found, LocalFile):
            return found.path
        return Unknown(str(reference)) if found is None else found

    return lookup
