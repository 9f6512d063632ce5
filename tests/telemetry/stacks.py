"""Results of stacks, made without a run, and stacks that run on an emulator."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from reconciler.emulator import Emulator
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    ApplyResult,
    Change,
    Drift,
    FieldChange,
    Outcome,
    OutcomeStatus,
    Plan,
    Reason,
)
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.keys import KeyAction, KeyStep

NOW = 1_800_000_000.0


def stack_id(name: str = "search", environment: str = "prod") -> StackId:
    """A stack in a folder of its name."""
    return StackId(f"stacks/{name}", environment, name)


def address(name: str = "bot") -> Address:
    """An address of an object."""
    return Address("VectorStore", None, name)


def change(action: Action = Action.UPDATE, name: str = "bot", **fields: object) -> Change:
    """A planned change."""
    return replace(Change(address(name), action, Reason.CONFIG, id="vs_1"), **fields)


def drift(name: str = "bot", **fields: object) -> Drift:
    """A change that somebody made by hand."""
    changed = (FieldChange(("name",), "a", "b"),)
    return replace(Drift(address(name), "vs_1", changed), **fields)


def rotation(*, is_due: bool, action: KeyAction = KeyAction.ROTATE) -> KeyStep:
    """A step of a key."""
    return KeyStep("key", action, "will be rotated: 93 days old", is_due=is_due)


def plan(*changes: Change, drifts: tuple[Drift, ...] = (), refusals: tuple[str, ...] = ()) -> Plan:
    """A plan of changes."""
    return Plan("search", "prod", changes, drift=drifts, refusals=refusals)


def result(status: StackStatus = StackStatus.IN_SYNC, **fields: object) -> StackResult:
    """The result of a run of one minute that ended now."""
    base = StackResult(
        stack_id(),
        Command.DRIFT,
        status,
        0,
        organization="org-acme",
        calls=7,
        began_at=NOW - 60,
        ended_at=NOW,
    )
    return replace(base, **fields)


def applied(planned: Plan, *statuses: OutcomeStatus) -> ApplyResult:
    """An apply that ended each change of a plan with a status."""
    outcomes = [
        Outcome(change, status) for change, status in zip(planned.pending, statuses, strict=True)
    ]
    return ApplyResult(planned, tuple(outcomes))


def run_on(
    emulator: Emulator, folder: Path, command: Command, context: FleetContext
) -> StackResult:
    """Run a command on the stack in a folder."""
    environ = {
        "OPENAI_BASE_URL": emulator.base_url,
        "OPENAI_ADMIN_KEY": emulator.admin_key,
        "OPENAI_API_KEY": emulator.api_key,
        "RECONCILER_SETTLE_SECONDS": "0.1",
    }
    stack = FleetStack(
        StackId(folder.name, "default", folder.name), folder, Settings(root=folder, env=environ)
    )
    return run_stack(stack, StackRequest(command), context)
