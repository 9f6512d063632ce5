"""The results of an apply without ids and times, so that two runs can be compared.

Objects go by what they are called, keys by whose they are. Whatever was made twice, was left over, got lost or still
works although nobody has it, makes a difference.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.emulator.store import ObjectRow, Store
from reconciler.model.job import INPUTS_KEY
from reconciler.model.keys import earlier_keys
from tests.reliability.backends import LOCAL, Backend

_KINDS = (
    "project", "service_account", "api_key", "file", "vector_store", "vector_store_file", "assistant", "agent",
    "batch", "fine_tuning_job", "model", "eval", "eval_run",
)  # fmt: skip
_MOMENTS = (
    "created",
    "created_at",
    "updated_at",
    "added_at",
    "last_active_at",
    "archived_at",
    "expires_at",
)
_CHOSEN_BY_CHANCE = ("redacted_value", "testing_criteria")


@dataclass(frozen=True)
class Aftermath:
    """The objects at the API; the state's bindings; the files of the folder, keys by their owners."""

    objects: Mapping[str, int]
    bindings: Mapping[str, tuple[str, ...]]
    files: Mapping[str, str]

    def differences(self, other: Aftermath) -> list[str]:
        """What is here and not there, or the other way round, in words."""
        pairs = (
            (Counter(self.objects), Counter(other.objects)),
            (Counter(f"{a} is {b}" for a, b in self.bindings.items()), _lines(other.bindings)),
            (Counter(f"{a}: {b}" for a, b in self.files.items()), _lines(other.files, ": ")),
        )
        found = []
        for mine, theirs in pairs:
            found += [f"too much: {line} × {count}" for line, count in (mine - theirs).items()]
            found += [f"missing: {line} × {count}" for line, count in (theirs - mine).items()]
        return found


def _lines(items: Mapping[str, object], middle: str = " is ") -> Counter[str]:
    return Counter(f"{a}{middle}{b}" for a, b in items.items())


def aftermath(store: Store, folder: Path, backend: Backend = LOCAL) -> Aftermath:
    """Look at everything, once nothing runs any more."""
    with backend.open(folder) as state:
        entries = [
            entry for record in state.records().values() for entry in record.delivered.values()
        ]
    # A key that may have reached a reader stays valid until a later plan finds it unused.
    earlier = {str(key["key_id"]) for entry in entries for key in earlier_keys(entry)}
    with store.lock:
        names = {
            record.id: _name(record)
            for kind in _KINDS
            for record in store.all(kind)
            if kind not in ("api_key", "vector_store_file")
        }
        objects = Counter(
            _described(record, names)
            for kind in _KINDS
            for record in store.all(kind)
            if record.id not in earlier
        )
        owners = {
            path.relative_to(folder).as_posix(): _content(path, store, names)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and ".reconciler" not in path.parts
        }
    with backend.open(folder) as state:
        left = [f"{entry.address} ({entry.name})" for entry in state.runs.unfinished()]
        bindings = {
            str(address): (
                "/".join(names.get(part, part) for part in record.id.split("/")),
                *(names.get(id, id) for id in record.deposed),
            )
            for address, record in state.records().items()
        }
    return Aftermath(objects, bindings | {f"unfinished {entry}": () for entry in left}, owners)


def _name(record: ObjectRow) -> str:
    return f"{record.kind} {record.body.get('name') or record.body.get('filename') or ''}".strip()


def _described(record: ObjectRow, names: Mapping[str, str]) -> str:
    if record.kind == "api_key":
        return f"key of {names.get(record.hidden.get('owner', {}).get('id'), 'nobody')}"
    hidden = {name: record.hidden[name] for name in ("limits",) if record.hidden.get(name)}
    if "stopped" in record.hidden:
        hidden["was stopped"] = record.hidden["stopped"] is not None
    if record.kind == "file":
        hidden["content"] = record.hidden["content"].decode()
    body = {
        name: value
        for name, value in record.body.items()
        if name not in (*_MOMENTS, *_CHOSEN_BY_CHANCE)
    }
    if isinstance(noted := body.get("metadata"), dict):
        # The digest of a job's inputs is made of ids too, which chance chose.
        body["metadata"] = {name: value for name, value in noted.items() if name != INPUTS_KEY}
    text = json.dumps(
        [record.kind, names.get(record.scope, record.scope), body, hidden], sort_keys=True
    )
    for id, name in names.items():
        text = text.replace(id, name)
    return text


def _content(path: Path, store: Store, names: Mapping[str, str]) -> str:
    """A file in words; of one that holds keys, whose key the last of them is, and that nobody else can read it."""
    text = path.read_text(encoding="utf-8")
    if path.name.endswith(".reconciler"):
        return oct(stat.S_IMODE(path.stat().st_mode))
    if text.startswith("whsec_"):
        hints = {
            record.body.get("signing_secret_hint")
            for kind in store.counts()
            for record in store.all(kind)
        }
        secret = text.strip()
        return (
            "the secret of a webhook" if f"{secret[:6]}…{secret[-4:]}" in hints else "a dead secret"
        )
    if not text.startswith("sk-"):
        return text
    key = store.key_record(text.split()[-1])
    owner = (
        "a dead key"
        if key is None
        else f"key of {names.get(key.hidden.get('owner', {}).get('id'))}"
    )
    return (
        owner
        if path.name.startswith("vault")
        else f"{owner}, {oct(stat.S_IMODE(path.stat().st_mode))}"
    )
