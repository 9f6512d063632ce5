"""Bodies are checked strictly, and refused in the words of the real API with the location of the mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator

LONG = "x" * 600


def assistant(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4.1", **fields}


def function(**fields: Any) -> dict[str, Any]:
    return assistant(tools=[{"type": "function", "function": {"name": "f", **fields}}])


BAD_BODIES: list[tuple[str, Any, str | None, str | None]] = [
    ("/assistants", {}, "model", "missing_required_parameter"),
    ("/assistants", {"model": None}, "model", "invalid_type"),
    ("/assistants", {"model": 4}, "model", "invalid_type"),
    ("/assistants", assistant(nme="Bot"), "nme", "unknown_parameter"),
    ("/assistants", assistant(name="x" * 257), "name", "string_above_max_length"),
    ("/assistants", assistant(description="x" * 513), "description", "string_above_max_length"),
    (
        "/assistants",
        assistant(instructions="x" * 256_001),
        "instructions",
        "string_above_max_length",
    ),
    ("/assistants", assistant(temperature=2.1), "temperature", "decimal_above_max_value"),
    ("/assistants", assistant(temperature="hot"), "temperature", "invalid_type"),
    ("/assistants", assistant(temperature=True), "temperature", "invalid_type"),
    ("/assistants", assistant(top_p=-0.1), "top_p", "decimal_below_min_value"),
    ("/assistants", assistant(reasoning_effort="huge"), "reasoning_effort", "invalid_value"),
    ("/assistants", assistant(tools=None), "tools", "invalid_type"),
    ("/assistants", assistant(tools=[{"type": "hammer"}]), "tools[0].type", "invalid_value"),
    ("/assistants", assistant(tools=[{}]), "tools[0].type", "missing_required_parameter"),
    (
        "/assistants",
        assistant(tools=[{"type": "code_interpreter"}] * 129),
        "tools",
        "array_above_max_length",
    ),
    ("/assistants", function(name="no spaces"), "tools[0].function.name", "invalid_value"),
    ("/assistants", function(name="x" * 65), "tools[0].function.name", "string_above_max_length"),
    ("/assistants", function(parameters=[]), "tools[0].function.parameters", "invalid_type"),
    ("/assistants", function(strict="yes"), "tools[0].function.strict", "invalid_type"),
    (
        "/assistants",
        assistant(tools=[{"type": "file_search", "file_search": {"max_num_results": 51}}]),
        "tools[0].file_search.max_num_results",
        "integer_above_max_value",
    ),
    (
        "/assistants",
        assistant(
            tools=[{"type": "file_search", "file_search": {"ranking_options": {"ranker": "auto"}}}]
        ),
        "tools[0].file_search.ranking_options.score_threshold",
        "missing_required_parameter",
    ),
    ("/assistants", assistant(response_format="json"), "response_format", "invalid_value"),
    (
        "/assistants",
        assistant(response_format={"type": "json_schema"}),
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (
        "/assistants",
        assistant(tool_resources={"file_search": {"vector_store_ids": ["a", "b"]}}),
        "tool_resources.file_search.vector_store_ids",
        "array_above_max_length",
    ),
    (
        "/assistants",
        assistant(metadata={str(n): "x" for n in range(17)}),
        "metadata",
        "object_above_max_properties",
    ),
    ("/assistants", assistant(metadata={"k" * 65: "x"}), "metadata", "string_above_max_length"),
    ("/assistants", assistant(metadata={"k": LONG}), "metadata.k", "string_above_max_length"),
    ("/assistants", assistant(metadata={"k": 1}), "metadata.k", "invalid_type"),
    ("/assistants", assistant(metadata=["k"]), "metadata", "invalid_type"),
    ("/assistants", ["not", "an", "object"], None, "invalid_type"),
    ("/vector_stores", {"nme": "x"}, "nme", "unknown_parameter"),
    ("/vector_stores", {"name": 1}, "name", "invalid_type"),
    ("/vector_stores", {"file_ids": ["f"] * 501}, "file_ids", "array_above_max_length"),
    (
        "/vector_stores",
        {"expires_after": {"days": 1}},
        "expires_after.anchor",
        "missing_required_parameter",
    ),
    (
        "/vector_stores",
        {"expires_after": {"anchor": "created_at", "days": 1}},
        "expires_after.anchor",
        "invalid_value",
    ),
    (
        "/vector_stores",
        {"expires_after": {"anchor": "last_active_at", "days": 366}},
        "expires_after.days",
        "integer_above_max_value",
    ),
    (
        "/vector_stores",
        {"expires_after": {"anchor": "last_active_at", "days": 0}},
        "expires_after.days",
        "integer_below_min_value",
    ),
    (
        "/vector_stores",
        {"chunking_strategy": {"type": "static"}},
        "chunking_strategy.static",
        "missing_required_parameter",
    ),
    (
        "/vector_stores",
        {
            "chunking_strategy": {
                "type": "static",
                "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 101},
            }
        },
        "chunking_strategy.static.chunk_overlap_tokens",
        "invalid_value",
    ),
    (
        "/uploads",
        {"filename": "a", "purpose": "batch", "bytes": 1},
        "mime_type",
        "missing_required_parameter",
    ),
    (
        "/uploads",
        {"filename": "a", "purpose": "fun", "bytes": 1, "mime_type": "t"},
        "purpose",
        "invalid_value",
    ),
    (
        "/uploads",
        {"filename": "a", "purpose": "batch", "bytes": 0, "mime_type": "t"},
        "bytes",
        "integer_below_min_value",
    ),
    ("/agents", {}, "model", "missing_required_parameter"),
    (
        "/agents",
        {"model": "m", "tools": [{"type": "file_search"}]},
        "tools[0].type",
        "invalid_value",
    ),
    ("/agents", {"model": "m", "service_tier": "gold"}, "service_tier", "invalid_value"),
    (
        "/agents",
        {"model": "m", "multi_agent": {}},
        "multi_agent.enabled",
        "missing_required_parameter",
    ),
    (
        "/agents",
        {"model": "m", "text": {"format": {"type": "xml"}}},
        "text.format.type",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(
    ("path", "body", "param", "code"), BAD_BODIES, ids=[f"{p} {c} {q}" for p, _, q, c in BAD_BODIES]
)
def test_a_bad_body_is_refused_at_its_place(
    http: httpx.Client, path: str, body: Any, param: str | None, code: str | None
) -> None:
    answer = http.post(path, json=body, headers={"OpenAI-Beta": "assistants=v2, agents=v1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/assistants", "/vector_stores"])
def test_nothing_is_made_by_a_bad_body(http: httpx.Client, path: str) -> None:
    http.post(path, json={"model": "gpt-4.1", "surprise": 1})
    assert http.get(path).json()["data"] == []


BAD_ADMIN_BODIES: list[tuple[str, Any, str]] = [
    ("", {}, "name"),
    ("", {"name": ""}, "name"),
    ("", {"name": None}, "name"),
    ("", {"name": "x", "residency": "MOON"}, "residency"),
    ("", {"name": "x", "title": "y"}, "title"),
    ("/{p}", {"name": ""}, "name"),
    ("/{p}/service_accounts", {}, "name"),
    ("/{p}/service_accounts", {"name": ""}, "name"),
    ("/{p}/service_accounts", {"name": "x", "role": "owner"}, "role"),
    (
        "/{p}/service_accounts",
        {"name": "x", "create_service_account_only": True, "expires_in_seconds": 60},
        "expires_in_seconds",
    ),
    ("/{p}/rate_limits/rl-gpt-4.1", {"max_requests_per_1_minute": -1}, "max_requests_per_1_minute"),
    (
        "/{p}/rate_limits/rl-gpt-4.1",
        {"max_requests_per_1_minute": None},
        "max_requests_per_1_minute",
    ),
    (
        "/{p}/rate_limits/rl-gpt-4.1",
        {"max_requests_per_1_minute": 100_001},
        "max_requests_per_1_minute",
    ),
    ("/{p}/rate_limits/rl-gpt-5.1", {"max_images_per_1_minute": 1}, "max_images_per_1_minute"),
    ("/{p}/rate_limits/rl-gpt-4.1", {"max_requests": 1}, "max_requests"),
    ("/{p}/users", {"role": "member"}, "user_id"),
    ("/{p}/users", {"role": "boss", "email": "cleo@example.com"}, "role"),
]


@pytest.mark.parametrize(
    ("path", "body", "param"), BAD_ADMIN_BODIES, ids=[f"{p} {b}" for p, b, _ in BAD_ADMIN_BODIES]
)
def test_a_bad_admin_body_is_refused_at_its_place(
    admin: httpx.Client, project: dict[str, Any], path: str, body: Any, param: str
) -> None:
    answer = admin.post("/organization/projects" + path.replace("{p}", project["id"]), json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "purpose"),
        ({"purpose": "assistants", "color": "red"}, "color"),
        (
            {"purpose": "assistants", "expires_after[anchor]": "created_at"},
            "expires_after[seconds]",
        ),
        (
            {
                "purpose": "assistants",
                "expires_after[anchor]": "now",
                "expires_after[seconds]": "3600",
            },
            "expires_after[anchor]",
        ),
        (
            {
                "purpose": "assistants",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "3599",
            },
            "expires_after[seconds]",
        ),
        (
            {
                "purpose": "assistants",
                "expires_after[anchor]": "created_at",
                "expires_after[seconds]": "soon",
            },
            "expires_after[seconds]",
        ),
    ],
    ids=str,
)
def test_a_bad_file_form_is_refused_with_a_detail(
    http: httpx.Client, fields: dict[str, str], param: str
) -> None:
    answer = http.post("/files", data=fields, files={"file": ("a.md", b"x")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert answer.json()["detail"]["message"] == answer.json()["error"]["message"]


def test_a_form_without_a_file_is_refused(http: httpx.Client) -> None:
    answer = http.post("/files", files={"purpose": (None, b"assistants")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")


def test_json_where_a_form_belongs_is_refused(http: httpx.Client) -> None:
    answer = http.post("/files", json={"purpose": "assistants"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_content_type")


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b'{"temperature": NaN}', b'{"temperature": 1e999}', b"[" * 100_000],
)
def test_what_is_not_json_is_refused(http: httpx.Client, content: bytes) -> None:
    answer = http.post("/assistants", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "could not parse the JSON body" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "beta"),
    [("/assistants", "assistants=v2"), ("/agents", "agents=v1")],
    ids=["assistants", "agents"],
)
def test_beta_routes_want_their_header(emulator: Emulator, path: str, beta: str) -> None:
    key = {"Authorization": f"Bearer {emulator.api_key}"}
    with httpx.Client(base_url=emulator.base_url, headers=key) as plain:
        refused = plain.get(path)
        accepted = plain.get(path, headers={"OpenAI-Beta": beta})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_beta")
    assert f"OpenAI-Beta: {beta}" in refused.json()["error"]["message"]
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    "body", [{"name": "x" * 256}, {"temperature": 2}, {"metadata": {"k": "x" * 512}}], ids=str
)
def test_what_is_just_allowed_is_accepted(http: httpx.Client, body: dict[str, Any]) -> None:
    assert http.post("/assistants", json=assistant(**body)).status_code == 200


@pytest.mark.parametrize(
    "resources",
    [
        {"file_search": {"vector_store_ids": ["vs_nothing"]}},
        {"code_interpreter": {"file_ids": ["file-nothing"]}},
        {"file_search": {"vector_stores": [{"file_ids": ["file-nothing"]}]}},
    ],
    ids=str,
)
def test_an_assistant_cannot_refer_to_what_does_not_exist(
    http: httpx.Client, resources: dict[str, Any]
) -> None:
    assert http.post("/assistants", json=assistant(tool_resources=resources)).status_code == 404
    assert http.get("/assistants").json()["data"] == []
    assert http.get("/vector_stores").json()["data"] == []


def test_a_modify_keeps_what_it_was_not_sent(http: httpx.Client) -> None:
    made = http.post(
        "/assistants", json=assistant(name="Bot", temperature=0.5, metadata={"a": "b"})
    ).json()
    changed = http.post(f"/assistants/{made['id']}", json={"description": "new"}).json()
    assert changed == {**made, "description": "new"}


def test_null_clears_back_to_the_default(http: httpx.Client) -> None:
    sent = assistant(
        name="Bot",
        temperature=0.5,
        top_p=0.5,
        metadata={"a": "b"},
        response_format={"type": "text"},
        reasoning_effort="low",
        tool_resources={"code_interpreter": {"file_ids": []}},
    )
    made = http.post("/assistants", json=sent).json()
    cleared = http.post(
        f"/assistants/{made['id']}", json=dict.fromkeys(sent.keys() - {"model"})
    ).json()
    blank = http.post("/assistants", json=assistant()).json()
    assert {k: v for k, v in cleared.items() if k != "id"} == {
        k: v for k, v in blank.items() if k != "id"
    }


def test_metadata_is_replaced_as_a_whole(http: httpx.Client) -> None:
    made = http.post("/vector_stores", json={"metadata": {"a": "1", "b": "2"}}).json()
    changed = http.post(f"/vector_stores/{made['id']}", json={"metadata": {"c": "3"}}).json()
    assert changed["metadata"] == {"c": "3"}


def test_tool_resources_that_were_not_sent_are_kept(
    http: httpx.Client, upload: Callable[..., dict[str, Any]]
) -> None:
    file, store = upload()["id"], http.post("/vector_stores", json={}).json()["id"]
    both = {"code_interpreter": {"file_ids": [file]}, "file_search": {"vector_store_ids": [store]}}
    made = http.post("/assistants", json=assistant(tool_resources=both)).json()
    emptied: dict[str, Any] = {"file_search": {"vector_store_ids": []}}
    changed = http.post(f"/assistants/{made['id']}", json={"tool_resources": emptied}).json()
    assert changed["tool_resources"] == {"code_interpreter": {"file_ids": [file]}, **emptied}


def test_what_was_answered_can_be_sent_back(http: httpx.Client) -> None:
    sent = assistant(
        tools=[{"type": "file_search"}, {"type": "function", "function": {"name": "f"}}]
    )
    made = http.post("/assistants", json=sent).json()
    again = {
        name: value for name, value in made.items() if name not in ("id", "object", "created_at")
    }
    assert http.post(f"/assistants/{made['id']}", json=again).json() == made
