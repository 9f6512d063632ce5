"""Traces of runs, as a collector of OpenTelemetry receives them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter

import pytest

from tests.conftest import Workspace
from tests.telemetry.collector import Server, Span, resource_of, spans_of

STORE = """\
kind: VectorStore
metadata: {name: handbook}
spec: {name: Handbook}
"""
FILE = """\
kind: VectorStore
metadata: {name: notes}
spec: {name: Notes, metadata: {owner: "ada@example.com"}}
"""
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def traced(workspace: Workspace, server: Server) -> Workspace:
    """A workspace whose runs are traced."""
    workspace.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = server.url
    return workspace.declare(STORE, FILE)


def by_name(spans: list[Span]) -> dict[str, list[Span]]:
    """Spans by their name."""
    named: dict[str, list[Span]] = {}
    for span in spans:
        named.setdefault(span.name, []).append(span)
    return named


def test_an_apply_is_a_tree_of_phases_changes_and_requests(
    traced: Workspace, server: Server
) -> None:
    traced.apply()
    spans = spans_of(server)
    named = by_name(spans)
    (run,) = named["reconciler apply"]
    (apply,) = named["apply"]
    (collect,) = named["collect"]
    assert {
        span.parent for name in ("load", "collect", "plan", "apply") for span in named[name]
    } == {run.id}
    changes = named["write VectorStore"]
    assert [span.parent for span in changes] == [apply.id, apply.id]
    assert [span.attributes["reconciler.status"] for span in changes] == ["applied", "applied"]
    creates = named["POST /vector_stores"]
    assert {span.parent for span in creates} == {change.id for change in changes}
    assert {span.parent for span in named["GET /agents"]} == {collect.id}
    assert {span.trace for span in spans} == {run.trace}
    assert run.parent == b""
    assert run.attributes == {
        "reconciler.command": "apply",
        "reconciler.stack": "stack",
        "reconciler.environment": "default",
        "process.exit.code": 0,
    }
    assert not any(span.is_failed for span in spans)


def test_a_request_has_its_route_status_and_attempt(traced: Workspace, server: Server) -> None:
    traced.emulator.add_fault("on=GET:/vector_stores,do=error:503")
    traced.run("plan", expect=0)
    lists = by_name(spans_of(server))["GET /vector_stores"]
    statuses = Counter(span.attributes["http.response.status_code"] for span in lists)
    assert statuses == {200: 1, 503: 1}
    (failed,) = (span for span in lists if span.is_failed)
    assert failed.attributes == {
        "http.request.method": "GET",
        "url.template": "/vector_stores",
        "reconciler.attempt": 1,
        "reconciler.waited_seconds": 0.0,
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert max(span.attributes["reconciler.attempt"] for span in lists) == 2


def test_a_trace_continues_the_one_of_the_ci_job(traced: Workspace, server: Server) -> None:
    traced.variables |= {
        "TRACEPARENT": f"00-{TRACE}-{PARENT}-01",
        "OTEL_SERVICE_NAME": "platform",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=prod",
    }
    traced.run("plan", expect=0)
    (run,) = by_name(spans_of(server))["reconciler plan"]
    assert (run.trace.hex(), run.parent.hex()) == (TRACE, PARENT)
    resource = resource_of(server)
    assert resource["service.name"] == "platform"
    assert resource["deployment.environment"] == "prod"


@pytest.mark.slow
def test_without_a_name_the_service_is_reconciler(traced: Workspace, server: Server) -> None:
    traced.run("plan", expect=0)
    assert resource_of(server)["service.name"] == "reconciler"


def test_a_fleet_has_a_span_for_each_stack(traced: Workspace, server: Server) -> None:
    (traced.folder / "manifests.yaml").unlink()
    for name, manifest in (("a", STORE), ("b", "kind: Nothing\n")):
        stack = f"kind: Stack\nmetadata: {{name: {name}}}\n"
        traced.write({f"{name}/reconciler.yaml": stack, f"{name}/m.yaml": manifest})
    traced.run("fleet", "plan", expect=1)
    named = by_name(spans_of(server))
    (run,) = named["reconciler fleet plan"]
    stacks = {str(span.attributes["reconciler.stack"]): span for span in named["plan stack"]}
    assert {span.parent for span in stacks.values()} == {run.id}
    assert {name: span.is_failed for name, span in stacks.items()} == {"a": False, "b": True}
    assert stacks["b"].attributes["error.type"] == "ConfigurationInvalid"
    (collect,) = named["collect"]
    assert collect.parent == stacks["a"].id


def test_a_failed_run_is_a_failed_span(traced: Workspace, server: Server) -> None:
    traced.declare("kind: VectorStore\nmetadata: {name: a}\nspec: {nme: b}\n")
    traced.run("plan", expect=1)
    (run,) = by_name(spans_of(server))["reconciler plan"]
    assert run.is_failed
    assert run.attributes["process.exit.code"] == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
)
def test_traces_can_be_turned_off(
    traced: Workspace, server: Server, variables: dict[str, str]
) -> None:
    traced.variables |= variables
    finished = traced.run("plan", expect=0)
    assert server.requests == []
    assert finished.err == ""


def test_no_key_query_id_or_name_is_in_a_trace(traced: Workspace, server: Server) -> None:
    traced.apply()
    traced.variables["OTEL_EXPORTER_OTLP_HEADERS"] = "authorization=Bearer%20planted-token-1"
    traced.run("drift", expect=0)
    secret = (
        traced.emulator.admin_key,
        traced.emulator.api_key,
        "ada@example.com",
        "vs_",
        "Handbook",
        "handbook",
    )
    exported = b"".join(request.body for request in server.requests)
    assert [
        word for word in (*secret, "planted-token", "limit=") if word.encode() in exported
    ] == []
    assert server.requests[-1].headers["authorization"] == "Bearer planted-token-1"


@pytest.mark.slow
def test_a_collector_that_refuses_changes_no_exit_code(traced: Workspace, server: Server) -> None:
    server.status = 400
    finished = traced.run("plan", "--detailed-exitcode", expect=2)
    assert finished.err.splitlines() == [
        "Warning: the trace of this run did not reach its collector."
    ]


@pytest.mark.slow
def test_a_run_ends_while_its_collector_is_silent(traced: Workspace, server: Server) -> None:
    traced.variables["OTEL_EXPORTER_OTLP_TIMEOUT"] = "600"
    server.answering.clear()
    # The library would wait for longer than this before it gives up.
    patience = threading.Timer(20, server.answering.set)
    patience.start()
    finished = traced.run("plan", expect=0)
    was_silent = not server.answering.is_set()
    patience.cancel()
    assert was_silent
    assert len(server.requests) == 1
    assert "did not reach its collector" in finished.err


@pytest.mark.slow
def test_an_unknown_exporter_is_a_warning(traced: Workspace) -> None:
    traced.variables["OTEL_TRACES_EXPORTER"] = "zipkin"
    finished = traced.run("plan", expect=0)
    assert 'OTEL_TRACES_EXPORTER names "zipkin"' in finished.err


@pytest.mark.slow
def test_another_protocol_is_a_warning(traced: Workspace) -> None:
    traced.variables["OTEL_EXPORTER_OTLP_PROTOCOL"] = "grpc"
    finished = traced.run("plan", expect=0)
    assert 'OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"' in finished.err


@pytest.mark.slow
def test_a_run_without_variables_imports_no_library(workspace: Workspace) -> None:
    workspace.declare(STORE)
    code = (
        "import sys\n"
        "from reconciler.cli.main import run\n"
        "assert run(['plan']) == 0\n"
        "heavy = {'opentelemetry', 'prometheus_client', 'apprise', 'requests'}\n"
        "assert not heavy & {name.partition('.')[0] for name in sys.modules}\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=workspace.folder,
        env=workspace.environment,
        check=True,
        capture_output=True,
    )


@pytest.mark.slow
def test_a_missing_library_is_a_warning_that_names_the_extra(traced: Workspace) -> None:
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from reconciler.cli.main import run\n"
        "sys.exit(run(['plan', '--detailed-exitcode']))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=traced.folder,
        env=traced.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "pip install 'reconciler-iac[otel]'" in ended.stderr
