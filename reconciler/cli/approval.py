"""`apply --approve DIGEST`: only the plan with the digest that was reviewed may be applied."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click

from reconciler.app.session import Session
from reconciler.errors import ReconcilerError, StalePlanError
from reconciler.model.change import Plan
from reconciler.model.plan_digest import plan_digest
from reconciler.render.plan_difference import changes_of, differences
from reconciler.render.planfile import load_plan

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_FILES = 50
_MOST_BYTES = 64_000_000


def digest_option(_: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """The value of the option; raises BadParameter unless it is a whole digest."""
    if text is None:
        return None
    digest = text.strip().lower()
    if not _DIGEST.fullmatch(digest):
        raise click.BadParameter(
            "A digest has 64 hexadecimal digits. Every report of a plan has it.", param=option
        )
    return digest


def check_approved(session: Session, plan: Plan, approved: str | None) -> None:
    """Raise StalePlanError, with the differences, if another plan than this one was approved."""
    if approved is None:
        return
    present = plan_digest(plan)
    if present == approved:
        return
    # If the approved plan still exists as a file, say what changed since.
    saved = next(_saved_plans(session, approved), None)
    if saved is not None:
        head, lines = "What differs:", differences(saved, plan)
    elif plan.is_empty:
        head, lines = "The present plan has no changes.", []
    else:
        head, lines = "The present plan:", changes_of(plan)
    message = [
        "the plan is not the one that was approved: something changed since the review",
        f"approved: {approved}",
        f"present:  {present}",
        head,
        *(f"  {line}" for line in lines),
    ]
    raise StalePlanError(
        "\n".join(message),
        hint="Review the present plan, and approve its digest.",
    )


def _saved_plans(session: Session, digest: str) -> Iterator[Plan]:
    """The saved plans with this digest in the current folder and in that of the stack."""
    folders = dict.fromkeys((Path.cwd(), session.settings.root.resolve()))
    for folder in folders:
        for path in _plan_files(folder):
            # Files of other types, and plans of other versions, cannot be compared.
            with suppress(ReconcilerError, OSError, UnicodeDecodeError):
                plan = load_plan(path.read_text(encoding="utf-8"))
                if plan_digest(plan) == digest:
                    yield plan


def _plan_files(folder: Path) -> Iterator[Path]:
    """The latest files that may be saved plans."""
    files = []
    for path in folder.iterdir():
        # No symbolic links: a pull request may contain one that leads out of the checkout.
        is_candidate = path.suffix in (".json", ".plan", ".rplan", "") and not path.is_symlink()
        if is_candidate and path.is_file() and path.stat().st_size <= _MOST_BYTES:
            files.append(path)
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    yield from files[:_MOST_FILES]
