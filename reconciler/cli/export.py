"""`reconciler export`: the live organization as manifests, bound in the state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click

from reconciler.app.export_choice import LeftOut
from reconciler.app.export_request import (
    ExportRequest,
    check_request,
    stack_file,
    stack_name,
)
from reconciler.app.exporting import ExportResult, export
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.reporting import talk
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.export.files import Layout
from reconciler.manifests.configuration import STACK_FILES
from reconciler.model.change import Change
from reconciler.render.values import count


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
    type=click.Choice([layout.value for layout in Layout]),
    default=Layout.PROJECT.value,
    help="project: a folder for each project (the default); kind: a file for each kind; "
    "flat: one file.",
)
@click.option(
    "--adopt-in-manifests",
    is_flag=True,
    help="Bind objects by `lifecycle: {adopt: ID}` in the manifests, and leave the state alone.",
)
@click.option("--fold", is_flag=True, help="Write what repeats across projects with for_each.")
@click.option("--all-limits", is_flag=True, help="Also write rate limits that most projects have.")
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
    """Write manifests for what exists, and bind them to it.

    Reads everything that the keys can read and writes nothing to the API. The manifests are then
    loaded and planned offline. Exit code 0 means that this plan changes nothing and that
    everything could be read, 13 that a part could not be read or differs.
    """
    request = ExportRequest(
        out=out,
        projects=project,
        kinds=kind,
        select=select,
        unmanaged=unmanaged,
        layout=Layout(layout),
        adopt_in_manifests=adopt_in_manifests,
        fold=fold,
        force=force,
        all_limits=all_limits,
    )
    with CommandSession(options) as session:
        check_request(session, request)
        folder, made = session.settings.root / out, _write_stack_file(session, out, stack)
        try:
            result = export(session, request)
        except BaseException:
            if made is not None and not folder.exists():
                made.unlink(missing_ok=True)
            raise
        _report(result, request)
    return 0 if not result.differing and result.is_complete else 13


def _write_stack_file(session: CommandSession, out: Path, name: str | None) -> Path | None:
    """Write a stack file if there is none; its path if one was written."""
    root = session.settings.root
    present = next((file for file in STACK_FILES if (root / file).exists()), None)
    if present is not None:
        if name is not None:
            raise UsageError(
                f"--stack {name}: there is a stack file already, {present}",
                hint="Leave --stack out. The name of the stack stands in that file.",
            )
        return None
    path = root / STACK_FILES[0]
    folder = (root / out).resolve().relative_to(root.resolve()).as_posix()
    try:
        root.mkdir(parents=True, exist_ok=True)
        path.write_text(stack_file(stack_name(name, root), folder), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def _report(result: ExportResult, request: ExportRequest) -> None:
    """Print what was written, and everything that was not."""
    lines = sum(text.count("\n") for text in result.files.values())
    click.echo(
        f"Wrote {count(len(result.resources), 'object')} to {count(len(result.files), 'file')} in "
        f"{request.out} ({lines} lines, {result.calls} calls)."
    )
    if result.bound:
        click.echo(f"Bound {count(result.bound, 'object')} in the state.")
    for sentence in _remarks(result):
        talk(sentence)
    if result.stale_files:
        names = ", ".join(f"{request.out}/{name}" for name in result.stale_files[:10])
        talk(f"Not of this export: {names}")
    for change in result.differing:
        talk(_difference(change))
    click.echo(_verdict(result))


def _remarks(result: ExportResult) -> Iterator[str]:
    """A sentence for each rule, and for everything that is not in the manifests."""
    yield from (f"Rule: {rule}" for rule in result.rules)
    if result.archived:
        yield f"Left out: {count(result.archived, 'archived project')}, with all that is in them."
    together: dict[tuple[str, str], list[LeftOut]] = defaultdict(list)
    for left in result.left_out:
        together[left.kind, left.reason].append(left)
    for (kind, reason), several in together.items():
        ids = [id for left in several for id in left.ids]
        shown = ", ".join(ids[:3]) + (", …" if len(ids) > 3 else "")
        place = _place(several[0].project)
        if len(several) > 1:
            place = f" in {count(len(several), 'place')}"
        yield f"Left out: {len(ids)} {kind}{place} ({shown}): {reason}"
    for unread in result.unread:
        yield f"Not read: {unread.kind}{_place(unread.project)}: {unread.reason}"


def _place(project: str | None) -> str:
    return f" in {project}" if project else ""


def _difference(change: Change) -> str:
    """What a plan of the manifests would do to an object, and why."""
    fields = ", ".join(change.field_names)
    what = f"{change.action.value} {fields}".rstrip()
    reason = "it has an error" if change.blocked else change.reason.value
    return f"Differs: {change.address}: {what} ({reason})"


def _verdict(result: ExportResult) -> str:
    if result.plan is None:
        return "There is nothing to export."
    if result.differing:
        differing = count(len(result.differing), "object")
        return f"The plan of these manifests is not empty: {differing} differ."
    marks = ""
    if result.unmarked:
        what = count(result.unmarked, "object")
        marks = f" The first apply adopts {what} and writes the stack's mark into the metadata."
    return f"The plan of these manifests changes nothing.{marks}"
