"""All metrics: names, types, labels and meanings. The documentation and the exporter read this table.

Labels are bounded: stacks, environments, organizations, route templates, and values from enums of
this program. Ids of objects, addresses, names of people and messages are never labels.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class MetricType(StrEnum):
    """A type of Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Metric(Struct, frozen=True):
    """One metric."""

    name: str
    """The full name, with `_total` for counters."""
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()


STACK = ("stack", "environment", "organization")
_ROUTE = ("organization", "method", "route")
_GAUGE, _COUNTER = MetricType.GAUGE, MetricType.COUNTER

BUILD = Metric("reconciler_build_info", _GAUGE, "Always 1; the version is a label.", ("version",))

STACKS = Metric("reconciler_stacks", _GAUGE, "Stacks by the status of their last run.", ("status",))
HIDDEN = Metric(
    "reconciler_stacks_without_series",
    _GAUGE,
    "Stacks beyond the series limit. They only count in reconciler_stacks.",
)
STATUS = Metric(
    "reconciler_stack_status",
    _GAUGE,
    "1 for the status of the last run, 0 for all others.",
    (*STACK, "status"),
)
DRIFTED = Metric(
    "reconciler_drifted_objects",
    _GAUGE,
    "Objects that were changed or deleted outside reconciler, as of the last look.",
    STACK,
)
PENDING = Metric(
    "reconciler_pending_changes",
    _GAUGE,
    "Declared changes that were not applied yet, as of the last look.",
    (*STACK, "action"),
)
BLOCKED = Metric(
    "reconciler_blocked_resources",
    _GAUGE,
    "Resources that cannot be planned because of an error, as of the last look.",
    STACK,
)
REFUSALS = Metric(
    "reconciler_refusals",
    _GAUGE,
    "Refusals by guards and policies in the last plan.",
    STACK,
)
KEYS_DUE = Metric("reconciler_keys_due", _GAUGE, "Keys that the next apply would rotate.", STACK)
KEYS_OVERDUE = Metric(
    "reconciler_keys_overdue",
    _GAUGE,
    "Keys older than their manifest allows, including keys whose rotation has to wait.",
    STACK,
)
LOOKED_AT = Metric(
    "reconciler_last_look_timestamp_seconds",
    _GAUGE,
    "Time of the last look: the last complete read of live objects.",
    STACK,
)
RAN_AT = Metric(
    "reconciler_last_run_timestamp_seconds", _GAUGE, "Time at which the last run ended.", STACK
)
RUN_SECONDS = Metric(
    "reconciler_last_run_duration_seconds", _GAUGE, "Duration of the last run.", STACK
)
RUN_CALLS = Metric(
    "reconciler_last_run_requests",
    _GAUGE,
    "Requests that the last run of this stack sent, including retries.",
    STACK,
)
SHARED_ANSWERS = Metric(
    "reconciler_last_run_shared_answers",
    _GAUGE,
    "Responses that the last run shared with other stacks of the organization.",
    STACK,
)
LAST_CHANGES = Metric(
    "reconciler_last_apply_changes",
    _GAUGE,
    "Changes of the last apply, by outcome.",
    (*STACK, "status"),
)
INTERVAL = Metric(
    "reconciler_interval_seconds",
    _GAUGE,
    "Interval between runs of a stack. Only from the operator.",
    STACK,
)
CHANGES = Metric(
    "reconciler_apply_changes_total",
    _COUNTER,
    "Changes that applies made or attempted, by outcome.",
    (*STACK, "status"),
)
CONFLICTS = Metric(
    "reconciler_lock_conflicts_total",
    _COUNTER,
    "Runs that found the state locked by another run, or lost their lease.",
    STACK,
)
RUNS = Metric(
    "reconciler_runs_total", _COUNTER, "Runs of stacks, by result.", ("command", "status")
)
DURATION = Metric(
    "reconciler_run_duration_seconds",
    MetricType.HISTOGRAM,
    "Duration of the runs of stacks.",
    ("command",),
)
REQUESTS = Metric(
    "reconciler_api_requests_total",
    _COUNTER,
    "Requests to the API. The status is a code or a class such as 5xx, or none if there was no response.",
    (*_ROUTE, "status"),
)
REQUEST_SECONDS = Metric(
    "reconciler_api_request_seconds_total",
    _COUNTER,
    "Time that requests were in flight.",
    _ROUTE,
)
WAIT_SECONDS = Metric(
    "reconciler_api_wait_seconds_total",
    _COUNTER,
    "Time that requests waited for rate limits.",
    _ROUTE,
)
LIMIT = Metric(
    "reconciler_api_limit_requests_per_minute",
    _GAUGE,
    "The rate limit of an admin route, as configured or learned.",
    _ROUTE,
)
SPEND_SHARE = Metric(
    "reconciler_spend_limit_used_ratio",
    _GAUGE,
    "Used share of the monthly spend limit of a stack that is closest to exhaustion. Only if spend "
    "is read.",
    STACK,
)
NOTICES = Metric(
    "reconciler_notices_total",
    _COUNTER,
    "Notices to targets, by outcome: delivered or failed.",
    ("outcome",),
)

METRICS = (
    BUILD,
    STACKS,
    HIDDEN,
    STATUS,
    DRIFTED,
    PENDING,
    BLOCKED,
    REFUSALS,
    KEYS_DUE,
    KEYS_OVERDUE,
    LOOKED_AT,
    RAN_AT,
    RUN_SECONDS,
    RUN_CALLS,
    SHARED_ANSWERS,
    LAST_CHANGES,
    INTERVAL,
    CHANGES,
    CONFLICTS,
    RUNS,
    DURATION,
    REQUESTS,
    REQUEST_SECONDS,
    WAIT_SECONDS,
    LIMIT,
    SPEND_SHARE,
    NOTICES,
)
"""All of them, in the order of the documentation."""

DURATION_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""The upper bounds of run durations, in seconds; admin limits stretch a run to many minutes."""
