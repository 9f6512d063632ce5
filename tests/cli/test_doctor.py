"""`doctor` names problems of keys, network, clock, state and models, with the cure."""

from __future__ import annotations

import json
import time
from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from reconciler.app.doctor.network import clock_finding
from reconciler.app.doctor.state import lock_finding
from reconciler.app.model_shutdowns import shutdown_warnings
from reconciler.emulator import Emulator, EmulatorOptions
from reconciler.model.consistency import ServerClock
from reconciler.model.doctor import FindingStatus
from reconciler.state.lock import Holder
from reconciler.state.process import Process
from tests.conftest import Workspace
from tests.manifests.conftest import Folder, folder

__all__ = ["folder"]

INVITE = "kind: Invite\nmetadata: {name: ada}\nspec: {email: ada@example.com, role: reader}\n"
AGENT = "kind: Agent\nmetadata: {name: bot}\nspec: {name: Bot, model: MODEL}\n"
SECRET = "sk-admin-emulator"


def examined(workspace: Workspace, *arguments: str, expect: int = 0) -> dict[str, Any]:
    done = workspace.run("doctor", "--format", "json", *arguments, expect=expect)
    return dict(json.loads(done.out))


def findings(report: dict[str, Any], topic: str, status: str) -> list[str]:
    return [
        f"{finding['sentence']} {finding['cure']}"
        for finding in report["findings"]
        if (finding["topic"], finding["status"]) == (topic, status)
    ]


def refuse(workspace: Workspace, path: str) -> None:
    workspace.emulator.add_fault(f"on=GET:{path},do=error:403,times=0")


def test_a_healthy_stack_has_no_error_and_exits_with_0(workspace: Workspace) -> None:
    report = examined(workspace.declare(INVITE))
    assert report["healthy"]
    assert not [entry for entry in report["findings"] if entry["status"] == "error"]


def test_a_declared_kind_that_the_key_may_not_read_is_an_error(workspace: Workspace) -> None:
    refuse(workspace, "/organization/invites*")
    report = examined(workspace.declare(INVITE), expect=1)
    [error] = findings(report, "keys", "error")
    assert "may not read Invite, which the manifests declare" in error


def test_a_kind_that_nothing_declares_may_be_unreadable(workspace: Workspace) -> None:
    refuse(workspace, "/organization/roles*")
    report = examined(workspace.declare(INVITE))
    assert "may not read Role, which no manifest declares" in findings(report, "keys", "warning")[0]


def test_swapped_keys_are_named(workspace: Workspace) -> None:
    workspace.variables = {
        "OPENAI_ADMIN_KEY": workspace.emulator.api_key,
        "OPENAI_API_KEY": workspace.emulator.admin_key,
    }
    first, second = findings(examined(workspace, expect=1), "keys", "error")
    assert first.startswith("OPENAI_ADMIN_KEY holds a project's key, and an admin key is needed")
    assert second.startswith("OPENAI_API_KEY holds an admin key, and a project's key is needed")


def test_a_revoked_key_costs_one_call(workspace: Workspace) -> None:
    workspace.variables = {"OPENAI_ADMIN_KEY": "sk-gone-gone-gone-gone", "OPENAI_API_KEY": ""}
    report = examined(workspace, expect=1)
    assert "check what is in OPENAI_ADMIN_KEY" in findings(report, "keys", "error")[0]
    assert report["calls"] == 1


def test_a_missing_permission_is_named_as_the_api_names_it(workspace: Workspace) -> None:
    # A key of a project's service account is refused by the admin routes with the missing scope.
    workspace.variables = {
        "OPENAI_ADMIN_KEY": workspace.emulator.api_key,
        "OPENAI_API_KEY": "",
    }
    refuse(workspace, "/models")
    report = examined(workspace, expect=1)
    assert "api.management.read" in findings(report, "keys", "error")[0]


def test_no_key_is_shown_in_any_format(workspace: Workspace) -> None:
    for name in ("text", "json", "markdown"):
        done = workspace.run("doctor", "--format", name)
        assert SECRET not in done.out + done.err
        assert workspace.emulator.api_key not in done.out + done.err


def test_without_any_key_the_variables_are_named(workspace: Workspace) -> None:
    workspace.variables = {"OPENAI_ADMIN_KEY": "", "OPENAI_API_KEY": ""}
    [error] = findings(examined(workspace, expect=1), "keys", "error")
    assert "OPENAI_ADMIN_KEY" in error
    assert "OPENAI_API_KEY" in error


def test_an_unreadable_audit_log_is_a_warning_with_its_cost(workspace: Workspace) -> None:
    refuse(workspace, "/organization/audit_logs*")
    [warning] = findings(examined(workspace), "audit log", "warning")
    assert "every plan reads all lists" in warning


