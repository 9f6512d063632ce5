"""This month's costs, read once for all budgets of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from threading import Lock

from reconciler.api.keys import KeyRing
from reconciler.api.spending import read_costs
from reconciler.api.transport.client import Client
from reconciler.errors import ReconcilerError
from reconciler.model.checking import CheckFinding
from reconciler.model.spending import Cost, Period
from reconciler.model.values import Spec


class Budgets:
    """The costs of the current month by project; one read serves all checks of a run."""

    def __init__(self, client: Client, keys: KeyRing, *, today: Callable[[], date]) -> None:
        self._client = client
        self._keys = keys
        self._today = today
        self._lock = Lock()
        # An error counts as read: other checks would wait for the same refusal.
        self._read: Sequence[Cost] | ReconcilerError | None = None

    def judge(self, budget: Spec, project_id: str | None) -> list[CheckFinding]:
        """A finding if a project, or without one the organization, spent its monthly budget."""
        currency = str(budget.get("currency", "USD")).upper()
        since = self._today().replace(day=1)
        spent = Decimal(0)
        for cost in self._costs(since):
            if cost.currency == currency and project_id in (None, cost.project_id):
                spent += cost.amount
        if spent < Decimal(str(budget["below"])):
            return []
        limit = budget["below"]
        message = f"is used up: {spent:.2f} {currency} since {since}; expected below {limit}"
        return [CheckFinding("budget", message)]

    def _costs(self, since: date) -> Sequence[Cost]:
        # Held during the read, so that checks in parallel wait for its answer.
        with self._lock:
            if self._read is None:
                try:
                    self._read = read_costs(
                        self._client, self._keys, Period(since), group_by=("project_id",)
                    )
                except ReconcilerError as error:
                    self._read = error
            if isinstance(self._read, ReconcilerError):
                raise self._read
            return self._read


def described(budget: Mapping[str, object]) -> str:
    """A short description of a budget."""
    return f"below {budget['below']} {budget.get('currency', 'USD')} this month"
