"""Jobs: work that an object is started for, and that goes on by itself until it has ended one way or another.

A job runs once for its inputs. Nothing of it can be changed, so a digest of what it was started with goes into its
metadata beside our mark: by these two a job is found again, whatever became of the state, before another is started.
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
"""How many of a job's metadata pairs are ours: the mark, and the digest of its inputs."""


class Phase(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Job(Struct, frozen=True):
    """How the objects of a kind run, as data.

    Where `status` is one of `succeeded` or `failed`, the job has ended; any other status means that it still runs.
    `cancel` is the call that stops it. `results` are the attributes that references may use once it has succeeded.
    `counts` names the attribute that counts how far it is, `events` the path of the list of what it says, `errors`
    where the reason of a failure may be found. `product` is the attribute with the id of something that stays when the
    job has ended and can be removed by the call `remove_product`; `destroys` says what is lost then.
    """

    succeeded: tuple[str, ...]
    failed: tuple[str, ...]
    results: tuple[str, ...]
    cancel: str = "POST {collection}/{id}/cancel"
    status: str = "status"
    counts: str | None = None
    events: str | None = None
    errors: tuple[tuple[str, ...], ...] = ()
    product: str | None = None
    remove_product: str = ""
    destroys: str = ""

    def phase(self, attributes: Spec) -> Phase | None:
        """How a job stands that looks like this; None where nothing says so."""
        status = attributes.get(self.status)
        if status is None:
            return None
        if status in self.succeeded:
            return Phase.SUCCEEDED
        return Phase.FAILED if status in self.failed else Phase.RUNNING

    def runs(self, attributes: Spec) -> bool:
        """Whether a job that looks like this can still be stopped."""
        return self.phase(attributes) is Phase.RUNNING

    def progress_of(self, attributes: Spec) -> str:
        """How far it is, in its own words: `in_progress, total 10, completed 3, failed 0`, or why it failed."""
        counted = attributes.get(self.counts) if self.counts else None
        counts = (
            [f"{name} {value}" for name, value in counted.items()]
            if isinstance(counted, Mapping)
            else []
        )
        why = next(self._reasons(attributes), "") if self.phase(attributes) is Phase.FAILED else ""
        text = ", ".join([str(attributes.get(self.status)), *([] if why else counts)])
        return f"{text}: {why}" if why else text

    def found(self, attributes: Spec) -> dict[str, Any]:
        """The results of a job that has succeeded; nothing before that, as what shows earlier is not final."""
        if self.phase(attributes) is not Phase.SUCCEEDED:
            return {}
        return {name: attributes[name] for name in self.results if attributes.get(name) is not None}

    def _reasons(self, attributes: Spec) -> Iterator[str]:
        for path in self.errors:
            text = value_at(attributes, path)
            if isinstance(text, str) and text:
                yield text


def digest_of(inputs: Spec) -> str | None:
    """The digest of a job's inputs; None while one of them is unknown. Of a file its content counts, not its name."""
    if has_unknown(inputs):
        return None
    text = json.dumps(
        inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_content
    )
    return sha256(text.encode()).hexdigest()[:32]


def _content(value: Any) -> Any:
    if isinstance(value, LocalFile):
        return {"sha256": value.sha256}
    raise TypeError(f"a {type(value).__name__} cannot be an input of a job")
