"""A data file keeps everything beyond the process, and foreign files are left alone."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import DataFileError, Emulator

Start = Callable[..., Emulator]
Connect = Callable[..., httpx.Client]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "emulator.data"


def test_objects_are_there_after_a_restart(start: Start, connect: Connect, data: Path) -> None:
    first = start(data=data)
    http = connect(first, first.api_key)
    file = http.post(
        "/files", data={"purpose": "user_data"}, files={"file": ("a.md", b"\x00\xff")}
    ).json()
    body = {"file_ids": [file["id"]], "metadata": {"base64": "aGk="}}
    store = http.post("/vector_stores", json=body).json()["id"]
    before = {
        path: http.get(path).json()
        for path in ("/files", "/vector_stores", f"/vector_stores/{store}/files")
    }
    first.stop()

    second = start(data=data)
    http = connect(second, second.api_key)
    assert {path: http.get(path).json() for path in before} == before
    assert http.get(f"/files/{file['id']}/content").content == b"\x00\xff"


def test_a_write_is_kept_even_if_the_process_dies_right_after_it(
    start: Start, connect: Connect, data: Path
) -> None:
    first = start(data=data)
    made = connect(first, first.api_key).post("/vector_stores", json={}).json()["id"]
    # Never stopped: the second one reads what the first had written by the time of its answer.
    second = start(data=data)
    assert connect(second, second.api_key).get(f"/vector_stores/{made}").status_code == 200


def test_minted_keys_still_work_but_are_not_in_the_file(
    start: Start, connect: Connect, data: Path
) -> None:
    first = start(data=data)
    path = f"/organization/projects/{first.project_id}/service_accounts"
    key = connect(first, first.admin_key).post(path, json={"name": "x"}).json()["api_key"]["value"]
    first.stop()
    second = start(data=data)
    assert connect(second, key).get("/models").status_code == 200
    assert key not in data.read_text()


def test_deleted_objects_stay_deleted(start: Start, connect: Connect, data: Path) -> None:
    first = start(data=data)
    http = connect(first, first.api_key)
    made = http.post("/vector_stores", json={}).json()["id"]
    http.delete(f"/vector_stores/{made}")
    first.stop()
    second = start(data=data)
    assert connect(second, second.api_key).get("/vector_stores").json()["data"] == []


def test_only_the_owner_can_read_the_file(start: Start, data: Path) -> None:
    start(data=data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o600


def test_a_line_cut_short_by_a_crash_is_dropped(start: Start, connect: Connect, data: Path) -> None:
    first = start(data=data)
    made = connect(first, first.api_key).post("/vector_stores", json={}).json()["id"]
    first.stop()
    with data.open("ab") as file:
        file.write(b'[{"kind": "vector_sto')
    second = start(data=data)
    listed = connect(second, second.api_key).get("/vector_stores").json()["data"]
    assert [store["id"] for store in listed] == [made]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my precious notes\n", "is not a data file of the emulator"),
        (b'{"version": 1}\n', "is not a data file of the emulator"),
        (b'{"format": "reconciler-emulator", "version": 99}\n', "has format version 99"),
        (b'{"format": "reconciler-emulator", "version": 1}\nrubbish\n', "line 2, is damaged"),
        (
            b'{"format": "reconciler-emulator", "version": 1}\n[{"kind": "file"}]\n',
            "line 2, is damaged",
        ),
    ],
    ids=["text", "other JSON", "newer", "damaged", "incomplete"],
)
def test_a_file_that_cannot_be_read_is_refused_and_left_alone(
    start: Start, data: Path, content: bytes, message: str
) -> None:
    data.write_bytes(content)
    with pytest.raises(DataFileError, match=message):
        start(data=data)
    assert data.read_bytes() == content


def test_a_reset_empties_the_file_too(start: Start, connect: Connect, data: Path) -> None:
    first = start(data=data)
    connect(first, first.api_key).post("/vector_stores", json={})
    first.reset()
    first.stop()
    assert "vector_store" not in start(data=data).store.counts()


def test_the_file_is_rewritten_when_most_of_it_is_stale(
    start: Start, connect: Connect, data: Path
) -> None:
    emulator = start(data=data)
    http = connect(emulator, emulator.api_key)
    path = f"/vector_stores/{http.post('/vector_stores', json={}).json()['id']}"
    sizes: list[Any] = []
    for number in range(1200):
        http.post(path, json={"name": str(number)})
        sizes.append(data.stat().st_size)
    assert sizes[-1] < max(sizes)
    assert http.get(path).json()["name"] == "1199"
