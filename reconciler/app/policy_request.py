"""What the command line says about policies, which no manifest can say."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class PolicyRequest(Struct, frozen=True):
    """`folders` have trusted policies; `overrides` are `NAME=REASON` for each overridden policy."""

    folders: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
