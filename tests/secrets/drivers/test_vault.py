"""Vault, on a real OpenBao: what is refused and why, and what others see of a key."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from reconciler.errors import SinkError, SinkSetupError
from tests.secrets.drivers.conftest import INDEXER, KEY, Run, delivered, refusal
from tests.servers.openbao import ROOT_TOKEN, call, openbao_address

pytestmark = pytest.mark.slow


@pytest.fixture
def path() -> Iterator[str]:
    """A path that only one test uses."""
    name = f"tests/{uuid.uuid4()}"
    yield f"secret/{name}"
    call("DELETE", f"secret/metadata/{name}")


@pytest.fixture
def target(path: str) -> Mapping[str, Any]:
    return {"vault": {"path": path}}


@pytest.fixture
def env() -> dict[str, str]:
    return {"VAULT_ADDR": openbao_address(), "VAULT_TOKEN": ROOT_TOKEN}


def token_with(policy: str) -> str:
    """A token with a policy of its own."""
    name = f"p-{uuid.uuid4()}"
    call("POST", f"sys/policies/acl/{name}", {"policy": policy})
    answer = call("POST", "auth/token/create", {"policies": [name]})
    return str(answer.json()["auth"]["client_token"])


def test_a_token_that_may_only_read_is_refused_before_anything_is_written(
    run: Run, env: dict[str, str], target: Mapping[str, Any]
) -> None:
    env["VAULT_TOKEN"] = token_with('path "secret/*" { capabilities = ["read", "list"] }')
    said = refusal(run(env), target)
    assert "cannot write secret/data/tests/" in said
    assert 'capabilities = ["create", "update", "read", "delete"]' in said


def test_the_policy_that_the_documentation_names_is_enough(
    run: Run, env: dict[str, str], target: Mapping[str, Any]
) -> None:
    env["VAULT_TOKEN"] = token_with(
        'path "secret/data/tests/*" { capabilities = ["create", "update", "read"] }\n'
        'path "secret/metadata/tests/*" { capabilities = ["create", "update", "read", "delete"] }\n'
        'path "secret/destroy/tests/*" { capabilities = ["update"] }\n'
    )
    sinks = run(env)
    sinks.check(target, address=INDEXER)
    receipt = delivered(sinks, target)
    assert sinks.recall(target, address=INDEXER) == KEY
    sinks.withdraw(target, receipt, address=INDEXER)
    assert sinks.recall(target, address=INDEXER) is None


def test_a_wrong_token_is_refused(run: Run, env: dict[str, str], target: Mapping[str, Any]) -> None:
    env["VAULT_TOKEN"] = "no-such-token"
    assert "permission denied" in (said := refusal(run(env), target))
    assert "VAULT_TOKEN" in said
    assert "no-such-token" not in said


def test_an_engine_of_version_1_is_refused(run: Run, env: dict[str, str]) -> None:
    mount = f"kv1-{uuid.uuid4()}"
    call("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    try:
        said = refusal(run(env), {"vault": {"path": f"{mount}/indexer"}})
    finally:
        call("DELETE", f"sys/mounts/{mount}")
    assert "not KV version 2" in said
    assert f"vault kv enable-versioning {mount}" in said


def test_an_engine_that_does_not_exist_is_refused(run: Run, env: dict[str, str]) -> None:
    said = refusal(run(env), {"vault": {"path": "nowhere/indexer"}})
    assert "refuses to find a secrets engine for nowhere/indexer" in said


def test_a_namespace_is_honoured(run: Run, env: dict[str, str], target: Mapping[str, Any]) -> None:
    namespace = f"n{uuid.uuid4().hex[:8]}"
    call("POST", f"sys/namespaces/{namespace}", {})
    headers = {"X-Vault-Token": ROOT_TOKEN, "X-Vault-Namespace": namespace}
    url = f"{openbao_address()}/v1"
    mount = {"type": "kv", "options": {"version": "2"}}
    httpx.post(f"{url}/sys/mounts/secret", json=mount, headers=headers).raise_for_status()
    env["VAULT_NAMESPACE"] = namespace
    delivered(run(env), target)
    path = target["vault"]["path"].replace("secret/", "secret/data/")
    inside = httpx.get(f"{url}/{path}", headers=headers).json()["data"]["data"]
    assert inside == {"value": KEY.reveal()}
    assert call("GET", path).status_code == 404


def test_the_field_can_be_named(run: Run, env: dict[str, str], path: str) -> None:
    target = {"vault": {"path": path, "field": "api_key"}}
    delivered(run(env), target)
    held = call("GET", path.replace("secret/", "secret/data/")).json()["data"]["data"]
    assert held == {"api_key": KEY.reveal()}


def test_the_owner_is_in_the_metadata(
    run: Run, env: dict[str, str], target: Mapping[str, Any], path: str
) -> None:
    delivered(run(env), target)
    metadata = call("GET", path.replace("secret/", "secret/metadata/")).json()["data"]
    assert metadata["custom_metadata"] == {"reconciler-owner": f"acme/prod/{INDEXER}"}


def test_a_write_between_our_look_and_ours_is_not_overwritten(
    run: Run,
    env: dict[str, str],
    target: Mapping[str, Any],
    path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, send = path.replace("secret/", "secret/data/"), httpx.HTTPTransport.handle_request

    def interfere(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and "/data/" in request.url.path:
            monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send)
            call("POST", data, {"data": {"value": "of somebody else"}})
        return send(self, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", interfere)
    sinks = run(env)
    with pytest.raises(SinkError, match="changed by somebody else"):
        delivered(sinks, target)
    assert call("GET", data).json()["data"]["data"] == {"value": "of somebody else"}


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"VAULT_ADDR": ""}, "VAULT_ADDR is not set"),
        ({"VAULT_TOKEN": ""}, "VAULT_TOKEN is not set"),
    ],
    ids=["address", "token"],
)
def test_a_missing_setting_is_named(
    run: Run,
    env: dict[str, str],
    target: Mapping[str, Any],
    variables: Mapping[str, str],
    said: str,
) -> None:
    with pytest.raises(SinkSetupError, match=said):
        run({**env, **variables}).check(target, address=INDEXER)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"VAULT_ADDR": "http://vault.example:8200"}, "Plain http to vault.example"),
        ({"VAULT_ADDR": "vault"}, "VAULT_ADDR cannot be used"),
        ({"VAULT_SKIP_VERIFY": "true"}, "not sent to a server that is not verified"),
        ({"VAULT_CACERT": "/nonexistent.pem"}, "certificates of VAULT_ADDR cannot be used"),
    ],
    ids=["plain http", "no address", "unverified", "certificate"],
)
def test_a_setting_that_would_show_keys_is_refused(
    run: Run,
    env: dict[str, str],
    target: Mapping[str, Any],
    variables: Mapping[str, str],
    said: str,
) -> None:
    assert said in refusal(run({**env, **variables}), target)


def test_a_sealed_server_is_named(
    run: Run, env: dict[str, str], target: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Sealing the server would end it for all other tests, so its answer is repeated here.
    def sealed(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"errors": ["Vault is sealed"]})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", sealed)
    assert "answers with status 503: Vault is sealed" in refusal(run(env), target)


def test_the_standby_of_a_cluster_is_not_followed(
    run: Run, env: dict[str, str], target: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def redirect(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"Location": "https://elsewhere.example/v1/"})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", redirect)
    assert "redirects are not followed" in refusal(run(env), target)
    assert set(asked) == {"127.0.0.1"}


@pytest.mark.parametrize(
    "path",
    ["secret/../x", "secret//x", "secret/./x", "secret/a?b", "secret/a%2f", "secret", "a b/c"],
)
def test_a_path_that_a_server_could_read_as_another_is_refused(
    run: Run, env: dict[str, str], path: str
) -> None:
    said = refusal(run(env), {"vault": {"path": path}})
    assert (
        "is not a path in" in said
        or "names the engine and no secret" in said
        or "find a secrets engine" in said
    )


def test_an_old_version_stays_readable_until_it_is_withdrawn(
    run: Run, env: dict[str, str], target: Mapping[str, Any], path: str
) -> None:
    sinks = run(env)
    old = delivered(sinks, target)
    sinks.put(target, type(KEY)("sk-svcacct-theNEXTkey0000000000"), address=INDEXER, token="2" * 32)
    data = path.replace("secret/", "secret/data/")
    before = call("GET", f"{data}?version={old['version']}").json()["data"]["data"]
    sinks.withdraw(target, old, address=INDEXER)
    after = call("GET", f"{data}?version={old['version']}").json()["data"]["data"]
    assert (before, after) == ({"value": KEY.reveal()}, None)
