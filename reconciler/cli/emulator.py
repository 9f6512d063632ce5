"""`reconciler emulator`: serves the API on this machine, to try manifests without a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconciler.emulator import FAULT_HELP, DataFileError, EmulatorOptions, Fault, serve
from reconciler.errors import UsageError


@click.command("emulator")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8085,
    show_default=True,
    metavar="PORT",
    help="Port to listen on; 0 for a free one.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Keep the organization's data in this file.",
)
@click.option(
    "--organization",
    default="org-emulator",
    show_default=True,
    metavar="ID",
    help="Id of the organization in responses.",
)
@click.option(
    "--latency-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Delay of each response.",
)
@click.option(
    "--admin-rpm",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Limit of admin requests per minute and route; 0 for none.",
)
@click.option(
    "--index-delay-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Time to index a file.",
)
@click.option(
    "--job-delay-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Duration of a job, such as a batch.",
)
@click.option(
    "--list-lag-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Time until a new object appears in lists.",
)
@click.option(
    "--read-lag-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Time until a new object can be read by id.",
)
@click.option(
    "--audit-lag-ms",
    type=click.IntRange(0),
    default=0,
    metavar="MS",
    help="Time until an entry appears in the audit log.",
)
@click.option("--audit-off", is_flag=True, help="Keep no audit log, and refuse to list it.")
@click.option(
    "--retire-assistants",
    is_flag=True,
    help="Answer 404 on /assistants and /threads, as the live platform does.",
)
@click.option(
    "--retire",
    multiple=True,
    metavar="NAME[:STATUS]",
    help="Answer as if a collection did not exist, such as evals or agents:410; repeatable.",
)
@click.option("--hide-last-used", is_flag=True, help="Do not show when keys were used last.")
@click.option(
    "--fault", multiple=True, metavar="SPEC", help="Inject a fault, see `--fault help`; repeatable."
)
def command(port: int, fault: tuple[str, ...], **values: Any) -> int:
    """Serve the API on this machine until Ctrl-C.

    Accepts the admin key sk-admin-emulator, the key sk-emulator, and every key that it creates.
    """
    if "help" in fault:
        click.echo(FAULT_HELP)
        return 0
    try:
        emulated = EmulatorOptions(faults=_faults(fault), **values)
    except ValueError as error:
        raise UsageError(str(error)) from error
    # The address is announced once the port is bound, since --port 0 takes any free one.
    try:
        serve(emulated, port=port, on_ready=_announce)
    except DataFileError as error:
        raise UsageError(
            str(error),
            hint="Choose another --data file, or remove this one.",
        ) from error
    except OSError as error:
        raise UsageError(
            f"the emulator cannot listen on port {port}: {error}", hint="Choose another --port."
        ) from error
    return 0


def _faults(specs: tuple[str, ...]) -> tuple[Any, ...]:
    try:
        return tuple(Fault.parse(spec) for spec in specs)
    except ValueError as error:
        raise UsageError(
            f"--fault: {error}", hint="List the faults with `reconciler emulator --fault help`."
        ) from error


def _announce(base_url: str) -> None:
    click.echo(f"The emulator serves {base_url}. In another terminal:\n")
    click.echo(f"  export OPENAI_BASE_URL={base_url}")
    click.echo("  export OPENAI_ADMIN_KEY=sk-admin-emulator OPENAI_API_KEY=sk-emulator\n")
    click.echo("Ctrl-C stops it.")
