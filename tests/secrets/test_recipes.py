"""The recipes of docs/recipes-for-keys.md, run with programs that read and refuse as the real clients do.

Each fake refuses flags that the client does not have and keys among the arguments, wants its own credential from the
environment, and stores what it was given in a file.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets import SinkSet
from tests.servers.postgres import skip_or_fail

PAGE = Path(__file__).parents[2] / "docs" / "recipes-for-keys.md"
SCRIPTS = dict(re.findall(r"```sh (\S+)\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
INDEXER = Address.parse("ServiceAccount/search/indexer")
OLD, NEW = Secret('sk-svcacct-"old"\\key'), Secret("sk-svcacct-the-new-key")

OP = r"""
import json, os, pathlib, sys
vault = pathlib.Path(os.environ["CLIENT_DATA"])
if "OP_SERVICE_ACCOUNT_TOKEN" not in os.environ:
    sys.exit("[ERROR] You are not currently signed in.")
words = sys.argv[1:]
if words[:2] not in (["item", "get"], ["item", "edit"]) or words[3:5] != ["--vault", "Engineering"]:
    sys.exit(f"[ERROR] unknown command {words}")
file = vault / f"{words[2]}.json"
if not file.exists():
    sys.exit(f'[ERROR] "{words[2]}" isn\'t an item in the "Engineering" vault.')
if words[1] == "get":
    if words[5:] != ["--format", "json"]:
        sys.exit("[ERROR] unknown flag")
    print(file.read_text())
    sys.exit()
if words[5:] or sys.stdin.isatty():
    sys.exit("[ERROR] unknown flag, or no item on standard input")
item = json.loads(sys.stdin.read())
if item["id"] != json.loads(file.read_text())["id"]:
    sys.exit("[ERROR] the item is another one")
file.write_text(json.dumps(item))
print(json.dumps(item))
"""

DOPPLER = r"""
import os, pathlib, sys
if "DOPPLER_TOKEN" not in os.environ:
    sys.exit("Doppler Error: you must provide a token")
words = sys.argv[1:]
if words[:2] != ["secrets", "set"] or "=" in words[2]:
    sys.exit("Doppler Error: unknown command")
flags = words[3:]
for flag in ("--no-interactive", "--silent"):
    flags.remove(flag)
if flags != ["--project", "search", "--config", "prd"]:
    sys.exit(f"Doppler Error: unknown flag {flags}")
value = sys.stdin.read()
if not value:
    sys.exit("Doppler Error: no value on standard input")
pathlib.Path(os.environ["CLIENT_DATA"], words[2]).write_text(value)
"""

SOPS = r"""
import base64, json, os, sys
if "SOPS_AGE_RECIPIENTS" not in os.environ:
    sys.exit("config file not found, or has no creation rules, and no keys provided through command line options")
words = sys.argv[1:]
expected = ["encrypt", "--filename-override", "keys/indexer.json", "--input-type", "binary", "--output-type", "json"]
if words != expected:
    sys.exit(f"Error: wrong arguments {words}")
print(json.dumps({"data": "ENC[" + base64.b64encode(sys.stdin.buffer.read()).decode() + "]", "sops": {}}))
"""

CLIENTS = {
    "op": (OP, "OP_SERVICE_ACCOUNT_TOKEN"),
    "doppler": (DOPPLER, "DOPPLER_TOKEN"),
    "sops": (SOPS, "SOPS_AGE_RECIPIENTS"),
}
COMMANDS = {
    "op": ["deliver/1password.sh", "indexer", "Engineering"],
    "doppler": ["deliver/doppler.sh", "OPENAI_API_KEY", "search", "prd"],
    "sops": ["deliver/sops.sh", "keys/indexer.json"],
}


class Recipe:
    """A stack's folder with the scripts of the page, and one client on PATH."""

    def __init__(self, client: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code, self.variable = CLIENTS[client]
        self.client = client
        self.root = root / "stack"
        self.data = root / "data"
        programs = root / "programs"
        for folder in (self.root / "deliver", self.data, programs):
            folder.mkdir(parents=True)
        for name, script in SCRIPTS.items():
            (self.root / name).write_text(script)
            (self.root / name).chmod(0o755)
        program = programs / client
        program.write_text(f"#!{sys.executable}\n{code}")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        monkeypatch.setenv("CLIENT_DATA", str(self.data))
        monkeypatch.setenv(self.variable, "the-credential-of-the-client")
        self.item = self.data / "indexer.json"
        fields = [{"id": "username", "value": "ci"}, {"id": "credential", "value": ""}]
        self.item.write_text(json.dumps({"id": "abc", "title": "indexer", "fields": fields}))

    def put(self, key: Secret) -> None:
        sinks = SinkSet(self.root, Redactor())
        sinks.check({"command": COMMANDS[self.client]}, address=INDEXER)
        sinks.put({"command": COMMANDS[self.client]}, key, address=INDEXER, token="0" * 32)

    @property
    def held(self) -> str:
        """What the service holds."""
        if self.client == "op":
            fields = json.loads(self.item.read_text())["fields"]
            assert fields[0] == {"id": "username", "value": "ci"}
            return str(fields[1]["value"])
        if self.client == "doppler":
            return (self.data / "OPENAI_API_KEY").read_text()
        data = json.loads((self.root / "keys" / "indexer.json").read_text())["data"]
        return base64.b64decode(data.removeprefix("ENC[").removesuffix("]")).decode()


@pytest.fixture(autouse=True)
def _jq() -> None:
    if shutil.which("jq") is None:
        skip_or_fail("jq is not installed: make servers")


@pytest.fixture(params=CLIENTS)
def recipe(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Recipe:
    return Recipe(request.param, tmp_path, monkeypatch)


def test_a_recipe_stores_exactly_the_key_and_replaces_it(recipe: Recipe) -> None:
    for key in (OLD, OLD, NEW):
        recipe.put(key)
        assert recipe.held == key.reveal()


def test_a_recipe_fails_where_the_client_does(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.put(OLD)
    monkeypatch.delenv(recipe.variable)
    with pytest.raises(SinkError, match="did not accept the key") as caught:
        recipe.put(NEW)
    assert NEW.reveal() not in str(caught.value)
    monkeypatch.setenv(recipe.variable, "again")
    assert recipe.held == OLD.reveal()


def test_an_item_without_the_field_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("op", tmp_path, monkeypatch)
    recipe.item.write_text(json.dumps({"id": "abc", "fields": [{"id": "username"}]}))
    with pytest.raises(SinkError, match="has no field credential"):
        recipe.put(NEW)


def test_every_script_of_the_page_is_tried() -> None:
    assert {words[0] for words in COMMANDS.values()} == SCRIPTS.keys()
