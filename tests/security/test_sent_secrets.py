"""Claims about secrets that go to the API: they come from where the operator put them, and are nowhere else.

The secrets here have characters that JSON and Markdown spell otherwise, and look like nothing that a pattern knows.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator.errors import bad_request
from reconciler.emulator.routes import vaults
from tests.security.conftest import Inside
from tests.security.platform import manifest
from tests.security.test_canaries import FORMATS, Life, leaks

FIRST, SECOND, REFRESH = 'canary "one" é_*1*', "canary\\two\\é_*2*", "canary of the file_*3*"
PEM = "canary line one\ncanary line two_*4*"
VARIABLE = "RECONCILER_SECRET_ACCESS"
AUTH = f"""
      type: mcp_oauth
      mcp_server_url: https://mcp.example.com
      access_token: {{from_env: {VARIABLE}}}
      refresh:
        client_id: me
        refresh_token: {{from_file: secrets/refresh.token}}
        token_endpoint: https://auth.example.com/token
        token_endpoint_auth: {{type: none}}
"""
MANIFESTS = "---\n".join(
    (
        manifest("Vault/tools", "{name: Tools}"),
        manifest("Credential/server", f"\n  vault_id: ${{Vault/tools}}\n  auth:{AUTH}"),
        manifest(
            "EnvironmentTemplate/python",
            f"{{env: {{LEVEL: info, PEM: {{from_env: {VARIABLE}}}, K: {{from_env: {VARIABLE}_2}}}}}}",
        ),
    )
)


@pytest.fixture
def stack(inside: Inside) -> Inside:
    inside.variables = {VARIABLE: FIRST, f"{VARIABLE}_2": PEM}
    return inside.write({"m.yaml": MANIFESTS, "secrets/refresh.token": f"{REFRESH}\n"})


def stored(inside: Inside) -> dict[str, str]:
    """The secrets of the one credential, as the emulator got them."""
    (one,) = inside.emulator.store.all("credential")
    return dict(one.hidden["secrets"])


def posts(inside: Inside) -> list[Any]:
    """The bodies that were sent since the last look."""
    found = [item.request_body for item in inside.emulator.requests if item.method == "POST"]
    inside.emulator.clear_requests()
    return found


def rotated(inside: Inside, value: str | None = SECOND) -> Inside:
    inside.variables = {**inside.variables, VARIABLE: value} if value else {f"{VARIABLE}_2": PEM}
    return inside


def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(auth: dict[str, Any]) -> dict[str, str]:
        raise bad_request(
            f"What is {json.dumps(auth)} supposed to mean? I mean {auth!r}.", param=str(auth)
        )

    monkeypatch.setattr(vaults, "_secrets_of", refuse)


def telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "_shown", lambda auth: auth)


@pytest.mark.parametrize(
    "misbehave", [lambda _: None, refusing, telling], ids=["calm", "refusing", "telling"]
)
def test_a_secret_is_sent_and_is_nowhere_else(
    stack: Inside, monkeypatch: pytest.MonkeyPatch, misbehave: Callable[[pytest.MonkeyPatch], None]
) -> None:
    life = Life(stack)
    misbehave(monkeypatch)
    life.run("plan", "-vv", "--out", "p.json")
    life.run("apply", "--yes", "-vv", "--format", "json", code=None)
    rotated(stack)
    for format in FORMATS:
        life.run("plan", "-vv", "--format", format)
    life.run("apply", "--yes", "-vv", "--log-format", "json", code=None)
    life.run("drift", "-vv", "--unmanaged", code=None)
    life.run("plan", "--out", "p.json")
    life.run("show", "p.json", "--format", "markdown")
    life.run("state", "export")
    life.run("history")
    sent = "".join(str(body) for body in posts(stack))
    texts = {name: text for name, text in life.left().items() if not name.endswith(".token")}
    monkeypatch.setattr(life, "left", lambda: texts)
    spelt = [
        spelling
        for value in (FIRST, SECOND)
        for spelling in (value, json.dumps(value)[1:-1], repr(value)[1:-1])
    ]
    assert leaks(life, [*spelt, REFRESH, *PEM.splitlines()]) == []
    assert "canary" in sent


def test_a_digest_cannot_be_tried_without_the_state_that_made_it(stack: Inside) -> None:
    stack.apply()
    plan = rotated(stack).run("plan", "--out", "p.json", expect=0)
    (database,) = (stack.folder / ".reconciler").glob("*.db")
    with sqlite3.connect(database) as connection:
        (key,) = connection.execute("SELECT value FROM meta WHERE name = 'digest_key'").fetchone()
    export = stack.run("state", "export", expect=0).out
    assert len(key) == 64
    assert "digest" in export
    assert key not in plan.out + export + (stack.folder / "p.json").read_text()


def test_a_rotated_secret_is_seen_and_is_all_that_is_sent(stack: Inside) -> None:
    stack.apply()
    posts(stack)
    said = rotated(stack).run("plan", expect=0).out
    assert re.findall(r"~ (\S+): +\(secret value changed\)", said) == [
        "auth.access_token",
        "env.PEM",
    ]
    stack.apply()
    bodies = posts(stack)
    assert {"auth": {"type": "mcp_oauth", "access_token": SECOND}} in bodies
    assert {"env": {"LEVEL": "info", "PEM": SECOND, "K": PEM}} in bodies
    assert len(bodies) == 2
    assert stored(stack) == {"access_token": SECOND, "refresh_token": REFRESH}
    assert stack.plan().code == 0


def test_a_secret_that_is_not_here_is_taken_as_unchanged_and_is_needed_to_be_sent(
    stack: Inside,
) -> None:
    rotated(stack, None).run("validate", expect=0)
    refused = stack.run("apply", "--yes", expect=1)
    assert f"There is no secret in env {VARIABLE}." in refused.err
    assert posts(stack) == []
    rotated(stack, FIRST).apply()
    plan = rotated(stack, None).plan()
    assert (plan.code, "Whether the secret changed is unknown" in plan.out) == (0, True)
    stack.apply()
    assert rotated(stack, FIRST).plan().code == 0


def test_a_lost_state_has_secrets_sent_once_more_and_no_more(stack: Inside) -> None:
    stack.apply()
    for path in (stack.folder / ".reconciler").iterdir():
        path.unlink()
    posts(stack)
    assert (
        "it cannot be read back and no record has it" in stack.run("plan", "--adopt", expect=0).out
    )
    stack.run("apply", "--yes", "--adopt", expect=0)
    assert sorted(name for body in posts(stack) for name in body) == ["auth", "env"]
    assert stack.plan().code == 0


def test_a_saved_plan_sends_what_the_secret_is_by_then(stack: Inside) -> None:
    stack.run("plan", "--out", "p.json", expect=0)
    rotated(stack).run("apply", "p.json", expect=0)
    assert stored(stack)["access_token"] == SECOND
    assert stack.plan().code == 0


def test_a_rollback_leaves_rotated_secrets_as_they_are(stack: Inside) -> None:
    stack.apply()
    rotated(stack).apply()
    stack.run("rollback", "2", "--yes", expect=0)
    assert stored(stack)["access_token"] == SECOND


# --- containers ------------------------------------------------------------------------------------------------------

DOMAIN = f"{{domain: api.example, name: TOKEN, value: {{from_env: {VARIABLE}}}}}"
CONTAINER = manifest(
    "Container/box",
    f"{{network_policy: {{type: allowlist, allowed_domains: [api.example], domain_secrets: [{DOMAIN}]}}}}",
)


def test_a_secret_of_a_container_is_sent_and_is_nowhere_else(inside: Inside) -> None:
    inside.variables = {VARIABLE: FIRST}
    life = Life(inside.write({"m.yaml": CONTAINER}))
    life.run("plan", "-vv", "--out", "p.json")
    life.run("apply", "--yes", "-vv")
    assert inside.plan().code == 0
    inside.variables = {VARIABLE: SECOND}
    for format in FORMATS:
        life.run("plan", "-vv", "--format", format)
    life.run("state", "export")
    (body,) = posts(inside)
    secret = {"domain": "api.example", "name": "TOKEN", "value": FIRST}
    assert body["network_policy"]["domain_secrets"] == [secret]
    spelt = [spelling for value in (FIRST, SECOND) for spelling in (value, json.dumps(value)[1:-1])]
    assert leaks(life, spelt) == []


def test_a_rotated_secret_of_a_container_takes_another_container(inside: Inside) -> None:
    inside.variables = {VARIABLE: FIRST}
    inside.write({"m.yaml": CONTAINER}).apply()
    posts(inside)
    inside.variables = {VARIABLE: SECOND}
    plan = inside.run("plan", expect=0).out
    assert "Container/box" in plan
    assert "will be replaced" in plan
    inside.apply("--allow-delete", "Container/box")
    (body,) = posts(inside)
    assert body["network_policy"]["domain_secrets"][0]["value"] == SECOND
    assert inside.plan().code == 0


# --- strangers -------------------------------------------------------------------------------------------------------

BEARER = (
    "{{vault_id: v, auth: {{type: static_bearer, mcp_server_url: 'https://x.example', token: {}}}}}"
)
ACCOUNT = (
    manifest("Project/search", "{name: Search}")
    + "---\n"
    + manifest("ServiceAccount/search/ci", "{name: ci, key: {write_to: {file: secrets/ci.key}}}")
)
SENDS = {
    "any variable": ("{from_env: GITHUB_TOKEN}", "It must match"),
    "the admin key": ("{from_env: OPENAI_ADMIN_KEY}", "It must match"),
    "the admin key by another name": (
        "{from_env: RECONCILER_SECRET_ADMIN}",
        "Secret contains a credential",
    ),
    "a text with the admin key in it": (
        "{from_file: secrets/admin.txt}",
        "Secret contains a credential",
    ),
    "a key that is delivered": ("{from_file: secrets/ci.key}", "A credential does not belong"),
    "any file": ("{from_file: .env}", "Not a secret file"),
    "a file beside": ("{from_file: secrets/../.env}", "Not a secret file"),
    "a file outside": ("{from_file: ../outside.txt}", "Path outside the stack"),
    "a link to any file": ("{from_file: secrets/link}", "Not a secret file"),
    "the secret itself": ("a-secret-in-the-clear", "Wrong type"),
    "a word": ("{from_env: RECONCILER_SECRET_WORD}", "Secret too short"),
    "lines": ("{from_env: RECONCILER_SECRET_LINES}", "Not one line"),
}


@pytest.mark.parametrize(("source", "summary"), SENDS.values(), ids=SENDS)
def test_a_pull_request_cannot_have_anything_else_sent(
    inside: Inside, tmp_path: Path, source: str, summary: str
) -> None:
    (tmp_path / "outside.txt").write_text("the secret of another folder")
    key = inside.emulator.admin_key
    inside.write(
        {
            "m.yaml": f"{manifest('Credential/c', BEARER.format(source))}---\n{ACCOUNT}",
            ".env": "TOKEN=12345678",
        }
    )
    inside.write({"secrets/admin.txt": f"Bearer {key}\n"})
    (inside.folder / "secrets" / "link").symlink_to("../.env")
    inside.variables = {
        "GITHUB_TOKEN": "ghp_1234567890abcdefghij",
        "RECONCILER_SECRET_ADMIN": key,
        "RECONCILER_SECRET_WORD": "word",
        "RECONCILER_SECRET_LINES": "line one\nline two",
    }
    done = inside.run("validate", expect=1)
    assert summary in done.err
    assert key not in done.err


def test_a_plan_does_not_tell_whether_a_guess_is_right(stack: Inside) -> None:
    stack.apply()
    stack.write(
        {
            "m.yaml": MANIFESTS.replace(
                f"K: {{from_env: {VARIABLE}_2}}", "K: {from_file: secrets/guess}"
            )
        }
    )
    for guess in (PEM, "a wrong guess"):
        plan = (
            stack.write({"secrets/guess": f"{guess}\n"})
            .run("plan", "--out", "p.json", expect=0)
            .out
        )
        assert f"env.K: (secret from env {VARIABLE}_2) → (secret from file secrets/guess)" in plan
        saved = (stack.folder / "p.json").read_text()
        digests = {
            tuple(reversed(pair))
            for pair in re.findall(r'"digest": "(\w{64})", "source": "(.+?)"', saved)
        }
        (one, other) = (
            dict(digests)[f"{source}"] for source in (f"env {VARIABLE}_2", "file secrets/guess")
        )
        assert one != other


READS = {
    "in the clear": ("${env.RECONCILER_SECRET_TOKEN}", "Environment variable not allowed"),
    "from its file": ("${file:secrets/a.token}", "A credential does not belong"),
    "by a reference": ("${Credential/c.auth.token}", "Secret cannot be referenced"),
    "with what is around it": ("${Credential/c.auth}", "Secret cannot be referenced"),
}


@pytest.mark.parametrize(("text", "summary"), READS.values(), ids=READS)
def test_a_pull_request_cannot_have_a_secret_put_elsewhere(
    inside: Inside, text: str, summary: str
) -> None:
    credential = manifest("Credential/c", BEARER.format("{from_file: secrets/a.token}"))
    agent = manifest("Agent/a", f'{{model: gpt-5.1, instructions: "{text}"}}')
    inside.write({"m.yaml": f"{agent}---\n{credential}", "secrets/a.token": "the token of a"})
    inside.variables = {"RECONCILER_SECRET_TOKEN": "the token of the environment"}
    done = inside.run("validate", expect=1)
    assert summary in done.err


def test_a_stack_cannot_let_manifests_read_what_is_to_be_sent(inside: Inside) -> None:
    stack = "kind: Stack\nmetadata: {name: acme}\nspec: {env: [RECONCILER_SECRET_TOKEN]}\n"
    inside.write({"reconciler.yaml": stack, "m.yaml": manifest("Vault/v", "{name: V}")})
    assert "Manifests must not read credentials" in inside.run("validate", expect=1).err


def test_a_file_of_secrets_is_never_uploaded(inside: Inside) -> None:
    store = manifest("VectorStore/s", "{name: S, files: [{path: 'secrets/*'}]}")
    credential = manifest("Credential/c", BEARER.format("{from_file: secrets/a.token}"))
    inside.write({"m.yaml": f"{store}---\n{credential}", "secrets/a.token": "the token of a"})
    assert "A credential does not belong in a manifest" in inside.run("validate", expect=1).err
