"""Killed or cut off at any boundary of API and sink, the same command once more leaves every key in its place.

After it, no valid key is nowhere, and no place holds a dead key. Every sink goes through the same trials; see
`tests/secrets/beds` to add one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator
from reconciler.model.keys import earlier_keys
from tests.reliability.backends import LocalBackend
from tests.reliability.processes import Mortals
from tests.reliability.scenarios import STACK, Scenario, document
from tests.reliability.test_kills_everywhere import RUN_OF_THE_MILL
from tests.reliability.trials import Stage, spread, staged
from tests.secrets.beds import Bed, bed_named, every_bed
from tests.soak import SOAK

pytestmark = pytest.mark.slow

FEW = 10
"""Boundaries that each sink is tried at; a soak tries all."""


@dataclass
class BedBackend(LocalBackend):
    """A local state, and a bed that every trial finds as it was at the start."""

    bed: Bed
    more: dict[str, str] = field(default_factory=dict)

    def variables(self) -> Mapping[str, str]:
        return {**self.bed.env, **self.more}

    def save(self) -> Any:
        return self.bed.save()

    def restore(self, copy: Any) -> None:
        self.bed.restore(copy)


def _account(name: str, *targets: Mapping[str, Any], **more: Any) -> str:
    write_to = targets[0] if len(targets) == 1 else list(targets)
    key = f"key: {json.dumps({'write_to': write_to})}" if targets else "role: member"
    return document("ServiceAccount", name, key, project="main")


def _admin_key(name: str, target: Mapping[str, Any]) -> str:
    return document("AdminKey", name, f"name: {name}, key: {json.dumps({'write_to': target})}")


def scenario_of(bed: Bed) -> Scenario:
    """Every change of a destination that an apply can make."""
    target = bed.target
    project = document("Project", "main", "name: Main")
    before = (
        project,
        _account("kept", target("kept")),
        _account("moved", target("here")),
        _account("withdrawn", target("withdrawn")),
        _account("deleted", target("deleted")),
        _account("remade", target("remade")),
    )
    after = (
        project,
        _account("kept", target("kept")),
        _account("moved", target("there")),
        _account("withdrawn"),
        _account("remade", target("remade")),
        _account("new", target("new")),
        _account("spread", target("one"), {"file": "elsewhere/two.key"}),
        _admin_key("admin", target("admin")),
    )
    return Scenario(
        "sinks",
        {"reconciler.yaml": STACK, "m/all.yaml": "---\n".join(before)},
        {"reconciler.yaml": STACK, "m/all.yaml": "---\n".join(after)},
        arguments=(
            "apply",
            "--yes",
            "--replace",
            "ServiceAccount/main/remade",
            "--allow-delete",
            "ServiceAccount/main/withdrawn",
        ),
    )


def misplaced(stage: Stage, bed: Bed) -> list[str]:
    """Valid keys that are nowhere, and places that hold dead keys."""
    folder, store = stage.folder, stage.emulator.store
    held = dict(bed.keys(folder))
    held |= {path.name: path.read_text().strip() for path in folder.glob("elsewhere/[!.]*.key")}
    with store.lock:
        valid = {
            record.id
            for kind in ("api_key", "admin_key")
            for record in store.all(kind)
            if _is_delivered(record.body, record.hidden)
        }
        found = {place: store.key_record(key) for place, key in held.items()}
    dead = [f"{place} holds a dead key" for place, record in found.items() if record is None]
    with stage.backend.open(folder) as state:
        entries = [
            entry for record in state.records().values() for entry in record.delivered.values()
        ]
    # A key that may have reached a reader stays valid until a later plan finds it unused.
    earlier = {str(key["key_id"]) for entry in entries for key in earlier_keys(entry)}
    nowhere = valid - earlier - {record.id for record in found.values() if record is not None}
    return [*(dead if bed.removes else ()), *(f"{id} is nowhere" for id in sorted(nowhere))]


def _is_delivered(body: Mapping[str, Any], hidden: Mapping[str, Any]) -> bool:
    owner = hidden.get("owner") or body.get("owner") or {}
    return owner.get("type") == "service_account" or body.get("name") == "admin"


def telling(stage: Stage) -> list[int]:
    """The boundaries at which something differs from the one before."""
    return [at for at, name in enumerate(stage.boundaries) if not name.startswith(RUN_OF_THE_MILL)]


def chosen(boundaries: list[int]) -> list[int]:
    return boundaries if SOAK else [boundaries[at] for at in spread(len(boundaries), FEW)]


def trials(stage: Stage, bed: Bed, fatal: list[int], strike: Callable[[int], object]) -> list[str]:
    """What is wrong after each strike and a repair, with the boundary's name."""
    wrong = []
    expected = sorted({"kept", "here", "there", "remade", "new", "one", "admin"})
    for at in fatal:
        stage.begin()
        strike(at)
        found = repaired(stage, bed, expected)
        wrong += [f"at {at}, {stage.boundaries[at]}: {problem}" for problem in found]
    return wrong


