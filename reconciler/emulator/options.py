"""What can be asked of the emulator besides being correct: slowness, limits, lag, faults, a data file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from reconciler.emulator.faults import Fault
from reconciler.emulator.store import ORGANIZATION

ThrottleStyle = Literal["bare", "retry-after", "text"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the emulator behaves; the defaults make it fast, consistent and patient."""

    data: Path | None = None
    """Keep everything in this file, across restarts."""
    organization: str = ORGANIZATION
    """The organization that answers name, and that a request must name if it names one."""
    latency_ms: int = 0
    """Wait this long before each answer."""
    admin_rpm: int = 0
    """Requests a minute that each admin route accepts; the next gets a 429. 0 = no limit."""
    throttle_style: ThrottleStyle = "bare"
    """How a 429 tells when to come back: not at all, by a Retry-After header, or in the text of its message."""
    index_delay_ms: int = 0
    """How long a file that joined a vector store stays in_progress."""
    job_delay_ms: int = 0
    """How long a batch, a fine-tuning job or the run of an eval takes."""
    list_lag_ms: int = 0
    """How long a new object is missing from lists."""
    read_lag_ms: int = 0
    """How long a new object answers 404 when it is read singly."""
    audit_lag_ms: int = 0
    """How late an entry comes into the audit log; it tells the time of what happened all the same."""
    audit_off: bool = False
    """Log nothing, and answer 403 to whoever asks for the log, as where an organization has not switched it on."""
    retire_assistants: bool = False
    """Answer 404 below /assistants and /threads, as the live platform does today."""
    retire: tuple[str, ...] = ()
    """Collections to refuse, each as `NAME` (answered with 404) or `NAME:STATUS`, such as `evals:410`."""
    service_account_keys_deletable: bool = True
    """Whether a single key of a service account can be deleted; when not, 400, as the published description says."""
    faults: tuple[Fault, ...] = ()
    """Mishaps to arm at the start."""
    seed: Mapping[str, int] | None = None
    """Objects to make at the start of an empty store; the keys are those of `seeding.COUNTS`."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is int and value < 0:
                raise ValueError(f"{field.name} must not be negative")
        for entry in self.retire:
            name, separator, status = entry.partition(":")
            if not name or (separator and not (status.isdigit() and 400 <= int(status) <= 599)):
                raise ValueError(f"retire {entry!r}: write NAME or NAME:STATUS, with a status from 400 to 599")
        if self.throttle_style not in get_args(ThrottleStyle):
            raise ValueError(f"throttle_style must be one of {', '.join(get_args(ThrottleStyle))}")

    def changed(self, changes: Mapping[str, Any]) -> Options:
        """Return a copy with some options changed; faults may be given as their one-line form.

        The data file and the seed belong to the start of a server, so they cannot change under it.
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
        """The status that a path is refused with, where its collection is retired."""
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
        raise ValueError(f"option {name} must be of type {expected.__name__}, not {type(value).__name__}")


def _as_fault(value: Any) -> Fault:
    return value if isinstance(value, Fault) else Fault.parse(str(value))
