"""A rehearsal foretells the apply that follows it, and touches nothing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import pytest

from reconciler.emulator.recorder import RequestRecord
from tests.conftest import Finished, Workspace
from tests.rehearsal.conftest import files_of
from tests.whole_examples import PROJECT

pytestmark = pytest.mark.slow  # several commands and an emulator of their own for each test

STORE = """\
kind: VectorStore
metadata: {name: handbook, project: search}
spec: {name: Handbook, files: [{path: "handbook/*.md", attributes: {team: cx}}]}
"""
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: indexer, project: search}
spec: {name: indexer, key: {write_to: {file: secrets/indexer.key}}}
"""
AGENT = """\
kind: Agent
metadata: {name: support, project: search}
spec: {name: Support, model: gpt-5.1, instructions: Be kind., metadata: {store: "${VectorStore/search/handbook}"}}
"""
FILES = {"handbook/a.md": "# A\n", "handbook/b.md": "# B\n"}


def limit(requests: int) -> str:
    return (
        "kind: RateLimit\nmetadata: {name: gpt, project: search}\n"
        f"spec: {{model: gpt-4.1, max_requests_per_1_minute: {requests}}}\n"
    )


@dataclass(frozen=True)
class Scenario:
    """What was applied before, and what the plan is about."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    options: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    """Files that change together with the manifests."""


SCENARIOS = (
    Scenario("a new project with everything", (), (PROJECT, ACCOUNT, STORE, AGENT, limit(77))),
    Scenario(
        "a new version of a file",
        (PROJECT, ACCOUNT, STORE),
        (PROJECT, ACCOUNT, STORE),
        files={"handbook/a.md": "# Another\n"},
    ),
    Scenario(
        "other instructions of an agent",
        (PROJECT, ACCOUNT, STORE, AGENT),
        (PROJECT, ACCOUNT, STORE, AGENT.replace("kind.", "brief.")),
    ),
    Scenario("another rate limit", (PROJECT, limit(77)), (PROJECT, limit(78))),
    Scenario(
        "a file that the API refuses",
        (PROJECT, ACCOUNT),
        (PROJECT, ACCOUNT, STORE.replace("*.md", "*")),
        files={"handbook/program.exe": "MZ"},
    ),
    Scenario(
        "deletions of a store, its files and an account",
        (PROJECT, ACCOUNT, STORE, AGENT),
        (PROJECT, ACCOUNT),
        ("--allow-delete", "VectorStore/search/handbook", "--allow-delete", "Agent/search/support"),
    ),
    Scenario(
        "the end of a project",
        (PROJECT, limit(77)),
        (),
        ("--destroy", "--allow-delete", "Project/search"),
    ),
    Scenario(
        "an account that is replaced",
        (PROJECT, ACCOUNT),
        (PROJECT, ACCOUNT),
        ("--replace", "ServiceAccount/search/indexer"),
    ),
    Scenario("nothing to do", (PROJECT, limit(77)), (PROJECT, limit(77))),
)
every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=attrgetter("name"))


@pytest.fixture
def begun(workspace: Workspace, scenario: Scenario) -> Workspace:
    """A folder whose manifests differ from what was applied."""
    workspace.write(FILES)
    if scenario.before:
        workspace.declare(*scenario.before).apply()
    workspace.write(scenario.files)
    workspace.declare(*(scenario.after or scenario.before))
    workspace.emulator.clear_requests()
    return workspace


def rehearsed(finished: Finished) -> dict[str, Any]:
    """The result of a rehearsal in JSON."""
    value: dict[str, Any] = json.loads(finished.out)
    return value


def calls_of(requests: list[RequestRecord]) -> Counter[tuple[str, str, bool]]:
    return Counter((one.method, one.route, one.key_class == "admin") for one in requests)


def calls_in(result: dict[str, Any]) -> Counter[tuple[str, str, bool]]:
    return Counter(
        {
            (route["method"], route["path"], route["is_admin"]): route["calls"]
            for route in result["calls"]["applying"]
        }
    )


def steps_of(finished: Finished) -> set[tuple[str, str, str]]:
    """The changes in any order, as those that do not depend on each other run at the same time."""
    steps = rehearsed(finished)["steps"]
    return {(step["address"], step["action"], step["status"]) for step in steps}


@every_scenario
def test_a_saved_plan_takes_the_rehearsed_calls(begun: Workspace, scenario: Scenario) -> None:
    planned = begun.run("plan", "--out", "plan.json", *scenario.options)
    assert planned.code == 0, planned.err
    options = [word for word in scenario.options if word != "--destroy"]
    if "--replace" in options:
        options = []
    result = rehearsed(begun.run("rehearse", "plan.json", *options, "--format", "json"))
    begun.emulator.clear_requests()
    applied = begun.run("apply", "plan.json", *options, "--format", "json")
    assert calls_in(result) == calls_of(begun.emulator.requests)
    assert result["passed"] == (applied.code == 0)


@every_scenario
def test_an_apply_writes_what_was_rehearsed(begun: Workspace, scenario: Scenario) -> None:
    result = rehearsed(begun.run("rehearse", *scenario.options, "--format", "json"))
    begun.emulator.clear_requests()
    command = ["apply", "--yes"]
    options = list(scenario.options)
    if "--destroy" in options:
        options.remove("--destroy")
        command = ["destroy", "--yes"]
    applied = begun.run(*command, *options)
    writes = [one for one in begun.emulator.requests if one.method != "GET"]
    assert calls_of(writes) == Counter(
        {call: n for call, n in calls_in(result).items() if call[0] != "GET"}
    )
    steps = {(step["address"], step["status"]) for step in result["steps"]}
    assert all(address in applied.out for address, _ in steps)
    assert result["passed"] == (applied.code == 0)


@every_scenario
def test_a_rehearsal_touches_nothing(begun: Workspace, scenario: Scenario) -> None:
    before, objects = files_of(begun.folder), begun.emulator.store.counts()
    begun.run("rehearse", "--kill-at", "1", *scenario.options)
    assert {one.method for one in begun.emulator.requests} == {"GET"}
    assert files_of(begun.folder) == before
    assert begun.emulator.store.counts() == objects


@every_scenario
def test_a_recording_gives_the_same_rehearsal(begun: Workspace, scenario: Scenario) -> None:
    live = begun.run("rehearse", *scenario.options, "--format", "json")
    begun.run("rehearse", *scenario.options, "--record", "organization.json")
    begun.emulator.stop()
    begun.variables |= dict.fromkeys(("OPENAI_ADMIN_KEY", "OPENAI_API_KEY"), "")
    options = (*scenario.options, "--from", "organization.json", "--format", "json")
    offline = begun.run("rehearse", *options)
    assert offline.code == live.code
    assert calls_in(rehearsed(offline)) == calls_in(rehearsed(live))
    assert steps_of(offline) == steps_of(live)


def test_a_command_that_takes_keys_is_not_run(stack: Workspace) -> None:
    account = ACCOUNT.replace("file: secrets/indexer.key", "command: [touch, delivered]")
    stack.declare(PROJECT, account)
    result = rehearsed(stack.run("rehearse", "--format", "json", expect=0))
    assert not (stack.folder / "delivered").exists()
    assert result["withheld_keys"] == ["ServiceAccount/search/indexer → command:touch delivered"]


VAULT = """\
kind: Vault
metadata: {name: tools}
spec: {name: Tools}
---
kind: Credential
metadata: {name: tickets}
spec:
  vault_id: ${Vault/tools}
  name: Tickets
  auth:
    type: static_bearer
    mcp_server_url: https://tickets.example
    token: {from_file: secrets/token}
