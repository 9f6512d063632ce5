"""Prometheus metrics of the runs of this process.

The figures are kept as plain values and become metrics when a scraper reads them. So a stack
changes all of its series at once, and a stack that left the fleet leaves none behind.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct, field
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.model.change import OutcomeStatus
from reconciler.model.fleet import StackId, StackResult, StackStatus
from reconciler.model.secret import Redactor
from reconciler.model.traffic import SentRequest
from reconciler.render.escape import terminal
from reconciler.telemetry import catalog
from reconciler.telemetry.catalog import Metric, MetricType
from reconciler.telemetry.figures import ACTIONS, StackFigures

MAX_STACKS = 2_000
"""The most stacks with series of their own, about thirty each. Further stacks are only counted."""
MAX_SERIES = 20_000
"""The most series of one metric about requests. Routes are constants of this program, so this is a
safeguard.
"""

_LONGEST_LABEL = 200
_OTHER = "other"
_EXACT = frozenset({200, 201, 202, 204, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504})

Labels = tuple[str, ...]
Sample = tuple[Labels, float]


class _Durations(Struct):
    """One histogram of durations."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(catalog.DURATION_BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.buckets[bisect_left(catalog.DURATION_BUCKETS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as the exposition format has them."""
        bounds = [*map(str, catalog.DURATION_BUCKETS), "+Inf"]
        count, cumulative = 0, []
        for bound, number in zip(bounds, self.buckets, strict=True):
            count += number
            cumulative.append((bound, float(count)))
        return cumulative


