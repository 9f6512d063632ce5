"""Kubernetes: what is refused and why, kubeconfigs, and what others have in the same Secret."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import SinkSetupError
from reconciler.secrets.drivers.kubeconfig import cluster_of
from tests.secrets.beds.kubernetes import kubeconfig
from tests.secrets.drivers.conftest import INDEXER, KEY, Run, delivered, refusal
from tests.servers.fake_kubernetes import READ_ONLY_TOKEN, TOKEN, FakeKubernetes

TARGET = {"kubernetes": {"namespace": "search", "secret": "openai", "key": "api-key"}}


@pytest.fixture
def server() -> Iterator[FakeKubernetes]:
    with FakeKubernetes() as running:
        yield running


@pytest.fixture
def env_of(server: FakeKubernetes, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment with a kubeconfig of a user."""

    def write(user: Mapping[str, Any] = {"token": TOKEN}, **cluster: Any) -> dict[str, str]:
        path = tmp_path / "kubeconfig"
        path.write_text(kubeconfig(server.address, user, **cluster))
        return {"KUBECONFIG": str(path)}

    return write


Env = Callable[..., dict[str, str]]


def test_a_key_joins_a_secret_of_somebody_else_and_leaves_it_as_it_was(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    server.update("search", "openai", "other", "theirs", manager="helm")
    sinks = run(env_of())
    receipt = delivered(sinks, TARGET)
    secret = server.secrets["search", "openai"]
    assert secret.data == {"other": "theirs", "api-key": KEY.reveal()}
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    assert server.secrets["search", "openai"].data == {"other": "theirs"}


def test_the_secret_goes_with_its_last_key(run: Run, env_of: Env, server: FakeKubernetes) -> None:
    sinks = run(env_of())
    sinks.withdraw(TARGET, delivered(sinks, TARGET), address=INDEXER)
    assert server.secrets == {}


def test_a_key_of_another_manager_is_named_with_its_owner(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    server.update("search", "openai", "api-key", "theirs", manager="external-secrets")
    said = refusal(run(env_of()), TARGET)
    assert 'was written by "external-secrets", so it is not overwritten' in said
    delivered(run(env_of(), owner="acme/dev"), {"kubernetes": {**TARGET["kubernetes"], "key": "b"}})
    said = refusal(run(env_of()), {"kubernetes": {**TARGET["kubernetes"], "key": "b"}})
    assert f"holds the key of acme/dev/{INDEXER}, which would be lost" in said


def test_an_equal_value_of_another_manager_is_not_shared(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    server.update("search", "openai", "api-key", KEY.reveal(), manager="kubectl-edit")
    assert "kubectl-edit" in refusal(run(env_of()), TARGET)


def test_a_check_asks_for_no_value_and_writes_nothing(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    run(env_of()).check(TARGET, address=INDEXER)
    assert server.secrets == {}
    assert {request.headers["accept"] for request in server.requests} == {
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    }


def test_an_immutable_secret_is_refused_during_the_plan(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    server.update("search", "openai", "other", "theirs", manager="helm")
    server.secrets["search", "openai"].immutable = True
    assert "immutable" in refusal(run(env_of()), TARGET)


def test_a_secret_that_is_being_deleted_gets_no_key(
    run: Run, env_of: Env, server: FakeKubernetes
) -> None:
    server.update("search", "openai", "other", "theirs", manager="helm")
    server.secrets["search", "openai"].deletion_began_at = "2026-01-01T00:00:00Z"
    assert "the Secret search/openai is being deleted" in refusal(run(env_of()), TARGET)


def test_an_owner_with_a_long_name_in_any_script_gets_a_manager(run: Run, env_of: Env) -> None:
    sinks = run(env_of(), owner=f"{'会社' * 20}/prod")  # 128 characters are more bytes
    delivered(sinks, TARGET)
    assert sinks.recall(TARGET, address=INDEXER) == KEY


def test_a_token_that_is_renewed_in_its_file_is_used_by_the_same_run(
    run: Run, env_of: Env, server: FakeKubernetes, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    sinks = run(env_of({"tokenFile": str(file)}))
    sinks.check(TARGET, address=INDEXER)
    file.write_text("an-expired-token")
    assert "status 401" in refusal(sinks, TARGET)
    file.write_text(TOKEN)
    delivered(sinks, TARGET)
    assert server.secrets["search", "openai"].data == {"api-key": KEY.reveal()}


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (READ_ONLY_TOKEN, "allow get, create, patch and delete on secrets in search"),
        ("nonsense", "renew the token or certificate of the kubeconfig"),
    ],
    ids=["read-only", "unknown"],
)
def test_a_token_that_may_not_write_is_refused_during_the_plan(
    run: Run, env_of: Env, token: str, said: str
) -> None:
    told = refusal(run(env_of({"token": token})), TARGET)
    assert (said in told, token in told) == (True, False)


def test_a_namespace_that_does_not_exist_is_named(run: Run, env_of: Env) -> None:
    target = {"kubernetes": {**TARGET["kubernetes"], "namespace": "nowhere"}}
    assert 'namespaces "nowhere" not found' in refusal(run(env_of()), target)


@pytest.mark.parametrize(
    ("part", "value"),
    [("namespace", "a/b"), ("secret", "../x"), ("key", ".."), ("key", "a b"), ("secret", "Upper")],
)
def test_a_name_that_kubernetes_does_not_accept_is_refused(
    run: Run, env_of: Env, part: str, value: str
) -> None:
    target = {"kubernetes": {**TARGET["kubernetes"], part: value}}
    assert f'"{value}" is no {part} that Kubernetes accepts' in refusal(run(env_of()), target)


@pytest.mark.parametrize("plugin", ["exec", "auth-provider"])
def test_a_plugin_that_logs_in_is_not_run(
    run: Run, env_of: Env, tmp_path: Path, plugin: str
) -> None:
    command = {"command": "sh", "args": ["-c", f"touch {tmp_path}/ran"]}
    assert f"logs in with a program ({plugin})" in refusal(run(env_of({plugin: command})), TARGET)
    assert not (tmp_path / "ran").exists()


def test_a_server_that_is_not_verified_gets_no_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        kubeconfig("https://127.0.0.1:1", {"token": TOKEN}, **{"insecure-skip-tls-verify": True})
    )
    assert "not verified" in refusal(run({"KUBECONFIG": str(path)}), TARGET)


def test_no_cluster_at_all_is_named(run: Run) -> None:
    with pytest.raises(SinkSetupError, match="KUBECONFIG is not set"):
        run({}).check(TARGET, address=INDEXER)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (": : not yaml", "it is not YAML"),
        ("{}", 'has no "" in contexts'),
        (json.dumps({"current-context": "a", "contexts": []}), 'has no "a" in contexts'),
        ("[]", 'has no "" in contexts'),
    ],
)
def test_a_broken_kubeconfig_is_named_and_not_repeated(
    run: Run, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    told = refusal(run({"KUBECONFIG": str(path)}), TARGET)
    assert (said in told, str(path) in told) == (True, True)


def test_files_beside_a_kubeconfig_are_found_and_contents_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    (tmp_path / "client.pem").write_text("certificate")
    user = {
        "tokenFile": "token",
        "client-certificate": "client.pem",
        "client-key-data": base64.b64encode(b"key").decode(),
    }
    ca = {"certificate-authority-data": base64.b64encode(b"authority").decode()}
    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig("https://127.0.0.1:1", user, **ca))
    cluster = cluster_of({"KUBECONFIG": str(path)})
    assert (cluster.current_token(), cluster.ca) == ("from-a-file", b"authority")
    assert cluster.client_certificate == (b"certificate", b"key")
    assert "from-a-file" not in repr(cluster)
