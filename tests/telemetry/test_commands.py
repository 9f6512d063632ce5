"""Metrics and notices of commands, as a CI job uses them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from reconciler.cli.metrics import end_telemetry
from reconciler.cli.outcome import RunOutcome
from tests.conftest import Workspace
from tests.telemetry.collector import Server

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook}
"""
BROKEN = "kind: VectorStore\nmetadata: {name: a}\nspec: {nme: b}\n"
PASSWORD = "hunter2hunter2"
RUN = "Run: https://github.com/acme/infra/actions/runs/7"
TOKEN = "T0kenOfTheChat"


def figures(text: str) -> dict[str, float]:
    """The samples that are not zero, by name and the label that tells them apart."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.value:
                key = sample.labels.get("status") or sample.labels.get("action") or ""
                values[f"{sample.name} {key}".strip()] = sample.value
    return values


def fleet(workspace: Workspace, **stacks: str) -> Workspace:
    """A workspace with a stack in each folder."""
    for name, manifest in stacks.items():
        stack = f"kind: Stack\nmetadata: {{name: {name}}}\n"
        workspace.write(
            {f"stacks/{name}/reconciler.yaml": stack, f"stacks/{name}/m.yaml": manifest}
        )
    return workspace


def change_by_hand(workspace: Workspace, name: str) -> None:
    """Rename the only vector store."""
    emulator = workspace.emulator
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    with httpx.Client(base_url=emulator.base_url, headers=headers) as api:
        (store,) = api.get("/vector_stores").json()["data"]
        api.post(f"/vector_stores/{store['id']}", json={"name": name}).raise_for_status()


def test_an_apply_writes_its_metrics_to_a_file(workspace: Workspace) -> None:
    file = workspace.folder / "reconciler.prom"
    workspace.declare(STORE).apply("--metrics", str(file))
    values = figures(file.read_text(encoding="utf-8"))
    assert values["reconciler_stack_status applied"] == 1
    assert values["reconciler_last_apply_changes applied"] == 1
    assert "reconciler_pending_changes create" not in values
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in workspace.folder.glob(".reconciler.prom*")] == []


@pytest.mark.parametrize(
    ("manifest", "code", "status"), [(STORE, 0, "pending"), (BROKEN, 1, "failed")]
)
def test_a_plan_writes_its_metrics_whatever_its_outcome(
    workspace: Workspace, manifest: str, code: int, status: str
) -> None:
    file = workspace.folder / "reconciler.prom"
    workspace.declare(manifest).run("plan", "--metrics", str(file), expect=code)
    values = figures(file.read_text(encoding="utf-8"))
    assert values[f"reconciler_stack_status {status}"] == 1


def test_a_file_that_cannot_be_written_is_refused_before_the_first_call(
    workspace: Workspace,
) -> None:
    finished = workspace.declare(STORE).run("plan", "--metrics", "missing/a.prom", expect=1)
    assert '--metrics: "missing/a.prom" lies in "missing", which is no folder' in finished.err
    assert workspace.emulator.requests == []


def test_a_drift_is_pushed_to_the_group_of_its_stack(workspace: Workspace, server: Server) -> None:
    address = server.url.replace("//", f"//ci:{PASSWORD}@")
    workspace.variables["RECONCILER_PUSHGATEWAY_URL"] = address
    workspace.declare(STORE).run("drift", expect=0)
    (request,) = server.requests
    assert request.method == "PUT"
    assert request.path == "/metrics/job/reconciler/environment/default/stack/stack"
    expected = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
    assert request.headers["authorization"] == f"Basic {expected}"
    assert "reconciler_stack_status pending" in figures(request.body.decode())


@pytest.mark.parametrize("status", [0, 500])
def test_a_pushgateway_that_fails_is_a_warning(
    workspace: Workspace, server: Server, status: int
) -> None:
    server.status = status or 200
    host = server.url.removeprefix("http://") if status else "127.0.0.1:1"
    workspace.variables["RECONCILER_PUSHGATEWAY_URL"] = f"http://ci:{PASSWORD}@{host}"
    finished = workspace.declare(STORE).run("plan", "--detailed-exitcode", expect=2)
    assert finished.err.startswith("Warning: metrics cannot be pushed")
    assert PASSWORD not in finished.err


def without_the_library(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where prometheus-client is not installed."""
    code = (
        "import sys\n"
        "sys.modules['prometheus_client'] = None\n"
        "from reconciler.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=workspace.folder,
        env=workspace.environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_pushgateway_without_the_library_is_a_warning(workspace: Workspace) -> None:
    workspace.variables["RECONCILER_PUSHGATEWAY_URL"] = "http://127.0.0.1:1"
    ended = without_the_library(workspace.declare(STORE), "plan", "--detailed-exitcode")
    assert ended.returncode == 2
    assert "pip install 'reconciler-iac[metrics]'" in ended.stderr


@pytest.mark.slow
def test_a_file_without_the_library_is_refused_before_the_first_call(
    workspace: Workspace,
) -> None:
    ended = without_the_library(workspace.declare(STORE), "plan", "--metrics", "a.prom")
    assert ended.returncode == 1
    assert "Install reconciler with its extra `metrics`" in ended.stderr
    assert workspace.emulator.requests == []


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("secret text"), "incomplete: ValueError"), (KeyboardInterrupt(), "Interrupted")],
)
def test_a_mistake_in_telemetry_is_a_warning(
    capsys: pytest.CaptureFixture[str], error: BaseException, said: str
) -> None:
    def fail(_: int) -> None:
        raise error

    codes: list[int] = []
    outcome = RunOutcome()
    outcome.ended = [codes.append, fail]
    end_telemetry(outcome, 7)
    shown = capsys.readouterr().err
    assert codes == [7]
    assert said in shown
    assert "secret text" not in shown