class PrometheusRecorder(Collector):
    """A `Recorder` with a registry of its own.

    Stacks beyond `max_stacks` get no series of their own. `redact` removes secrets from labels.
    """

    def __init__(
        self, *, max_stacks: int = MAX_STACKS, redact: Callable[[str], str] | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self._max_stacks = max_stacks
        self._redact = redact or Redactor()
        self._lock = threading.Lock()
        self._stacks: dict[tuple[str, str], StackFigures] = {}
        self._runs: Counter[Labels] = Counter()
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._requests: dict[Labels, float] = {}
        self._request_seconds: dict[Labels, float] = {}
        self._wait_seconds: dict[Labels, float] = {}
        self._limits: dict[Labels, float] = {}
        self._notices: Counter[str] = Counter()
        self.registry.register(self)

    # --- recording

    def record(self, result: StackResult, *, interval_seconds: float | None = None) -> None:
        """Add the result of a run of a stack."""
        key = (result.id.folder, result.id.environment)
        with self._lock:
            figures = self._stacks.get(key)
            if figures is None:
                figures = StackFigures(result.id.folder, result.id.environment)
                self._stacks[key] = figures
            # A stack file that cannot be read has no name: its stack keeps the one it had.
            figures.stack = result.id.name or figures.stack
            figures.add(result, interval_seconds=interval_seconds)
            command = result.command.value
            self._runs[(command, status_label(result.status))] += 1
            self._durations[command].add(figures.seconds)

    def forget(self, id: StackId) -> None:
        """Drop the series of a stack that left the fleet."""
        with self._lock:
            self._stacks.pop((id.folder, id.environment), None)

    def limits(self, organization: str, per_minute: Mapping[str, int]) -> None:
        """Keep the known rate limits of an organization."""
        with self._lock:
            for call, limit in per_minute.items():
                method, _, route = call.partition(" ")
                _put(self._limits, (organization, method, route), float(limit))

    def sent(self, request: SentRequest) -> None:
        """Count a request."""
        route = (request.organization, request.method, request.route)
        with self._lock:
            _add(self._requests, (*route, _status_class(request.status)), 1.0)
            _add(self._request_seconds, route, request.seconds)
            _add(self._wait_seconds, route, request.waited_seconds)

    def notified(self, *, delivered: bool) -> None:
        """Count a notice."""
        with self._lock:
            self._notices["delivered" if delivered else "failed"] += 1

    # --- reading

    def collect(self) -> Iterable[Family]:
        """The metrics as they are now, for the registry."""
        with self._lock:
            samples = self._samples()
            durations: dict[str, tuple[list[tuple[str, float]], float]] = {}
            for command, histogram in self._durations.items():
                durations[command] = (histogram.cumulative(), histogram.total)
        # The lock is released: the registry may be slow to take the metrics.
        for metric in catalog.METRICS:
            if metric.type is MetricType.HISTOGRAM:
                yield _histogram(metric, durations)
            else:
                yield self._family(metric, samples.get(metric.name, ()))

    def _samples(self) -> dict[str, list[Sample]]:
        samples: defaultdict[str, list[Sample]] = defaultdict(list)
        samples[catalog.BUILD.name].append(((__version__,), 1.0))
        by_status = Counter(figures.status for figures in self._stacks.values())
        for status in StackStatus:
            samples[catalog.STACKS.name].append(((status_label(status),), by_status[status]))
        hidden = max(0, len(self._stacks) - self._max_stacks)
        samples[catalog.HIDDEN.name].append(((), hidden))
        named: set[tuple[str, str]] = set()
        for (folder, environment), figures in islice(self._stacks.items(), self._max_stacks):
            # Two stacks of one name are a mistake of the manifests. Metrics show both anyway.
            name = figures.stack
            if (name, environment) in named:
                name = folder
            named.add((name, environment))
            for metric, labels, value in _stack_samples(figures, name):
                samples[metric.name].append((labels, value))
        samples[catalog.RUNS.name] += self._runs.items()
        samples[catalog.REQUESTS.name] += self._requests.items()
        samples[catalog.REQUEST_SECONDS.name] += self._request_seconds.items()
        samples[catalog.WAIT_SECONDS.name] += self._wait_seconds.items()
        samples[catalog.LIMIT.name] += self._limits.items()
        for outcome, number in self._notices.items():
            samples[catalog.NOTICES.name].append(((outcome,), number))
        return samples

    def _family(self, metric: Metric, samples: Iterable[Sample]) -> Family:
        is_counter = metric.type is MetricType.COUNTER
        type = CounterMetricFamily if is_counter else GaugeMetricFamily
        family = type(metric.name, metric.help, labels=metric.labels)
        # Prometheus refuses a page on which a series is twice, and labels may be equal once they
        # are clean. Counts of one series add up; of gauges, the last one stays.
        values: dict[Labels, float] = {}
        for labels, value in samples:
            clean = tuple(map(self._label, labels))
            if is_counter:
                value += values.get(clean, 0.0)
            values[clean] = value
        for clean, value in values.items():
            family.add_metric(clean, value)
        return family

    def _label(self, text: str) -> str:
        """A label value: bounded, printable, and without secrets. The library escapes quotes."""
        return terminal(self._redact(text))[:_LONGEST_LABEL]


def status_label(status: StackStatus) -> str:
    """A status as a label: `in_sync`."""
    return status.name.lower()


def _stack_samples(figures: StackFigures, name: str) -> Iterator[tuple[Metric, Labels, float]]:
    stack = (name, figures.environment, figures.organization)
    for status in StackStatus:
        yield catalog.STATUS, (*stack, status_label(status)), float(status is figures.status)
    yield catalog.RAN_AT, stack, figures.ended_at
    yield catalog.RUN_SECONDS, stack, figures.seconds
    yield catalog.RUN_CALLS, stack, figures.calls
    yield catalog.SHARED_ANSWERS, stack, figures.shared_answers
    yield catalog.CONFLICTS, stack, figures.conflicts
    if figures.spend_share is not None:
        yield catalog.SPEND_SHARE, stack, figures.spend_share
    if figures.interval_seconds is not None:
        yield catalog.INTERVAL, stack, figures.interval_seconds
    for outcome in OutcomeStatus:
        yield catalog.CHANGES, (*stack, outcome.value), figures.changes[outcome]
        if figures.last_changes is not None:
            labels = (*stack, outcome.value)
            yield catalog.LAST_CHANGES, labels, figures.last_changes[outcome]
    reading = figures.reading
    if reading is None:
        return
    yield catalog.LOOKED_AT, stack, reading.at
    yield catalog.DRIFTED, stack, reading.drifted
    yield catalog.BLOCKED, stack, reading.blocked
    yield catalog.REFUSALS, stack, reading.refusals
    yield catalog.KEYS_DUE, stack, reading.keys_due
    yield catalog.KEYS_OVERDUE, stack, reading.keys_overdue
    pending = dict(reading.pending)
    for action in ACTIONS:
        yield catalog.PENDING, (*stack, action.value), pending.get(action, 0)


def _histogram(
    metric: Metric, durations: Mapping[str, tuple[list[tuple[str, float]], float]]
) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for command, (buckets, total) in durations.items():
        family.add_metric([command], buckets, total)
    return family


def _status_class(status: int) -> str:
    """The status as a label. Proxies invent statuses, so only common ones are exact."""
    if status == 0:
        return "none"
    if status in _EXACT:
        return str(status)
    if not 100 <= status < 600:
        return _OTHER
    return f"{status // 100}xx"


def _add(values: dict[Labels, Any], labels: Labels, value: float) -> None:
    labels = _bounded(values, labels)
    # A clock that is set back makes negative times, and a counter must not fall.
    values[labels] = values.get(labels, 0.0) + max(0.0, value)


def _put(values: dict[Labels, Any], labels: Labels, value: float) -> None:
    values[_bounded(values, labels)] = value


def _bounded(values: dict[Labels, Any], labels: Labels) -> Labels:
    if labels in values or len(values) < MAX_SERIES:
        return labels
    # All further series are one.
    return (_OTHER,) * len(labels)
