"""The sink `kubernetes` on the API server: permissions, tokens, Secrets of others, and restarts in the middle.

What it shares with every sink is in `tests/secrets/test_every_sink.py`, which has this server as a bed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.errors import SinkError, UncertainDeliveryError
from tests.secrets.beds.api_server import LEAST_PRIVILEGE, ApiServerBed
from tests.secrets.drivers.conftest import INDEXER, KEY, TOKEN, Run, delivered, refusal, run
from tests.servers.kube import Cluster, account_name

__all__ = ["run"]

pytestmark = pytest.mark.kube

OTHER_NAMESPACE = "default"
HOUR = 3600
_MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def bed() -> Iterator[ApiServerBed]:
    made = ApiServerBed()
    yield made
    made.close()


@pytest.fixture
def target(bed: ApiServerBed) -> dict[str, Any]:
    return bed.target("api-key")


def kubeconfig_of(cluster: Cluster, token: str) -> dict[str, str]:
    return {"KUBECONFIG": str(cluster.kubeconfig(token))}


def change(bed: ApiServerBed, body: Any) -> None:
    """Change the Secret as its administrator."""
    path = f"{bed.secrets}/openai"
    bed.cluster.call("PATCH", path, body, headers=_MERGE).raise_for_status()


# --- permissions


@pytest.mark.parametrize("verb", LEAST_PRIVILEGE["verbs"])
def test_the_sink_needs_each_verb_that_its_documentation_lists(
    cluster: Cluster, bed: ApiServerBed, run: Run, target: dict[str, Any], verb: str
) -> None:
    verbs = [other for other in LEAST_PRIVILEGE["verbs"] if other != verb]
    token = cluster.create_account(
        bed.namespace, f"without-{verb}", [{**LEAST_PRIVILEGE, "verbs": verbs}]
    )

    def deliver_and_withdraw() -> None:
        sinks = run(kubeconfig_of(cluster, token))
        sinks.check(target, address=INDEXER)
        sinks.withdraw(target, delivered(sinks, target), address=INDEXER)

    with pytest.raises(SinkError, match=rf"status 403.*cannot {verb} resource") as refused:
        deliver_and_withdraw()
    hint = f"allow get, create, patch and delete on secrets in {bed.namespace}"
    assert refused.value.hint == hint


def test_a_plan_names_another_namespace_that_the_account_may_not_write(
    bed: ApiServerBed, run: Run
) -> None:
    elsewhere = {"kubernetes": {"namespace": OTHER_NAMESPACE, "secret": "openai", "key": "a"}}
    said = refusal(run(bed.env), elsewhere)
    assert f"allow get, create, patch and delete on secrets in {OTHER_NAMESPACE}" in said


def test_the_sink_lists_and_watches_nothing_and_reads_no_value_to_write(
    cluster: Cluster, bed: ApiServerBed, run: Run, target: dict[str, Any]
) -> None:
    sinks = run(bed.env)
    with cluster.audited() as audit:
        sinks.check(target, address=INDEXER)
        receipt = delivered(sinks, target)
        sinks.withdraw(target, receipt, address=INDEXER)
    sent = audit.of(user=account_name(bed.namespace, "reconciler"))
    verbs = [request.verb for request in sent]
    assert {request.name for request in sent} == {"openai"}
    assert (len(verbs) <= 5, set(verbs)) == (True, {"patch", "get", "delete"})


# --- tokens


def test_an_expired_token_is_named_during_the_plan(
    cluster: Cluster, bed: ApiServerBed, run: Run, target: dict[str, Any]
) -> None:
    token = cluster.minted_token(bed.namespace, "reconciler", expires_at=time.time() - HOUR)
    said = refusal(run(kubeconfig_of(cluster, token)), target)
    assert ("status 401" in said, "renew the token" in said) == (True, True)
    assert token not in said


def test_a_token_that_is_renewed_in_its_file_is_used_by_the_same_run(
    cluster: Cluster, bed: ApiServerBed, run: Run, target: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    config = json.loads(cluster.kubeconfig("unused").read_text())
    config["users"][0]["user"] = {"tokenFile": str(file)}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    sinks = run({"KUBECONFIG": str(tmp_path / "kubeconfig")})
    file.write_text(cluster.token_of(bed.namespace, "reconciler"))
    sinks.check(target, address=INDEXER)
    expired = cluster.minted_token(bed.namespace, "reconciler", expires_at=time.time() - HOUR)
    file.write_text(expired)
    assert "status 401" in refusal(sinks, target)
    file.write_text(cluster.token_of(bed.namespace, "reconciler"))
    delivered(sinks, target)
    assert bed.keys(tmp_path) == {"api-key": KEY.reveal()}


# --- Secrets of others, and in states of their own


def test_an_immutable_secret_is_refused_during_the_plan(
    bed: ApiServerBed, run: Run, target: dict[str, Any]
) -> None:
    bed.set("other", "theirs")
    change(bed, {"immutable": True})
    assert "field is immutable" in refusal(run(bed.env), target)


def test_a_secret_that_is_being_deleted_gets_no_key(
    bed: ApiServerBed, run: Run, target: dict[str, Any]
) -> None:
    bed.set("other", "theirs")
    change(bed, {"metadata": {"finalizers": ["example.com/hold"]}})
    bed.cluster.call("DELETE", f"{bed.secrets}/openai").raise_for_status()
    said = refusal(run(bed.env), target)
    change(bed, {"metadata": {"finalizers": None}})
    assert f"the Secret {bed.namespace}/openai is being deleted" in said


def test_a_secret_whose_managers_were_cleared_is_left_alone(
    bed: ApiServerBed, run: Run, target: dict[str, Any], tmp_path: Path
) -> None:
    sinks = run(bed.env)
    receipt = delivered(sinks, target)
    change(bed, {"metadata": {"managedFields": [{}]}})
    assert 'was written by "before-first-apply"' in refusal(sinks, target)
    sinks.withdraw(target, receipt, address=INDEXER)
    assert bed.keys(tmp_path) == {"api-key": KEY.reveal()}


def test_a_key_joins_a_secret_of_somebody_else_and_leaves_it_as_it_was(
    bed: ApiServerBed, run: Run, target: dict[str, Any], tmp_path: Path
) -> None:
    bed.set("other", "theirs")
    sinks = run(bed.env)
    receipt = delivered(sinks, target)
    assert bed.keys(tmp_path) == {"other": "theirs", "api-key": KEY.reveal()}
    sinks.withdraw(target, receipt, address=INDEXER)
    assert bed.keys(tmp_path) == {"other": "theirs"}


def test_a_secret_that_changes_between_look_up_and_removal_is_not_deleted(
    bed: ApiServerBed,
    run: Run,
    target: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sinks = run(bed.env)
    receipt = delivered(sinks, target)

    def before(request: httpx.Request) -> None:
        if request.method == "DELETE":
            monkeypatch.undo()
            bed.set("other", "theirs")

    intercept(monkeypatch, before=before)
    with pytest.raises(SinkError, match="status 409"):
        sinks.withdraw(target, receipt, address=INDEXER)
    assert bed.keys(tmp_path) == {"other": "theirs", "api-key": KEY.reveal()}
    sinks.withdraw(target, receipt, address=INDEXER)
    assert bed.keys(tmp_path) == {"other": "theirs"}


def test_an_owner_with_a_long_name_in_any_script_gets_a_manager(
    bed: ApiServerBed, run: Run, target: dict[str, Any]
) -> None:
    sinks = run(bed.env, owner=f"{'会社' * 20}/prod")  # 128 characters are more bytes
    delivered(sinks, target)
    assert sinks.recall(target, address=INDEXER) == KEY


# --- restarts


def intercept(
    monkeypatch: pytest.MonkeyPatch,
    *,
    before: Callable[[httpx.Request], None] = lambda _: None,
    after: Callable[[httpx.Request], None] = lambda _: None,
) -> None:
    """Do something before each request is sent, or after it was answered and before the answer is seen."""
    send = httpx.HTTPTransport.handle_request

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        before(request)
        response = send(self, request)
        after(request)
        return response

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)


def is_delivery(request: httpx.Request) -> bool:
    return request.method == "PATCH" and "dryRun" not in request.url.query.decode()


def test_a_key_arrives_although_the_api_server_restarts_before_the_write(
    restarts: Cluster,
    bed: ApiServerBed,
    run: Run,
    target: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def start_again(seconds: float) -> None:
        pauses.append(seconds)
        restarts.start_apiserver()

    sinks = run(bed.env, sleep=start_again)
    sinks.check(target, address=INDEXER)
    restarts.stop_apiserver()
    delivered(sinks, target)
    assert (len(pauses), bed.keys(tmp_path)) == (1, {"api-key": KEY.reveal()})


def test_a_key_whose_answer_is_lost_to_a_restart_is_written_once_more(
    restarts: Cluster,
    bed: ApiServerBed,
    run: Run,
    target: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sinks = run(bed.env)
    sinks.check(target, address=INDEXER)

    def after(request: httpx.Request) -> None:
        if is_delivery(request):
            monkeypatch.undo()
            restarts.restart()
            raise httpx.ReadError("the server is gone")

    intercept(monkeypatch, after=after)
    receipt = delivered(sinks, target)
    assert bed.keys(tmp_path) == {"api-key": KEY.reveal()}
    sinks.withdraw(target, receipt, address=INDEXER)
    assert bed.keys(tmp_path) == {}


def test_a_refusal_after_a_lost_answer_leaves_it_open_whether_the_key_arrived(
    cluster: Cluster,
    bed: ApiServerBed,
    run: Run,
    target: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sinks = run(bed.env)
    sinks.check(target, address=INDEXER)
    token = cluster.token_of(bed.namespace, "reconciler")

    def after(request: httpx.Request) -> None:
        if is_delivery(request):
            monkeypatch.undo()
            cluster.kubectl("delete", "rolebinding", "reconciler", "-n", bed.namespace)
            cluster.wait_until_allowed(token, bed.namespace, LEAST_PRIVILEGE, is_allowed=False)
            raise httpx.ReadError("the connection was cut")

    intercept(monkeypatch, after=after)
    with pytest.raises(UncertainDeliveryError, match=r"status 403.*unknown whether"):
        sinks.put(target, KEY, address=INDEXER, token=TOKEN)
    assert bed.keys(tmp_path) == {"api-key": KEY.reveal()}


def managers(bed: ApiServerBed) -> Mapping[str, Any]:
    return {entry["manager"]: entry for entry in bed.save()["metadata"]["managedFields"]}


def test_a_second_key_of_another_stack_leaves_the_first_with_its_owner(
    bed: ApiServerBed, run: Run, tmp_path: Path
) -> None:
    delivered(run(bed.env), bed.target("one"))
    delivered(run(bed.env, owner="acme/dev"), bed.target("two"))
    owners = {name.partition("#")[0] for name in managers(bed)}
    assert owners == {f"reconciler/acme/{env}/{INDEXER}" for env in ("prod", "dev")}
    assert bed.keys(tmp_path) == {"one": KEY.reveal(), "two": KEY.reveal()}
