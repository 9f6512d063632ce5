"""A worker pool that waits does not block the others. Only the transport and the clock are fake."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import httpx

from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.client import Client
from reconciler.api.transport.throttle import Throttle
from reconciler.engine.refresh.reader import Reader
from reconciler.engine.scope import Scope
from reconciler.kinds import KINDS
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets.sinks import SinkSet
from tests.api.conftest import Clock, Given

PROJECTS = {"a": "proj_a", "b": "proj_b", "c": "proj_c"}
PATIENCE_SECONDS = 30


def test_what_has_to_wait_for_the_pace_of_one_route_lets_the_other_routes_go_on(
    tmp_path: Path,
) -> None:
    """No wait ends before all the other lists have come, so that it would never end if they waited too."""
    clock, others_came, came = Clock(), threading.Event(), list[str]()

    def wire(request: httpx.Request) -> httpx.Response:
        if "service_accounts" not in request.url.path:
            came.append(request.url.path)
        if len(came) > len(PROJECTS):
            others_came.set()
        return httpx.Response(200, json={"object": "list", "data": [], "has_more": False})

    def sleep(seconds: float) -> None:
        assert others_came.wait(PATIENCE_SECONDS)
        clock.sleep(seconds)

    client = Client(
        "https://api.example/v1",
        transport=httpx.MockTransport(wire),
        throttle=Throttle(admin_requests_per_minute=1, clock=clock),
        parallelism=2,
        clock=clock,
        sleep=sleep,
    )
    key = Given("OPENAI_KEY", Secret("sk-000000000000001234"))
    keys = KeyRing(admin=key, default=key, projects=dict.fromkeys(PROJECTS, key), root=tmp_path)
    sinks = SinkSet(tmp_path, Redactor(), owner="stack/default")
    with closing(client):
        reader = Reader(
            HttpProvider(client, keys, sinks, tmp_path, PROJECTS), KINDS, parallelism=2, pages={}
        )
        paced = [Scope("ServiceAccount", project) for project in PROJECTS]
        free = [Scope("User", None), *(Scope("VectorStore", project) for project in PROJECTS)]
        reader.read_lists([*paced, *free])
    assert set(reader.state.listed) == {*paced, *free}
