"""Answers match recordings of the live API and the newest SDK."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from tests.whole_examples import PEM

AWS = {
    "type": "aws",
    "name": "Vault",
    "kms_arn": "arn:aws:kms:eu-central-1:1:key/x",
    "role_arn": "arn:aws:iam::1:role/x",
    "external_id": "x",
}


def test_the_delete_of_a_container_names_the_container(http: httpx.Client) -> None:
    id = http.post("/containers", json={"name": "box"}).json()["id"]
    assert http.delete(f"/containers/{id}").json() == {
        "id": id,
        "object": "container.deleted",
        "deleted": True,
    }


def test_the_delete_of_a_file_in_a_container_names_the_file(http: httpx.Client) -> None:
    box = http.post("/containers", json={"name": "box"}).json()["id"]
    file = http.post(f"/containers/{box}/files", files={"file": ("a.txt", b"a")}).json()["id"]
    answer = http.delete(f"/containers/{box}/files/{file}").json()
    assert answer == {"id": file, "object": "container.file.deleted", "deleted": True}


def test_the_delete_of_an_external_key_answers_the_key(admin: httpx.Client) -> None:
    made = admin.post("/organization/external_keys", json=AWS).json()
    assert admin.delete(f"/organization/external_keys/{made['id']}").json() == made
    assert admin.get(f"/organization/external_keys/{made['id']}").status_code == 404


def test_the_dates_of_a_certificate_are_those_inside_it(admin: httpx.Client) -> None:
    made = admin.post(
        "/organization/certificates", json={"certificate": f"leading text\n{PEM}"}
    ).json()
    assert made["certificate_details"] == {"valid_at": 1_796_044_185, "expires_at": 4_949_644_185}


@pytest.mark.parametrize("inside", ["Tm90IHJlYWxseSBvbmUu", "MIIB", "====", PEM.split("\n")[1]])
def test_what_is_no_certificate_is_refused(admin: httpx.Client, inside: str) -> None:
    text = f"-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n"
    answer = admin.post("/organization/certificates", json={"certificate": text})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "certificate")


def test_an_unknown_rate_limit_has_a_code_of_its_own(
    admin: httpx.Client, project: dict[str, Any]
) -> None:
    answer = admin.post(f"/organization/projects/{project['id']}/rate_limits/rl-nothing", json={})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "rate_limit_does_not_exist_for_org_and_model"


def test_an_organization_always_has_a_published_type_of_data_retention(admin: httpx.Client) -> None:
    assert admin.get("/organization/data_retention").json()["type"] == "modified_abuse_monitoring"


def test_a_message_of_a_thread_has_no_status(http: httpx.Client) -> None:
    thread = http.post("/threads", json={}).json()["id"]
    message = http.post(
        f"/threads/{thread}/messages", json={"role": "user", "content": "Hi"}
    ).json()
    assert not {"status", "completed_at", "incomplete_at", "incomplete_details"} & message.keys()


def test_a_run_shows_its_effort_and_its_resources(http: httpx.Client) -> None:
    thread = http.post("/threads", json={}).json()["id"]
    assistant = http.post("/assistants", json={"model": "o3", "reasoning_effort": "low"}).json()[
        "id"
    ]
    run = http.post(f"/threads/{thread}/runs", json={"assistant_id": assistant}).json()
    assert (run["reasoning_effort"], run["tool_resources"]) == ("low", {})


def test_a_stored_completion_shows_its_request(http: httpx.Client) -> None:
    sent = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "store": True}
    made = http.post(
        "/chat/completions", json={**sent, "seed": 7, "temperature": 0.5, "user": "u1"}
    ).json()
    stored = http.get(f"/chat/completions/{made['id']}").json()
    assert stored["request_id"].startswith("req_")
    names = "seed temperature top_p presence_penalty frequency_penalty tools tool_choice response_format input_user"
    assert [stored[name] for name in names.split()] == [
        7,
        0.5,
        1.0,
        0.0,
        0.0,
        None,
        None,
        None,
        "u1",
    ]
    assert "request_id" not in made


def test_an_unknown_completion_has_a_code(http: httpx.Client) -> None:
    assert http.get("/chat/completions/chatcmpl-none").json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "o3", "o4-mini"])
def test_chat_models_that_see_have_a_limit_of_images(
    admin: httpx.Client, project: dict[str, Any], model: str
) -> None:
    rows = admin.get(f"/organization/projects/{project['id']}/rate_limits").json()["data"]
    assert [row["max_images_per_1_minute"] for row in rows if row["model"] == model] == [50_000]


@pytest.mark.parametrize(
    ("model", "end"),
    [
        ("gpt-image-1", "2026-10-23"),
        ("gpt-image-1-mini", "2026-12-01"),
        ("gpt-image-1.5", "2026-12-01"),
    ],
)
def test_models_show_when_they_end(http: httpx.Client, model: str, end: str) -> None:
    assert http.get(f"/models/{model}").json()["shutdown_date"] == end


@pytest.mark.parametrize(
    "type", ["tenant.group.member.added", "role.bound_to_resource", "role.unbound_from_resource"]
)
def test_events_of_the_tenant_come_only_when_they_are_asked_for(
    emulator: Emulator, admin: httpx.Client, project: dict[str, Any], type: str
) -> None:
    entry = {
        "id": "audit_log-1",
        "type": type,
        "effective_at": 1_800_000_000,
        "actor": {},
        type: {"id": "x"},
    }
    emulator.store.add("audit_log", ORGANIZATION, entry, resource_id="x")

    def types(**query: Any) -> list[str]:
        return [
            item["type"]
            for item in admin.get("/organization/audit_logs", params=query).json()["data"]
        ]

    assert types() == ["project.created"]
    assert types(tenant_only="true") == [type]
    assert types(tenant_only="true", **{"event_types[]": type}) == [type]
    refused = admin.get(
        "/organization/audit_logs",
        params={"tenant_only": "true", "event_types[]": "project.created"},
    )
    assert refused.status_code == 400