def repaired(stage: Stage, bed: Bed, expected: list[str]) -> list[str]:
    """What is wrong after the same command once more."""
    done = stage.run(*stage.scenario.arguments, watched=False)
    if done.code != 0:
        return [str(done)]
    wrong = misplaced(stage, bed)
    if bed.removes and (places := sorted(bed.keys(stage.folder))) != expected:
        wrong.append(f"keys are at {places}")
    plan = stage.run("plan", "--detailed-exitcode", watched=False)
    return wrong + ([] if plan.code == 0 else [f"the next plan is not empty: {plan}"])


@every_bed
def test_a_death_at_any_boundary_leaves_no_key_astray(
    bed_name: str, mortals: Mortals, tmp_path: Path
) -> None:
    with (
        bed_named(bed_name) as bed,
        staged(scenario_of(bed), mortals, tmp_path, backend=BedBackend(bed)) as stage,
    ):
        assert misplaced(stage, bed) == []
        assert trials(stage, bed, chosen(telling(stage)), stage.die) == []


@every_bed
@pytest.mark.parametrize("how", ["once", "from then on"])
def test_a_connection_cut_at_any_request_leaves_no_key_astray(
    bed_name: str, how: str, mortals: Mortals, tmp_path: Path
) -> None:
    with (
        bed_named(bed_name) as bed,
        staged(scenario_of(bed), mortals, tmp_path, backend=BedBackend(bed)) as stage,
    ):
        requests = [
            at
            for at, name in enumerate(stage.boundaries)
            if name.split()[1] in ("POST", "PUT", "PATCH", "DELETE")
        ]

        def cut(at: int) -> None:
            stage.run(*stage.scenario.arguments, fatal=at, cut=how)

        assert requests
        assert trials(stage, bed, chosen(requests), cut) == []


@every_bed
def test_no_key_is_in_output_state_or_plan(bed_name: str, mortals: Mortals, tmp_path: Path) -> None:
    with (
        bed_named(bed_name) as bed,
        staged(
            scenario_of(bed), mortals, tmp_path, backend=BedBackend(bed), rehearse=False
        ) as stage,
    ):
        stage.begin()
        reports = ("--report", "report.json:json", "--report", "report.md:markdown", "-vv")
        planned = stage.run("plan", "--out", "plan.json", *stage.scenario.arguments[2:], "-vv")
        done = stage.run(*stage.scenario.arguments, *reports)
        keys = {
            *bed.keys(stage.folder).values(),
            (stage.folder / "elsewhere/two.key").read_text().strip(),
        }
        told = [planned.out, planned.err, done.out, done.err]
        told += [
            path.read_bytes().decode("latin-1")
            for path in stage.folder.rglob("*")
            if path.is_file() and path.parent.name not in ("secrets", "stored", "elsewhere")
        ]
        credentials = {value for name, value in bed.env.items() if "TOKEN" in name or "KEY" in name}
        assert (done.code, len(keys) > 5) == (0, True)
        assert [text for text in told if any(key in text for key in keys | credentials)] == []


def test_the_emulator_of_these_trials_starts_with_no_account_key() -> None:
    with Emulator() as emulator, emulator.store.lock:
        assert [
            record
            for record in emulator.store.all("api_key")
            if _is_delivered(record.body, record.hidden)
        ] == []
