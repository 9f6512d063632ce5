"""Which test exercises which endpoint: recorded once, and from then on held against every run of that test.

While a test that `witnesses.csv` names runs, what the emulator answered well is noted, and the test fails if an
endpoint that it stands for was not among it. `make coverage` runs the tests with a folder in RECONCILER_COVERAGE, into
which every test writes what it reached, and `python -m tests.coverage` chooses among them.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from reconciler.emulator.recorder import RequestRecord, RequestRecorder
from tests.coverage.endpoints import all_endpoints, endpoint_of

FILE = Path(__file__).parent / "witnesses.csv"
FOLDER = os.environ.get("RECONCILER_COVERAGE")

OURS = (
    "tests/kinds/",
    "tests/api/",
    "tests/checks/",
    "tests/properties/test_jobs.py",
    "tests/cli/test_audit.py",
    "tests/cli/test_check.py",
    "tests/cli/test_costs.py",
    "tests/cli/test_usage.py",
)
"""Tests in which our own client makes the calls, the same ones every time."""
OFFICIAL = "with_official_client"
OTHERS = "tests/emulator/"


@cache
def witnesses() -> Mapping[str, str]:
    """The test of each endpoint that has one, by its call."""
    if not FILE.exists():
        return {}
    with FILE.open(encoding="utf-8", newline="") as lines:
        return {row["call"]: row["test"] for row in csv.DictReader(lines)}


@cache
def _claims() -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for call, test in witnesses().items():
        found.setdefault(test, set()).add(call)
    return {test: frozenset(calls) for test, calls in found.items()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Insist that a test reaches what it is named for; with a folder to write to, note what any test reaches."""
    claimed = _claims().get(item.nodeid, frozenset())
    if not claimed and FOLDER is None:
        return (yield)
    with _reached() as reached:
        result = yield
    missing = sorted(claimed - reached)
    if missing and FOLDER is None:
        pytest.fail(
            f"docs/coverage.md names this test, which did not reach {', '.join(missing)}: `make coverage`"
        )
    if FOLDER is not None and reached:
        with (Path(FOLDER) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"test": item.nodeid, "calls": sorted(reached)}) + "\n")
    return result


@contextmanager
def _reached() -> Generator[set[str], None, None]:
    """The endpoints that any emulator in this process answers well meanwhile."""
    found: set[str] = set()
    add = RequestRecorder.add

    def note(self: RequestRecorder, record: RequestRecord) -> None:
        add(self, record)
        endpoint = endpoint_of(record.method, record.path) if 200 <= record.status < 300 else None
        if endpoint is not None:
            found.add(endpoint.call)

    RequestRecorder.add = note  # type: ignore[method-assign]
    try:
        yield found
    finally:
        RequestRecorder.add = add  # type: ignore[method-assign]


def choose(folder: Path, kinds_of: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """The best test of each endpoint: ours before the official client before others; then one of the endpoint's kind,
    then the one that was chosen before, then a test without rows, then the one that reaches most.
    """
    reached = dict(_noted(folder))

    def preference(test: str, call: str) -> tuple[object, ...]:
        of_its_kind = any(f"[{name}]" in test for name in kinds_of[call])
        return (
            _rank(test),
            not of_its_kind,
            witnesses().get(call) != test,
            "[" in test,
            -len(reached[test]),
            test,
        )

    return {
        endpoint.call: min(tests, key=lambda test: preference(test, endpoint.call))
        for endpoint in all_endpoints()
        if (
            tests := [
                test
                for test, calls in reached.items()
                if endpoint.call in calls and _rank(test) is not None
            ]
        )
    }


def _noted(folder: Path) -> Iterator[tuple[str, frozenset[str]]]:
    for path in sorted(folder.glob("*.jsonl"), key=lambda found: found.stat().st_mtime):
        for line in path.read_text(encoding="utf-8").splitlines():
            noted = json.loads(line)
            yield noted["test"], frozenset(noted["calls"])


def write(chosen: Mapping[str, str]) -> None:
    """Write the file that runs are held against."""
    with FILE.open("w", encoding="utf-8", newline="") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(("call", "test"))
        rows.writerows(chosen.items())


def is_ours(test: str) -> bool:
    """Whether our own client makes the calls of a test."""
    return test.startswith(OURS)


def _rank(test: str) -> int | None:
    if is_ours(test):
        return 0
    if test.startswith(OTHERS):
        return 1 if OFFICIAL in test else 2
    return None
