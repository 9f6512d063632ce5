"""The policy options of the command line, which no manifest can set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.rules import POLICY

if TYPE_CHECKING:
    from reconciler.app.session import Session


class PolicyRequest(Struct, frozen=True):
    """`folders` have trusted policies; `overrides` are `NAME=REASON` for each overridden policy."""

    folders: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    is_for_many: bool = False
    """Whether the same request is made of many stacks, so that some lack an overridden policy."""


def has_policies(session: Session) -> bool:
    """Whether there are any policies. Loads none."""
    rules = session.declared.rules
    return bool(session.policy_request.folders) or any(rule.kind is POLICY for rule in rules)


def needs_policies(session: Session) -> bool:
    """Whether there are policies, or overrides of some.

    Without either, a plan does not import the language of their rules.
    """
    return has_policies(session) or bool(session.policy_request.overrides)
