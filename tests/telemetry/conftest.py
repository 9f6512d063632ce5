"""Servers that receive telemetry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.telemetry.collector import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that keeps what it receives and answers 200."""
    with serving() as running:
        yield running
