"""`reconciler export`: writes manifests for live objects, and binds them in the state."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from reconciler.app.export_request import (
    ExportRequest,
    check_request,
    stack_file,
    stack_name,
)
from reconciler.app.exporting import ExportResult, export
from reconciler.cli.export_report import as_json, as_markdown, as_text, remarks
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.reporting import deliver, talk
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.export.files import FileLayout, replace_file
from reconciler.manifests.configuration import STACK_FILES


@click.command("export")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("manifests"),
    metavar="DIR",
    help="Write to this folder of the stack; manifests by default.",
)
@click.option("--project", multiple=True, metavar="NAME", help="Only this project; repeatable.")
@click.option("--kind", multiple=True, metavar="KIND", help="Only this kind; repeatable.")
@click.option(
    "--select",
    multiple=True,
    metavar="GLOB",
    help="Only objects whose address, name or id matches; repeatable.",
)
@click.option("--unmanaged", is_flag=True, help="Only objects that the state does not manage.")
@click.option(
    "--layout",
    type=click.Choice([layout.value for layout in FileLayout]),
    default=FileLayout.PROJECT.value,
    help="project: a folder for each project (the default); kind: a file for each kind; "
    "flat: one file.",
)
@click.option(
    "--adopt-in-manifests",
    is_flag=True,
    help="Bind objects by `lifecycle: {adopt: ID}` in the manifests, and leave the state alone.",
)
@click.option(
    "--fold", is_flag=True, help="Use for_each for resources that repeat across projects."
)
@click.option("--all-limits", is_flag=True, help="Also write rate limits that most projects share.")
@click.option("--force", is_flag=True, help="Write to a folder that is not empty.")
@click.option("--stack", metavar="NAME", help="Name of the stack, if there is no stack file yet.")
@lock_option
@global_options
def command(
    options: GlobalOptions,
    out: Path,
    project: tuple[str, ...],
    kind: tuple[str, ...],
    select: tuple[str, ...],
    unmanaged: bool,
    layout: str,
    adopt_in_manifests: bool,
    fold: bool,
    all_limits: bool,
    force: bool,
    stack: str | None,
) -> int:
    """Write manifests for existing objects, and bind them.

    Reads everything that the keys can read, and writes nothing to the API. Then loads the manifests
    and plans them offline. Exit with 0 if that plan changes nothing and everything could be read,
    and with 13 otherwise.
    """
    request = ExportRequest(
        out=out,
        projects=project,
        kinds=kind,
        select=select,
        unmanaged=unmanaged,
        layout=FileLayout(layout),
        adopt_in_manifests=adopt_in_manifests,
        fold=fold,
        force=force,
        all_limits=all_limits,
    )
    with CommandSession(options) as session:
        check_request(session, request)
        folder = session.settings.root / out
        new_stack_file = _write_stack_file(session, out, stack)
        try:
            result = export(session, request)
        except BaseException:
            # Leave nothing behind: a second attempt with --stack would be refused.
            if new_stack_file is not None and not folder.exists():
                new_stack_file.unlink(missing_ok=True)
            raise
        _report(options, result, request)
    if result.differing or not result.is_complete:
        return 13
    return 0


def _write_stack_file(session: CommandSession, out: Path, name: str | None) -> Path | None:
    """Write a stack file if there is none; its path if one was written."""
    root = session.settings.root
    present = next((file for file in STACK_FILES if (root / file).exists()), None)
    if present is not None:
        # Another name means another state, which an export must not start by accident.
        if name is not None:
            raise UsageError(
                f"--stack {name}: there is a stack file already, {present}",
                hint="Leave out --stack. That file has the name of the stack.",
            )
        return None
    path = root / STACK_FILES[0]
    folder = (root / out).resolve().relative_to(root.resolve()).as_posix()
    try:
        root.mkdir(parents=True, exist_ok=True)
        # In one step: a kill must not leave half a file, which no later run could read.
        replace_file(path, stack_file(stack_name(name, root), folder).encode())
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _report(options: GlobalOptions, result: ExportResult, request: ExportRequest) -> None:
    """Print the written files, and everything that was left out."""
    formats = {"text": as_text, "json": as_json, "markdown": as_markdown}
    if options.format in (None, "text"):
        for sentence in remarks(result, request):
            talk(sentence)
    deliver(options, {name: partial(to, result, request) for name, to in formats.items()})
