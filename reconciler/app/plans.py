"""Makes the plan of a session, and runs the guards on it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.audit import removed_lately
from reconciler.api.transport.base_url import DEFAULT_BASE_URL
from reconciler.app.addresses import is_pattern, matching, parse_addresses, select_addresses
from reconciler.app.destination_checks import with_checked_destinations
from reconciler.app.env_durations import settle_seconds
from reconciler.app.handover import is_waiting
from reconciler.app.key_usage import keys_in_use
from reconciler.app.model_shutdowns import shutdown_warnings
from reconciler.app.page_hints import load_pages
from reconciler.app.planning import plan_of_records
from reconciler.app.policy_request import has_policies, needs_policies
from reconciler.app.secret_digests import SecretDigests, digests_of
from reconciler.app.session import Session
from reconciler.app.sharing import number_of_stacks
from reconciler.app.state_origin import has_moved
from reconciler.engine.binding.deliveries import with_deliveries
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.plan.guard import FEW_VANISHED, Limits, refusals, vanished
from reconciler.engine.scope import Scope
from reconciler.errors import (
    ApiError,
    ConfigurationError,
    CredentialError,
    GuardError,
    UsageError,
)
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Configuration, check_credentials
from reconciler.model.change import Plan
from reconciler.model.consistency import AUDIT_CLOCK_SECONDS
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.kind import Kind
from reconciler.model.policy import NO_POLICIES
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule

LOG = logging.getLogger("reconciler.app")
SEARCHED = "searched"
"""The key in the state for: a completed apply searched every scope for marked objects."""


class PlanRequest(Struct, frozen=True):
    """What to plan. Each field is the option of `reconciler plan` with the same name."""

    target: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    adopt: bool = False
    allow_delete: tuple[str, ...] = ()
    refresh: str = "auto"
    budget: int | None = None
    destroy: bool = False
    unmanaged: bool = False
    rotate: tuple[str, ...] = ()
    """The addresses whose keys are rotated whatever their age; set by `rotate --now`."""
    revoke: bool = False
    """With `rotate`: revoke their earlier keys at once."""
    inventory: bool = False
    """Read every kind, and go on where a list cannot be read. No option of `plan`."""

    @property
    def changes_the_plan(self) -> bool:
        """Whether any option is set that a saved plan has already decided."""
        return bool(self.target or self.replace or self.adopt)

    def refuse_offline(self) -> None:
        """Raise UsageError if no live state would be read: such a plan is only a preview."""
        if self.refresh == "none":
            raise UsageError(
                "--refresh none works with plan only: a plan made without reading live state cannot be applied",
                hint="Leave --refresh out.",
            )


_PLAIN = PlanRequest()
"""A plan without options."""


def plan_stack(
    session: Session,
    request: PlanRequest = _PLAIN,
    *,
    tolerant: bool = False,
) -> Plan:
    """Read live state and make a plan; raises ConfigurationError for errors without an address.

    The error of an address stays in the plan, which leaves that address alone. In a `tolerant`
    plan, which is only a preview, errors become warnings.
    """
    require_credentials(session)
    if needs_policies(session):
        from reconciler.app.policies import check_policies

        check_policies(session)
    kinds = (resource.kind for resource in session.declared.resources)
    today = datetime.now(UTC).date().isoformat()
    for sentence in retired(kinds, base_url=session.base_url, today=today):
        session.notice(f"Warning: {sentence}")
    # A tolerant plan shows drift only, and matches of rules are not drift.
    rules = () if tolerant else session.declared.rules
    plan = unchecked_plan(session, request, rules=rules)
    if not tolerant and request.refresh != "none":
        plan = with_checked_destinations(plan, session.sinks)
    errors: list[Diagnostic] = []
    warnings: list[Diagnostic] = []
    for diagnostic in plan.diagnostics:
        group = errors if diagnostic.severity is Severity.ERROR else warnings
        group.append(diagnostic)
    general = [error for error in errors if error.address is None]
    if general and not tolerant:
        raise ConfigurationError(general)
    if tolerant:
        errors = [replace(error, severity=Severity.WARNING) for error in errors]
        warnings += _vanished_warnings(session, plan)
    # Errors come first: they say what the warnings leave out.
    declared = (*session.configuration.warnings, *model_warnings(session))
    return replace(plan, diagnostics=(*errors, *declared, *warnings))


def model_warnings(session: Session) -> list[Diagnostic]:
    """A warning for each declared model that OpenAI shuts down soon or has shut down."""
    today = datetime.now(UTC).date()
    try:
        base_url = session.base_url
    except UsageError:  # the first call reports it
        return []
    return shutdown_warnings(session.declared.resources, base_url=base_url, today=today)


def require_credentials(session: Session) -> None:
    """Raise ConfigurationError unless there is a key for everything that manifests declare."""
    missing = check_credentials(session.declared)
    if missing:
        raise ConfigurationError(missing)


def unchecked_plan(session: Session, request: PlanRequest, *, rules: Sequence[Rule] = ()) -> Plan:
    """Read live state and make a plan that still contains its errors."""
    store = session.store
    digests = digests_of(session, keep=False, is_offline=request.refresh == "none")
    inputs = plan_inputs(session, request, digests, rules=rules)
    # Renamed projects have changed the digest, and the apply must compare the same one.
    session.ownership = inputs.ownership
    session.read_at = time.monotonic()
    if request.refresh == "none":
        plan = plan_of_records(inputs, parallelism=session.parallelism)
    else:
        with session.progress.reading(), session.client.at_most(request.budget):
            plan = session.planning.plan(inputs, store, mode=request.refresh)
    configuration = session.configuration
    unread = tuple(digests.unread(configuration.resources))
    return replace(
        plan,
        base_url=session.base_url,
        state_lineage=store.identity.lineage,
        config_digest=configuration.digest,
        variables=configuration.given.variables,
        input_digests=configuration.given.digests,
        diagnostics=(*plan.diagnostics, *unread),
    )


def plan_inputs(
    session: Session, request: PlanRequest, digests: SecretDigests, *, rules: Sequence[Rule] = ()
) -> PlanInputs:
    """The inputs of a session's plan. Makes no call."""
    declared, store = session.declared, session.store
    records = with_deliveries(store.records(), session.ownership.deliveries, ALL_KINDS)
    known = {*records, *(resource.address for resource in declared.resources)}
    options = PlanOptions(
        destroy=request.destroy,
        adopt=request.adopt,
        unmanaged=request.unmanaged,
        inventory=request.inventory,
        targets=select_addresses(request.target, "--target", known),
        replace=select_addresses(request.replace, "--replace", known),
        rotate_now=parse_addresses(request.rotate, "rotate"),
        revoke_now=request.revoke,
        budget_calls=request.budget,
        facts=has_policies(session),
    )
    for text in request.allow_delete:  # refuse a malformed one before the first call
        if not is_pattern(text):
            parse_addresses((text,), "--allow-delete")

    def with_digests(configuration: Configuration) -> tuple[Resource, ...]:
        return tuple(digests.resources(configuration.resources, records))

    in_use = keys_in_use(declared, records)
    settling = settle_seconds(session.settings.env)
    inputs = PlanInputs(
        resources=with_digests(declared),
        kinds=ALL_KINDS,
        declarable=KINDS.keys(),
        ignore=declared.stack.ignore,
        records=records,
        ownership=session.ownership,
        projects=declared.stack.projects,
        keyed_projects=_keyed_projects(session),
        key_writers={project: key.writer for project, key in in_use.items()},
        outputs=declared.stack.outputs,
        previous_outputs=store.outputs(),
        state_serial=store.serial,
        state_is_new=store.remarks.get(SEARCHED) is None,
        recently_written=lambda: store.runs.created_since(session.server_clock() - settling),
        consistency=session.consistency,
        options=options,
        rules=rules,
        removed=lambda ids: _removed(session, ids),
        server_time=session.server_clock,
        contents=None if declared.complete is None else lambda: with_digests(session.configuration),
        pages={Scope(*listed): pages for listed, pages in load_pages(store).items()},
        sharers=number_of_stacks(session.sharing),
    )
    return with_renamed_projects(inputs)


