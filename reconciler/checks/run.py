"""Runs checks in parallel, each with the key of its project, through the one client.

A check that fails does not end the others: its error is its outcome. Once the run is stopped, the
checks under way finish and clean up, and no other begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.objects.change_context import side_by_side
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.client import Client
from reconciler.checks.budget import Budgets, described
from reconciler.checks.cleanup import Cleanup
from reconciler.checks.client import CheckClient, judged
from reconciler.checks.waiting import wait
from reconciler.errors import Interrupted, ReconcilerError
from reconciler.model.checking import CheckFinding, CheckOutcome, CheckStatus
from reconciler.model.rule import Rule
from reconciler.model.secret import Redactor
from reconciler.model.values import Reference, Spec, Unknown, substitute
from reconciler.rules.check import WAIT_SECONDS
from reconciler.rules.expectations import CheckedResponse, judge
from reconciler.rules.operations import OPERATIONS, Operation


class CheckTools(Struct, frozen=True):
    """The dependencies of checks.

    `client_for` returns the client of a project's own key, `project_id` the id of a project, and
    `lookup` the current value of a reference, an Unknown if its target was never applied.
    `may_cost` allows checks that cost noticeable money.
    """

    client: Client
    keys: KeyRing
    redactor: Redactor
    uploader: Uploader
    budgets: Budgets
    client_for: Callable[[str | None], ScopedClient]
    project_id: Callable[[str], str | None]
    lookup: Callable[[Reference], Any]
    may_cost: Callable[[Rule], bool] = lambda _: False
    parallelism: int = 4


def run_checks(rules: Sequence[Rule], tools: CheckTools) -> list[CheckOutcome]:
    """The outcome of each check, in the order of the checks."""
    return side_by_side(lambda rule: _run(rule, tools), rules, workers=tools.parallelism)


def _run(rule: Rule, tools: CheckTools) -> CheckOutcome:
    spec = rule.spec
    outcome = CheckOutcome(
        rule.address, CheckStatus.SKIPPED, what=_subject(spec), location=rule.location
    )
    operation = OPERATIONS.get(str(spec.get("operation")))
    if operation is not None and operation.costly and not tools.may_cost(rule):
        return replace(outcome, message="it costs money each time: name it, or pass --costly")
    started = time.monotonic()
    notes: list[str] = []
    try:
        # Checks that have not begun when the run is stopped are skipped.
        tools.client.waits.check_stopped()
        findings = _Check(rule, _resolved(spec, tools), tools, notes).findings()
        outcome = replace(outcome, status=CheckStatus.PASSED, findings=tuple(findings))
        if findings:
            outcome = replace(outcome, status=CheckStatus.FAILED)
    except Interrupted:
        outcome = replace(outcome, message="the run was stopped")
    except ReconcilerError as error:
        outcome = replace(
            outcome, status=CheckStatus.ERROR, message=f"{error} {error.hint}".rstrip()
        )
    return replace(outcome, seconds=time.monotonic() - started, notes=tuple(notes))


def _subject(spec: Spec) -> str:
    if spec.get("operation"):
        return str(spec["operation"])
    return described(spec.get("budget") or {"below": "?"})


def _resolved(spec: Spec, tools: CheckTools) -> Spec:
    """The spec with the values of its references. Raises ReconcilerError if one has none."""

    def lookup(reference: Reference) -> Any:
        value = tools.lookup(reference)
        if isinstance(value, Unknown):
            raise ReconcilerError(f"{reference} has no value yet.", hint="Apply first.")
        return value

    resolved: Spec = substitute(spec, lookup)
    return resolved


class _Check(Struct, frozen=True):
    """One check. It adds a sentence to `notes` for each object that it could not remove."""

    rule: Rule
    spec: Spec
    tools: CheckTools
    notes: list[str]

    def findings(self) -> list[CheckFinding]:
        """The expectations that are not met."""
        operation = OPERATIONS.get(str(self.spec.get("operation")))
        if operation is None:
            return self._budget()
        scope = self._scope(operation)
        return self._called(CheckClient(scope, self.tools.redactor, self.tools.uploader), operation)

    def _budget(self) -> list[CheckFinding]:
        project = self.rule.address.project
        # Without a project, a budget is that of the organization.
        if not project:
            return self.tools.budgets.judge(self.spec["budget"], None)
        project_id = self.tools.project_id(project)
        if project_id is None:
            raise ReconcilerError(
                f'The project "{project}" is not known at the API yet.', hint="Apply first."
            )
        return self.tools.budgets.judge(self.spec["budget"], project_id)

    def _scope(self, operation: Operation) -> ScopedClient:
        if operation.admin:
            return ScopedClient(self.tools.client, self.tools.keys.admin(), beta=operation.beta)
        return replace(self.tools.client_for(self.rule.address.project), beta=operation.beta)

    def _called(self, client: CheckClient, operation: Operation) -> list[CheckFinding]:
        cleanup = Cleanup(client, operation, self.spec)
        # Before the call: the items in the list at this time must stay.
        cleanup.look_before()
        try:
            return self._judge(client, operation, cleanup)
        finally:
            # Also after errors and interrupts: what a check creates costs money.
            self.notes.extend(cleanup.remove())

    def _judge(
        self, client: CheckClient, operation: Operation, cleanup: Cleanup
    ) -> list[CheckFinding]:
        answer = client.first(operation, self.spec)
        findings: list[CheckFinding] = []
        seconds = answer.seconds
        if answer.status == 200 and not answer.content:
            # Before the wait, which may raise.
            cleanup.note(answer.body)
            began = time.monotonic()
            body, findings = wait(
                client,
                operation,
                answer.body,
                seconds=self.spec.get("wait_seconds", WAIT_SECONDS),
                outputs=self.spec.get("tool_outputs") or {},
            )
            # A budget of seconds covers the work, and not the reads after it.
            if body is not answer.body:
                seconds += time.monotonic() - began
            lists = self._lists(client, operation, body)
            answer = replace(answer, body={**body, **lists})
        content = judged(operation, answer, self.tools.redactor)
        response = CheckedResponse(answer.status, content, seconds)
        findings += judge(self.spec.get("expect") or {}, response)
        if findings and operation.ended and answer.status == 404:
            findings.append(CheckFinding("operation", f"may be gone: {operation.ended}"))
        self._mark(client, operation, answer.body, passed=not findings)
        return findings

    @staticmethod
    def _lists(client: CheckClient, operation: Operation, body: Spec) -> dict[str, Any]:
        """The lists that expectations see as parts of the answer, such as the messages of a run."""
        lists = {}
        for name, path in operation.shows.items():
            answer = client.follow(f"GET {path}", body)
            lists[name] = answer.get("data")
        return lists

    def _mark(self, client: CheckClient, operation: Operation, body: Spec, *, passed: bool) -> None:
        """Mark work that cannot be removed with the check it belongs to."""
        if operation.waiting is not None and operation.waiting.marked and body.get("id"):
            metadata = {
                "reconciler_check": str(self.rule.address),
                "reconciler_passed": str(passed).lower(),
            }
            # A write replaces all metadata.
            kept = body.get("metadata") or {}
            client.follow(operation.waiting.marked, body, body={"metadata": {**kept, **metadata}})
