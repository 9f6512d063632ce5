"""Hosted environments of agents: validation, and the parts that responses show.

Contents, archives, variables and commands are confidential: no response contains them.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from reconciler.emulator.errors import bad_request
from reconciler.emulator.validation import (
    Check,
    boolean,
    choice,
    fields,
    listed,
    mapping,
    nullable,
    tagged,
    text,
)

_WORD = text(minimum=1)
_PATH = text(pattern="/workspace/.+")
_FOLDERS = listed(text(pattern="/.*"))


def _base64(value: Any, place: str) -> str:
    found: str = _WORD(value, place)
    try:
        base64.b64decode(found, validate=True)
    except binascii.Error:
        raise bad_request(f"Invalid '{place}': expected standard base64.", param=place) from None
    return found


def _variables(value: Any, place: str) -> dict[str, str]:
    return {name: text()(item, f"{place}.{name}") for name, item in mapping(value, place).items()}


def _network(value: Any, place: str) -> dict[str, Any]:
    names = nullable(listed(_WORD))
    found: dict[str, Any] = fields(
        {"access": choice("enabled", "disabled", "restricted")},
        {"allowed_domains": names, "blocked_domains": names},
    )(value, place)
    if found.get("blocked_domains") and (
        found["access"] != "restricted" or found.get("allowed_domains")
    ):
        detail = "needs access 'restricted', and goes with no allowed_domains"
        raise bad_request(
            f"Invalid '{place}.blocked_domains': {detail}.", param=f"{place}.blocked_domains"
        )
    return found


_SOURCE = fields(
    {"type": choice("base64"), "media_type": choice("application/zip"), "data": _base64}
)
_INLINE = fields({"type": choice("inline"), "name": _WORD, "description": _WORD, "source": _SOURCE})
_FILE = tagged(
    {
        "file_id": fields({"type": choice("file_id"), "file_id": _WORD, "path": _PATH}),
        "inline": fields({"type": choice("inline"), "data": _base64, "path": _PATH}),
    }
)
_SKILL = tagged(
    {
        "skill_reference": fields(
            {"type": choice("skill_reference"), "skill_id": _WORD},
            {"version": nullable(text(pattern="[1-9][0-9]*|latest"))},
        ),
        "inline": _INLINE,
    }
)
_PACKAGES = fields({}, {name: nullable(listed(_WORD)) for name in ("npm", "python", "system")})
_COMMAND = fields({"command": _WORD}, {"cwd": nullable(text(pattern="/.*"))})

CHECKS: dict[str, Check] = {
    "capability_directories": nullable(_FOLDERS),
    "desktop": nullable(fields({"enabled": boolean()})),
    "env": nullable(_variables),
    "files": nullable(listed(_FILE)),
    "network": nullable(_network),
    "packages": nullable(_PACKAGES),
    "plugins": nullable(listed(tagged({"inline": _INLINE}))),
    "setup_commands": nullable(listed(_COMMAND)),
    "skills": nullable(listed(_SKILL)),
}
CONFIDENTIAL = ("env", "setup_commands")


def shown(name: str, sent: Any) -> Any:
    """The visible fields of a part that was sent."""
    match name:
        case "files":
            return [_shown_file(file) for file in sent]
        case "skills":
            return [
                _shown_archive(skill) if "source" in skill else {"version": None, **skill}
                for skill in sent
            ]
        case "plugins":
            return [_shown_archive(plugin) for plugin in sent]
        case "packages":
            return {sort: sent.get(sort) or [] for sort in ("npm", "python", "system")}
        case "network":
            return {"access": sent["access"], "allowed_domains": sent.get("allowed_domains") or []}
    return sent


def _shown_file(file: dict[str, Any]) -> dict[str, Any]:
    if "data" not in file:
        return file
    return {
        "type": "inline",
        "path": file["path"],
        "size_bytes": len(base64.b64decode(file["data"])),
    }


def _shown_archive(archive: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in archive.items() if name != "source"}
