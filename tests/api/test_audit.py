"""Reading the audit log, as far as the emulator's is too well-behaved to show it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from reconciler.api.audit import entries_since
from reconciler.api.client import Client
from reconciler.api.keys import KeyRing
from reconciler.errors import ApiError
from reconciler.model.secret import Secret
from tests.api.conftest import Given


def growing(request: httpx.Request) -> httpx.Response:
    """Two pages of a log that got an entry between them, so that the last one is shown again."""
    first = 99 if "after" in request.url.params else 0
    data = [{"id": f"audit_log-{n}", "type": "login.succeeded", "effective_at": 1} for n in range(first, first + 100)]
    return httpx.Response(200, json={"data": data, "has_more": True, "last_id": data[-1]["id"]})


def test_an_entry_that_pages_show_twice_does_not_make_the_log_look_whole() -> None:
    client = Client("http://127.0.0.1:1/v1", transport=httpx.MockTransport(growing))
    keys = KeyRing(
        admin=Given("OPENAI_ADMIN_KEY", Secret("sk-admin-000000000000000")), default=None, projects={}, root=Path()
    )
    with pytest.raises(ApiError, match="more since then"):
        entries_since(client, keys, 0.0, most_calls=2)
