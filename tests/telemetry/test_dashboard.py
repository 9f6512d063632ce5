"""The dashboard and the alerts ask only for what is exported."""

from __future__ import annotations

import json
import re
import subprocess
import warnings
from collections import Counter

import pytest

from tests.telemetry.queries import (
    ALERTS,
    alerts,
    dashboard,
    dashboard_queries,
    panels,
    problems,
    series,
)


@pytest.mark.parametrize("query", dashboard_queries())
def test_a_query_of_the_dashboard_uses_exported_series(query: str) -> None:
    assert list(problems(query)) == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_uses_exported_series(alert: dict[str, str]) -> None:
    assert list(problems(alert["expr"])) == []
    labels = {
        label
        for text in alert["annotations"].values()
        for label in re.findall(r"\$labels\.(\w+)", text)
    }
    names = re.findall(r"reconciler_\w+", alert["expr"])
    assert labels <= set.union(*(series()[name] for name in names))


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("reconciler_drift", "there is no series reconciler_drift"),
        ('reconciler_stacks{stack="a"}', "reconciler_stacks has no label stack"),
        ("sum by (stack) (reconciler_stacks)", "no series of the query has the label stack"),
        ("label_values(reconciler_stacks, stack)", "no series of the query has the label stack"),
    ],
)
def test_a_wrong_query_is_noticed(query: str, problem: str) -> None:
    assert list(problems(query)) == [problem]


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    with warnings.catch_warnings():
        # It prefers the next version of the schema, which Grafana before 12 does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models.dashboard import Dashboard
    loaded = Dashboard.from_json(dashboard())
    written = json.loads(json.dumps(loaded, cls=JSONEncoder))
    assert list(lost(dashboard(), written)) == []


def lost(given: object, kept: object, at: str = "") -> list[str]:
    """The fields of a document that another one lacks or has changed."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            path
            for name, value in given.items()
            for path in lost(value, kept.get(name), f"{at}.{name}")
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            path
            for number, value in enumerate(given)
            for path in lost(value, kept[number], f"{at}[{number}]")
        ]
    return [] if given == kept else [at]


def test_panels_have_ids_descriptions_and_places_of_their_own() -> None:
    ids = Counter(panel["id"] for panel in dashboard()["panels"])
    assert max(ids.values()) == 1
    cells = Counter(
        (x, y)
        for panel in dashboard()["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )
    assert max(cells.values()) == 1
    assert max(x for x, _ in cells) == 23
    assert [panel["title"] for panel in panels() if not panel["description"]] == []


def test_the_dashboard_names_its_data_source_by_a_variable_only() -> None:
    sources = {json.dumps(panel["datasource"]) for panel in panels()}
    sources |= {
        json.dumps(target["datasource"]) for panel in panels() for target in panel["targets"]
    }
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}


@pytest.mark.slow
def test_promtool_accepts_the_alerts() -> None:
    subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True, capture_output=True)
