"""The program that `test_files` runs: a key that replaces another, killed before each call to the disk."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets import SinkSet
from tests.state.killing import kill_at_every_call

ADDRESS = Address.parse("ServiceAccount/search/indexer")
TOKEN = "0" * 32
TARGET = {"file": "secrets/indexer.key"}
base = Path(sys.argv[1])


def put(number: int, key: str) -> None:
    root = base / str(number)
    root.mkdir(exist_ok=True)
    SinkSet(root, Redactor()).put(TARGET, Secret(key), address=ADDRESS, token=TOKEN)


def replace(number: int) -> None:
    put(number, "sk-second")


def check(number: int) -> None:
    """After any death: one whole key, nobody else can read anything, and the next delivery works."""
    folder = base / str(number) / "secrets"
    for path in folder.glob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, (
            f"death {number}: {path} is readable to others"
        )
    key = folder / "indexer.key"
    assert not key.exists() or key.read_text() in ("sk-first\n", "sk-second\n"), (
        f"death {number}: half a key"
    )
    assert key.exists() or not first, f"death {number}: no key at all"
    put(number, "sk-third")
    assert sorted(path.name for path in folder.iterdir()) == [
        ".indexer.key.reconciler",
        "indexer.key",
    ]
    assert key.read_text() == "sk-third\n"


if __name__ == "__main__":
    os.umask(0)
    first = sys.argv[2:] == ["over the first"]
    if first:
        for number in range(200):
            put(number, "sk-first")
    print(kill_at_every_call(replace, check))
