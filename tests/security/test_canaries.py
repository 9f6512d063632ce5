"""No output and no file of a stack's whole life contains a key, except the sinks.

The keys here look like nothing that a pattern would know, and have characters that Markdown escapes.
"""

from __future__ import annotations

import itertools
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.conftest import Inside
from tests.security.platform import manifest

ACME = Path(__file__).parents[2] / "examples" / "acme"
SINKS = "secrets"
FORMATS = ("text", "json", "markdown")
DEPLOYER = "ServiceAccount/support/deployer"
CREDENTIALS = {
    "OPENAI_ADMIN_KEY": "canary_admin_*key*_|_42",
    "OPENAI_API_KEY": "canary_user_*key*_|_42",
}


@pytest.fixture
def minted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The keys that the emulator makes."""
    keys: list[str] = []

    def secret_key() -> str:
        keys.append(f"canary_{len(keys):03}_*of*_|_nothing_known")
        return keys[-1]

    monkeypatch.setattr("reconciler.emulator.ids.secret_key", secret_key)
    return keys


class Life:
    """Runs commands, and keeps all that they say."""

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.said: dict[str, str] = {}
        self._numbers = itertools.count()

    def run(self, *arguments: str, code: int | None = 0) -> None:
        number = next(self._numbers)
        reports = [word for name in FORMATS for word in ("--report", f"r{number}.{name}:{name}")]
        done = self.inside.run(*arguments, *reports, expect=code)
        self.said[f"{number} {' '.join(arguments)}"] = done.out + done.err

    def left(self) -> dict[str, str]:
        """Every file of the stack but the sinks, as text."""
        folder = self.inside.folder
        files = (path for path in folder.rglob("*") if path.is_file())
        return {
            str(path.relative_to(folder)): path.read_bytes().decode("latin-1")
            for path in files
            if not (path.parent.name == SINKS and path.suffix == ".key")
        }


def leaks(life: Life, keys: list[str]) -> list[tuple[str, str]]:
    """Which key is where: the whole of it, or enough of it to tell it from others."""
    texts = {**life.said, **life.left()}
    parts = [part for key in keys for part in (key, key[:12], key.replace("_", "\\_"))]
    return [(where, part) for where, text in texts.items() for part in parts if part in text]


def test_no_key_is_anywhere_but_in_its_sink(inside: Inside, minted: list[str]) -> None:
    shutil.copytree(ACME, inside.folder, dirs_exist_ok=True)
    (inside.folder / "README.md").unlink()  # it names the emulator's own keys
    life, prod = Life(inside), ("-e", "prod")
    life.run("validate", *prod)
    for format in FORMATS:
        life.run("plan", "-vv", "--format", format, *prod)
    life.run("apply", "--yes", "-vv", *prod)
    life.run(
        "apply",
        "--yes",
        "-vv",
        "--log-format",
        "json",
        "--format",
        "json",
        "--replace",
        DEPLOYER,
        *prod,
    )
    life.run("plan", "-vv", "--out", "p.json", "--var", "support_model=gpt-5", *prod)
    for format in FORMATS:
        life.run("show", "p.json", "--format", format)
        life.run("drift", "-vv", "--unmanaged", "--blame", "--format", format, *prod, code=None)
    for format in ("text", "json", "env"):
        life.run("output", "--format", format, *prod)
    for words in (("list",), ("show", DEPLOYER), ("export",)):
        life.run("state", *words, *prod)
    life.run("graph", *prod)
    life.run("plan", "--destroy", "-vv", "--format", "markdown", *prod)
    sinks = [path.read_text().strip() for path in (inside.folder / SINKS).glob("*.key")]
    assert len(minted) > len(sinks) == 3
    assert set(sinks) < set(minted)
    assert leaks(life, [*minted, inside.emulator.admin_key, inside.emulator.api_key]) == []


def test_no_key_is_told_when_its_delivery_fails_or_a_call_is_refused(
    inside: Inside, minted: list[str]
) -> None:
    tells = 'read key; echo "got $key" >&2; echo "$key"; exit 3'
    account = manifest(
        "ServiceAccount/search/ci", f"{{key: {{write_to: {{command: [sh, -c, '{tells}']}}}}}}"
    )
    taken = manifest("ServiceAccount/search/other", "{key: {write_to: {file: taken.txt}}}")
    project = manifest("Project/search", "{name: Search}")
    inside.write({"m.yaml": "---\n".join((project, account, taken)), "taken.txt": "mine"})
    life = Life(inside)
    for format in FORMATS:
        life.run("apply", "--yes", "-vv", "--format", format, code=None)
    inside.variables = CREDENTIALS
    for format in FORMATS:
        life.run("plan", "-vv", "--format", format, code=1)
    assert "got" in "".join(life.said.values())
    assert len(minted) >= 3
    assert leaks(life, [*minted, *CREDENTIALS.values()]) == []


def test_what_describes_an_organization_is_for_its_owner_alone(inside: Inside) -> None:
    shutil.copytree(ACME, inside.folder, dirs_exist_ok=True)
    inside.write({"p.json": "", "r.md": ""})
    for name in ("p.json", "r.md"):
        (inside.folder / name).chmod(0o644)
    before = set(inside.folder.rglob("*"))
    inside.run("plan", "-e", "dev", "--out", "p.json", "--report", "r.md:markdown", expect=0)
    inside.apply("-e", "dev", "--report", "r.json:json")
    made = [
        *(set(inside.folder.rglob("*")) - before),
        inside.folder / "p.json",
        inside.folder / "r.md",
    ]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()}
    del modes[".gitignore"]
    assert {".reconciler", "secrets"} <= {path.name for path in made if path.is_dir()}
    assert {
        "acme.dev.db",
        "p.json",
        "r.md",
        "r.json",
        "support.key",
        ".support.key.reconciler",
    } <= modes.keys()
    assert set(modes.values()) == {0o600}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in made if path.is_dir())
