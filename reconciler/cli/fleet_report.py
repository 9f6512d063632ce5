"""`reconciler fleet report`: the status of all stacks, from recorded runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from reconciler.app.failures import sentences
from reconciler.cli.fleet_options import CommandFleet
from reconciler.cli.period import moment
from reconciler.cli.reporting import publish_fleet, talk
from reconciler.errors import StateError
from reconciler.fleet.history import FleetHistory, open_history
from reconciler.fleet.standing import COMMAND, recorded, stack_reports
from reconciler.fleet.summary import fleet_report
from reconciler.model.fleet import FleetReport, StackReport
from reconciler.model.fleet_history import StackHistory
from reconciler.state.fleet_history import LocalHistory


def report_fleet(fleet: CommandFleet, since: str, *, with_states: bool, everywhere: bool) -> int:
    """Publish the report; always 0, because failures of earlier runs are not failures of this."""
    began = time.monotonic()
    start = moment(since, "--since", now=datetime.now(UTC)).timestamp()
    histories = _histories(fleet)
    reports: list[StackReport] = []
    if everywhere:
        present = {(stack.id.name, stack.id.environment) for stack in fleet.stacks}
        elsewhere = [past for past in histories if (past.stack, past.environment) not in present]
        reports += recorded(elsewhere, since=start)
    reports += stack_reports(
        fleet.stacks,
        histories,
        fleet.settings,
        since=start,
        with_states=with_states,
        redactor=fleet.context.redactor,
    )
    report = _without_exit_code(fleet_report(COMMAND, reports, seconds=time.monotonic() - began))
    publish_fleet(fleet.options, report)
    return 0


def _histories(fleet: CommandFleet) -> list[StackHistory]:
    """The recorded histories. Raises StateError for a shared backend that cannot be read."""
    storage = open_history(fleet.settings)
    try:
        return list(FleetHistory(storage).read())
    except StateError as error:
        # The states of a shared backend cannot be read then either. A damaged local file costs no
        # more than the history.
        if not isinstance(storage, LocalHistory):
            raise
        talk(
            f"Warning: The history of the fleet cannot be read. {sentences(str(error), error.hint)}"
        )
        return []
    finally:
        storage.close()


def _without_exit_code(report: FleetReport) -> FleetReport:
    """The report without an exit code: the codes in it are those of earlier runs."""
    return FleetReport(report.command, report.stacks, seconds=report.seconds)
