"""Vector stores and their files over time: indexing, failing, counting, expiring, detaching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator

Upload = Callable[..., dict[str, Any]]


@pytest.fixture
def store(http: httpx.Client) -> str:
    return http.post("/vector_stores", json={"name": "Handbook"}).json()["id"]  # type: ignore[no-any-return]


def attach(http: httpx.Client, store: str, file: str, **fields: Any) -> dict[str, Any]:
    answer = http.post(f"/vector_stores/{store}/files", json={"file_id": file, **fields})
    answer.raise_for_status()
    return answer.json()  # type: ignore[no-any-return]


def test_a_file_is_indexed_after_the_delay(
    emulator: Emulator, http: httpx.Client, upload: Upload, store: str, clock: Any
) -> None:
    emulator.set_options(index_delay_ms=5000)
    path = f"/vector_stores/{store}/files/{attach(http, store, upload()['id'])['id']}"
    clock.advance(4.9)
    early, early_store = http.get(path).json(), http.get(f"/vector_stores/{store}").json()
    clock.advance(0.2)
    late, late_store = http.get(path).json(), http.get(f"/vector_stores/{store}").json()
    assert (early["status"], early["usage_bytes"], early_store["status"]) == (
        "in_progress",
        0,
        "in_progress",
    )
    assert (late["status"], late["usage_bytes"], late_store["status"]) == (
        "completed",
        10,
        "completed",
    )
    assert late_store["usage_bytes"] == 10


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("unindexable.md", b"x", "invalid_file"),
        ("README", b"x", "unsupported_file"),
    ],
)
def test_some_files_cannot_be_indexed(
    http: httpx.Client, upload: Upload, store: str, name: str, content: bytes, code: str
) -> None:
    file = upload(name, content)["id"]
    answered = attach(http, store, file)
    later = http.get(f"/vector_stores/{store}/files/{file}").json()
    counts = http.get(f"/vector_stores/{store}").json()["file_counts"]
    assert (answered["status"], answered["last_error"]) == ("in_progress", None)
    assert (later["status"], later["last_error"]["code"]) == ("failed", code)
    assert (counts["failed"], counts["total"]) == (1, 1)


def test_one_file_with_an_extension_that_is_not_read_refuses_its_whole_batch(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    files = [upload(name, b"x")["id"] for name in ("a.md", "b.png", "c.CSV")]
    answer = http.post(f"/vector_stores/{store}/file_batches", json={"file_ids": files})
    assert answer.status_code == 400
    assert (
        answer.json()["error"]["message"]
        == "Files with extensions [.csv, .png] are not supported for retrieval"
    )
    assert http.get(f"/vector_stores/{store}/files").json()["data"] == []


def test_a_single_file_with_an_extension_that_is_not_read_is_refused(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    answer = http.post(
        f"/vector_stores/{store}/files", json={"file_id": upload("a.png", b"x")["id"]}
    )
    assert answer.status_code == 400


def test_an_empty_file_is_refused_at_upload(http: httpx.Client) -> None:
    answer = http.post("/files", data={"purpose": "assistants"}, files={"file": ("a.md", b"")})
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "File is empty.")


def test_attaching_twice_leaves_the_file_once_as_it_was_attached_last(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    file = upload()["id"]
    attach(http, store, file, attributes={"version": 1})
    attach(http, store, file, attributes={"version": 2})
    [listed] = http.get(f"/vector_stores/{store}/files").json()["data"]
    assert listed["attributes"] == {"version": 2}


def test_a_deleted_file_leaves_every_store(http: httpx.Client, upload: Upload, store: str) -> None:
    other, file = http.post("/vector_stores", json={}).json()["id"], upload()["id"]
    for where in (store, other):
        attach(http, where, file)
    http.delete(f"/files/{file}")
    counts = [
        http.get(f"/vector_stores/{where}").json()["file_counts"]["total"]
        for where in (store, other)
    ]
    assert counts == [0, 0]
    assert http.post(f"/vector_stores/{store}/files", json={"file_id": file}).status_code == 404


def test_a_detached_file_is_still_a_file(http: httpx.Client, upload: Upload, store: str) -> None:
    file = upload()["id"]
    attach(http, store, file)
    http.delete(f"/vector_stores/{store}/files/{file}")
    assert http.get(f"/files/{file}").status_code == 200
    assert http.get(f"/vector_stores/{store}/files/{file}").status_code == 404


def test_a_deleted_store_leaves_its_files(http: httpx.Client, upload: Upload, store: str) -> None:
    file = upload()["id"]
    attach(http, store, file)
    http.delete(f"/vector_stores/{store}")
    assert http.get(f"/files/{file}").status_code == 200
    assert http.get(f"/vector_stores/{store}/files").status_code == 404


def test_files_are_listed_by_status(http: httpx.Client, upload: Upload, store: str) -> None:
    good, bad = upload()["id"], upload("unindexable.md")["id"]
    for file in (good, bad):
        attach(http, store, file)
    failed = http.get(f"/vector_stores/{store}/files", params={"filter": "failed"}).json()["data"]
    assert [file["id"] for file in failed] == [bad]
    assert http.get(f"/vector_stores/{store}/files", params={"filter": "odd"}).status_code == 400


@pytest.mark.parametrize(
    "attributes",
    [{str(n): 1 for n in range(17)}, {"k" * 65: 1}, {"k": "x" * 513}, {"k": None}, {"k": []}],
    ids=["too many", "long key", "long value", "null", "list"],
)
def test_bad_attributes_are_refused(
    http: httpx.Client, upload: Upload, store: str, attributes: dict[str, Any]
) -> None:
    body = {"file_id": upload()["id"], "attributes": attributes}
    assert http.post(f"/vector_stores/{store}/files", json=body).status_code == 400
    assert http.get(f"/vector_stores/{store}/files").json()["data"] == []


def test_attributes_are_replaced_and_cleared(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    file = upload()["id"]
    attach(http, store, file, attributes={"a": 1})
    path = f"/vector_stores/{store}/files/{file}"
    assert http.post(path, json={"attributes": {"b": True}}).json()["attributes"] == {"b": True}
    assert http.post(path, json={"attributes": None}).json()["attributes"] == {}
    assert http.post(path, json={}).status_code == 400


def test_a_batch_attaches_each_file_with_its_own_attributes(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    items = [{"file_id": upload(f"{n}.md")["id"], "attributes": {"n": n}} for n in range(3)]
    http.post(f"/vector_stores/{store}/file_batches", json={"files": items})
    listed = http.get(f"/vector_stores/{store}/files", params={"order": "asc"}).json()["data"]
    assert [file["attributes"] for file in listed] == [{"n": 0}, {"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"file_ids": []},
        {"file_ids": ["f"] * 2001},
        {"file_ids": ["f"], "files": [{"file_id": "f"}]},
    ],
    ids=["neither", "empty", "too many", "both"],
)
def test_a_bad_batch_is_refused(http: httpx.Client, store: str, body: dict[str, Any]) -> None:
    assert http.post(f"/vector_stores/{store}/file_batches", json=body).status_code == 400


def test_a_batch_with_an_unknown_file_attaches_nothing(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    body = {"file_ids": [upload()["id"], "file-nothing"]}
    assert http.post(f"/vector_stores/{store}/file_batches", json=body).status_code == 404
    assert http.get(f"/vector_stores/{store}/files").json()["data"] == []


def test_a_cancelled_batch_keeps_what_was_indexed(
    emulator: Emulator, http: httpx.Client, upload: Upload, store: str
) -> None:
    emulator.set_options(index_delay_ms=60_000)
    path = f"/vector_stores/{store}/file_batches"
    batch = http.post(path, json={"file_ids": [upload()["id"]]}).json()["id"]
    cancelled = http.post(f"{path}/{batch}/cancel").json()
    assert (cancelled["status"], cancelled["file_counts"]["cancelled"]) == ("cancelled", 1)
    assert http.get(f"/vector_stores/{store}").json()["file_counts"]["cancelled"] == 1
    assert http.post(f"{path}/{batch}/cancel").status_code == 400


def test_use_moves_the_end_of_a_store(http: httpx.Client, clock: Any) -> None:
    body = {"expires_after": {"anchor": "last_active_at", "days": 1}}
    store = http.post("/vector_stores", json=body).json()
    clock.advance(3600)
    http.post(f"/vector_stores/{store['id']}/search", json={"query": "x"})
    assert (
        http.get(f"/vector_stores/{store['id']}").json()["expires_at"] == store["expires_at"] + 3600
    )


def test_an_expired_store_can_be_read_but_not_used(
    http: httpx.Client, upload: Upload, clock: Any
) -> None:
    body = {"expires_after": {"anchor": "last_active_at", "days": 1}}
    store = http.post("/vector_stores", json=body).json()["id"]
    clock.advance(86_400)
    assert http.get(f"/vector_stores/{store}").json()["status"] == "expired"
    used = http.post(f"/vector_stores/{store}/files", json={"file_id": upload()["id"]})
    assert (used.status_code, used.json()["error"]["code"]) == (400, "vector_store_expired")


def test_an_expired_file_is_gone(http: httpx.Client, upload: Upload, clock: Any) -> None:
    file = upload("b.jsonl", b"{}", "batch")["id"]
    clock.advance(30 * 86_400)
    assert http.get(f"/files/{file}").status_code == 404
    assert http.get("/files").json()["data"] == []


def test_files_for_assistants_cannot_be_read_back(http: httpx.Client, upload: Upload) -> None:
    answer = http.get(f"/files/{upload()['id']}/content")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (400, None)
    assert "purpose: assistants" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ({"type": "gt", "key": "n", "value": 1}, ["2.md"]),
        ({"type": "in", "key": "n", "value": [0, 1]}, ["0.md", "1.md"]),
        ({"type": "nin", "key": "n", "value": [0, 1]}, ["2.md"]),
        ({"type": "ne", "key": "other", "value": 1}, ["0.md", "1.md", "2.md"]),
        ({"type": "gt", "key": "n", "value": "text"}, []),
        (
            {
                "type": "or",
                "filters": [
                    {"type": "eq", "key": "n", "value": 0},
                    {"type": "and", "filters": [{"type": "gte", "key": "n", "value": 2}]},
                ],
            },
            ["0.md", "2.md"],
        ),
    ],
    ids=str,
)
def test_search_filters_by_attributes(
    http: httpx.Client, upload: Upload, store: str, condition: dict[str, Any], found: list[str]
) -> None:
    for number in range(3):
        attach(http, store, upload(f"{number}.md", b"word")["id"], attributes={"n": number})
    answer = http.post(
        f"/vector_stores/{store}/search", json={"query": "word", "filters": condition}
    ).json()
    assert sorted(result["filename"] for result in answer["data"]) == found


def test_search_ranks_by_how_many_words_match(
    http: httpx.Client, upload: Upload, store: str
) -> None:
    for name, content in {"one.md": b"apple", "both.md": b"apple pear"}.items():
        attach(http, store, upload(name, content)["id"])
    answer = http.post(
        f"/vector_stores/{store}/search", json={"query": ["apple", "pear"], "max_num_results": 1}
    )
    page = answer.json()
    assert [(result["filename"], result["score"]) for result in page["data"]] == [("both.md", 1.0)]
    assert (page["has_more"], page["search_query"]) == (True, ["apple", "pear"])


def test_an_upload_must_have_the_bytes_it_announced(http: httpx.Client) -> None:
    body = {"filename": "a.jsonl", "purpose": "batch", "bytes": 8, "mime_type": "text/jsonl"}
    upload = http.post("/uploads", json=body).json()["id"]
    part = http.post(f"/uploads/{upload}/parts", files={"data": ("blob", b"1234")}).json()["id"]
    short = http.post(f"/uploads/{upload}/complete", json={"part_ids": [part]})
    wrong = http.post(
        f"/uploads/{upload}/complete", json={"part_ids": [part, part], "md5": "0" * 32}
    )
    assert (short.status_code, short.json()["error"]["param"]) == (400, "part_ids")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "md5")


def test_an_upload_is_over_after_an_hour(http: httpx.Client, clock: Any) -> None:
    body = {"filename": "a.jsonl", "purpose": "batch", "bytes": 8, "mime_type": "text/jsonl"}
    upload = http.post("/uploads", json=body).json()["id"]
    clock.advance(3601)
    answer = http.post(f"/uploads/{upload}/parts", files={"data": ("blob", b"1234")})
    assert answer.status_code == 400
    assert "expired" in answer.json()["error"]["message"]
