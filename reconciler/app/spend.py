"""How much of the monthly spend limits is used: a figure for metrics, on request.

The limits are part of the plan and take no call. The costs take one admin call, at most once in an
interval for an organization, regardless of the number of its stacks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from msgspec import Struct

from reconciler.api.spending import read_costs
from reconciler.app.session import Session
from reconciler.errors import ApiError, CredentialError
from reconciler.model.change import Action, Plan
from reconciler.model.spending import Cost, Period

LOG = logging.getLogger("reconciler.app")
INTERVAL_SECONDS = 3_600.0
"""How long costs are remembered. The API adds to them about once an hour."""
_KIND = "SpendLimit"
_CURRENCY = "USD"
_CENTS = 100

Costs = Mapping[str | None, Decimal]
"""The month's costs by the id of the project; None for the whole organization."""


class _Read(Struct, frozen=True):
    at: float
    month: date
    costs: Costs | None
    """None where they could not be read."""


class SpendReader:
    """Reads the month's costs of each organization. Safe to use from threads."""

    def __init__(
        self,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._interval = interval_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._locks: defaultdict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)
        self._reads: dict[tuple[str, str], _Read] = {}

    def share(self, session: Session, plan: Plan) -> float | None:
        """The used share of the spend limit of a stack that is closest to its end.

        None without a limit, and where costs cannot be read.
        """
        limits = list(limits_of(plan))
        organization = session.client.organization.seen
        if not limits or not organization:
            return None
        with self._lock:
            lock = self._locks[session.base_url, organization]
        with lock:  # the other stacks of the organization wait for the one that reads
            costs = self._costs(session, (session.base_url, organization))
        return None if costs is None else used_share(limits, costs)

    def _costs(self, session: Session, key: tuple[str, str]) -> Costs | None:
        now = self._clock()
        month = datetime.fromtimestamp(now, UTC).date().replace(day=1)
        read = self._reads.get(key)
        if read is None or read.month != month or now - read.at >= self._interval:
            # A refusal is remembered too: asking again would use up the pace of the organization.
            read = self._reads[key] = _Read(now, month, _read(session, month))
        return read.costs


def limits_of(plan: Plan) -> Iterator[tuple[str | None, Decimal]]:
    """The spend limits of a plan in dollars, by the id of their project; None for the organization."""
    for change in plan.changes:
        if change.address.kind != _KIND or change.action is Action.DELETE:
            continue
        if change.address.project is not None and change.project_id is None:
            continue  # the project does not exist yet
        cents = {**change.before, **change.desired}.get("threshold_amount")
        if isinstance(cents, int) and cents > 0:
            yield change.project_id, Decimal(cents) / _CENTS


def used_share(limits: Sequence[tuple[str | None, Decimal]], costs: Costs) -> float:
    """The largest used share of these limits; 1.0 is all of it."""
    shares = [costs.get(project, Decimal(0)) / limit for project, limit in limits]
    return float(max(shares))


def _read(session: Session, month: date) -> Costs | None:
    try:
        costs = read_costs(session.client, session.keys, Period(month), group_by=("project_id",))
    except (ApiError, CredentialError) as error:
        LOG.info("What was spent cannot be read: %s", error)
        return None
    return _summed(costs)


def _summed(costs: Sequence[Cost]) -> Costs:
    sums: defaultdict[str | None, Decimal] = defaultdict(Decimal)
    for cost in costs:
        if cost.currency == _CURRENCY:
            sums[None] += cost.amount
            if cost.project_id is not None:
                sums[cost.project_id] += cost.amount
    return sums
