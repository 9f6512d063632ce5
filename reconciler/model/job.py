"""Jobs: objects that start work, which runs on its own until it succeeds or fails.

A job runs once for its inputs, and nothing about it can be changed. Its metadata holds our mark and a digest of the
inputs. With both, a job is found again even without the state, before another one is started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from typing import Any

from msgspec import Struct

from reconciler.model.values import LocalFile, Spec, has_unknown, value_at

INPUTS_KEY = "reconciler_inputs"
"""The metadata key that carries the digest of a job's inputs."""

OWN_PAIRS = 2
"""The number of metadata pairs that we add to a job: the mark and the digest of the inputs."""


class Phase(StrEnum):
    """The progress of a job, reduced to what planning needs."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Job(Struct, frozen=True):
    """How jobs of a kind run, and how their answers report it."""

    succeeded: tuple[str, ...]
    """Values of `status` that mean success."""
    failed: tuple[str, ...]
    """Values of `status` that mean failure or cancellation. Any other value means that the job runs."""
    results: tuple[str, ...]
    """Attributes that references may use once the job has succeeded."""
    cancel: str = "POST {collection}/{id}/cancel"
    """The call that stops the job."""
    status: str = "status"
    """The attribute with the status."""
    counts: str | None = None
    """The attribute with progress counters."""
    events: str | None = None
    """The path of the list of events."""
    errors: tuple[tuple[str, ...], ...] = ()
    """Paths of attributes that may hold the reason of a failure, best first."""
    product: str | None = None
    """The attribute with the id of an object that outlives the job, such as a fine-tuned model."""
    remove_product: str = ""
    """The call that deletes the product."""
    destroys: str = ""
    """What the deletion of the product destroys, as a clause for the plan."""

    def phase(self, attributes: Spec) -> Phase | None:
        """The phase of a job with these attributes; None if the status is missing."""
        status = attributes.get(self.status)
        if status is None:
            return None
        if status in self.succeeded:
            return Phase.SUCCEEDED
        if status in self.failed:
            return Phase.FAILED
        # A status that this version does not know counts as running: to take it for an end would
        # start the job, and pay for it, once more.
        return Phase.RUNNING

    def runs(self, attributes: Spec) -> bool:
        """Whether a job with these attributes can still be stopped."""
        return self.phase(attributes) is Phase.RUNNING

    def progress_of(self, attributes: Spec) -> str:
        """The progress or the reason of the failure: `in_progress, total 10, completed 3, failed 0`."""
        status = str(attributes.get(self.status))
        if self.phase(attributes) is Phase.FAILED:
            for reason in self._reasons(attributes):
                return f"{status}: {reason}"
        counters = attributes.get(self.counts) if self.counts else None
        parts = [status]
        if isinstance(counters, Mapping):
            parts += [f"{name} {value}" for name, value in counters.items()]
        return ", ".join(parts)

    def final_results(self, attributes: Spec) -> dict[str, Any]:
        """The results of a successful job. Empty before that, because earlier values are not final."""
        if self.phase(attributes) is not Phase.SUCCEEDED:
            return {}
        return {name: attributes[name] for name in self.results if attributes.get(name) is not None}

    def _reasons(self, attributes: Spec) -> Iterator[str]:
        for path in self.errors:
            text = value_at(attributes, path)
            if isinstance(text, str) and text:
                yield text


def digest_of(inputs: Spec) -> str | None:
    """The digest of a job's inputs; None while an input is unknown. Files count by content, not by name."""
    if has_unknown(inputs):
        return None
    # Canonical text: the digest is stored at the API and must not depend on key order or version.
    text = json.dumps(
        inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_content
    )
    return sha256(text.encode()).hexdigest()[:32]


def _content(value: Any) -> Any:
    if isinstance(value, LocalFile):
        return {"sha256": value.sha256}
    raise TypeError(f"a {type(value).__name__} cannot be an input of a job")