def test_another_organization_than_the_stack_names_is_an_error(workspace: Workspace) -> None:
    workspace.write({"reconciler.yaml": "kind: Stack\nspec: {organization: org-other}\n"})
    [error] = findings(examined(workspace, expect=1), "organization", "error")
    assert "org-other" in error


def test_a_server_that_cannot_be_reached_is_asked_once(workspace: Workspace) -> None:
    report = examined(workspace, "--base-url", "http://127.0.0.1:1/v1", expect=1)
    [error] = findings(report, "network", "error")
    assert "cannot be reached" in error
    assert report["calls"] == 1


def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(workspace: Workspace) -> None:
    workspace.variables = {"HTTPS_PROXY": "ftp://user:secret-word@proxy"}
    report = examined(workspace, "--base-url", "https://api.example.com/v1", expect=1)
    [error] = findings(report, "network", "error")
    assert error.startswith("HTTPS_PROXY names a proxy")
    assert "secret-word" not in json.dumps(report)


def test_a_certificate_file_that_cannot_be_read_is_named(workspace: Workspace) -> None:
    workspace.variables = {"SSL_CERT_FILE": "/missing.pem"}
    report = examined(workspace, "--base-url", "https://api.example.com/v1", expect=1)
    assert "SSL_CERT_FILE (/missing.pem)" in findings(report, "network", "error")[0]


def test_broken_manifests_do_not_hide_the_rest(workspace: Workspace) -> None:
    report = examined(workspace.declare("kind: Agent\nmetadata: {name: a}\nspec: {}\n"), expect=1)
    assert "model" in findings(report, "manifests", "error")[0]
    assert findings(report, "lock", "ok")


def test_a_state_of_another_server_is_an_error(workspace: Workspace) -> None:
    workspace.declare("kind: Project\nmetadata: {name: p}\nspec: {name: P}\n").apply()
    with Emulator(EmulatorOptions(organization="org-elsewhere")) as other:
        report = examined(workspace, "--base-url", other.base_url, expect=1)
    [error] = findings(report, "state", "error")
    assert "The state belongs to the organization org-emulator" in error


def test_what_a_plan_and_an_apply_call_is_listed_for_the_declared_kinds(
    workspace: Workspace,
) -> None:
    needs = examined(workspace.declare(INVITE))["needs"]
    assert needs["admin"]["plan"] == ["GET /organization/invites"]
    assert "POST /organization/invites" in needs["admin"]["apply"]
    assert "project" not in needs


def test_a_declared_model_that_the_server_ends_soon_is_named(folder: Folder) -> None:
    folder.write({"a.yaml": AGENT.replace("MODEL", "own-model")})
    [warning] = shutdown_warnings(
        folder.load().resources,
        base_url="https://gateway.example.com/v1",
        today=date(2027, 1, 4),
        announced={"own-model": date(2027, 1, 14)},
    )
    assert warning.summary == "The model own-model shuts down on 2027-01-14, in 10 days"


def test_a_model_that_no_key_lists_is_named_with_its_place(workspace: Workspace) -> None:
    report = examined(workspace.declare(AGENT.replace("MODEL", "gpt-5.2-typo")))
    [warning] = findings(report, "models", "warning")
    assert warning.startswith(
        "No key lists the model gpt-5.2-typo, which Agent/bot names in model."
    )


def test_the_models_of_the_manifests_are_compared_with_the_servers_list(
    workspace: Workspace,
) -> None:
    report = examined(workspace.declare(AGENT.replace("MODEL", "gpt-4")))
    assert "The model gpt-4 was shut down on 2026-10-23" in findings(report, "models", "warning")[0]


@pytest.mark.parametrize(("ahead", "words"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_wrong_clock_is_a_warning_with_its_direction(ahead: int, words: str) -> None:
    clock = ServerClock(lambda: 1_800_000_000.0)
    date_header = format_datetime(datetime.fromtimestamp(1_800_000_000 + ahead, UTC), usegmt=True)
    clock.learn(date_header, sent_at=1_800_000_000.0, received_at=1_800_000_000.0)
    finding = clock_finding(clock)
    assert finding.status is FindingStatus.WARNING
    assert f"seconds {words} the server's" in finding.sentence


def test_a_lock_of_a_running_process_is_told_from_a_stale_lock() -> None:
    here = Process.current()
    living = Holder("ada", "reconciler apply", time.time(), here)
    assert "Another run holds the lock" in lock_finding(living, here).sentence
    dead = Holder(
        "ada",
        "reconciler apply",
        time.time(),
        Process(here.host, 2**22 + 1, here.machine, here.boot, here.namespace, "1"),
    )
    assert "left behind" in lock_finding(dead, here).sentence
