"""Resources around agents: refusals, and secrets that are never shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator

URL = "https://mcp.example.com"
BEARER = {"type": "static_bearer", "token": "t", "mcp_server_url": URL}
REFRESH = {
    "client_id": "c",
    "refresh_token": "r",
    "token_endpoint": URL,
    "token_endpoint_auth": {"type": "none"},
}
OAUTH = {"type": "mcp_oauth", "access_token": "a", "mcp_server_url": URL}
VARIABLE = {"type": "environment_variable", "secret_name": "KEY", "secret_value": "s"}
SESSION = {"type": "existing_session", "session_id": "s", "instructions": "Wake up."}
ONCE = {"type": "once", "name": "Once", "run_at": 4_000_000_000, "target": SESSION}
NEW = {
    "type": "new_session",
    "agent_id": "agent_none",
    "environment": {"type": "none"},
    "input": [],
}
TEMPLATES, AUTOMATIONS, VAULTS = "/agents/environments/templates", "/agents/automations", "/vaults"


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {emulator.api_key}", "OpenAI-Beta": "agents=v1"}
    with httpx.Client(base_url=emulator.base_url, headers=headers, verify=False) as opened:
        yield opened


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (VAULTS, {"name": "ü" * 129}, "name"),
        (VAULTS, {"name": "  "}, "name"),
        (VAULTS, {"description": "x"}, "description"),
        (AUTOMATIONS, {**ONCE, "run_at": 1}, "run_at"),
        (AUTOMATIONS, {**ONCE, "timezone": "UTC"}, "timezone"),
        (AUTOMATIONS, {**ONCE, "type": "periodic"}, "run_at"),
        (AUTOMATIONS, {**ONCE, "target": NEW}, "target.agent_id"),
        (
            TEMPLATES,
            {"files": [{"type": "inline", "path": "/etc/a", "data": "YQ=="}]},
            "files[0].path",
        ),
        (
            TEMPLATES,
            {"files": [{"type": "inline", "path": "/workspace/a", "data": "?"}]},
            "files[0].data",
        ),
        (
            TEMPLATES,
            {"network": {"access": "enabled", "blocked_domains": ["a"]}},
            "network.blocked_domains",
        ),
    ],
)
def test_a_body_that_cannot_be_is_refused(
    http: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("auth", "param"),
    [
        ({**BEARER, "token": "two\nlines"}, "auth.token"),
        ({**BEARER, "mcp_server_url": "http://plain.example"}, "auth.mcp_server_url"),
        ({**VARIABLE, "networking": {"type": "limited", "allowed_hosts": ["A.example", "a.example"]}},
         "auth.networking.allowed_hosts"),
        ({**VARIABLE, "secret_name": "CODEX_X", "networking": {"type": "unrestricted"}}, "auth.secret_name"),
        ({**OAUTH, "expires_at": "tomorrow"}, "auth.expires_at"),
    ],
)  # fmt: skip
def test_a_credential_that_cannot_be_is_refused(
    http: httpx.Client, auth: dict[str, Any], param: str
) -> None:
    vault = http.post(VAULTS, json={}).json()["id"]
    answer = http.post(f"{VAULTS}/{vault}/credentials", json={"name": "C", "auth": auth})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_rotation_takes_secrets_and_nothing_else(http: httpx.Client, emulator: Emulator) -> None:
    vault = http.post(VAULTS, json={}).json()["id"]
    expires = "2030-01-01T00:00:00Z"
    body = {"name": "C", "auth": {**OAUTH, "expires_at": expires, "refresh": REFRESH}}
    one = f"{VAULTS}/{vault}/credentials/{http.post(f'{VAULTS}/{vault}/credentials', json=body).json()['id']}"
    refused = [
        http.post(one, json={"auth": auth}).status_code
        for auth in (BEARER, {**OAUTH}, {"type": "static_bearer", "token": "x"})
    ]
    kept = http.post(
        one, json={"auth": {"type": "mcp_oauth", "refresh": {"refresh_token": "r2"}}}
    ).json()["auth"]
    cleared = http.post(one, json={"auth": {"type": "mcp_oauth", "access_token": "a2"}}).json()[
        "auth"
    ]
    (stored,) = emulator.store.all("credential")
    assert refused == [400, 400, 400]
    assert (kept["expires_at"], cleared["expires_at"]) == (expires, None)
    assert stored.hidden["secrets"] == {"access_token": "a2", "refresh_token": "r2"}


def test_the_type_of_a_target_stays(http: httpx.Client) -> None:
    made = http.post(AUTOMATIONS, json=ONCE).json()["id"]
    answer = http.post(f"{AUTOMATIONS}/{made}", json={"target": NEW})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "target.type")


def test_no_answer_has_what_is_confidential(http: httpx.Client) -> None:
    source = {"type": "base64", "media_type": "application/zip", "data": "c2VjcmV0"}
    body = {
        "env": {"A": "confidential"},
        "setup_commands": [{"command": "confidential"}],
        "files": [{"type": "inline", "path": "/workspace/a", "data": "c2VjcmV0"}],
        "plugins": [{"type": "inline", "name": "n", "description": "d", "source": source}],
        "skills": [{"type": "inline", "name": "n", "description": "d", "source": source}],
        "network": {"access": "restricted", "blocked_domains": ["confidential.example"]},
    }
    made = http.post(TEMPLATES, json=body)
    assert made.json()["files"] == [{"type": "inline", "path": "/workspace/a", "size_bytes": 6}]
    assert (
        made.json()["plugins"]
        == made.json()["skills"]
        == [{"type": "inline", "name": "n", "description": "d"}]
    )
    assert "confidential" not in made.text
    assert "c2VjcmV0" not in made.text
