"""An apply of a fleet needs the approvals that its plans require."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from tests.fleet.conftest import Fleet, group


def digests(report: dict[str, Any]) -> dict[str, str]:
    return {each["folder"]: each["digest"] for each in report["stacks"]}


def test_the_digest_of_the_fleet_approves_all_its_plans(fleet: Fleet) -> None:
    digest = fleet.report("plan", expect=0)["digest"]
    fleet.fleet("apply", "--approve", digest, expect=0)
    assert fleet.groups() == ["a", "b"]


def test_nothing_is_applied_if_one_plan_of_an_approved_fleet_has_changed(fleet: Fleet) -> None:
    digest = fleet.report("plan", expect=0)["digest"]
    fleet.add("stacks/b", manifest=group("other"))
    report = fleet.report("apply", "--approve", digest, expect=10)
    assert {each["reason"] for each in report["stacks"]} == {"ApprovalMissing"}
    assert fleet.groups() == []


def test_a_stack_that_joins_an_approved_fleet_needs_another_approval(fleet: Fleet) -> None:
    digest = fleet.report("plan", expect=0)["digest"]
    fleet.add("stacks/c").fleet("apply", "--approve", digest, expect=10)
    assert fleet.groups() == []


def test_the_digests_of_stacks_approve_those_alone(fleet: Fleet) -> None:
    digest = digests(fleet.report("plan", expect=0))["stacks/b"]
    assert fleet.statuses("apply", "--approve", digest, expect=10) == {
        "stacks/a": "refused",
        "stacks/b": "applied",
    }
    assert fleet.groups() == ["b"]


def test_several_stacks_can_be_approved_one_by_one(fleet: Fleet) -> None:
    approved = digests(fleet.report("plan", expect=0)).values()
    words = [word for digest in approved for word in ("--approve", digest)]
    fleet.fleet("apply", *words, expect=0)
    assert fleet.groups() == ["a", "b"]


def test_a_fleet_in_sync_needs_no_approval(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    assert fleet.report("plan", expect=0)["digest"] is None
    fleet.fleet("apply", "--approve", "0" * 64, expect=0)


def test_the_digest_covers_the_folder_and_not_the_order_of_the_options(fleet: Fleet) -> None:
    some = fleet.report("plan", "--stacks", "stacks/a", "--stacks", "stacks/b")["digest"]
    assert fleet.report("plan", "--stacks", "stacks/b", "--stacks", "stacks/a")["digest"] == some
    assert fleet.report("plan", "--stacks", "stacks/a")["digest"] != some


@pytest.mark.parametrize("words", [["--approve", "abc"], ["--yes", "--approve", "0" * 64]])
def test_an_approval_that_makes_no_sense_is_refused_before_any_call(
    fleet: Fleet, words: list[str]
) -> None:
    fleet.fleet("apply", *words, expect=1)
    assert fleet.emulator.requests == []


def test_a_guard_holds_for_an_approved_plan(fleet: Fleet) -> None:
    many = "---\n".join(group(f"a{number}", f"g{number}") for number in range(12))
    fleet.add("stacks/a", manifest=many).fleet("apply", "--yes", expect=0)
    fleet.add("stacks/a", manifest=group("a0", "g0"))
    report = fleet.report("plan", expect=11)
    digest = digests(report)["stacks/a"]
    assert fleet.statuses("apply", "--approve", digest, expect=11)["stacks/a"] == "refused"
    assert len(fleet.groups()) == 13


POLICY = """\
kind: Policy
metadata: {name: no-b}
spec:
  match: {kinds: [Group]}
  severity: SEVERITY
  rule: resource.spec.name != "b"
"""


def test_a_trusted_policy_refuses_one_stack_and_lets_the_others_pass(fleet: Fleet) -> None:
    fleet.write({"policies/p.yaml": POLICY.replace("SEVERITY", "mandatory")})
    report = fleet.report("apply", "--yes", "--policies", "policies", expect=11)
    stacks = {each["folder"]: each for each in report["stacks"]}
    assert stacks["stacks/a"]["status"] == "applied"
    assert "no-b" in stacks["stacks/b"]["refusals"][0]
    assert fleet.groups() == ["a"]


def test_an_override_of_a_policy_holds_for_all_stacks(fleet: Fleet) -> None:
    fleet.write({"policies/p.yaml": POLICY.replace("SEVERITY", "overridable")})
    override = ("--policies", "policies", "--override-policy", "no-b=agreed")
    fleet.fleet("apply", "--yes", *override, expect=0)
    assert fleet.groups() == ["a", "b"]


def test_an_override_of_a_policy_that_a_stack_lacks_changes_nothing_there(fleet: Fleet) -> None:
    policy = POLICY.replace("SEVERITY", "overridable")
    fleet.add("stacks/b", manifest=f"{group('b')}---\n{policy}")
    assert fleet.statuses("plan", "--override-policy", "no-b=agreed", expect=0) == {
        "stacks/a": "pending",
        "stacks/b": "pending",
    }
    assert fleet.statuses("plan", "--override-policy", "no-a=agreed", expect=11)["stacks/b"] == (
        "refused"
    )


def test_the_digest_of_a_drift_report_approves_undoing_the_drift(fleet: Fleet) -> None:
    fleet.fleet("apply", "--yes", expect=0)
    fleet.rename_group("b", "other")
    digest = fleet.report("drift", expect=2)["digest"]
    fleet.fleet("apply", "--approve", digest, expect=0)
    assert fleet.groups() == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "code", "groups"), [("yes", 0, ["a", "b"]), ("no", 1, [])])
def test_a_terminal_is_asked_once_for_all_stacks(
    fleet: Fleet, answer: str, code: int, groups: list[str]
) -> None:
    import pty

    keyboard, terminal = pty.openpty()
    os.write(keyboard, f"{answer}\n".encode())
    done = subprocess.run(
        fleet.command("fleet", "apply"),
        cwd=fleet.folder,
        env=fleet.environment,
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, fleet.groups()) == (code, groups)
    assert done.stderr.count("Only yes is accepted") == 1
    assert "Pending: 2" in done.stdout
