"""A real Prometheus scrapes our endpoint, runs every query of the dashboard and evaluates the alerts."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import generate_latest

from reconciler.model.change import Action, OutcomeStatus
from reconciler.model.fleet import Command, StackStatus
from reconciler.telemetry.exposition import Endpoint
from reconciler.telemetry.metrics import PrometheusRecorder
from tests.servers.postgres import free_port
from tests.telemetry.queries import ALERTS, alerts, dashboard_queries, substituted
from tests.telemetry.stacks import applied, change, drift, plan, result, rotation, stack_id
from tests.telemetry.test_metrics import request
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "alerts_test.yaml"
DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def recorder() -> PrometheusRecorder:
    """The metrics of a small fleet, with a value in every series."""
    recorder = PrometheusRecorder()
    looked = plan(
        change(Action.UPDATE, keys=(rotation(is_due=True),)), drifts=(drift(),), refusals=("no",)
    )
    for status in StackStatus:
        found = result(
            status, id=stack_id(status.value), plan=looked, ended_at=time.time(), spend_share=0.95
        )
        recorder.record(found, interval_seconds=60)
    outcomes = applied(looked, OutcomeStatus.APPLIED)
    recorder.record(result(command=Command.APPLY, plan=looked, result=outcomes))
    for status in (200, 429, 500, 0):
        recorder.sent(request(status=status, waited_seconds=2.0))
    recorder.limits("org-acme", {"GET /organization/projects": 7})
    recorder.notified(delivered=False)
    return recorder


@pytest.fixture(scope="module")
def prometheus(
    recorder: PrometheusRecorder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a Prometheus that has scraped the fleet more than once."""
    folder = tmp_path_factory.mktemp("prometheus")
    endpoint = Endpoint(recorder.registry, 0, "127.0.0.1")
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {
                "job_name": "reconciler",
                "static_configs": [{"targets": [f"127.0.0.1:{endpoint.port}"]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for_scrapes(url)
        yield url
    finally:
        process.terminate()
        process.wait()
        endpoint.close()


def _wait_for_scrapes(url: str) -> None:
    def has_scraped() -> bool:
        try:
            return len(ask(url, "reconciler_build_info[1m]")[0]["values"]) > 2
        # While it starts, Prometheus answers with a text in place of JSON.
        except (httpx.HTTPError, json.JSONDecodeError, IndexError):
            return False

    wait_for(has_scraped, seconds=DEADLINE_SECONDS, explain=lambda: "Prometheus did not scrape")


def answer(url: str, query: str) -> list[dict[str, Any]]:
    """The answer to a query. A scrape that was late leaves a gap, so it may take a while."""
    return wait_for(
        lambda: ask(url, query),
        seconds=DEADLINE_SECONDS,
        explain=lambda: f"no answer to {query}",
        pause=0.1,
    )


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The answer to a query; fails if Prometheus refuses it."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


@pytest.mark.parametrize(
    "query", [query for query in dashboard_queries() if not query.startswith("label_values")]
)
def test_every_query_of_the_dashboard_has_an_answer(prometheus: str, query: str) -> None:
    assert answer(prometheus, substituted(query)) != []


def test_the_stacks_that_need_attention_come_worst_first(prometheus: str) -> None:
    (query,) = (query for query in dashboard_queries() if query.startswith("sort_desc"))
    shown = [row["metric"]["status"] for row in answer(prometheus, substituted(query))]
    assert shown == ["failed", "refused", "locked", "drifted", "pending"]


def test_prometheus_can_evaluate_every_alert(prometheus: str) -> None:
    (group,) = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    assert {rule["name"]: rule["health"] for rule in group["rules"]} == {
        alert["alert"]: "ok" for alert in alerts()
    }


def test_promtool_finds_nothing_to_improve(recorder: PrometheusRecorder) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=generate_latest(recorder.registry),
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stderr.decode()) == (0, "")


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    cases["rule_files"] = [str(ALERTS)]
    file = tmp_path / "cases.yaml"
    file.write_text(json.dumps(cases), encoding="utf-8")
    tested = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
