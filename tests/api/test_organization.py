"""Answers of another organization than expected end the run before anything is written."""

from __future__ import annotations

import httpx
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.base_url import normal_form
from reconciler.api.transport.client import Client
from reconciler.api.transport.organization import Expectation
from reconciler.errors import OrganizationError
from reconciler.model.secret import Secret

KEY = Key(Secret("sk-project-0000000000001234"), "OPENAI_API_KEY")
OF_ACME = Expectation("acme", "the state is of acme")


def client_of(
    *organizations: str, status: int = 200, code: str | None = None
) -> tuple[Client, list[str]]:
    """A client whose answers name these organizations in turn, and the methods it has sent."""
    sent: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        name = organizations[len(sent)]
        sent.append(request.method)
        headers = {"openai-organization": name} if name else {}
        body = {} if code is None else {"error": {"message": "no", "type": "x", "code": code}}
        return httpx.Response(status, json=body, headers=headers)

    return Client("https://api.example/v1", transport=httpx.MockTransport(answer)), sent


def test_an_answer_of_the_expected_organization_passes() -> None:
    client, _ = client_of("acme")
    client.organization.expect(OF_ACME)
    assert client.request("GET", "/files", key=KEY) == {}
    assert client.organization.seen == "acme"


def test_an_answer_of_another_organization_is_refused_with_both_names() -> None:
    client, _ = client_of("rival")
    client.organization.expect(OF_ACME)
    with pytest.raises(
        OrganizationError,
        match="the state is of acme, and the keys in use are of the organization rival",
    ):
        client.request("GET", "/files", key=KEY)


def test_the_answer_of_a_write_is_returned_and_the_next_call_is_not_sent() -> None:
    client, sent = client_of("rival", "rival")
    client.organization.expect(OF_ACME)
    assert client.request("POST", "/vector_stores", key=KEY) == {}
    with pytest.raises(OrganizationError):
        client.request("GET", "/files", key=KEY)
    assert sent == ["POST"]


def test_an_id_is_not_compared_with_the_short_name_that_the_live_api_answers() -> None:
    client, _ = client_of("acme")
    client.organization.expect(Expectation("org-123", "the stack file names org-123"))
    assert client.request("GET", "/files", key=KEY) == {}


@pytest.mark.parametrize("name", ["", "org-123"])
def test_a_name_that_must_be_given_is_missed(name: str) -> None:
    client, _ = client_of(name)
    client.organization.expect(Expectation("acme", "the state is of acme", must_be_named=True))
    with pytest.raises(OrganizationError, match=r"the answers of https://api\.example/v1 name"):
        client.request("GET", "/files", key=KEY)


def test_keys_of_two_organizations_are_refused() -> None:
    client, _ = client_of("acme", "rival")
    client.request("GET", "/files", key=KEY)
    with pytest.raises(OrganizationError, match="of two organizations, acme and rival"):
        client.request("GET", "/files", key=KEY)


def test_a_key_that_the_api_refuses_for_its_organization_says_who_asked_for_it() -> None:
    client, _ = client_of("", status=401, code="mismatched_organization")
    client.organization.expect(Expectation("org-1", "the stack file names org-1"))
    with pytest.raises(
        OrganizationError, match="the stack file names org-1, and the API refuses the key"
    ):
        client.request("GET", "/files", key=KEY)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://API.openai.com/v1", "https://api.openai.com:443/v1/"),
        ("http://localhost:8085/v1", "http://127.0.0.1:8085/v1"),
        ("http://[::1]/v1", "http://[::1]:80/v1"),
    ],
)
def test_two_spellings_of_one_server_are_the_same(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    "other", ["https://api.example/v2", "https://api.example:8443/v1", "http://api.example/v1"]
)
def test_another_path_port_or_scheme_is_another_server(other: str) -> None:
    assert normal_form("https://api.example/v1") != normal_form(other)
