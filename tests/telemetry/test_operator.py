"""What the operator serves and sends while it runs, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from reconciler.cli.operator_telemetry import operator_telemetry
from reconciler.cli.options import GlobalOptions
from reconciler.emulator import Emulator
from reconciler.errors import UsageError
from reconciler.fleet.stack_run import FleetContext
from reconciler.model.fleet import Command
from tests.servers.postgres import free_port
from tests.telemetry.collector import Server, spans_of
from tests.telemetry.stacks import drift, plan, result, run_on

STORE = "kind: VectorStore\nmetadata: {name: handbook}\nspec: {name: Handbook}\n"


def test_metrics_are_served_while_it_runs() -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    with operator_telemetry(GlobalOptions(), port=port, backend=None) as recorder:
        recorder.record(result(), interval_seconds=600)
        page = httpx.get(url).text
    labels = 'environment="prod",organization="org-acme",stack="search"'
    assert f"reconciler_interval_seconds{{{labels}}} 600.0" in page
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_that_is_taken_is_a_mistake_of_the_user() -> None:
    port = free_port()
    with (
        operator_telemetry(GlobalOptions(), port=port, backend=None),
        pytest.raises(UsageError, match=f"port {port}"),
        operator_telemetry(GlobalOptions(), port=port, backend=None),
    ):
        pass


def test_notices_are_sent_and_remembered_beside_the_states(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_NOTICE_URLS", server.url.replace("http", "json"))
    options, backend = GlobalOptions(notify=True), f"file://{tmp_path}"
    for _ in range(2):
        with operator_telemetry(options, port=None, backend=backend) as recorder:
            recorder.record(result(plan=plan(drifts=(drift(),))))
    (request,) = server.requests
    assert json.loads(request.body)["title"] == "reconciler: 1 drifted"


def test_each_look_at_a_stack_is_a_trace(
    server: Server, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.yaml").write_text(STORE, encoding="utf-8")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    with operator_telemetry(GlobalOptions(), port=None, backend=None) as recorder:
        context = FleetContext(recorder=recorder)
        for _ in range(2):
            run_on(emulator, tmp_path, Command.DRIFT, context)
    run_on(emulator, tmp_path, Command.DRIFT, FleetContext())
    roots = [span for span in spans_of(server) if not span.parent]
    assert [span.name for span in roots] == ["drift stack", "drift stack"]
    assert len({span.trace for span in roots}) == 2
