"""`reconciler import --from-terraform`: manifests and bindings from a Terraform state."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from reconciler.app.applying import locked
from reconciler.app.handover import end_handover
from reconciler.app.terraform_import import Imported, check_still_waiting, import_terraform_state
from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.cli.session import CommandSession
from reconciler.errors import UsageError
from reconciler.export.files import FileLayout
from reconciler.render.escape import terminal as clean
from reconciler.render.values import count
from reconciler.terraform.conversion import SkippedInstance
from reconciler.terraform.removed import FILE_NAME
from reconciler.terraform.secrets import ClearKey
from reconciler.terraform.state import parse_state


def run(options: GlobalOptions, source: str, *, out: str, layout: str | None, force: bool) -> int:
    """Import a state from a file, or from standard input for `-`; the exit code."""
    name = "standard input" if source == "-" else source
    # Before the lock, which would create a missing state for a file that cannot be read.
    state = parse_state(_read(source), name)
    with CommandSession(options) as session, locked(session, "import"):
        imported = import_terraform_state(
            session,
            state,
            name,
            folder=out,
            layout=FileLayout(layout or FileLayout.PROJECT),
            force=force,
        )
    if options.format == "json":
        click.echo(redactor(json.dumps(_data(imported), indent=2, ensure_ascii=False)))
        return 0
    for line in _report(imported):
        click.echo(redactor(clean(line)))
    return 0


def release(options: GlobalOptions) -> int:
    """Let apply begin; the exit code."""
    with CommandSession(options) as session:
        check_still_waiting(session)
        with locked(session, "import"):
            end_handover(session.store)
    click.echo("Terraform has let go: reconciler may change the imported objects now.")
    return 0


def _read(source: str) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror or error}") from error


def _data(imported: Imported) -> dict[str, Any]:
    """The report for programs."""
    conversion = imported.conversion
    resources: list[dict[str, Any]] = []
    for resource in conversion.resources:
        source = conversion.sources[resource.address].address
        resources.append(
            {"address": str(resource.address), "id": resource.id, "terraform_address": source}
        )
    return {
        "folder": str(imported.folder),
        "changed_files": [str(path) for path in imported.files],
        "resources": resources,
        "left_out": [_left_out(entry) for entry in conversion.left_out],
        "other_providers": dict(conversion.other_providers),
        "keys_in_clear_text": [_key(key) for key in conversion.keys],
        "notes": list(conversion.notes),
        "projects": dict(conversion.projects),
    }


def _left_out(entry: SkippedInstance) -> dict[str, str]:
    return {"terraform_address": entry.instance.address, "reason": entry.reason}


def _key(key: ClearKey) -> dict[str, str]:
    return {"place": key.place, "key_id": key.key_id, "address": key.address}


def _report(imported: Imported) -> Iterator[str]:
    conversion = imported.conversion
    instances = count(len(conversion.carried_over), "Terraform resource")
    resources = count(len(conversion.resources), "resource")
    yield f"Imported {instances} as {resources} into {imported.folder}/."
    if imported.stack_file is not None:
        projects = count(len(conversion.projects), "project")
        yield f"Wrote {imported.stack_file.name}, which names {projects} that Terraform only used."
    for note in conversion.notes:
        yield f"Note: {note}"
    if conversion.left_out or conversion.other_providers:
        yield ""
        yield "Not carried over; Terraform still manages these:"
    for entry in conversion.left_out:
        yield f"  {entry.instance.address}: {entry.reason}"
    for provider, number in conversion.other_providers.items():
        resource = count(number, "resource")
        yield f"  {resource} of the provider {provider}"
    yield from _about_keys(conversion.keys)
    yield ""
    yield "The state does not say which resources have `prevent_destroy`: set it in the manifests."
    yield ""
    yield "Next steps:"
    yield "  1. Run `reconciler plan`. It must show no changes."
    yield f"  2. Apply {imported.folder / FILE_NAME} with Terraform, which then forgets the objects."
    yield "  3. Run `reconciler import --terraform-released`. Until then, apply refuses."


def _about_keys(keys: tuple[ClearKey, ...]) -> Iterator[str]:
    if not keys:
        return
    yield ""
    yield f"The state holds {count(len(keys), 'API key')} in clear text. None was copied. Rotate them:"
    for key in keys:
        place = key.place
        if key.key_id:
            place += f" ({key.key_id})"
        yield f"  {place}{_how_to_rotate(key)}"


def _how_to_rotate(key: ClearKey) -> str:
    if not key.address:
        return ""
    if key.address.startswith("AdminKey/"):
        return f": `reconciler apply --replace {key.address}`"
    return f": set `key` of {key.address}, apply, then delete the old key"
