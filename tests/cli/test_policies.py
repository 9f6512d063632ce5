"""Claims about policies at the command line: refusals, delayed decisions and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workspace

PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
STORE = "kind: VectorStore\nmetadata: {name: docs}\nspec: {name: Docs}\n"
ASSISTANT = """\
kind: Assistant
metadata: {name: bot}
spec: {model: gpt-5.1, metadata: {store: "${VectorStore/docs}"}}
"""


def policy(rule: str, *, name: str = "p", spec: str = "") -> str:
    lines = "".join(f"  {line}\n" for line in spec.split("\n") if line)
    return f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  rule: {json.dumps(rule)}\n{lines}"


NAMED = policy('resource.spec.name == "Other"', spec="match: {kinds: [VectorStore]}")
UNDECIDED = policy(
    'resource.spec.metadata.store.startsWith("vs_")', spec="match: {kinds: [Assistant]}"
)


def policies_of(workspace: Workspace, *command: str) -> dict[str, Any]:
    finished = workspace.run(*command, "--format", "json")
    view: dict[str, Any] = json.loads(finished.out)["reconciler"]["policies"]
    return view


# --- refusing


@pytest.mark.parametrize("command", [("validate",), ("plan",), ("apply", "--yes")])
def test_a_mandatory_failure_refuses_and_says_where(
    workspace: Workspace, command: tuple[str, ...]
) -> None:
    finished = workspace.declare(STORE, NAMED).run(*command, expect=11)
    message = 'mandatory policy "p" fails for VectorStore/docs at manifests.yaml:1:1'
    assert f"Refused: {message}" in finished.err


def test_a_refused_plan_changes_and_saves_nothing(workspace: Workspace) -> None:
    workspace.declare(STORE, NAMED).run("plan", "--out", "p.json", expect=11)
    workspace.run("apply", "--yes", expect=11)
    assert not (workspace.folder / "p.json").exists()
    assert [request for request in workspace.emulator.requests if request.method == "POST"] == []


def test_an_advisory_failure_is_reported_and_applied(workspace: Workspace) -> None:
    advisory = policy("false", spec="match: {kinds: [VectorStore]}\nseverity: advisory")
    planned = workspace.declare(STORE, advisory).run("plan", expect=0)
    assert "p fails (advisory)" in planned.out
    workspace.apply()


def test_an_override_needs_a_reason_and_applies(workspace: Workspace) -> None:
    overridable = policy("false", spec="match: {kinds: [VectorStore]}\nseverity: overridable")
    workspace.declare(STORE, overridable)
    refused = workspace.run("plan", expect=11)
    assert '--override-policy "p=REASON"' in refused.err
    workspace.run("plan", "--override-policy", "p", expect=1)
    planned = workspace.run("plan", "--override-policy", "p=agreed with finance", expect=0)
    assert "overridden: agreed with finance" in planned.out
    workspace.apply("--override-policy", "p=agreed")


@pytest.mark.parametrize("severity", ["mandatory", "advisory"])
def test_only_an_overridable_policy_can_be_overridden(workspace: Workspace, severity: str) -> None:
    workspace.declare(STORE, policy("false", spec=f"severity: {severity}"))
    finished = workspace.run("plan", "--override-policy", "p=because", expect=1)
    assert f'the policy "p" is {severity}, not overridable' in finished.err


def test_an_override_of_an_unknown_policy_is_an_error(workspace: Workspace) -> None:
    finished = workspace.declare(STORE).run("plan", "--override-policy", "p=because", expect=1)
    assert 'there is no policy "p"' in finished.err


def test_a_saved_plan_is_judged_again_when_it_is_applied(workspace: Workspace) -> None:
    overridable = policy("false", spec="match: {kinds: [VectorStore]}\nseverity: overridable")
    workspace.declare(STORE, overridable)
    workspace.run("plan", "--out", "p.json", "--override-policy", "p=because", expect=0)
    workspace.run("apply", "p.json", expect=11)
    workspace.run("apply", "p.json", "--override-policy", "p=because", expect=0)


def test_a_policy_can_refuse_a_deletion(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    keeps = policy('change.before.name != "Docs"', spec="match: {actions: [delete]}")
    finished = workspace.declare(keeps).run("destroy", "--yes", expect=11)
    assert 'policy "p" fails for VectorStore/docs' in finished.err


def test_an_apply_without_changes_is_refused_too(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    workspace.declare(STORE, NAMED).run("apply", "--yes", expect=11)


def test_a_target_hides_no_resource_from_a_rule(workspace: Workspace) -> None:
    rule = 'resources.exists(r, r.kind == "Assistant")'
    other = policy(rule, spec="match: {kinds: [VectorStore]}")
    workspace.declare(STORE, ASSISTANT, other)
    workspace.run("plan", "--target", "VectorStore/docs", expect=0)


# --- values known after apply


def test_a_rule_over_a_new_id_is_decided_after_the_apply(workspace: Workspace) -> None:
    workspace.declare(STORE, ASSISTANT, UNDECIDED)
    planned = policies_of(workspace, "plan")
    assert [result["outcome"] for result in planned["results"]] == ["undecided"]
    applied = policies_of(workspace, "apply", "--yes")
    assert applied["counts"] == {"pass": 1}


def test_a_rule_that_fails_after_the_apply_exits_with_11(workspace: Workspace) -> None:
    workspace.declare(STORE, ASSISTANT, UNDECIDED.replace("vs_", "xx_"))
    applied = workspace.run("apply", "--yes", expect=11)
    assert "2 created" in applied.out
    assert "Assistant/bot   p fails (mandatory)" in applied.out


@pytest.mark.parametrize(
    "rule",
    ["has(resource.spec.expires_after)", "resource.spec.?expires_after.?days.orValue(0) > 0"],
)
def test_validate_leaves_to_plan_what_manifests_do_not_decide(
    workspace: Workspace, rule: str
) -> None:
    expires = policy(rule, spec="match: {kinds: [VectorStore]}")
    workspace.declare(STORE, expires).run("validate", expect=0)
    workspace.run("plan", expect=11)


# --- tests and mistakes


def test_validate_runs_the_tests_of_policies(workspace: Workspace) -> None:
    tested = policy(
        "true", spec="tests:\n- {name: wrong, given: {resource: {kind: File}}, expect: fail}"
    )
    finished = workspace.declare(STORE, tested).run("validate", expect=1)
    assert "Policy test failed: wrong" in finished.err
    assert "manifests.yaml:10:5" in finished.err


@pytest.mark.parametrize("command", ["validate", "plan", "apply", "drift", "destroy"])
def test_a_policy_with_an_unknown_field_stops_every_command(
    workspace: Workspace, command: str
) -> None:
    workspace.declare(STORE, policy("resource.nmae == 'a'"))
    finished = workspace.run(command, expect=1)
    assert "Unknown field in the rule" in finished.err
    assert "manifests.yaml:8:9" in finished.err


def test_a_hostile_rule_ends_with_its_budget(workspace: Workspace) -> None:
    ones = "[" + ",".join(["1"] * 100) + "]"
    bomb = f"{ones}.all(a, {ones}.all(b, {ones}.all(c, {ones}.all(d, true))))"
    finished = workspace.declare(STORE, policy(bomb)).run("plan", expect=11)
    assert "one evaluation takes more than 1,000,000 steps" in finished.err


# --- trusted policies


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "a.yaml").write_text(NAMED, encoding="utf-8")
    return folder


def test_a_trusted_policy_refuses_and_is_named_by_its_file(
    workspace: Workspace, trusted: Path
) -> None:
    finished = workspace.declare(STORE).run("plan", "--policies", str(trusted), expect=11)
    assert "ask the owners of the policy for an exception" in finished.err


@pytest.mark.parametrize("command", ["validate", "plan", "apply", "drift"])
def test_a_manifest_cannot_replace_a_trusted_policy(
    workspace: Workspace, trusted: Path, command: str
) -> None:
    workspace.declare(STORE, policy("true"))
    finished = workspace.run(command, "--policies", str(trusted), expect=1)
    assert "cannot replace a trusted policy" in finished.err
    assert "manifests.yaml:5:1" in finished.err


def test_two_trusted_folders_cannot_have_policies_of_one_name(
    workspace: Workspace, trusted: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.yaml").write_text(policy("true"), encoding="utf-8")
    workspace.declare(STORE)
    arguments = ("--policies", str(trusted), "--policies", str(other))
    workspace.run("plan", *arguments, expect=1)


def test_a_trusted_folder_has_policies_only(workspace: Workspace, trusted: Path) -> None:
    (trusted / "b.yaml").write_text(PROJECT, encoding="utf-8")
    finished = workspace.declare(STORE).run("plan", "--policies", str(trusted), expect=1)
    assert "declares Project/search, and only policies belong there" in finished.err


def test_a_missing_folder_of_policies_is_an_error(workspace: Workspace) -> None:
    finished = workspace.declare(STORE).run("plan", "--policies", "nowhere", expect=1)
    assert '--policies: "nowhere" is no folder' in finished.err


def test_the_library_can_be_used_as_it_is(workspace: Workspace) -> None:
    library = Path(__file__).parent.parent.parent / "examples" / "policies"
    finished = workspace.declare(PROJECT).run("validate", "--policies", str(library), expect=11)
    assert 'policy "projects-have-a-spend-limit" fails for Project/search' in finished.err


# --- live objects


def test_drift_judges_live_objects_and_exits_with_11(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    rule = 'live.created_at > 0 && live.name != "Docs"'
    live = policy(rule, spec="on: live\nmatch: {kinds: [VectorStore]}")
    workspace.declare(STORE, live).run("plan", expect=0)
    drifted = workspace.run("drift", "--report", "d.json:json", expect=11)
    assert "VectorStore/docs   p fails (mandatory)" in drifted.out
    view = json.loads((workspace.folder / "d.json").read_text(encoding="utf-8"))
    assert view["reconciler"]["policies"]["refuses"] is True


def test_drift_of_unmanaged_objects_judges_them_as_well(workspace: Workspace) -> None:
    workspace.declare(STORE).apply()
    unmanaged = policy("resource.managed", spec="on: live\nmatch: {kinds: [VectorStore]}")
    workspace.declare(unmanaged, PROJECT).run("state", "rm", "VectorStore/docs", expect=0)
    workspace.run("drift", expect=0)
    finished = workspace.run("drift", "--unmanaged", expect=11)
    assert "p fails (mandatory)" in finished.out


# --- reports


def test_every_report_has_the_results_with_their_places(workspace: Workspace) -> None:
    workspace.declare(STORE, NAMED)
    reports = ("--report", "p.json:json", "--report", "p.md:markdown", "--report", "p.txt:text")
    workspace.run("plan", *reports, expect=11)
    read = {
        name: (workspace.folder / f"p.{name}").read_text(encoding="utf-8")
        for name in ("json", "md", "txt")
    }
    view = json.loads(read["json"])
    assert view["applyable"] is False
    (result,) = view["reconciler"]["policies"]["results"]
    assert (result["id"], result["outcome"]) == ("policy/p/VectorStore/docs", "fail")
    assert result["range"]["start"] == {"line": 1, "column": 1}
    assert 'policy "p" fails for VectorStore/docs' in read["txt"]
    assert 'policy "p" fails for VectorStore/docs' in read["md"]
    assert all("Policies: 1 policy, 1 failed." in read[name] for name in ("md", "txt"))
