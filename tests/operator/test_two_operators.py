"""Two operators on one fleet: neither reports the work of the other as a problem."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.app.session import Session
from reconciler.fleet import stack_run
from reconciler.model.change import Plan
from reconciler.operator.queue import Next
from tests.operator.bed import Bed
from tests.servers.postgres import Database

pytestmark = pytest.mark.slow


def test_an_object_that_another_operator_creates_during_a_plan_blocks_nothing(
    bed: Bed, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    bed.options = replace(bed.options, backend=database.url())
    first, second = bed.new_operator(), bed.new_operator()
    bed.stack(mode="apply")
    plan_stack, planning = stack_run.plan_stack, threading.Event()

    def plan_late(session: Session, *arguments: Any, **options: Any) -> Plan:
        session.store.records()  # as before the other operator wrote
        if not planning.is_set():
            planning.set()
            bed.look(reconciler=first)
        return plan_stack(session, *arguments, **options)

    monkeypatch.setattr(stack_run, "plan_stack", plan_late)
    outcome = bed.look(reconciler=second)
    assert bed.titles() == ["Search"]
    assert bed.reason() == "Applied"
    assert outcome.next is not Next.BLOCKED
    bed.look(reconciler=second)
    assert bed.reason(type="Blocked") == "NotBlocked"


def test_an_object_of_somebody_else_blocks_as_before(bed: Bed, database: Database) -> None:
    bed.options = replace(bed.options, backend=database.url())
    bed.call("POST", "/organization/projects", {"name": "Search"})
    bed.stack(mode="apply")
    assert bed.look(reconciler=bed.new_operator()).next is Next.BLOCKED
    assert bed.reason() == "ResourceBlocked"
