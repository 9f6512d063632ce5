"""Claims about `check` and `apply --check`: which checks run, with which key, the messages and the exit code."""

from __future__ import annotations

import json
import signal
from xml.etree import ElementTree

import pytest

from tests.cli.test_interrupts import ended, start, until
from tests.conftest import Workspace

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook, files: [{path: refunds.md}]}
"""
FINDS = """\
kind: Check
metadata: {name: finds-refunds}
spec:
  operation: searchVectorStore
  parameters: {vector_store_id: "${VectorStore/handbook}"}
  body: {query: coat}
  expect: {values: {"data[0].filename": refunds.md}}
"""
MODEL = """\
kind: Check
metadata: {name: has-no-gpt-0}
spec:
  operation: retrieveModel
  parameters: {model: gpt-0}
  expect: {status: 404}
"""
FAILS = """\
kind: Check
metadata: {name: fails}
spec:
  operation: createModeration
  body: {input: "sheer violence"}
  expect: {values: {"results[0].flagged": false}}
"""
BUDGET = """\
kind: Check
metadata: {name: budget}
spec: {budget: {below: 1}}
"""


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    workspace.write({"refunds.md": "A coat may be returned within 30 days.\n"})
    return workspace.declare(STORE, FINDS, MODEL, FAILS, BUDGET)


def test_checks_are_run_and_reported_in_every_format(stack: Workspace) -> None:
    stack.apply()
    reports = ("--report", "r.xml:junit", "--report", "r.json:json", "--report", "r.md:markdown")
    said = stack.run("check", *reports, expect=1).out
    assert "✓ Check/finds-refunds" in said
    assert "✗ Check/fails" in said
    assert "results[0].flagged is true; expected it to be false" in said
    assert said.endswith("4 checks: 3 passed, 1 failed.\n")
    suite = ElementTree.parse(stack.folder / "r.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["fails"]
    report = json.loads((stack.folder / "r.json").read_text())
    assert [item["status"] for item in report["checks"]] == ["passed", "failed", "passed", "passed"]
    assert "| ✗ failed | `Check/fails` |" in (stack.folder / "r.md").read_text()


def test_only_the_named_checks_are_run_and_no_other(stack: Workspace) -> None:
    stack.run("check", "Check/has-no-gpt-0", "Check/budget", expect=0)
    assert {request.path for request in stack.emulator.requests} == {
        "/models/gpt-0",
        "/organization/costs",
    }
    unknown = stack.run("check", "Check/has-no-gpt-1", expect=1)
    assert 'Did you mean "Check/has-no-gpt-0"?' in unknown.err


def test_a_check_is_no_object(stack: Workspace) -> None:
    stack.apply()
    assert stack.plan().code == 0
    assert "Check" not in stack.run("state", "list", expect=0).out
    stack.declare(STORE, MODEL)
    assert stack.plan().code == 0


def test_apply_runs_the_checks_of_what_it_changed_and_says_which_it_did_not(
    stack: Workspace,
) -> None:
    first = stack.run("apply", "--yes", "--check", expect=0).out
    assert "✓ Check/finds-refunds" in first
    assert (
        "- Check/fails           not run: nothing that it refers to was changed by this apply"
        in first
    )
    stack.write({"refunds.md": "A hat may be returned within 30 days.\n"})
    second = stack.run("apply", "--yes", "--check", "--format", "json", expect=1)
    report = json.loads(second.out)["reconciler"]["checks"]
    assert {item["address"]: item["status"] for item in report["checks"]}[
        "Check/finds-refunds"
    ] == "failed"
    stack.emulator.clear_requests()
    third = stack.run("apply", "--yes", "--check", expect=0)
    assert "No check was run, because nothing changed" in third.err
    assert {request.method for request in stack.emulator.requests} == {"GET"}


def test_a_check_of_something_that_refers_to_what_changed_is_run(workspace: Workspace) -> None:
    workspace.write({"refunds.md": "coat\n"})
    assistant = (
        "kind: Assistant\nmetadata: {name: bot}\nspec:\n  model: gpt-4.1\n  tools: [{type: file_search}]\n"
        '  tool_resources: {file_search: {vector_store_ids: ["${VectorStore/handbook}"]}}\n'
    )
    answers = (
        "kind: Check\nmetadata: {name: answers}\nspec:\n  operation: createResponse\n"
        '  body: {model: gpt-5.1, input: Hello, metadata: {bot: "${Assistant/bot}"}}\n'
    )
    workspace.declare(STORE, assistant, answers).apply()
    workspace.write({"refunds.md": "hat\n"})
    assert "✓ Check/answers" in workspace.run("apply", "--yes", "--check", expect=0).out


def test_a_check_uses_the_key_of_its_project(workspace: Workspace) -> None:
    scope = "metadata: {name: handbook, project: search}"
    project = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
    account = (
        "kind: ServiceAccount\nmetadata: {name: ci, project: search}\n"
        "spec: {name: ci, key: {write_to: {file: secrets/search.key}}}\n"
    )
    stack = (
        "kind: Stack\nspec:\n  manifests: [manifests.yaml]\n"
        "  credentials: {projects: {search: '${file:secrets/search.key}'}}\n"
    )
    named = FINDS.replace("finds-refunds", "finds, project: search")
    finds = named.replace("/handbook", "/search/handbook")
    workspace.write({"refunds.md": "coat\n", "reconciler.yaml": stack})
    workspace.declare(project, account, STORE.replace("metadata: {name: handbook}", scope), finds)
    workspace.apply()
    assert "1 check: 1 passed." in workspace.run("check", expect=0).out


def test_ctrl_c_ends_a_check_and_leaves_nothing_behind(workspace: Workspace) -> None:
    waits = (
        "kind: Check\nmetadata: {name: waits}\nspec:\n  operation: createResponse\n"
        "  body: {model: gpt-5.1, input: Hello, background: true}\n"
    )
    workspace.declare(waits, FAILS.replace("fails", "zz-later"))
    workspace.emulator.set_options(faults=["on=GET:/responses/*,do=hang:500"])
    process = start(workspace, "check", "--parallelism", "1")
    until(
        process,
        lambda: any(request.path == "/responses" for request in workspace.emulator.requests),
    )
    code, out, _ = ended(process, signal.SIGINT)
    assert code == 130
    assert "Check/zz-later   not run: the run was stopped" in out
    assert workspace.emulator.store.counts().get("response", 0) == 0
    assert [request.method for request in workspace.emulator.requests][-2:] == ["POST", "DELETE"]


def test_a_key_that_an_answer_shows_is_in_no_output(workspace: Workspace) -> None:
    session = (
        "kind: Check\nmetadata: {name: session}\nspec:\n  operation: createRealtimeClientSecret\n"
        "  body: {session: {type: realtime, model: gpt-realtime}}\n"
        "  expect: {values: {to_string(@): x, value: {matches: ^ek_}}}\n"
    )
    finished = workspace.declare(session).run("check", "-vv", "--report", "r.json:json", expect=1)
    [request] = workspace.emulator.requests
    texts = (finished.out, finished.err, (workspace.folder / "r.json").read_text())
    assert [text for text in texts if request.response_body["value"] in text] == []
    assert 'value is "•••"' in finished.out