def with_refusals(session: Session, plan: Plan, request: PlanRequest) -> Plan:
    """The plan with one sentence for each guard and each result of a policy that refuses it."""
    policy_refusals: list[str] = []
    if needs_policies(session) or plan.policies != NO_POLICIES:
        from reconciler.app.policies import refusals_of, with_policies

        if plan.policies is NO_POLICIES:
            plan = with_policies(session, plan)
        policy_refusals = refusals_of(plan.policies)
    known = {*session.store.records(), *(change.address for change in plan.changes)}
    # --allow-delete can name a rule, for all objects that the rule deletes.
    known |= {rule.address for rule in session.configuration.rules if rule.kind.removes}
    named = select_addresses(request.allow_delete, "--allow-delete", known)
    for address in named:
        if address not in known:
            hint = nearest(str(address), map(str, known))
            raise UsageError(f'--allow-delete: nothing here has the address "{address}".{hint}')
    # An entry of the stack file stays after its object is gone, so it may match nothing.
    allowed = set(named)
    for text in session.stack.allow_delete:
        allowed.update(matching(text, known))
    keys = keys_in_use(session.declared, session.store.records())
    refused = refusals(plan, _limits(session), allowed=allowed, keys=keys)
    return replace(plan, refusals=(*refused, *policy_refusals))