"""


def test_a_changed_secret_is_rehearsed_live(workspace: Workspace) -> None:
    workspace.write({"secrets/token": "a first token\n"}).declare(VAULT).apply()
    workspace.write({"secrets/token": "a second token\n"})
    result = rehearsed(workspace.run("rehearse", "--kill-at", "1", "--format", "json", expect=0))
    assert [(one["address"], one["action"]) for one in result["steps"]] == [
        ("Credential/tickets", "update")
    ]


def test_a_secret_that_is_not_there_counts_as_unchanged_on_a_recording(
    workspace: Workspace,
) -> None:
    workspace.write({"secrets/token": "a first token\n"}).declare(VAULT).apply()
    workspace.run("rehearse", "--record", "organization.json", expect=0)
    (workspace.folder / "secrets" / "token").unlink()
    other = VAULT.split("---\n")[1].replace("tickets}", "others}")
    workspace.declare(VAULT, other)
    finished = workspace.run("rehearse", "--from", "organization.json", "--format", "json")
    result = rehearsed(finished)
    assert [(one["address"], one["action"], one["status"]) for one in result["steps"]] == [
        ("Credential/others", "create", "applied")
    ]


@pytest.mark.parametrize("at", range(1, 8))
def test_an_apply_resumes_wherever_it_was_killed(workspace: Workspace, at: int) -> None:
    workspace.write(FILES).declare(PROJECT, ACCOUNT, STORE, AGENT, limit(77))
    result = rehearsed(workspace.run("rehearse", "--kill-at", str(at), "--format", "json"))
    check = result["checks"][-1]
    assert (check["name"], check["verdict"], check["detail"]) == (
        f"An apply that is killed at write {at} resumes",
        "passed",
        "",
    )


def test_a_kill_beyond_the_last_write_is_skipped(stack: Workspace) -> None:
    result = rehearsed(stack.run("rehearse", "--kill-at", "50", "--format", "json", expect=0))
    assert result["checks"][-1]["verdict"] == "skipped"


def test_lost_answers_are_rehearsed(stack: Workspace) -> None:
    fault = "on=POST:/organization/projects,do=reset,when=after"
    result = rehearsed(stack.run("rehearse", "--faults", fault, "--format", "json", expect=0))
    route = {(one["method"], one["path"]): one for one in result["calls"]["applying"]}
    assert route["POST", "/organization/projects"]["refused"] == 1


def test_a_guard_that_refuses_the_plan_refuses_the_rehearsal(stack: Workspace) -> None:
    protected = PROJECT.replace("on_remove: delete", "on_remove: delete, prevent_destroy: true")
    stack.declare(protected).apply()
    finished = stack.run("rehearse", "--destroy", "--format", "json", expect=11)
    assert rehearsed(finished)["refusals"]
    assert rehearsed(finished)["calls"]["applying"] == []


def test_a_policy_that_refuses_the_plan_refuses_the_rehearsal(stack: Workspace) -> None:
    policy = """\
