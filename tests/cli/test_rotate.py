"""Rotation at the command line: nightly runs, leaks, overdue keys, and settings that cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.conftest import Workspace

DAY = 86_400.0
PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
ROTATE = "rotate: {every: 90d, overlap: 7d, revoke: {when_unused_for: 24h}}"
ADDRESS = "ServiceAccount/search/ci"


def account(key: str, more: str = "") -> str:
    return f"kind: ServiceAccount\nmetadata: {{name: ci, project: search}}\nspec: {{{more}key: {{{key}}}}}\n"


IN_FILE = f"write_to: {{file: keys/ci.key}}, {ROTATE}"


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    return workspace.declare(PROJECT, account(IN_FILE))


def read(stack: Workspace, name: str = "ci") -> str:
    return Path(stack.folder / f"keys/{name}.key").read_text().strip()


def works(stack: Workspace, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{stack.emulator.base_url}/models", headers=headers).status_code == 200


def let_pass(stack: Workspace, days: float) -> None:
    stack.emulator.state.advance(days * DAY)


def test_a_key_is_rotated_stays_while_it_is_used_and_is_revoked_once_it_is_not(
    stack: Workspace,
) -> None:
    stack.apply()
    first = read(stack)
    let_pass(stack, 93)
    assert "will be rotated: 93 days old" in stack.apply().out
    second = read(stack)
    assert first != second
    assert works(stack, first)
    let_pass(stack, 8)
    assert works(stack, first)
    assert "old key stays: used just now" in stack.plan().out
    stack.apply()
    let_pass(stack, 6)
    assert "old key will be revoked: unused for 6 days" in stack.apply().out
    assert (works(stack, first), works(stack, second)) == (False, True)
    assert stack.plan().code == 0


def test_every_report_has_a_line_for_each_step(stack: Workspace) -> None:
    stack.apply()
    let_pass(stack, 93)
    shown = stack.plan("--report", "plan.md:markdown", "--report", "plan.json:json")
    assert "key: will be rotated: 93 days old" in shown.out
    assert "Key: will be rotated: 93 days old" in (stack.folder / "plan.md").read_text()
    report = json.loads((stack.folder / "plan.json").read_text())
    (change,) = [one for one in report["resource_changes"] if one["reconciler"].get("keys")]
    steps = change["reconciler"]["keys"]
    assert [(step["action"], step["sentence"]) for step in steps] == [
        ("rotate", "will be rotated: 93 days old"),
        ("keep", "old key stays: its overlap lasts 7 days"),
    ]
    assert report["reconciler"]["destructive"] == []


def test_a_saved_plan_rotates(stack: Workspace) -> None:
    stack.apply()
    first = read(stack)
    let_pass(stack, 93)
    stack.run("plan", "--out", "plan.json", expect=0)
    stack.run("apply", "plan.json", expect=0)
    assert read(stack) != first


def test_an_overdue_key_is_drift(stack: Workspace) -> None:
    stack.apply()
    assert stack.run("drift").code == 0
    let_pass(stack, 93)
    drift = stack.run("drift", expect=2)
    assert "its key should have been rotated: 93 days old" in drift.out
    assert "1 key overdue" in drift.out


def test_where_the_api_does_not_show_the_last_use_nothing_is_revoked_and_it_is_said(
    stack: Workspace,
) -> None:
    stack.apply()
    first = read(stack)
    let_pass(stack, 93)
    stack.apply()
    stack.emulator.set_options(hide_last_used=True)
    let_pass(stack, 60)
    assert "the API does not show when it was last used" in stack.plan().out
    stack.apply()
    assert works(stack, first)


def test_a_leaked_key_is_replaced_and_revoked_at_once_and_nothing_else_changes(
    stack: Workspace,
) -> None:
    stack.apply()
    leaked = read(stack)
    assert works(stack, leaked)
    stack.declare(PROJECT.replace("Search}", "Other}"), account(IN_FILE, "role: owner, "))
    done = stack.run("rotate", "--now", ADDRESS, "--yes", expect=0)
    assert "old key will be revoked at once" in done.out
    assert (works(stack, leaked), works(stack, read(stack))) == (False, True)
    planned = stack.run("plan", expect=0).out
    assert "Project/search" in planned
    assert "role" in planned


def test_a_rotation_ahead_of_time_keeps_the_old_key(stack: Workspace) -> None:
    stack.apply()
    old = read(stack)
    stack.run("rotate", "--now", "--keep-old", ADDRESS, "--yes", expect=0)
    assert works(stack, old)
    assert read(stack) != old


def test_nothing_is_rotated_without_a_yes(stack: Workspace) -> None:
    stack.apply()
    old = read(stack)
    stack.run("rotate", "--now", ADDRESS, expect=1)
    assert read(stack) == old


def test_a_key_whose_destination_changes_stays_at_the_old_one_until_it_is_unused(
    stack: Workspace,
) -> None:
    stack.apply()
    first = read(stack)
    stack.declare(PROJECT, account(IN_FILE.replace("ci.key", "new.key"))).apply()
    assert (read(stack), works(stack, first)) == (first, True)
    assert works(stack, read(stack, "new"))
    let_pass(stack, 9)
    stack.apply()
    assert not Path(stack.folder / "keys/ci.key").exists()
    assert not works(stack, first)


def test_a_destination_that_is_taken_away_is_refused_unless_allowed(stack: Workspace) -> None:
    both = f"write_to: [{{file: keys/ci.key}}, {{file: keys/b.key}}], {ROTATE}"
    stack.declare(PROJECT, account(both)).apply()
    stack.declare(PROJECT, account(IN_FILE))
    refused = stack.run("apply", "--yes", expect=11)
    assert "takes the key away from keys/b.key: whatever reads it there stops" in refused.out
    stack.apply("--allow-delete", ADDRESS)
    assert works(stack, read(stack))


@pytest.mark.parametrize(
    "rest",
    [(PROJECT, account(IN_FILE).replace(f"key: {{{IN_FILE}}}", "")), (PROJECT,)],
    ids=["the key", "the account"],
)
def test_what_is_removed_during_an_overlap_leaves_no_dead_key_in_its_destination(
    stack: Workspace, rest: tuple[str, ...]
) -> None:
    stack.apply()
    let_pass(stack, 93)
    stack.apply()
    stack.declare(*rest).run("apply", "--yes", "--allow-delete", ADDRESS, expect=0)
    assert list((stack.folder / "keys").iterdir()) == []


def test_the_second_slot_has_the_earlier_key_until_it_is_revoked(stack: Workspace) -> None:
    slot = f"{IN_FILE}, previous_to: {{file: keys/old.key}}"
    stack.declare(PROJECT, account(slot)).apply()
    first = read(stack)
    let_pass(stack, 93)
    stack.apply()
    assert (read(stack, "old"), works(stack, first)) == (first, True)
    let_pass(stack, 9)
    stack.apply()
    assert not Path(stack.folder / "keys/old.key").exists()


def test_the_account_keeps_its_id(stack: Workspace) -> None:
    stack.apply()
    before = stack.run("state", "show", ADDRESS, expect=0).out
    let_pass(stack, 93)
    stack.apply()
    after = stack.run("state", "show", ADDRESS, expect=0).out
    assert json.loads(before)["id"] == json.loads(after)["id"]
    assert [key["key_id"] for key in json.loads(after)["delivered"]["key"]["previous"]] == [
        json.loads(before)["delivered"]["key"]["key_id"]
    ]


BAD = {
    "an interval shorter than the overlap": (
        "write_to: {file: a.key}, rotate: {every: 3d}",
        "overlap is 7 days",
    ),
    "no duration": ("write_to: {file: a.key}, rotate: {every: 90}", "rotate.every"),
    "a duration in words": (
        "write_to: {file: a.key}, rotate: {every: 3 months}",
        "a duration such as 90d",
    ),
    "a slot that is a destination": (
        "write_to: {file: a.key}, previous_to: {file: a.key}",
        "is listed twice",
    ),
    "a slot that nothing could fill": (
        "write_to: {command: [cat]}, previous_to: {file: a.key}",
        "none of these can be read back",
    ),
}


@pytest.mark.parametrize(("key", "said"), BAD.values(), ids=BAD.keys())
def test_settings_that_could_not_work_are_errors_with_address_and_cure(
    key: str, said: str, workspace: Workspace
) -> None:
    done = workspace.declare(PROJECT, account(key)).run("validate", expect=1)
    assert ADDRESS in done.err + done.out
    assert said in done.err + done.out


def test_a_life_shorter_than_the_interval_is_an_error(workspace: Workspace) -> None:
    admin = (
        "kind: AdminKey\nmetadata: {name: ops}\nspec: {name: ops, expires_in_seconds: 86400, "
        f"key: {{{IN_FILE}}}}}\n"
    )
    done = workspace.declare(admin).run("validate", expect=1)
    assert "The key expires after 1 day, before it is rotated" in done.err + done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--now",), "--now rotates only what you name"),
        (("--keep-old", ADDRESS), "--keep-old changes what --now does"),
        (("--now", "Project/search"), "no manifest declares a key"),
        (("--now", "ServiceAccount/search/cj"), "Did you mean"),
    ],
)
def test_a_rotation_that_names_no_key_is_refused(
    arguments: tuple[str, ...], said: str, stack: Workspace
) -> None:
    stack.apply()
    assert said in stack.run("rotate", *arguments, "--yes", expect=1).err


def test_a_key_that_does_not_exist_yet_is_created_by_an_apply_first(stack: Workspace) -> None:
    assert "Apply first" in stack.run("rotate", "--now", ADDRESS, "--yes", expect=1).err
