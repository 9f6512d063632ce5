"""The queries of the dashboard and the alerts, and what is wrong with one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from reconciler.telemetry import catalog
from reconciler.telemetry.catalog import MetricType

ROOT = Path(__file__).parent.parent.parent
DASHBOARD = ROOT / "deploy/grafana/reconciler.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"

_SELECTOR = re.compile(r"(reconciler_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPING = re.compile(r"\b(?:by|on|without|group_left|ignoring)\s*\(([^)]*)\)")
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[str]:
    """Every query of a panel or a variable."""
    queries = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = dashboard()["templating"]["list"]
    queries += [each["query"]["query"] for each in variables if each["type"] == "query"]
    return queries


def alerts() -> list[dict[str, Any]]:
    """The alerts."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def series() -> dict[str, set[str]]:
    """The labels of every series that is exported, by name."""
    names: dict[str, set[str]] = {}
    for metric in catalog.METRICS:
        labels = set(metric.labels)
        if metric.type is MetricType.HISTOGRAM:
            names |= {f"{metric.name}_bucket": labels | {"le"}}
            names |= {f"{metric.name}_{suffix}": labels for suffix in ("sum", "count")}
        else:
            names[metric.name] = labels
    return names


def problems(query: str) -> Iterator[str]:
    """Names and labels in a query that nothing exports."""
    exported, used = series(), set()
    values = _LABEL_VALUES.fullmatch(query)
    if values is not None:
        query = f"{values[1]} by ({values[2]})"
    for name, matchers in _SELECTOR.findall(query):
        if name not in exported:
            yield f"there is no series {name}"
            continue
        used |= exported[name]
        for label in _MATCHER.findall(matchers):
            if label not in exported[name]:
                yield f"{name} has no label {label}"
    for labels in _GROUPING.findall(query):
        for label in filter(None, re.split(r"[,\s]+", labels)):
            if label not in used:
                yield f"no series of the query has the label {label}"


def substituted(query: str) -> str:
    """A query as Grafana sends it when everything is chosen."""
    for variable in ("organization", "environment"):
        query = query.replace(f"${variable}", ".*")
    return query.replace("$__rate_interval", "5m")
