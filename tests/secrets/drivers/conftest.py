"""Runs that deliver keys to one server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.transport.side_client import connect
from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets import SinkSet

INDEXER = Address.parse("ServiceAccount/search/indexer")
KEY = Secret("sk-svcacct-firstKEYofTHEaccountINDEXER")
TOKEN = "1" * 32

Run = Callable[..., SinkSet]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """The sinks of a new run: `run(env, **arguments of SinkSet)`."""
    runs: list[SinkSet] = []

    def new(env: Mapping[str, str], **more: Any) -> SinkSet:
        arguments: dict[str, Any] = {
            "owner": "acme/prod",
            "connect": partial(connect, environ=env),
            "sleep": lambda _: None,
            **more,
        }
        runs.append(SinkSet(tmp_path, Redactor(), env=env, **arguments))
        return runs[-1]

    yield new
    for sinks in runs:
        sinks.close()


def refusal(sinks: SinkSet, target: Mapping[str, Any]) -> str:
    """What `check` says of a target, with its hint."""
    with pytest.raises(SinkError) as error:
        sinks.check(target, address=INDEXER)
    assert error.value.hint
    return f"{error.value} [{error.value.hint}]"


def delivered(sinks: SinkSet, target: Mapping[str, Any]) -> Mapping[str, Any]:
    """The receipt of a delivery."""
    return sinks.put(target, KEY, address=INDEXER, token=TOKEN)
