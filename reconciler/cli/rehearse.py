"""`reconciler rehearse`: applies a plan to a copy of the organization, on a local emulator."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click
from msgspec.structs import replace

from reconciler.app.encrypted_files import check_can_encrypt, decrypted, encrypted
from reconciler.app.plans import PlanRequest
from reconciler.cli.options import GlobalOptions, global_options, planning_options, policy_options
from reconciler.cli.reporting import deliver, talk, writable, write_private
from reconciler.cli.session import CommandSession, read_text
from reconciler.emulator import Fault
from reconciler.errors import UsageError
from reconciler.model.change import Plan
from reconciler.model.durations import seconds_of_option
from reconciler.model.rehearsal import Rehearsal
from reconciler.rehearsal import recording as recordings
from reconciler.rehearsal.reading import read_live
from reconciler.rehearsal.recording import Recording
from reconciler.rehearsal.run import RehearsalRequest, rehearse
from reconciler.render.planfile import dump_plan, load_plan
from reconciler.render.rehearsal import FORMATS
from reconciler.state.envelope import Content

_MAX_AGE_DAYS = 30.0
_PATH = click.Path(path_type=Path)
_BEGINNING_BYTES = 200
"""A recording, encrypted or not, has its name within these first bytes."""


@click.command("rehearse")
@click.argument("planfile", required=False, type=_PATH)
@click.option(
    "--record", type=_PATH, metavar="FILE", help="Read everything, and save it for --from."
)
@click.option(
    "--from",
    "from_file",
    type=_PATH,
    metavar="FILE",
    help="Rehearse on a recording, without a key or network.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0),
    default=_MAX_AGE_DAYS,
    metavar="DAYS",
    help="Maximum age of a recording; 30 days by default.",
)
@click.option(
    "--faults",
    multiple=True,
    metavar="FAULT",
    help="Inject a fault into the apply, such as on=POST:*,do=reset,when=after, "
    "see `emulator --fault help`; repeatable.",
)
@click.option(
    "--kill-at",
    multiple=True,
    type=click.IntRange(1),
    metavar="N",
    help="Also kill an apply at its Nth write, and check that the next one resumes; repeatable.",
)
@click.option(
    "--lag", metavar="DURATION", help="Hide new objects for this long, as the live API may."
)
@click.option(
    "--pace",
    type=click.FloatRange(0.1),
    metavar="N",
    help="Admin requests per minute and route, to estimate the time of the real apply; by default "
    "the value of the stack, or 7.",
)
@click.option(
    "--destroy", is_flag=True, help="Rehearse deleting everything that the stack manages."
)
@planning_options
@policy_options
@partial(global_options, formats=tuple(FORMATS))
def command(
    options: GlobalOptions,
    request: PlanRequest,
    planfile: Path | None,
    record: Path | None,
    from_file: Path | None,
    max_age: float,
    faults: tuple[str, ...],
    kill_at: tuple[int, ...],
    lag: str | None,
    pace: float | None,
    destroy: bool,
) -> int:
    """Apply a plan to a copy of the organization, and report.

    Read the live organization once, or a recording of it, load a local emulator with the same
    objects, and apply the plan there. Nothing else changes: the state is a copy, no key is
    delivered, and no command runs. With PLANFILE, rehearse that plan as `apply PLANFILE` would.
    """
    request = replace(request, destroy=destroy)
    _check_options(request, record, from_file, planfile, faults)
    with CommandSession(options) as session:
        # A recording stands for the whole API, so nothing may ask the real one.
        session.is_offline = from_file is not None
        saved = None
        if planfile:
            saved = _saved_plan(session, planfile)
        recording, name = _recording(session, request, record, from_file, max_age)
        lag_seconds = 0.0
        if lag:
            lag_seconds = seconds_of_option(lag, "--lag")
        rehearsal_request = RehearsalRequest(
            request,
            saved,
            str(planfile or ""),
            faults,
            tuple(dict.fromkeys(kill_at)),
            pace,
            lag_seconds,
        )
        rehearsal = rehearse(
            session,
            recording,
            rehearsal_request,
            name=name,
            source=session.store if from_file is None else None,
            dump=dump_plan,
        )
    deliver(options, {word: partial(render, rehearsal) for word, render in FORMATS.items()})
    return _exit_code(rehearsal)


def _exit_code(rehearsal: Rehearsal) -> int:
    """0 all good, 11 refused by a guard, 1 a check failed."""
    if rehearsal.refusals:
        return 11
    if rehearsal.passed:
        return 0
    return 1


def _check_options(
    request: PlanRequest,
    record: Path | None,
    from_file: Path | None,
    planfile: Path | None,
    faults: tuple[str, ...],
) -> None:
    """Raise UsageError for options that contradict each other, before anything is read."""
    if request.refresh == "none":
        raise UsageError("--refresh none reads nothing, and a rehearsal needs the live objects")
    if record is not None and from_file is not None:
        raise UsageError(
            "--record reads the live organization, and --from does not",
            hint="Leave one of the two out.",
        )
    if planfile is not None and (request.changes_the_plan or request.destroy):
        raise UsageError(
            "a saved plan cannot be changed", hint="Give --target and the like to `plan --out`."
        )
    if record is not None:
        _require_no_other_file(writable(record, "--record"))
    for fault in faults:
        try:
            Fault.parse(fault)
        except ValueError as error:
            raise UsageError(f"--faults: {error}") from error


def _require_no_other_file(file: Path) -> None:
    """Raise UsageError for an existing file that is no recording, plain or encrypted."""
    if not file.exists():
        return
    with file.open("rb") as opened:
        beginning = opened.read(_BEGINNING_BYTES)
    if beginning.strip() and b'"recording"' not in beginning:
        raise UsageError(
            f'--record: "{file}" exists, and is no recording',
            hint="Name another file. Only an earlier recording is replaced.",
        )


def _saved_plan(session: CommandSession, planfile: Path) -> Plan:
    text = read_text(planfile, "the plan")
    plan = load_plan(decrypted(session, Content.PLAN, text, name=str(planfile)))
    if plan.rollback_of is not None:
        raise UsageError(
            "a saved rollback cannot be rehearsed",
            hint="Every rehearsal shows what a rollback of it would do.",
        )
    session.use_saved_variables(plan.variables)
    return plan


def _recording(
    session: CommandSession,
    request: PlanRequest,
    record: Path | None,
    from_file: Path | None,
    max_age: float,
) -> tuple[Recording, str]:
    """The recording to rehearse on, and its file or server."""
    if from_file is not None:
        return _recorded(session, from_file, max_age), str(from_file)
    if record is not None:
        # Before the reading, which can take many minutes.
        check_can_encrypt(session)
    recording = read_live(session, request, whole=record is not None)
    if record is not None:
        text = recordings.dump(recording)
        write_private(record, encrypted(session, Content.RECORDING, text))
        objects = sum(len(entry.items) for entry in recording.lists) + len(recording.objects)
        talk(f"Recorded {objects:,} objects in {record}.")
    return recording, recording.server


def _recorded(session: CommandSession, file: Path, max_age: float) -> Recording:
    text = read_text(file, "the recording")
    name = str(file)
    recording = recordings.load(decrypted(session, Content.RECORDING, text, name=name), name=name)
    stack = session.stack
    # A recording of another stack, or an old one, would prove nothing about the real apply.
    recordings.check_belongs(recording, stack=stack.name, environment=stack.environment, name=name)
    recordings.check_age(recording, now=time.time(), max_days=max_age, name=name)
    return recording
