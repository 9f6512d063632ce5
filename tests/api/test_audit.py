"""Reads of the audit log in cases that the emulator's log never shows."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import httpx
import pytest

from reconciler.api.audit import read_log
from reconciler.api.keys import KeyRing
from reconciler.api.transport.client import Client
from reconciler.errors import ApiError
from reconciler.model.log import LogQuery
from reconciler.model.secret import Secret
from tests.api.conftest import Given

KEYS = KeyRing(
    admin=Given("OPENAI_ADMIN_KEY", Secret("sk-admin-000000000000000")),
    default=None,
    projects={},
    root=Path(),
)


class Server:
    """A log of two pages, or an error."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[httpx.URL] = []
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        first = 100 if "after" in request.url.params else 0
        data = [
            {"id": f"audit_log-{n}", "type": "user.added", "effective_at": 1}
            for n in range(first, first + 100)
        ]
        body = {"data": data, "has_more": first == 0, "last_id": data[-1]["id"]}
        return httpx.Response(
            self._status, json=body if self._status == 200 else {"error": {"message": "no"}}
        )

    def client(self) -> Client:
        return Client("http://127.0.0.1:1/v1", transport=httpx.MockTransport(self))


def test_a_page_of_the_log_is_requested_on_demand() -> None:
    server = Server()
    (page,) = islice(read_log(server.client(), KEYS, LogQuery(5.5)), 1)
    assert (len(page.entries), page.has_more, len(server.asked)) == (100, True, 1)


def test_the_last_page_of_the_log_has_no_more() -> None:
    assert [page.has_more for page in read_log(Server().client(), KEYS, LogQuery())] == [
        True,
        False,
    ]


def test_a_query_names_types_projects_and_whole_seconds() -> None:
    server = Server()
    next(
        read_log(
            server.client(),
            KEYS,
            LogQuery(5.5, types=("user.added", "role.created"), project_ids=("p",)),
        )
    )
    params = server.asked[0].params
    assert params.get_list("event_types[]") == ["user.added", "role.created"]
    assert (params.get_list("project_ids[]"), params["effective_at[gte]"]) == (["p"], "5")


def test_a_failing_log_is_asked_once() -> None:
    server = Server(500)
    with pytest.raises(ApiError):
        next(read_log(server.client(), KEYS, LogQuery()))
    assert len(server.asked) == 1
