"""Plans that only rotate keys, and ignore all other changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from reconciler.app.plans import PlanRequest, plan_stack
from reconciler.app.session import Session
from reconciler.engine.binding.deliveries import with_deliveries
from reconciler.errors import UsageError
from reconciler.kinds import ALL_KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan, Reason
from reconciler.model.destruction import Lost
from reconciler.model.diagnostic import nearest
from reconciler.model.keys import KeyAction
from reconciler.model.resource import Record, Resource
from reconciler.model.types import KeySinkType


def has_keys(resource: Resource) -> bool:
    """Whether a resource declares a key that can be rotated."""
    for field in resource.kind.own_calls:
        is_key = isinstance(field.type, KeySinkType) and field.type.rotates
        if is_key and resource.spec.get(field.name):
            return True
    return False


def rotation_request(
    session: Session, addresses: Collection[str], *, now: bool, keep_old: bool
) -> PlanRequest:
    """The request for a plan of the named addresses, or of all with keys. Raises UsageError."""
    known = {str(resource.address) for resource in filter(has_keys, session.declared.resources)}
    for address in addresses:
        if address not in known:
            raise UsageError(
                f'no manifest declares a key at "{address}".{nearest(address, known)}',
                hint="Name a ServiceAccount, ServiceAccountKey or AdminKey with `key`.",
            )
    wanted = tuple(dict.fromkeys(addresses)) or tuple(sorted(known))
    if not now:
        return PlanRequest(target=wanted)
    if keep_old:
        return PlanRequest(target=wanted, rotate=wanted)
    # Naming the key allows its deletion: it may have leaked.
    return PlanRequest(target=wanted, rotate=wanted, revoke=True, allow_delete=wanted)


def plan_rotation(session: Session, request: PlanRequest) -> Plan:
    """A plan with key steps alone. Raises UsageError if an object has to be created first."""
    if not request.target:  # without targets, it would be a plan of everything
        return Plan(session.stack.name, session.stack.environment, ())
    plan = plan_stack(session, request)
    wanted = set(map(Address.parse, request.target))
    asked = set(map(Address.parse, request.rotate))
    records = with_deliveries(session.store.records(), session.ownership.deliveries, ALL_KINDS)
    changes = []
    for change in plan.changes:
        if change.address in asked:
            _require_rotation(change)
        if change.address in wanted:
            changes.append(_only_keys(change, records))
        elif change.blocked:
            changes.append(change)
    return replace(plan, changes=tuple(changes), outputs=(), drift=())


def _require_rotation(change: Change) -> None:
    is_rotated = any(step.action is KeyAction.ROTATE for step in change.keys)
    if not change.blocked and not is_rotated:
        raise UsageError(
            f"{change.address} cannot be rotated: the plan is to {change.action} it",
            hint="Apply first.",
        )


def _only_keys(change: Change, records: Mapping[Address, Record]) -> Change:
    """The key steps of the change alone: everything else stays as recorded."""
    record = records.get(change.address)
    if change.blocked:
        return change
    if not change.key_work or record is None:
        return replace(change, action=Action.NO_OP, reason=Reason.UNTOUCHED, fields=(), losses=())
    keys = {step.field: change.desired[step.field] for step in change.keys}
    applied = {name: value for name, value in record.applied.items() if value is not None}
    return replace(
        change,
        action=Action.UPDATE,
        reason=Reason.ROTATION,
        fields=tuple(field for field in change.fields if field.name in keys),
        losses=tuple(loss for loss in change.losses if loss.lost is Lost.KEY),
        desired={**applied, **keys},
        after={**change.before, **keys},
    )
