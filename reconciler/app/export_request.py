"""The options of an export, and the check that it can be carried out."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from reconciler.app.session import Session
from reconciler.errors import UsageError
from reconciler.export import yaml_text
from reconciler.export.files import FileLayout, check_folder
from reconciler.export.naming import slug
from reconciler.kinds import KINDS
from reconciler.model.diagnostic import nearest


class ExportRequest(Struct, frozen=True):
    """What to export and how. Each field is the option of `reconciler export` with that name."""

    out: Path = Path("manifests")
    projects: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    unmanaged: bool = False
    adopt_in_manifests: bool = False
    layout: FileLayout = FileLayout.PROJECT
    fold: bool = False
    force: bool = False
    all_limits: bool = False


def check_request(session: Session, request: ExportRequest) -> Path:
    """The folder to write to. Raises UsageError for a request that cannot be carried out."""
    for name in request.kinds:
        if name not in KINDS:
            raise UsageError(f"--kind {name}: there is no such kind.{nearest(name, KINDS)}")
    root = session.settings.root.resolve()
    folder = (root / request.out).resolve()
    # Manifests are read from the folder of the stack alone, so others would never be used.
    if not folder.is_relative_to(root):
        raise UsageError(
            f"--out {request.out} is outside the stack's folder {root}",
            hint="Name a folder below it, or the stack with -C DIR.",
        )
    check_folder(folder, force=request.force)
    return folder


def stack_file(name: str, out: str) -> str:
    """A stack file for an export."""
    spec = {"manifests": [f"{out}/"]}
    return yaml_text.document({"kind": "Stack", "metadata": {"name": name}, "spec": spec})


def stack_name(given: str | None, root: Path) -> str:
    """The name of the stack: as given, else that of its folder. Raises UsageError."""
    if given is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", given):
            raise UsageError(
                f'--stack "{given}" is no name: use letters, digits, dots, hyphens and underscores'
            )
        return given
    return slug(root.resolve().name) or "stack"
