"""Reads the settings of a shared state: that it is remote, and who can decrypt it.

The address is never in a file. It can contain a password, and the author of a pull request must not
decide where the state of the organization is read or written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from reconciler.manifests.configuration import Settings
from reconciler.manifests.problems import Report, ValueProblem
from reconciler.manifests.shapes import credential_in
from reconciler.model.paths import Trail
from reconciler.model.values import Unknown

ADDRESS_VARIABLE = "RECONCILER_BACKEND"
REMOTE = "remote"
HOW_TO_SET = (
    "The address of a remote backend never stands in a file: write `backend: remote`, and set "
    "RECONCILER_BACKEND or pass --backend."
)
RECIPIENT_PATTERN = (
    r"^(age1[0-9a-z.+_-]{10,}|ssh-(ed25519|rsa) [A-Za-z0-9+/]{20,}={0,2}( [^\r\n]*)?)$"
)
RECIPIENT_MESSAGE = (
    "Expected a recipient of age (age1…) or a public SSH key (ssh-ed25519 … or ssh-rsa …)."
)
_IDENTITY = re.compile(r"AGE-(SECRET-KEY|PLUGIN)-|PRIVATE KEY", re.IGNORECASE)


def given_address(settings: Settings) -> str:
    """The address of the command line, else that of the environment, else an empty string."""
    given = (settings.backend or "").strip()
    return given or settings.env.get(ADDRESS_VARIABLE, "").strip()


def given_folder(settings: Settings) -> Path | None:
    """The folder that a given address names; None for an address of another form, valid or not."""
    scheme, _, path = given_address(settings).partition(":")
    if scheme.lower() == "file":
        path = unquote(path.removeprefix("//").removeprefix("localhost"))
    elif scheme.lower() != "local":
        return None
    return Path(path).absolute() if path and path.isprintable() else None


def quotable(document: Mapping[str, Any], report: Report) -> Mapping[str, Any]:
    """A stack document for the check of its schema, whose messages quote what they refuse.

    Addresses and private keys are reported here, without a quote, and are left out.
    """
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return document
    checked = _sections(spec, ("spec",), report)
    environments = spec.get("environments")
    if isinstance(environments, dict):
        overlays = checked["environments"] = dict(environments)
        for name, overlay in environments.items():
            overlays[name] = _sections(overlay, ("spec", "environments", name), report)
    return {**document, "spec": checked}


def is_remote(backend: Any) -> bool:
    """Whether a checked `backend` section asks for a remote backend."""
    return isinstance(backend, str)


def recipients_of(encryption: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The recipients in a checked `encryption` section, each once."""
    age = (encryption or {}).get("age") or {}
    # A block scalar of YAML ends with a line break, which the pattern accepts.
    return tuple(dict.fromkeys(text.strip() for text in age.get("recipients") or ()))


def refuse_address(path: str) -> None:
    """Raise Problem where the folder of a local backend is the address of a remote one."""
    if "://" in path:
        raise ValueProblem("Not a folder", HOW_TO_SET)


def _sections(settings: Any, above: Trail, report: Report) -> Any:
    if not isinstance(settings, dict):
        return settings
    checked = dict(settings)
    if _is_address(settings.get("backend")):
        report(ValueProblem("Unknown backend", HOW_TO_SET), (*above, "backend"))
        checked["backend"] = Unknown()
    encryption = _map(settings.get("encryption"))
    age = _map(encryption.get("age"))
    recipients = age.get("recipients")
    if isinstance(recipients, list):
        trail = (*above, "encryption", "age", "recipients")
        kept = [_recipient(text, (*trail, index), report) for index, text in enumerate(recipients)]
        checked["encryption"] = {**encryption, "age": {**age, "recipients": kept}}
    return checked


def _map(value: Any) -> dict[str, Any]:
    # The schema has not been checked yet, so anything can stand here.
    return value if isinstance(value, dict) else {}


def _is_address(backend: Any) -> bool:
    if isinstance(backend, str):
        return backend != REMOTE
    return isinstance(backend, dict) and any("://" in str(key) for key in backend)


def _recipient(text: Any, trail: Trail, report: Report) -> Any:
    if not isinstance(text, str):
        return text
    if not (_IDENTITY.search(text) or credential_in(text)):
        return text
    detail = (
        "Write the public recipient, which `age-keygen -y FILE` prints. Replace the private key: "
        "whoever can read this file can decrypt with it."
    )
    report(ValueProblem("A private key does not belong in a file", detail), trail)
    return Unknown()