def check_guards(session: Session, plan: Plan, request: PlanRequest = _PLAIN) -> None:
    """Raise GuardError if a guard refuses the plan."""
    refused = with_refusals(session, plan, request).refusals
    if refused:
        raise GuardError(refused)


def retired(kinds: Iterable[Kind], *, base_url: str, today: str) -> list[str]:
    """A sentence for each retirement that a run against OpenAI's own platform meets.

    `today` is an ISO date. Kinds may share a retirement. Other servers may still offer what the
    platform has retired, so they get no warning.
    """
    if urlsplit(base_url).hostname != urlsplit(DEFAULT_BASE_URL).hostname:
        return []
    sentences: dict[str, None] = {}
    for kind in kinds:
        if kind.retirement and kind.retirement.since <= today:
            sentences[kind.retirement.sentence] = None
    return list(sentences)


def _limits(session: Session) -> Limits:
    guards = session.stack.guards
    # A single missing object is suspicious if the server changed, or if no run has confirmed yet
    # that the objects of an imported Terraform state are in this organization.
    store = session.store
    is_doubtful = has_moved(store, session.base_url) or is_waiting(store)
    return Limits(
        max_delete_percent=guards.max_delete_percent,
        max_deletes=guards.max_deletes,
        max_vanished_percent=guards.max_vanished_percent,
        few_vanished=1 if is_doubtful else FEW_VANISHED,
    )


def _vanished_warnings(session: Session, plan: Plan) -> list[Diagnostic]:
    """A warning if so many objects are missing that a guard would refuse to apply the plan."""
    warnings = []
    for sentence in vanished(plan, _limits(session)):
        summary, detail = "Many recorded objects are missing", f"{sentence}."
        warnings.append(Diagnostic(summary, detail, severity=Severity.WARNING))
    return warnings


def _removed(session: Session, ids: Collection[str]) -> Collection[str]:
    """Which objects, created moments ago, the audit log reports as removed; none without a log."""
    settling = settle_seconds(session.settings.env)
    try:
        since = session.server_clock() - settling - AUDIT_CLOCK_SECONDS
        return removed_lately(session.client, session.keys, ids, since)
    except (ApiError, CredentialError) as error:
        LOG.info("The audit log cannot say what was removed: %s", error)
        return ()


def _keyed_projects(session: Session) -> tuple[str, ...]:
    """The projects with a key of their own; "" is the default scope."""
    projects = tuple(session.stack.credentials.projects)
    return ("", *projects) if session.keys.has_project(None) else projects