def test_a_fleet_writes_one_page_about_all_stacks(workspace: Workspace) -> None:
    file = workspace.folder / "fleet.prom"
    fleet(workspace, a=STORE, b=BROKEN)
    workspace.run("fleet", "plan", "--metrics", str(file), expect=1)
    values = figures(file.read_text(encoding="utf-8"))
    assert values["reconciler_stacks failed"] == 1
    assert values["reconciler_stacks pending"] == 1


@pytest.mark.slow
def test_a_fleet_announces_drift_once_and_its_end_once(
    workspace: Workspace, server: Server
) -> None:
    workspace.variables["RECONCILER_NOTICE_URLS"] = f"{server.url.replace('http', 'json')}/{TOKEN}"
    workspace.variables |= {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": "https://github.com"}
    workspace.variables |= {"GITHUB_REPOSITORY": "acme/infra", "GITHUB_RUN_ID": "7"}
    fleet(workspace, search=STORE).run("fleet", "apply", "--yes", "--notify", expect=0)
    assert server.requests == []
    change_by_hand(workspace, f"{workspace.emulator.admin_key} @everyone")
    for _ in range(2):
        finished = workspace.run("fleet", "drift", "--notify", expect=2)
    workspace.run("fleet", "apply", "--yes", "--notify", expect=0)
    notices = [json.loads(request.body) for request in server.requests]
    assert [(notice["title"], notice["message"]) for notice in notices] == [
        (
            "reconciler: 1 drifted",
            f"stacks/search: drifted – VectorStore/handbook\n{RUN}",
        ),
        (
            "reconciler: 1 without drift again",
            f"stacks/search: without drift again\n{RUN}",
        ),
    ]
    everything = server.bytes.decode() + finished.out + finished.err
    assert workspace.emulator.admin_key not in everything
    assert TOKEN not in finished.out + finished.err


@pytest.mark.slow
def test_a_target_that_is_down_is_a_warning_and_hears_of_it_later(
    workspace: Workspace, server: Server
) -> None:
    workspace.variables["RECONCILER_NOTICE_URLS"] = f"{server.url.replace('http', 'json')}/{TOKEN}"
    fleet(workspace, search=BROKEN)
    server.status = 500
    first = workspace.run("fleet", "plan", "--notify", expect=1)
    # The library logs what it sent and to where. None of that is ours to show.
    assert first.err.splitlines() == [
        "Warning: 1 target was not reached with notices, and will hear of it in the next run."
    ]
    server.status = 200
    second = workspace.run("fleet", "plan", "--notify", expect=1)
    assert "Warning" not in second.err
    workspace.run("fleet", "plan", "--notify", expect=1)
    assert len(server.requests) == 2


def test_notices_need_a_target(workspace: Workspace) -> None:
    finished = fleet(workspace, a=STORE).run("fleet", "drift", "--notify", expect=1)
    assert "RECONCILER_NOTICE_URLS, which is not set" in finished.err


@pytest.mark.slow
def test_a_memory_that_cannot_be_written_sends_nothing(
    workspace: Workspace, server: Server, tmp_path: Path
) -> None:
    workspace.variables["RECONCILER_NOTICE_URLS"] = server.url.replace("http", "json")
    fleet(workspace, a=BROKEN).write({".reconciler/fleet.db": "no database"})
    finished = workspace.run("fleet", "plan", "--notify", expect=1)
    assert "Warning: notices may be missing or come twice" in finished.err
    assert server.requests == []
