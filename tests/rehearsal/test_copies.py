"""A copy on the emulator answers every read as the original does."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from tests.rehearsal.conftest import ADMIN_KEY, BETA, PROJECT_KEY, Copied, load_copy

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
pytestmark = pytest.mark.slow  # the organization with all kinds takes seconds to make


def bare(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@every_kind
def test_each_read_of_the_kind_is_answered_as_by_the_original(copied: Copied, kind: Kind) -> None:
    paths = {bare(path) for path in kind.collections}
    paths |= {f"{path}/{{}}" for path in paths}
    reads = [read for read in copied.reads if bare(read.route) in paths and read.status == 200]
    assert reads
    for read in reads:
        assert copied.read_copy(read).json() == read.response_body, read.path


def test_reading_sends_nothing_but_get_requests(copied: Copied) -> None:
    assert {read.method for read in copied.reads} == {"GET"}


def test_the_reading_sends_no_request_twice(copied: Copied) -> None:
    calls = [(read.key_class, read.path, str(read.query)) for read in copied.reads]
    assert [call for call in calls if calls.count(call) > 1] == []


def test_everything_that_was_read_can_be_shown_again(copied: Copied) -> None:
    assert copied.report["missing"] == []
    assert copied.report["unknown"] == []


def test_a_recording_holds_no_key(copied: Copied) -> None:
    secrets = [copied.original.admin_key, copied.original.api_key, "a token of the index"]
    secrets += re.findall(r"sk-(?:svcacct|admin|proj)-[A-Za-z0-9]{20,}", copied.text)
    assert [secret for secret in secrets if secret in copied.text] == []


@pytest.fixture
def copy(copied: Copied, emulator: Emulator) -> Emulator:
    """A copy of one's own."""
    load_copy(emulator, copied.recording)
    return emulator


def call(emulator: Emulator, method: str, path: str, **body: Any) -> httpx.Response:
    key = ADMIN_KEY if path.startswith(("/organization", "/projects")) else PROJECT_KEY
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": BETA}
    url = f"{emulator.base_url}{path}"
    return httpx.request(method, url, headers=headers, json=body or None)


def first(emulator: Emulator, path: str) -> dict[str, Any]:
    found: dict[str, Any] = call(emulator, "GET", path).json()["data"][0]
    return found


def test_a_field_that_was_not_known_survives_an_update_of_another(copy: Emulator) -> None:
    agent = first(copy, "/agents")
    updated = call(copy, "POST", f"/agents/{agent['id']}", name="Renamed").json()
    assert (updated["name"], updated["from_the_future"]) == ("Renamed", agent["from_the_future"])


def test_an_object_of_a_copy_can_be_deleted(copy: Emulator) -> None:
    store = first(copy, "/vector_stores")
    call(copy, "DELETE", f"/vector_stores/{store['id']}")
    assert call(copy, "GET", f"/vector_stores/{store['id']}").status_code == 404


def test_a_new_project_has_the_rate_limits_of_the_others(copy: Emulator) -> None:
    project = call(copy, "POST", "/organization/projects", name="New").json()
    limits = call(copy, "GET", f"/organization/projects/{project['id']}/rate_limits").json()
    assert {row["model"] for row in limits["data"]} >= {"gpt-4.1"}


def test_the_keys_of_the_original_do_not_open_the_copy(copied: Copied, copy: Emulator) -> None:
    headers = {"Authorization": f"Bearer {copied.original.admin_key}"}
    url = f"{copy.base_url}/organization/projects"
    assert httpx.get(url, headers=headers).status_code == 401


def test_the_keys_of_a_copy_are_in_no_list(copied: Copied, copy: Emulator) -> None:
    listed = call(copy, "GET", "/organization/admin_api_keys").json()["data"]
    recorded = next(
        entry for entry in copied.recording.lists if entry.path == "/organization/admin_api_keys"
    )
    assert listed == recorded.items
