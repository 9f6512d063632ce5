"""Claims about what the threads of a fleet share: no thread gets what belongs to another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reconciler.model.change import Plan
from reconciler.model.plan_digest import plan_digest
from reconciler.model.secret import Redactor, Secret

ROUNDS = 300


@pytest.fixture(autouse=True)
def eager_switches() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_each_thread_gets_the_digest_of_its_own_plan() -> None:
    plans = [Plan(f"s{number}", "prod", ()) for number in range(4)]
    digests = [plan_digest(plan) for plan in plans]

    def differs(index: int) -> bool:
        return any(plan_digest(plans[index]) != digests[index] for _ in range(ROUNDS))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(differs, range(4))) == [False] * 4


def test_a_secret_is_redacted_by_all_threads_while_others_learn_more() -> None:
    redactor = Redactor()

    def learn(number: int) -> bool:
        seen = True
        for round in range(ROUNDS // 10):
            secret = f"secret-{number}-{round}-value"
            redactor.add(Secret(secret))
            seen = seen and secret not in redactor(f"a {secret} b") and redactor.holds(secret)
        return seen

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(learn, range(8))) == [True] * 8
    for number in range(8):
        assert "secret" not in redactor(f"secret-{number}-0-value")
