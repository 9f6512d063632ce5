"""Faults are parsed from a line, and cause the requested failure at a client."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.emulator import FAULT_HELP, Emulator, Fault


def stores(http: httpx.Client) -> int:
    return len(http.get("/vector_stores").json()["data"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "is not one of on=…"),
        ("on=POST:/files", "do= is missing"),
        ("do=explode", "unknown action 'explode'"),
        ("do=error", "needs a whole number, as in error:503"),
        ("do=error:200", "not an error status"),
        ("do=hang:soon", "needs a whole number"),
        ("do=reset:1", "takes no argument"),
        ("do=reset,on=/files", "must be METHOD:GLOB"),
        ("do=reset,on=P0ST:/files", "not an HTTP method"),
        ("do=reset,on=POST:files", "must start with / or *"),
        ("do=reset,when=later", "must be before or after"),
        ("do=reset,times=-1", "must be a whole number"),
        ("do=reset,times=1,times=2", "appears twice"),
        ("do=reset,color=red", "is not one of on=…"),
    ],
)
def test_a_bad_line_says_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Fault.parse(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "on=POST:/vector_stores*,do=error:503,when=after,times=2,skip=1",
        "on=*:*,do=reset,when=before,times=1,skip=0",
        "on=GET:/files,do=hang:2000,when=before,times=0,skip=0",
        "on=POST:/files,do=reset,when=after,times=1,skip=0,then=2",
    ],
)
def test_a_fault_prints_as_the_line_it_was_read_from(spec: str) -> None:
    assert str(Fault.parse(spec)) == spec


@pytest.mark.parametrize("action", ["truncate", "no-id", "repeat-cursor"])
def test_what_needs_the_answer_happens_after(action: str) -> None:
    assert Fault.parse(f"do={action}").when == "after"


ACTIONS = (
    "error", "html", "reset", "truncate", "hang", "not-json", "empty", "no-id", "error-body", "quota", "repeat-cursor",
)  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
def test_the_help_names_every_action(action: str) -> None:
    assert f"\n                     {action}" in FAULT_HELP


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/files", "/files", True),
        ("/files", "/files/file-1", False),
        ("/files*", "/files/file-1", True),
        ("/vector_stores/*/files", "/vector_stores/vs_1/files", True),
        ("/vector_stores/*/files", "/vector_stores/vs_1/files/f", False),
        ("*", "/anything", True),
        ("/f.les", "/files", False),
    ],
)
def test_a_star_matches_any_characters(glob: str, path: str, matches: bool) -> None:
    assert Fault.parse(f"on=GET:{glob},do=reset").matches("GET", path) is matches


def test_before_means_that_nothing_was_made(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("on=POST:/vector_stores,do=error:503")
    answer = http.post("/vector_stores", json={})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert stores(http) == 0


def test_after_means_that_it_was_made_all_the_same(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("on=POST:/vector_stores,do=error:503,when=after")
    assert http.post("/vector_stores", json={}).status_code == 503
    assert stores(http) == 1


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_a_reset_closes_the_connection_without_an_answer(
    emulator: Emulator, http: httpx.Client, when: str, made: int
) -> None:
    emulator.add_fault(f"on=POST:/vector_stores,do=reset,when={when}")
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        http.post("/vector_stores", json={})
    assert stores(http) == made
    assert emulator.requests[0].status == 0


def test_a_truncated_answer_announces_more_than_it_sends(
    emulator: Emulator, http: httpx.Client
) -> None:
    emulator.add_fault("on=POST:/vector_stores,do=truncate")
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        http.post("/vector_stores", json={})
    assert stores(http) == 1


def test_html_is_the_page_of_a_proxy(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("do=html:502")
    answer = http.get("/models")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert "<h1>502 Bad Gateway</h1>" in answer.text


def test_not_json_is_a_success_that_cannot_be_read(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("do=not-json")
    answer = http.get("/models")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain")


def test_retry_after_says_how_long(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("do=retry-after:2")
    answer = http.get("/models")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


def test_quota_is_a_429_that_waiting_does_not_cure(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("do=quota")
    answer = http.get("/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "insufficient_quota")
    assert "retry-after" not in answer.headers


def test_hang_delays_the_answer(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("do=hang:60")
    started = time.monotonic()
    assert http.get("/models").status_code == 200
    assert time.monotonic() - started >= 0.06


def test_a_repeated_cursor_never_ends(emulator: Emulator, http: httpx.Client) -> None:
    for _ in range(2):
        http.post("/vector_stores", json={})
    emulator.add_fault("on=GET:/vector_stores,do=repeat-cursor,times=0")
    first = http.get("/vector_stores").json()
    second = http.get("/vector_stores", params={"after": first["last_id"]}).json()
    assert first["has_more"] is True
    assert second == first
    assert emulator.requests[-1].query == {"after": first["last_id"]}


def test_skip_lets_some_pass_and_times_ends_it(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("on=GET:/models,do=error:500,skip=1,times=2")
    assert [http.get("/models").status_code for _ in range(4)] == [200, 500, 500, 200]


def test_times_zero_is_for_ever(emulator: Emulator, http: httpx.Client) -> None:
    emulator.add_fault("on=GET:/models,do=error:500,times=0")
    assert {http.get("/models").status_code for _ in range(5)} == {500}
    emulator.clear_faults()
    assert http.get("/models").status_code == 200


def test_faults_strike_one_after_another(emulator: Emulator, http: httpx.Client) -> None:
    for status in (500, 502):
        emulator.add_fault(f"do=error:{status}")
    assert [http.get("/models").status_code for _ in range(3)] == [500, 502, 200]


def test_faults_can_be_armed_from_the_start(
    start: Callable[..., Emulator], connect: Callable[..., httpx.Client]
) -> None:
    emulator = start(faults=(Fault.parse("do=error:503"),))
    http = connect(emulator, emulator.api_key)
    assert [http.get("/models").status_code for _ in range(2)] == [503, 200]


def test_a_fault_leaves_other_connections_alone(
    emulator: Emulator, http: httpx.Client, connect: Callable[..., httpx.Client]
) -> None:
    other: Any = connect(emulator, emulator.api_key)
    other.get("/models")
    emulator.add_fault("do=reset")
    with pytest.raises(httpx.TransportError):
        http.get("/models")
    assert other.get("/models").status_code == 200
