"""Options of the emulator: latency, limits, lag, faults, a data file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from reconciler.emulator.faults import Fault
from reconciler.emulator.store import ORGANIZATION

ThrottleStyle = Literal["bare", "retry-after", "text"]


@dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """How the emulator behaves; by default it is fast, consistent and without limits."""

    data: Path | None = None
    """Keep everything in this file, across restarts."""
    organization: str = ORGANIZATION
    """The organization id in responses; requests that name another one are refused."""
    latency_ms: int = 0
    """The delay before each response."""
    admin_rpm: int = 0
    """Requests per minute and admin route before a 429; 0 means no limit."""
    throttle_style: ThrottleStyle = "bare"
    """How a 429 says when to retry: not at all, in a Retry-After header, or in its message."""
    index_delay_ms: int = 0
    """How long a new file of a vector store stays in_progress."""
    job_delay_ms: int = 0
    """How long a batch, a fine-tuning job or an eval run takes."""
    list_lag_ms: int = 0
    """How long a new object is missing from lists."""
    read_lag_ms: int = 0
    """How long single reads of a new object get a 404."""
    audit_lag_ms: int = 0
    """The delay until an audit log entry appears; its time is still that of the event."""
    audit_off: bool = False
    """Disable the audit log and answer 403, like an organization that has not enabled it."""
    retire_assistants: bool = False
    """Answer 404 below /assistants and /threads, as the live platform does today."""
    retire: tuple[str, ...] = ()
    """Collections to refuse: `NAME` (with 404) or `NAME:STATUS`, such as `evals:410`."""
    service_account_keys_deletable: bool = True
    """Whether a key of a service account can be deleted alone; if not, 400 as documented."""
    hide_last_used: bool = False
    """Leave `last_used_at` out of keys, as the schema of admin keys allows."""
    faults: tuple[Fault, ...] = ()
    """Faults that are active from the start."""
    seed: Mapping[str, int] | None = None
    """Objects to create in an empty store at start; the keys are those of `seeding.COUNTS`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is int and value < 0:
                raise ValueError(f"{field.name} must not be negative")
        for entry in self.retire:
            name, separator, status = entry.partition(":")
            if not name or (separator and not (status.isdigit() and 400 <= int(status) <= 599)):
                raise ValueError(
                    f"retire {entry!r}: write NAME or NAME:STATUS, with a status from 400 to 599"
                )
        if self.throttle_style not in get_args(ThrottleStyle):
            raise ValueError(f"throttle_style must be one of {', '.join(get_args(ThrottleStyle))}")

    def changed(self, changes: Mapping[str, Any]) -> EmulatorOptions:
        """Return a copy with some options changed; faults may be in their one-line form.

        The data file and the seed apply at start only, so they cannot change.
        """
        fixed = {"data", "seed"}
        known = {field.name: field for field in fields(self) if field.name not in fixed}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"unknown option {name!r}; it is one of {', '.join(known)}")
            _check_type(name, value, type(getattr(self, name)))
        prepared = dict(changes)
        if "retire" in prepared:
            prepared["retire"] = tuple(prepared["retire"])
        if "faults" in prepared:
            prepared["faults"] = tuple(_as_fault(fault) for fault in prepared["faults"])
        return replace(self, **prepared)

    def retirement_of(self, path: str) -> int | None:
        """The status with which a path is refused if its collection is retired."""
        for entry in self.retire:
            name, _, status = entry.partition(":")
            if path == f"/{name}" or path.startswith(f"/{name}/"):
                return int(status or 404)
        return None

    def as_json(self) -> dict[str, Any]:
        result = {field.name: getattr(self, field.name) for field in fields(self)}
        result["data"] = None if self.data is None else str(self.data)
        result["faults"] = [str(fault) for fault in self.faults]
        result["seed"] = None if self.seed is None else dict(self.seed)
        return result


def _check_type(name: str, value: Any, expected: type) -> None:
    good = isinstance(value, list | tuple) if expected is tuple else type(value) is expected
    if not good:
        raise ValueError(
            f"option {name} must be of type {expected.__name__}, not {type(value).__name__}"
        )


def _as_fault(value: Any) -> Fault:
    return value if isinstance(value, Fault) else Fault.parse(str(value))
