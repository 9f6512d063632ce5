"""Claims about webhooks: the signing secret is shown once, and goes to its sink or the webhook goes."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from reconciler.emulator.store import digest
from tests.cli.test_plan_and_apply import user
from tests.conftest import Workspace

SINK = "{write_to: {file: secrets/hook.key}}"
HOOK = f"""\
kind: Webhook
metadata: {{name: batches}}
spec:
  url: https://example.com/hook
  event_types: [batch.completed, batch.failed]
  signing_secret: {SINK}
"""


@pytest.fixture
def hook(workspace: Workspace) -> Workspace:
    return workspace.write({"w.yaml": HOOK})


def hooks(workspace: Workspace) -> list[dict[str, Any]]:
    with user(workspace) as client:
        found: list[dict[str, Any]] = client.get("/webhook_endpoints").json()["data"]
        return found


def is_delivered(workspace: Workspace) -> bool:
    """Whether the sink has the secret of the one webhook that there is."""
    (one,) = workspace.emulator.store.all("webhook")
    return bool(
        digest((workspace.folder / "secrets" / "hook.key").read_text().strip())
        == one.hidden["digest"]
    )


def test_the_signing_secret_is_delivered_and_is_nowhere_else(hook: Workspace) -> None:
    done = hook.apply("-vv")
    secret = (hook.folder / "secrets" / "hook.key").read_text().strip()
    others = [path for path in hook.folder.rglob("*") if path.is_file() and path.suffix != ".key"]
    assert is_delivered(hook)
    assert secret not in done.out + done.err
    assert [path for path in others if secret.encode() in path.read_bytes()] == []


def test_events_in_another_order_are_no_difference_and_others_are_changed_in_place(
    hook: Workspace,
) -> None:
    hook.apply()
    (before,) = hooks(hook)
    hook.write(
        {"w.yaml": HOOK.replace("batch.completed, batch.failed", "batch.failed, batch.completed")}
    )
    assert hook.plan().code == 0
    hook.write({"w.yaml": HOOK.replace("batch.failed", "video.failed")}).apply()
    (after,) = hooks(hook)
    assert after["id"] == before["id"]
    assert sorted(after["event_types"]) == ["batch.completed", "video.failed"]
    assert is_delivered(hook)


def test_a_webhook_whose_secret_was_lost_is_replaced(hook: Workspace) -> None:
    hook.write({"w.yaml": HOOK.replace(SINK, '{write_to: {command: [sh, -c, "kill -9 $PPID"]}}')})
    died = subprocess.run(
        hook.command("apply", "--yes"),
        cwd=hook.folder,
        env=hook.environment,
        capture_output=True,
        check=False,
    )
    (lost,) = hooks(hook)
    assert died.returncode == -9
    hook.write({"w.yaml": HOOK}).apply()
    (found,) = hooks(hook)
    assert found["id"] != lost["id"]
    assert is_delivered(hook)


def test_a_webhook_whose_answer_was_lost_is_made_again(hook: Workspace) -> None:
    hook.emulator.add_fault("on=POST:/webhook_endpoints,do=reset,when=after")
    hook.apply()
    assert len(hooks(hook)) == 1
    assert is_delivered(hook)


def test_a_webhook_is_called_with_https_alone(hook: Workspace) -> None:
    hook.write({"w.yaml": HOOK.replace("https://", "http://")})
    assert "url" in hook.run("validate", expect=1).err