kind: Policy
metadata: {name: no-search}
spec:
  match: {kinds: [Project]}
  severity: mandatory
  rule: resource.spec.name != "Search"
  message: '"not again"'
"""
    (stack.folder.parent / "trusted").mkdir()
    (stack.folder.parent / "trusted" / "policy.yaml").write_text(policy, encoding="utf-8")
    finished = stack.run("rehearse", "--policies", "../trusted", "--format", "json", expect=11)
    assert "not again" in finished.out
    assert rehearsed(finished)["calls"]["applying"] == []


def test_a_plan_that_the_state_has_overtaken_is_stale(stack: Workspace) -> None:
    stack.run("plan", "--out", "plan.json", expect=0)
    stack.apply()
    finished = stack.run("rehearse", "plan.json", "--format", "json", expect=1)
    check = next(one for one in rehearsed(finished)["checks"] if "saved plan" in one["name"])
    assert check["verdict"] == "failed"
    assert "the state has moved on" in check["detail"] or "another state" in check["detail"]


def test_an_object_that_changed_since_the_plan_makes_it_stale(stack: Workspace) -> None:
    stack.declare(PROJECT, limit(77)).apply()
    stack.declare(PROJECT, limit(78)).run("plan", "--out", "plan.json", expect=0)
    with stack.emulator.store.lock:
        for project in stack.emulator.store.all("project"):
            project.hidden["limits"].setdefault("gpt-4.1", {})["max_requests_per_1_minute"] = 5
    finished = stack.run("rehearse", "plan.json", "--format", "json", expect=1)
    check = next(one for one in rehearsed(finished)["checks"] if "saved plan" in one["name"])
    assert "RateLimit/search/gpt stale" in check["detail"]


def test_what_cannot_be_read_is_listed_and_the_rest_is_rehearsed(stack: Workspace) -> None:
    other = PROJECT.replace("search", "other").replace("Search", "Other")
    stack.declare(PROJECT, other).apply()
    id = stack.run("state", "show", "Project/other", expect=0).out
    project = next(word.strip('",') for word in id.split() if "proj_" in word)
    path = f"GET:/organization/projects/{project}/rate_limits"
    stack.emulator.add_fault(f"on={path}*,do=error:403,times=0")
    theirs = limit(5).replace("project: search", "project: other")
    stack.declare(PROJECT, other, limit(77), theirs)
    result = rehearsed(stack.run("rehearse", "--format", "json", expect=1))
    assert [(one["address"], one["status"]) for one in result["steps"]] == [
        ("RateLimit/search/gpt", "applied")
    ]
    assert any("RateLimit/other/gpt" in line for line in result["unread"])
    assert "403" in json.dumps(result["unread"])


def test_hostile_names_are_shown_escaped_in_every_format(stack: Workspace) -> None:
    name = "Evil \x1b[31m ](https://evil.example) <script> @everyone 日本"
    with stack.emulator.store.lock:
        for project in stack.emulator.store.all("project"):
            project.body["name"] = name
    stack.declare(PROJECT.replace("Search", "a <b> | c"))
    reports = [f"report.{name}:{name}" for name in ("text", "json", "markdown", "junit")]
    options = [word for report in reports for word in ("--report", report)]
    stack.run("rehearse", "--record", "organization.json", *options, expect=0)
    stack.run("rehearse", "--from", "organization.json", expect=0)
    for report in reports:
        text = (stack.folder / report.partition(":")[0]).read_text(encoding="utf-8")
        assert "\x1b" not in text
        assert "<script>" not in text


def test_the_report_as_junit_has_a_case_for_each_check(stack: Workspace) -> None:
    from xml.etree import ElementTree

    finished = stack.run("rehearse", "--kill-at", "1", "--format", "junit", expect=0)
    suite = ElementTree.fromstring(finished.out).find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite][-1] == "An apply that is killed at write 1 resumes"
    assert suite.get("failures") == "0"
