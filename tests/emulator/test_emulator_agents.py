"""Agents: default values, resets by null, replaced and merged fields."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator


@pytest.fixture
def agents(emulator: Emulator) -> Any:
    headers = {"Authorization": f"Bearer {emulator.api_key}", "OpenAI-Beta": "agents=v1"}
    with httpx.Client(base_url=emulator.base_url, headers=headers, verify=False) as opened:
        yield opened


def make(agents: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = agents.post("/agents", json={"model": "gpt-5.5", **fields})
    answer.raise_for_status()
    return answer.json()  # type: ignore[no-any-return]


def test_an_agent_of_a_model_alone_shows_every_default(agents: httpx.Client) -> None:
    made = make(agents)
    made.pop("id")
    assert made == {
        "object": "agent",
        "created_at": 1_800_000_000,
        "updated_at": 1_800_000_000,
        "name": None,
        "model": "gpt-5.5",
        "instructions": None,
        "metadata": {},
        "tools": [],
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "service_tier": "auto",
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "compaction": {"async": False},
        "experimental": {"time_awareness": False},
    }


@pytest.mark.parametrize(
    ("sent", "added"),
    [
        (
            {"type": "function", "name": "f", "description": "", "parameters": {}},
            {"defer_loading": False},
        ),
        ({"type": "programmatic_tool_calling"}, {"enabled": True}),
        ({"type": "computer_use"}, {"include_screenshots": False}),
        ({"type": "tool_search"}, {}),
        ({"type": "automations"}, {}),
        (
            {"type": "web_search", "mode": None},
            {"allowed_domains": None, "context_size": "medium", "location": None, "mode": "live"},
        ),
        (
            {
                "type": "mcp",
                "server_label": "s",
                "transport": {"type": "http", "server_url": "https://x.example"},
            },
            {
                "allowed_tools": None,
                "connection_origin": "service",
                "credential_id": None,
                "request_metadata": {},
                "required": False,
                "transport": {"type": "http", "server_url": "https://x.example", "headers": {}},
            },
        ),
    ],
    ids=lambda value: value.get("type", "") if isinstance(value, dict) else "",
)
def test_the_server_completes_a_tool(
    agents: httpx.Client, sent: dict[str, Any], added: dict[str, Any]
) -> None:
    assert make(agents, tools=[sent])["tools"] == [{**sent, **added}]


FULL: dict[str, Any] = {
    "name": "Helper",
    "instructions": "Help.",
    "metadata": {"team": "cx"},
    "tools": [{"type": "tool_search"}],
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"verbosity": "low"},
    "service_tier": "flex",
    "multi_agent": {"enabled": True},
    "compaction": {"async": True},
}


@pytest.mark.parametrize("name", FULL)
def test_null_returns_a_field_to_its_default(agents: httpx.Client, name: str) -> None:
    made, blank = make(agents, **FULL), make(agents)
    changed = agents.post(f"/agents/{made['id']}", json={name: None}).json()
    assert changed == {**made, name: blank[name]}
    assert made[name] != blank[name]


def test_an_update_keeps_what_it_was_not_sent_and_moves_the_time(
    agents: httpx.Client, clock: Any
) -> None:
    made = make(agents, **FULL)
    clock.advance(60)
    changed = agents.post(f"/agents/{made['id']}", json={"model": "gpt-6-sol"}).json()
    assert changed == {**made, "model": "gpt-6-sol", "updated_at": made["updated_at"] + 60}


def test_experimental_settings_are_merged_by_key(agents: httpx.Client) -> None:
    made = make(agents, experimental={"time_awareness": True})
    assert agents.post(f"/agents/{made['id']}", json={"experimental": {}}).json()[
        "experimental"
    ] == {"time_awareness": True}


def test_enabled_subagents_are_six_unless_told_otherwise(agents: httpx.Client) -> None:
    assert (
        make(agents, multi_agent={"enabled": True})["multi_agent"]["max_concurrent_subagents"] == 6
    )


def test_tools_of_more_than_three_mebibytes_are_refused(agents: httpx.Client) -> None:
    tool = {
        "type": "function",
        "name": "f",
        "description": "x" * (3 * 1024 * 1024),
        "parameters": {},
    }
    answer = agents.post("/agents", json={"model": "gpt-5.5", "tools": [tool]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
