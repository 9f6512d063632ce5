"""Opening a state at an address."""

from __future__ import annotations

import time

import pytest

from reconciler.app.states import StateOpener, lease_seconds
from reconciler.errors import UsageError
from reconciler.state.address import parse_address


def test_google_cloud_storage_is_said_to_be_experimental(
    caplog: pytest.LogCaptureFixture,
) -> None:
    StateOpener("acme", "prod", {}, time.time).storage(parse_address("gs://bucket/prefix"))
    assert "experimental" in caplog.text


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "3601", "soon"])
def test_a_lease_of_an_impossible_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="RECONCILER_LEASE_SECONDS"):
        lease_seconds({"RECONCILER_LEASE_SECONDS": text})
