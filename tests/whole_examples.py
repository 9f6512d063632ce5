"""The examples of the kinds as manifests that stand alone: with what they refer to, and the project they are in."""

from __future__ import annotations

import re

from reconciler.emulator import Emulator, world
from reconciler.emulator.store import ORGANIZATION
from reconciler.emulator.world import DEFAULT_PROJECT
from reconciler.kinds import KINDS
from reconciler.model.kind import Kind

PEM = """\
-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUWG5ytwAI+Ri6Yf9UW06nhvFTZiswCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHZXhhbXBsZTAgFw0yNjExMzAxMzA5NDVaGA8yMTI2MTEwNjEz
MDk0NVowEjEQMA4GA1UEAwwHZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEH
A0IABJ46HsIfVE79ghtSWI1a4AEPgoCXb6UnKs0MlpjO2jWBJYhKq8S8W0miJKPy
f+4O326l6OpN7/wShq9/5CEVWPujUzBRMB0GA1UdDgQWBBQA+A6nDtxFc++iMaZ1
nQTUiIXsODAfBgNVHSMEGDAWgBQA+A6nDtxFc++iMaZ1nQTUiIXsODAPBgNVHRMB
Af8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCIF4xKHH7L67qLBtRophkkVcPgH3t
rbfaOBhdwFRzP9ZMAiAFX9NLHa3KXXP3cZTEegRMN0oVybr1X1SNShOEfjP/eA==
-----END CERTIFICATE-----
"""
"""A certificate that is valid from 2026-11-30T13:09:45Z to 2126-11-06T13:09:45Z."""
OTHER_PEM = PEM.replace("/eA==", "/eQ==")
REQUEST = """\
{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4.1", "messages": []}}
"""
EXAMPLE = (
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
)
FILES = {
    "certificates/gateway.pem": PEM,
    "data/price-list.md": "# Prices\n",
    "data/questions.jsonl": REQUEST,
    "data/examples.jsonl": EXAMPLE,
    "handbook/a/b.md": "# B\n",
    "secrets/index.token": "a token of the index\n",
    "secrets/issues.token": "a token of the issues\n",
    "skills/greeting/SKILL.md": "---\nname: greeting\ndescription: Says hello.\n---\nSay hello.\n",
    "skills/greeting/words/hello.txt": "Hello\n",
    "reconciler.yaml": f"""\
        kind: Stack
        metadata: {{name: stack}}
        spec: {{projects: {{legacy: {DEFAULT_PROJECT}}}}}
        """,
}
"""The files that examples name, and a stack file for the project that was there before."""

PROJECT = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
lifecycle: {on_remove: delete}
"""


def make_a_persons_key(emulator: Emulator) -> None:
    """Make the key that is called "Laptop": by a call nobody can."""
    store = emulator.store
    project = store.get("project", ORGANIZATION, DEFAULT_PROJECT)
    owner = next(user.id for user in store.all("user"))
    assert project is not None
    world.add_key(store, project, "sk-laptop", name="Laptop", owner={"type": "user", "id": owner})


def whole_example(kind: Kind) -> str:
    """A manifest with all that the example of a kind needs."""
    text = _with_neighbours(kind.example)
    return (
        f"{PROJECT}---\n{text}"
        if re.search(r"project: search|Project/search", text) and kind.name != "Project"
        else text
    )


def kinds_in(manifest: str) -> list[Kind]:
    """The kinds that a manifest has documents of."""
    return [KINDS[name] for name in re.findall(r"^kind: (\w+)", manifest, re.MULTILINE)]


def is_listed(kind: Kind) -> bool:
    """Whether lists show all that the example of a kind makes: what none shows is lost with the state."""
    return all(one.calls.listable for one in (kind, *kinds_in(whole_example(kind))))


def _with_neighbours(example: str) -> str:
    found = [
        name
        for name in dict.fromkeys(re.findall(r"\$\{(\w+)/", example))
        if f"kind: {name}\n" not in example
    ]
    documents: dict[str, None] = {}
    for text in [
        *(_with_neighbours(KINDS[name].example) for name in found if name != "Project"),
        example,
    ]:
        documents.update(dict.fromkeys(text.split("---\n")))
    return "---\n".join(documents)
