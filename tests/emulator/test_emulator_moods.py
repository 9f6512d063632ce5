"""Options make the emulator slow, throttled, eventually consistent, or without assistants."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator, EmulatorOptions


def test_latency_delays_every_answer(emulator: Emulator, http: httpx.Client) -> None:
    emulator.set_options(latency_ms=60)
    started = time.monotonic()
    http.get("/models")
    assert time.monotonic() - started >= 0.06


def test_latency_does_not_hold_up_other_requests(emulator: Emulator, http: httpx.Client) -> None:
    emulator.set_options(latency_ms=100)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: http.get("/models"), range(8)))
    assert time.monotonic() - started < 0.6


def test_an_admin_route_refuses_after_so_many_requests_a_minute(
    emulator: Emulator, admin: httpx.Client, clock: Any
) -> None:
    emulator.set_options(admin_rpm=2)
    statuses = [admin.get("/organization/projects").status_code for _ in range(3)]
    clock.advance(59)
    late = admin.get("/organization/projects")
    clock.advance(1)
    assert statuses == [200, 200, 429]
    assert (late.status_code, late.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert admin.get("/organization/projects").status_code == 200


def test_each_route_has_an_allowance_of_its_own(
    emulator: Emulator, admin: httpx.Client, http: httpx.Client
) -> None:
    emulator.set_options(admin_rpm=1)
    assert admin.get("/organization/projects").status_code == 200
    assert admin.post("/organization/projects", json={"name": "x"}).status_code == 200
    assert admin.get("/organization/users").status_code == 200
    assert [http.get("/models").status_code for _ in range(3)] == [200, 200, 200]


@pytest.mark.parametrize(
    ("style", "header", "text"),
    [("bare", None, False), ("retry-after", "60", False), ("text", None, True)],
)
def test_a_429_tells_when_to_come_back_in_the_chosen_style(
    emulator: Emulator, admin: httpx.Client, style: str, header: str | None, text: bool
) -> None:
    emulator.set_options(admin_rpm=1, throttle_style=style)
    admin.get("/organization/users")
    answer = admin.get("/organization/users")
    assert answer.headers.get("retry-after") == header
    assert ("try again after 60.000 seconds" in answer.json()["error"]["message"]) is text
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_a_new_object_is_missing_from_lists_for_a_while(
    emulator: Emulator, http: httpx.Client, clock: Any
) -> None:
    emulator.set_options(list_lag_ms=2000)
    made = http.post("/vector_stores", json={}).json()["id"]
    early = http.get("/vector_stores").json()["data"]
    direct = http.get(f"/vector_stores/{made}").status_code
    clock.advance(2)
    late = http.get("/vector_stores").json()["data"]
    assert (early, direct, [store["id"] for store in late]) == ([], 200, [made])


def test_a_new_service_account_is_not_found_for_a_while(
    emulator: Emulator, admin: httpx.Client, project: dict[str, Any], clock: Any
) -> None:
    emulator.set_options(read_lag_ms=2000)
    path = f"/organization/projects/{project['id']}/service_accounts"
    account = admin.post(path, json={"name": "indexer"}).json()["id"]
    early = admin.get(f"{path}/{account}").status_code
    clock.advance(2)
    assert (early, admin.get(f"{path}/{account}").status_code) == (404, 200)


def test_a_new_object_is_not_found_alone_for_a_while(
    emulator: Emulator, http: httpx.Client, clock: Any
) -> None:
    emulator.set_options(read_lag_ms=2000)
    made = http.post("/vector_stores", json={}).json()["id"]
    early = http.get(f"/vector_stores/{made}").status_code
    clock.advance(2)
    assert (early, http.get(f"/vector_stores/{made}").status_code) == (404, 200)


def test_retired_assistants_are_as_if_they_had_never_been(
    emulator: Emulator, http: httpx.Client
) -> None:
    emulator.set_options(retire_assistants=True)
    answer = http.get("/assistants", params={"limit": 1})
    assert (answer.status_code, http.get("/models").status_code) == (404, 200)
    assert answer.json()["error"]["message"] == "Invalid URL (GET /v1/assistants)"
    assert http.post("/threads", json={}).status_code == 404


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency": 5}, "unknown option 'latency'"),
        ({"data": "x"}, "unknown option 'data'"),
        ({"latency_ms": "5"}, "must be of type int"),
        ({"latency_ms": -5}, "must not be negative"),
        ({"throttle_style": "loud"}, "must be one of"),
        ({"faults": ["do=nothing"]}, "unknown action"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused(emulator: Emulator, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        emulator.set_options(**changes)
    assert emulator.options == EmulatorOptions()


def test_a_store_can_be_seeded_from_the_start(start: Callable[..., Emulator]) -> None:
    counts = start(seed={"projects": 2, "vector_stores": 1, "files_per_store": 3}).store.counts()
    assert (counts["project"], counts["vector_store_file"]) == (3, 3)


def test_an_entry_comes_late_into_a_log_that_lags_and_tells_when_it_happened(
    emulator: Emulator, admin: httpx.Client, clock: Any
) -> None:
    emulator.set_options(audit_lag_ms=2000)
    admin.post("/organization/projects", json={"name": "late"})
    happened_at = int(clock())
    assert admin.get("/organization/audit_logs").json()["data"] == []
    clock.advance(2)
    [entry] = admin.get("/organization/audit_logs").json()["data"]
    assert entry["effective_at"] == happened_at
    assert len(admin.get("/organization/projects").json()["data"]) == 2


def test_a_log_that_is_off_is_refused_and_begins_when_it_is_switched_on(
    emulator: Emulator, admin: httpx.Client
) -> None:
    emulator.set_options(audit_off=True)
    admin.post("/organization/projects", json={"name": "unseen"})
    assert admin.get("/organization/audit_logs").status_code == 403
    emulator.set_options(audit_off=False)
    admin.post("/organization/projects", json={"name": "seen"})
    [entry] = admin.get("/organization/audit_logs").json()["data"]
    assert entry["project"]["name"] == "seen"


@pytest.mark.parametrize(
    ("entry", "status"), [("evals", 404), ("evals:410", 410), ("evals:500", 500)]
)
def test_any_collection_can_be_retired_with_a_status(
    emulator: Emulator, http: httpx.Client, entry: str, status: int
) -> None:
    emulator.set_options(retire=[entry])
    assert [http.get(path).status_code for path in ("/evals", "/evals/eval_1", "/files")] == [
        status,
        status,
        200,
    ]


def test_a_retirement_with_a_status_that_is_no_refusal_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="from 400 to 599"):
        emulator.set_options(retire=["evals:200"])
