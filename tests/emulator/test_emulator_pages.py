"""Pages: every list can be walked in either direction, and wrong cursors are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator


@pytest.fixture
def stores(http: httpx.Client) -> list[str]:
    """The ids of seven vector stores, oldest first, all of the same second."""
    return [http.post("/vector_stores", json={}).json()["id"] for _ in range(7)]


def listed(http: httpx.Client, path: str = "/vector_stores", **params: Any) -> list[str]:
    answer = http.get(path, params=params)
    answer.raise_for_status()
    return [item["id"] for item in answer.json()["data"]]


def test_newest_come_first_by_default(http: httpx.Client, stores: list[str]) -> None:
    assert listed(http) == stores[::-1]


def test_ascending_order_is_oldest_first(http: httpx.Client, stores: list[str]) -> None:
    assert listed(http, order="asc") == stores


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_put_together_are_the_whole_list(
    http: httpx.Client, stores: list[str], order: str
) -> None:
    found: list[str] = []
    params: dict[str, Any] = {"limit": 3, "order": order}
    for _ in range(10):
        page = http.get("/vector_stores", params=params).json()
        found += [item["id"] for item in page["data"]]
        assert (page["first_id"], page["last_id"]) == (
            page["data"][0]["id"],
            page["data"][-1]["id"],
        )
        if not page["has_more"]:
            break
        params["after"] = page["last_id"]
    assert found == (stores if order == "asc" else stores[::-1])


def test_a_full_last_page_says_that_there_is_no_more(http: httpx.Client, stores: list[str]) -> None:
    assert http.get("/vector_stores", params={"limit": 7}).json()["has_more"] is False
    assert http.get("/vector_stores", params={"limit": 6}).json()["has_more"] is True


def test_before_gives_what_stands_right_before_the_cursor(
    http: httpx.Client, stores: list[str]
) -> None:
    assert listed(http, order="asc", before=stores[4], limit=2) == stores[2:4]
    assert listed(http, order="desc", before=stores[4], limit=2) == stores[:4:-1]


def test_after_and_before_together_give_what_is_between(
    http: httpx.Client, stores: list[str]
) -> None:
    assert listed(http, order="asc", after=stores[1], before=stores[5]) == stores[2:5]


def test_an_empty_page_has_no_first_and_no_last(http: httpx.Client) -> None:
    page = http.get("/assistants").json()
    assert page == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "-1"},
        {"limit": "many"},
        {"limit": "²"},
        {"limit": "9" * 5000},
        {"order": "random"},
        {"after": "vs_nothing"},
        {"before": "vs_nothing"},
    ],
    ids=lambda params: str(params)[:30],
)
def test_a_page_that_makes_no_sense_is_refused(http: httpx.Client, params: dict[str, str]) -> None:
    answer = http.get("/vector_stores", params=params)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(params)))


def test_files_come_ten_thousand_at_a_time(emulator: Emulator, http: httpx.Client) -> None:
    emulator.seed(files=250)
    assert len(listed(http, "/files")) == 250
    assert len(listed(http, "/files", limit=10_000)) == 250
    assert http.get("/files", params={"limit": 10_001}).status_code == 400


def test_files_are_filtered_by_purpose_across_pages(
    http: httpx.Client, upload: Callable[..., dict[str, Any]]
) -> None:
    wanted = []
    for number in range(4):
        upload(f"{number}.md")
        wanted.append(upload(f"{number}.jsonl", b"{}", "user_data")["id"])
    first = http.get("/files", params={"purpose": "user_data", "limit": 3, "order": "asc"}).json()
    rest = listed(http, "/files", purpose="user_data", order="asc", after=first["last_id"])
    assert [file["id"] for file in first["data"]] + rest == wanted
    assert first["has_more"] is True


def test_projects_are_walked_in_pages(emulator: Emulator, admin: httpx.Client) -> None:
    made = emulator.seed(projects=5)["projects"]
    first = admin.get("/organization/projects", params={"limit": 4}).json()
    rest = admin.get(
        "/organization/projects", params={"limit": 4, "after": first["last_id"]}
    ).json()
    assert [p["id"] for p in first["data"] + rest["data"]] == [emulator.project_id, *made]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_rate_limits_are_walked_in_either_direction(
    emulator: Emulator, admin: httpx.Client
) -> None:
    path = f"/organization/projects/{emulator.project_id}/rate_limits"
    everything = listed(admin, path)
    first = listed(admin, path, limit=10)
    assert listed(admin, path, after=first[-1], limit=1000) == everything[10:]
    assert listed(admin, path, before=everything[10], limit=3) == everything[7:10]
