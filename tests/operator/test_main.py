"""Settings of the operator that cannot work, and the environment of its sessions."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest

from reconciler.errors import UsageError
from reconciler.model.secret import Redactor
from reconciler.operator import main
from reconciler.operator.health import HealthServer
from reconciler.operator.inputs import OperatorOptions
from reconciler.operator.main import (
    OperatorSettings,
    check_state,
    run_operator,
    session_environment,
)
from reconciler.operator.service import ServiceOptions


def _settings(backend: str | None, *, allow_local_state: bool = False) -> OperatorSettings:
    options = OperatorOptions(env={}, backend=backend)
    return OperatorSettings(options, ServiceOptions(), allow_local_state=allow_local_state)


@pytest.mark.parametrize("backend", [None, "local:/tmp/state"])
def test_a_state_that_a_new_pod_would_not_find_is_refused(backend: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        check_state(_settings(backend))
    assert "RECONCILER_BACKEND" in refused.value.hint


def test_a_shared_state_and_a_local_one_that_a_volume_keeps_are_accepted() -> None:
    check_state(_settings("postgresql://db/reconciler"))
    check_state(_settings("local:/tmp/state", allow_local_state=True))


def test_a_missing_extra_is_a_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="kopf") as refused:
        run_operator(_settings("postgresql://db/x"), Redactor(), threading.Event())
    assert "reconciler-iac[operator]" in refused.value.hint


def test_sessions_see_no_key_of_the_operators_environment() -> None:
    seen = session_environment(
        {
            "OPENAI_ADMIN_KEY": "sk-admin-1234",
            "OPENAI_BASE_URL": "https://elsewhere.example",
            "OTHER_KEY": " sk-proj-12345678 ",
            "PATH": "/bin",
        }
    )
    assert seen == {"PATH": "/bin"}


def test_probes_say_what_is_wrong() -> None:
    problems = {"live": "", "ready": "Stacks are not listed yet"}
    health = HealthServer(
        0, live=lambda: problems["live"], ready=lambda: problems["ready"], host="127.0.0.1"
    )
    try:
        assert _get(health.port, "/livez") == (200, "ok\n")
        assert _get(health.port, "/readyz") == (503, "Stacks are not listed yet\n")
        assert _get(health.port, "/other")[0] == 404
        problems["ready"] = ""
        assert _get(health.port, "/readyz")[0] == 200
    finally:
        health.close()


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
