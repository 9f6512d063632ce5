"""Killed at any boundary of a rotation, no reader is without a valid key, and no key is left astray.

The readers look right after the death, after the same command once more, and once the nightly applies have settled.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.keys import key_ids
from tests.reliability.processes import Mortals
from tests.reliability.scenarios import STACK, Scenario, document
from tests.reliability.test_kills_everywhere import RUN_OF_THE_MILL
from tests.reliability.trials import Stage, spread, staged
from tests.soak import SOAK

pytestmark = pytest.mark.slow

FEW = 24
"""Boundaries that each scenario is tried at; a soak tries all."""

DAY = 86_400.0
ROTATE = {"every": "30d", "overlap": "7d", "revoke": {"when_unused_for": "24h"}}


def _account(name: str, write_to: Any, **more: Any) -> str:
    key = json.dumps({"write_to": write_to, "rotate": ROTATE, **more})
    return document("ServiceAccount", name, f"key: {key}", project="main")


def _admin(name: str, write_to: Any, **more: Any) -> str:
    key = json.dumps({"write_to": write_to, "rotate": ROTATE, **more})
    return document("AdminKey", name, f"name: {name}, key: {key}")


def _file(name: str) -> dict[str, str]:
    return {"file": f"secrets/{name}.key"}


PROJECT = document("Project", "main", "name: Main")
COMMAND = {
    "command": ["sh", "-c", 'key="$(cat)" && mkdir -p secrets && echo "$key" > secrets/run.key']
}
SCENARIOS = {
    "an account": ([_account("a", _file("a"))], None),
    "an account with two slots": (
        [_account("a", _file("a"), previous_to=_file("a.previous"))],
        None,
    ),
    "an account with several destinations": (
        [_account("a", [_file("a"), COMMAND, _file("b")])],
        None,
    ),
    "an admin key with two slots": (
        [_admin("o", _file("o"), previous_to=_file("o.previous"))],
        None,
    ),
    "destinations that change": (
        [_account("a", _file("a")), _admin("o", _file("o"))],
        [_account("a", _file("a2")), _admin("o", [_file("o2"), _file("o3")])],
    ),
}


@contextmanager
def rotating(name: str, mortals: Mortals, base: Path) -> Iterator[Stage]:
    """A stage on which every key is due."""
    before, after = SCENARIOS[name]
    scenario = Scenario(
        name,
        {"reconciler.yaml": STACK, "m/all.yaml": "---\n".join([PROJECT, *before])},
        {"reconciler.yaml": STACK, "m/all.yaml": "---\n".join([PROJECT, *(after or before)])},
    )
    with staged(scenario, mortals, base, rehearse=False) as stage:
        stage.emulator.state.advance(31 * DAY)
        stage.rehearse()
        yield stage


def held(stage: Stage) -> dict[str, str]:
    """The key that a reader finds in each place."""
    files = (stage.folder / "secrets").glob("[!.]*.key")
    return {path.stem: path.read_text().strip() for path in files}


def valid(stage: Stage) -> set[str]:
    """The ids of the keys of ours that work."""
    store = stage.emulator.store
    with store.lock:
        keys = {key.id for key in store.all("api_key") if _is_of_account(key.hidden)}
        return keys | {key.id for key in store.all("admin_key") if key.body["name"] == "o"}


def _is_of_account(hidden: Any) -> bool:
    return bool((hidden.get("owner") or {}).get("type") == "service_account")


def dead(stage: Stage) -> list[str]:
    """The places whose key does not work."""
    store = stage.emulator.store
    with store.lock:
        return [place for place, key in held(stage).items() if store.key_record(key) is None]


def recorded(stage: Stage) -> set[str]:
    """The ids of the keys that the state knows to be valid."""
    with stage.backend.open(stage.folder) as state:
        entries = [
            entry for record in state.records().values() for entry in record.delivered.values()
        ]
        return {key_id for entry in entries for key_id in key_ids(entry)}


def in_places(stage: Stage) -> set[str]:
    """The ids of the keys that readers find."""
    store = stage.emulator.store
    with store.lock:
        found = [store.key_record(key) for key in held(stage).values()]
        return {record.id for record in found if record is not None}


def settle(stage: Stage) -> list[str]:
    """Let nights pass with an apply in each, until every earlier key has had its time."""
    for _ in range(3):
        stage.emulator.state.advance(9 * DAY)
        done = stage.run("apply", "--yes", watched=False)
        if done.code != 0:
            return [str(done)]
    return []


def trial(stage: Stage, strike: Callable[[], object]) -> list[str]:
    """What is wrong after a strike: for readers at once, then for the bookkeeping."""
    stage.begin()
    places = set(held(stage))
    strike()
    wrong = [f"right after it, {place} holds a dead key" for place in dead(stage)]
    wrong += [f"right after it, {place} is empty" for place in places - set(held(stage))]
    done = stage.run("apply", "--yes", watched=False)
    if done.code != 0:
        return [*wrong, str(done)]
    wrong += [f"after the repair, {place} holds a dead key" for place in dead(stage)]
    wrong += [f"after the repair, nobody knows {id}" for id in valid(stage) - recorded(stage)]
    wrong += settle(stage)
    wrong += [f"in the end, {place} holds a dead key" for place in dead(stage)]
    wrong += [f"in the end, {id} is nowhere" for id in valid(stage) - in_places(stage)]
    plan = stage.run("plan", "--detailed-exitcode", watched=False)
    return wrong + ([] if plan.code == 0 else [f"the next plan is not empty: {plan}"])


def telling(stage: Stage) -> list[int]:
    """The boundaries at which something differs from the one before."""
    names = stage.boundaries
    return [at for at, name in enumerate(names) if not name.startswith(RUN_OF_THE_MILL)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_any_boundary_of_a_rotation_leaves_readers_a_valid_key(
    name: str, mortals: Mortals, tmp_path: Path
) -> None:
    with rotating(name, mortals, tmp_path) as stage:
        assert trial(stage, lambda: stage.run("apply", "--yes", watched=False)) == []
        boundaries = telling(stage)
        tried = boundaries if SOAK else [boundaries[at] for at in spread(len(boundaries), FEW)]
        wrong = []
        for at in tried:
            found = trial(stage, lambda at=at: stage.die(at))  # type: ignore[misc]
            wrong += [f"at {at}, {stage.boundaries[at]}: {problem}" for problem in found]
        assert wrong == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_rotation_that_was_cut_off_and_is_not_wanted_any_more_leaves_no_key_astray(
    name: str, mortals: Mortals, tmp_path: Path
) -> None:
    with rotating(name, mortals, tmp_path) as stage:
        boundaries = telling(stage)
        wrong = []
        for at in [
            boundaries[at] for at in spread(len(boundaries), len(boundaries) if SOAK else 8)
        ]:

            def strike(at: int = at) -> None:
                stage.die(at)
                manifests = stage.folder / "m/all.yaml"
                manifests.write_text(manifests.read_text().replace("30d", "900d"))

            found = trial(stage, strike)
            wrong += [f"at {at}, {stage.boundaries[at]}: {problem}" for problem in found]
        assert wrong == []


def test_a_delivered_admin_key_reaches_the_record_in_the_next_apply_even_if_nothing_else_changes(
    mortals: Mortals, tmp_path: Path
) -> None:
    with rotating("an admin key with two slots", mortals, tmp_path) as stage:
        last = stage.boundary("before UPDATE pre_images SET")
        unrecorded = []
        for at in [at for at in telling(stage) if last - 4 <= at <= last]:
            stage.begin()
            stage.die(at)
            assert stage.run("apply", "--yes", watched=False).code == 0
            unrecorded += valid(stage) - recorded(stage)
        assert unrecorded == []
