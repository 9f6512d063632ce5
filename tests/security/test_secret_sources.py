"""Claims about secrets that come from secret managers: who runs the program decides which may be read.

Each runs on the sources of every driver. What a manifest names is not read unless the caller allows it, is read only
where a plan or an apply needs it, and is nowhere but in the request that sends it.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconciler.model.sinks import place_of
from tests.secrets.beds.gitlab import GitlabBed
from tests.secrets.beds.kubernetes import KubernetesBed, kubeconfig
from tests.secrets.clouds import CLOUDS, cloud_named
from tests.security.conftest import Inside
from tests.security.platform import manifest
from tests.security.test_canaries import FORMATS, Life, leaks
from tests.servers.openbao import ROOT_TOKEN, call, openbao_address
from tests.servers.proxy import Proxy

FIRST, SECOND = 'canary "one" é_*1*', "canary\\two\\é_*2*"
NAME = "vendor-token"

pytestmark = pytest.mark.slow


@dataclass
class Shelf:
    """A secret manager that somebody fills, and the environment of who reads it."""

    target: dict[str, Any]
    place: str
    env: dict[str, str]
    address_variable: str
    put: Callable[[str], object]


def vault_shelf() -> Shelf:
    def put(value: str) -> None:
        call("POST", f"secret/data/{NAME}", {"data": {"token": value, "other": "unrelated"}})

    env = {"VAULT_ADDR": openbao_address(), "VAULT_TOKEN": ROOT_TOKEN}
    call("DELETE", f"secret/metadata/{NAME}")
    target = {"vault": {"path": f"secret/{NAME}", "field": "token"}}
    return Shelf(target, f"vault:secret/{NAME}", env, "VAULT_ADDR", put)


@contextmanager
def bed_shelf(bed: KubernetesBed | GitlabBed, variable: str) -> Iterator[Shelf]:
    """A secret of a bed that somebody else fills."""
    try:
        target = bed.target(NAME.replace("-", "_"))
        place = place_of(target)
        name = NAME.replace("-", "_")
        yield Shelf(target, place, dict(bed.env), variable, partial(bed.set, name))
    finally:
        bed.close()


@pytest.fixture(params=[*CLOUDS, "vault", "gitlab_variable", "kubernetes"])
def shelf(request: pytest.FixtureRequest) -> Iterator[Shelf]:
    if request.param == "vault":
        yield vault_shelf()
        return
    if request.param == "gitlab_variable":
        with bed_shelf(GitlabBed(), "CI_API_V4_URL") as made:
            yield made
        return
    if request.param == "kubernetes":
        with bed_shelf(KubernetesBed(), "KUBECONFIG") as made:
            yield made
        return
    with cloud_named(request.param) as cloud:
        target = {cloud.sink: {"name": NAME}}
        place = f"{cloud.sink}:{NAME}"
        yield Shelf(
            target, place, cloud.env, cloud.address_variable, lambda value: cloud.set(NAME, value)
        )


@pytest.fixture
def stack(inside: Inside, shelf: Shelf) -> Inside:
    """A credential whose token is on the shelf, run by somebody who may read it."""
    inside.variables = {**shelf.env, "RECONCILER_ALLOW_SOURCES": shelf.place}
    return inside.write({"m.yaml": credential(shelf.target)})


def credential(target: dict[str, Any], name: str = "issues") -> str:
    auth = {
        "type": "static_bearer",
        "mcp_server_url": "https://mcp.example.com",
        "token": {"from": target},
    }
    spec = f"{{vault_id: '${{Vault/tools}}', auth: {json.dumps(auth)}}}"
    vault = manifest("Vault/tools", "{name: Tools}")
    return "---\n".join((vault, manifest(f"Credential/{name}", spec)))


def unreachable(inside: Inside, shelf: Shelf) -> None:
    """From now on nobody listens at the address of the shelf."""
    with Proxy(("127.0.0.1", 9)) as proxy:
        port = proxy.port
    if shelf.address_variable == "KUBECONFIG":
        elsewhere = inside.folder.parent / "kubeconfig"
        elsewhere.write_text(kubeconfig(f"http://127.0.0.1:{port}", {"token": "none"}))
        address = str(elsewhere)
    else:
        path = urlsplit(shelf.env[shelf.address_variable]).path
        address = f"http://127.0.0.1:{port}{path}"
    inside.variables = {**inside.variables, shelf.address_variable: address}


def sent(inside: Inside) -> list[str]:
    """The tokens that the API got."""
    return [record.hidden["secrets"]["token"] for record in inside.emulator.store.all("credential")]


def writes(inside: Inside) -> int:
    return sum(request.method != "GET" for request in inside.emulator.requests)


def test_a_secret_is_sent_is_nowhere_else_and_its_change_is_seen(
    stack: Inside, shelf: Shelf
) -> None:
    life = Life(stack)
    shelf.put(FIRST)
    life.run("plan", "-vv", "--out", "p.json")
    life.run("apply", "--yes", "-vv")
    assert sent(stack) == [FIRST]
    assert stack.plan().code == 0
    shelf.put(SECOND)
    for format in FORMATS:
        life.run("plan", "-vv", "--format", format)
    assert "(secret value changed)" in stack.run("plan", expect=0).out
    life.run("apply", "--yes", "-vv", "--log-format", "json")
    life.run("state", "export")
    life.run("history")
    assert sent(stack) == [SECOND]
    assert stack.plan().code == 0
    spelt = [spelling for value in (FIRST, SECOND) for spelling in (value, json.dumps(value)[1:-1])]
    assert leaks(life, [*spelt, *secrets_of(shelf)]) == []


def secrets_of(shelf: Shelf) -> list[str]:
    """The credentials of who reads it."""
    return [
        value
        for name, value in shelf.env.items()
        if name.endswith(("TOKEN", "SECRET_KEY", "ACCESS_KEY"))
    ]


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_a_pull_request_cannot_name_a_place_that_the_caller_does_not_allow(
    inside: Inside, shelf: Shelf, command: str
) -> None:
    shelf.put(FIRST)
    inside.variables = dict(shelf.env)
    allows_itself = (
        f"kind: Stack\nmetadata: {{name: acme}}\nspec: {{allow_sources: ['{shelf.place}']}}\n"
    )
    inside.write({"m.yaml": credential(shelf.target)})
    unreachable(inside, shelf)  # were it read, the error would be another one
    done = inside.run(command, expect=1)
    assert "Source not allowed" in done.err
    assert f"--allow-sources '{shelf.place}'" in done.err
    assert "m.yaml" in done.err
    inside.write({"reconciler.yaml": allows_itself})
    assert "allow_sources" in inside.run(command, expect=1).err


@pytest.mark.parametrize("glob", ["{}-other", "other:{}", "{}/*", "*"])
def test_an_allowance_opens_no_other_place(inside: Inside, shelf: Shelf, glob: str) -> None:
    inside.write({"m.yaml": credential(shelf.target)})
    inside.variables = {**shelf.env, "RECONCILER_ALLOW_SOURCES": glob.format(shelf.place)}
    unreachable(inside, shelf)
    is_one_part = glob == "*" and "/" not in shelf.place
    done = inside.run("validate", expect=0 if is_one_part else 1)
    assert is_one_part or "Source not allowed" in done.err


def test_an_option_allows_a_place_too(stack: Inside, shelf: Shelf) -> None:
    shelf.put(FIRST)
    stack.variables = dict(shelf.env)
    stack.run("--allow-sources", shelf.place, "apply", "--yes", expect=0)
    assert sent(stack) == [FIRST]


def test_to_validate_and_to_plan_offline_reads_nothing(stack: Inside, shelf: Shelf) -> None:
    unreachable(stack, shelf)
    stack.run("validate", expect=0)
    assert "cannot be read" not in stack.run("plan", "--refresh", "none", expect=0).out


def test_a_place_out_of_reach_is_named_in_the_plan_and_stops_what_needs_it(
    stack: Inside, shelf: Shelf
) -> None:
    shelf.put(FIRST)
    stack.apply()
    reachable = dict(stack.variables)
    unreachable(stack, shelf)
    plan = stack.run("plan", expect=0)
    assert "cannot be read" in plan.out
    assert "Whether the secret changed is unknown" in plan.out
    assert "No changes" in plan.out
    stack.write({"m.yaml": credential(shelf.target, name="another")})
    before = writes(stack)
    refused = stack.run("apply", "--yes", "--allow-delete", "Credential/issues", expect=1)
    assert "cannot be read" in refused.err
    assert writes(stack) == before
    stack.variables = reachable
    stack.run("apply", "--yes", "--allow-delete", "Credential/issues", expect=0)


def test_a_place_with_nothing_in_it_is_like_a_secret_that_is_not_set(
    stack: Inside, shelf: Shelf
) -> None:
    refused = stack.run("apply", "--yes", expect=1)
    assert "There is no secret in" in refused.err
    assert shelf.target[shelf.place.partition(":")[0]].keys() <= {*re.findall(r"\w+", refused.err)}
    assert writes(stack) == 0


def test_a_saved_plan_reads_only_what_the_caller_of_the_apply_allows(
    stack: Inside, shelf: Shelf
) -> None:
    shelf.put(FIRST)
    stack.run("plan", "--out", "p.json", expect=0)
    stack.variables = dict(shelf.env)
    refused = stack.run("apply", "p.json", expect=None)
    assert refused.code != 0
    assert "Source not allowed" in refused.err or "may not be read" in refused.err
    assert sent(stack) == []


BAD_VALUES = {
    "short": ("word", "fewer than 8 characters"),
    "lines": ("line one\nline two", "several lines"),
}


@pytest.mark.parametrize(("value", "message"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_value_that_cannot_be_sent_is_refused_unread(
    stack: Inside, shelf: Shelf, value: str, message: str
) -> None:
    shelf.put(value)
    refused = stack.run("apply", "--yes", expect=1)
    assert message in refused.err
    assert value not in refused.err
    assert writes(stack) == 0


def test_a_key_in_use_is_never_sent(stack: Inside, shelf: Shelf) -> None:
    key = stack.emulator.admin_key
    shelf.put(f"Bearer {key}")
    refused = stack.run("apply", "--yes", expect=1)
    assert "contains a key that reconciler authenticates with" in refused.err
    assert key not in refused.err
    assert writes(stack) == 0


def test_a_key_that_was_delivered_is_never_sent(inside: Inside, shelf: Shelf) -> None:
    account = "---\n".join(
        (
            manifest("Project/search", "{name: Search}"),
            manifest("ServiceAccount/search/ci", "{key: {write_to: {file: secrets/ci.key}}}"),
        )
    )
    inside.write({"account.yaml": account}).apply()
    shelf.put((inside.folder / "secrets" / "ci.key").read_text().strip())
    inside.variables = {**shelf.env, "RECONCILER_ALLOW_SOURCES": shelf.place}
    inside.write({"m.yaml": credential(shelf.target)})
    refused = inside.run("apply", "--yes", expect=1)
    assert "is a key that reconciler has delivered" in refused.err
    assert sent(inside) == []


def test_the_state_has_a_digest_that_only_it_can_test(stack: Inside, shelf: Shelf) -> None:
    shelf.put(FIRST)
    stack.apply()
    (database,) = (stack.folder / ".reconciler").glob("*.db")
    with sqlite3.connect(database) as connection:
        (key,) = connection.execute("SELECT value FROM meta WHERE name = 'digest_key'").fetchone()
    export = stack.run("state", "export", expect=0).out
    assert '"digest"' in export
    assert key not in export
