"""Requests to a busy host are retried, and changes are not repeated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.errors import HostError
from reconciler.hosts.http import HostHttp
from tests.servers.fake_http import FakeAnswer, FakeRequest, FakeServer


class BusyHost(FakeServer):
    """Answers with the given statuses, one after the other, and then with 200. None loses the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[int | None] = []
        self.before_answer = self._busy

    def answer(self, request: FakeRequest) -> FakeAnswer:
        return FakeAnswer(200, {"id": 1})

    def _busy(self, _: FakeRequest, answer: FakeAnswer) -> FakeAnswer | None:
        if not self.statuses:
            return answer
        status = self.statuses.pop(0)
        if status is None:
            return None
        return FakeAnswer(status)


@pytest.fixture
def busy() -> Iterator[BusyHost]:
    with BusyHost() as host:
        yield host


def http(host: BusyHost) -> HostHttp:
    return HostHttp("Forge", host.address, {}, permission="notes", sleep=lambda _: None)


@pytest.mark.parametrize("failure", [503, 429, None])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_write_that_can_be_repeated_is_sent_three_times_at_most(
    busy: BusyHost, method: str, failure: Any
) -> None:
    busy.statuses = [failure, failure]
    assert http(busy).write(method, "notes/1", {"body": "text"}) == {"id": 1}
    busy.statuses = [failure] * 3
    with pytest.raises(HostError):
        http(busy).write(method, "notes/1", {"body": "text"})
    assert len(busy.requests) == 6


@pytest.mark.parametrize("failure", [503, 429, None])
def test_a_post_is_sent_once(busy: BusyHost, failure: Any) -> None:
    busy.statuses = [failure]
    with pytest.raises(HostError, match="Forge"):
        http(busy).write("POST", "notes", {"body": "text"})
    assert len(busy.requests) == 1


def test_a_refusal_is_not_repeated(busy: BusyHost) -> None:
    busy.statuses = [422]
    with pytest.raises(HostError, match="422"):
        http(busy).get("notes")
    assert len(busy.requests) == 1
