"""Claims about `audit`: who did what, in the organization or to one address, newest first."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.cli.test_plan_and_apply import ASSISTANT, LIMIT, PROJECT, admin, project_id
from tests.conftest import Workspace

HOSTILE = "a|b\x1b[2J\u202e<img src=x>`c`@everyone"


@pytest.fixture
def applied(workspace: Workspace) -> Workspace:
    """A project and a limit in it, and a project of the same name that somebody else made since."""
    workspace.write({"project.yaml": PROJECT, "limit.yaml": LIMIT}).apply()
    with admin(workspace) as client:
        other = made(client, "Other")
        client.post(
            f"/organization/projects/{other}/rate_limits/rl-gpt-4.1",
            json={"max_requests_per_1_minute": 9},
        )
    workspace.emulator.clear_requests()
    return workspace


def made(client: httpx.Client, name: str) -> str:
    return str(client.post("/organization/projects", json={"name": name}).json()["id"])


def entries(workspace: Workspace, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        workspace.run("audit", *arguments, "--format", "json", expect=0).out
    )["entries"]
    return found


def test_everything_is_listed_the_newest_first(applied: Workspace) -> None:
    assert [(entry["type"], entry["address"]) for entry in entries(applied)] == [
        ("rate_limit.updated", None),
        ("project.created", None),
        ("rate_limit.updated", "RateLimit/search/main"),
        ("project.created", "Project/search"),
    ]


def test_an_entry_says_who_when_what_and_the_fields(applied: Workspace) -> None:
    [entry] = entries(applied, "RateLimit/search/main")
    assert entry["actor"] == "ada@example.com with API key key_EmulatorAdmin000"
    assert entry["details"] == {"changes_requested": {"max_requests_per_1_minute": 300}}
    assert entry["at"].endswith("Z")
    assert entry["project"] == "search"
    line = applied.run("audit", "RateLimit/search/main", expect=0).out.splitlines()[1]
    assert (
        "rate_limit.updated  RateLimit/search/main  search   max_requests_per_1_minute: 300" in line
    )


def test_an_address_in_a_project_means_that_project_alone(applied: Workspace) -> None:
    assert [entry["project_id"] for entry in entries(applied, "RateLimit/search/main")] == [
        entry["resource_id"] for entry in entries(applied, "Project/search")
    ]


def test_a_project_that_is_not_declared_stands_with_its_id(applied: Workspace) -> None:
    with admin(applied) as client:
        other = project_id(client, "Other")
    assert f"Other ({other})" in applied.run("audit", expect=0).out


def test_an_address_has_the_entries_of_every_object_it_ever_had(applied: Workspace) -> None:
    allowed = ("--allow-delete", "Project/search", "--allow-delete", "RateLimit/search/main")
    applied.apply("--replace", "Project/search", *allowed)
    types = [entry["type"] for entry in entries(applied, "Project/search")]
    assert types.count("project.created") == 2
    assert "project.archived" in types


def test_the_limit_is_kept_over_many_pages(applied: Workspace) -> None:
    with admin(applied) as client:
        for number in range(105):
            made(client, f"p{number}")
    applied.emulator.clear_requests()
    assert len(entries(applied, "--limit", "103")) == 103
    assert len(applied.emulator.requests) == 2
    assert len(entries(applied, "--limit", "3")) == 3


def test_entries_are_narrowed_by_type_and_time(applied: Workspace) -> None:
    assert {entry["type"] for entry in entries(applied, "--type", "project.created")} == {
        "project.created"
    }
    assert len(entries(applied, "--since", "1h")) == 4
    assert entries(applied, "--since", "2099-01-01T00:00") == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_log_that_is_off_or_forbidden_says_what_to_do(applied: Workspace, status: int) -> None:
    applied.emulator.add_fault(f"on=GET:/organization/audit_logs,do=error:{status}")
    error = applied.run("audit", expect=1).err
    assert "The audit log cannot be read" in error
    assert "switches it on in the organization's settings" in error


def test_an_empty_log_is_no_error_and_says_when_it_begins(workspace: Workspace) -> None:
    done = workspace.run("audit", expect=0)
    assert done.out == ""
    assert "It starts when an owner enables it." in done.err


@pytest.mark.parametrize("format", ["text", "markdown", "json"])
def test_untrusted_text_does_not_act(workspace: Workspace, format: str) -> None:
    with admin(workspace) as client:
        made(client, HOSTILE)
    out = workspace.run("audit", "--format", format, "--report", f"r:{format}", expect=0).out
    assert not any(sign in out for sign in ("\x1b", "\u202e"))
    assert (workspace.folder / "r").read_text(encoding="utf-8") == out
    if format == "markdown":
        assert "``a\\|b\\x1b[2J\\u202e<img src=x>`c`@everyone (proj_" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Projekt/search"], 'there is no kind "Projekt". Did you mean "Project"?'),
        (["Project"], "ADDRESS: "),
        (["Assistant/bot"], "does not report objects of the kind Assistant"),
        (
            ["Project/serch"],
            'the state knows no object of Project/serch. Did you mean "Project/search"?',
        ),
        (["--since", "yesterday"], '--since "yesterday" is no time'),
    ],
    ids=str,
)
def test_a_wrong_question_is_refused_before_any_call(
    applied: Workspace, arguments: list[str], message: str
) -> None:
    assert message in applied.write({"a.yaml": ASSISTANT}).run("audit", *arguments, expect=1).err
    assert applied.emulator.requests == []
