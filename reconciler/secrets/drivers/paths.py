"""Helpers of drivers: paths of targets, and settings from the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping

from reconciler.errors import SinkError, SinkSetupError
from reconciler.model.secret import Redactor, Secret

_LONGEST = 512


def quoted(text: str) -> str:
    """A value of a manifest as messages quote it, on one line."""
    return json.dumps(text, ensure_ascii=False)


def normal_path(path: str, *, what: str) -> str:
    """A path without slashes at its ends. Raises ValueError for one that a server could read as
    another."""
    parts = path.strip("/").split("/")
    is_plain = path.isprintable() and not set(path) & set(" \\?#%*\"'<>|")
    if not is_plain or any(part in ("", ".", "..") for part in parts) or len(path) > _LONGEST:
        raise ValueError(
            f'{quoted(path)} is not a path in {what}: write names of letters, digits, "-", "_" and "." '
            "separated by single slashes"
        )
    return "/".join(parts)


def setting(env: Mapping[str, str], *names: str) -> str:
    """The value of the first variable that is set; empty without one."""
    return next((env[name].strip() for name in names if env.get(name, "").strip()), "")


def needed(env: Mapping[str, str], *names: str, what: str) -> str:
    """The same. Raises SinkError naming the first variable if none is set."""
    value = setting(env, *names)
    if not value:
        raise SinkSetupError(
            f"{what} is not known: {names[0]} is not set",
            hint=f"set {' or '.join(names)} where reconciler runs",
        )
    return value


def credential(env: Mapping[str, str], redactor: Redactor, *names: str, what: str) -> str:
    """A credential from the environment, which the redactor learns. Raises SinkError without one."""
    value = needed(env, *names, what=what)
    redactor.add(Secret(value))
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SinkError(
            f"{what} ({names[0]}) contains characters that no credential has",
            hint=f"set {names[0]} again, without line ends or spaces",
        )
    return value
