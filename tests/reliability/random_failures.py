"""Random stories of failures of a stack, and the invariants after each.

A story is a list of acts: the manifests are edited, somebody changes or deletes objects at the API, applies die or are
caught in bad weather, two run side by side, the state is lost. After it the weather clears, and whoever runs the
stack applies a few times more. What is there then is compared with what is declared, object by object.
"""

from __future__ import annotations

import difflib
import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.emulator import Emulator
from reconciler.emulator.store import ObjectRow
from reconciler.state import StateStore
from tests.reliability.processes import Ended, Mortals
from tests.reliability.scenarios import STACK_WITH_LEGACY, document

Act = tuple[Any, ...]
"""The name of an act and what it is given; see `Story`."""


@dataclass(frozen=True)
class Slot:
    """A resource that can be declared, in one of several ways; only the first does without other resources."""

    kind: str
    name: str
    ways: tuple[str, ...]
    project: str = ""
    lifecycle: str = ""

    @property
    def address(self) -> str:
        return "/".join(part for part in (self.kind, self.project, self.name) if part)


_KEY = ", key: {{write_to: {{file: secrets/{0}.key}}}}"
_SEARCH = ", tools: [{{type: file_search}}], tool_resources: {{file_search: {{vector_store_ids: ['${{{0}}}']}}}}"

SLOTS = (
    Slot("Project", "main", ("name: main",), lifecycle="on_remove: delete"),
    Slot("Project", "spare", ("name: spare",), lifecycle="on_remove: delete"),
    Slot("Project", "kept", ("name: kept",), lifecycle="on_remove: delete, prevent_destroy: true"),
    Slot(
        "RateLimit",
        "limit",
        tuple(f"model: gpt-4.1, max_requests_per_1_minute: {most}" for most in (5, 50)),
        project="main",
    ),
    Slot("RateLimit", "limit", ("model: gpt-4o, max_requests_per_1_minute: 7",), project="spare"),
    Slot("SpendLimit", "most", ("threshold_amount: 500", "threshold_amount: 900"), project="main"),
    Slot(
        "ServiceAccount",
        "ci",
        ("role: member" + _KEY.format("ci"), "role: owner" + _KEY.format("moved"), "role: member"),
        project="main",
    ),
    Slot(
        "ServiceAccount",
        "bot",
        ("role: member", "role: member" + _KEY.format("bot")),
        project="legacy",
    ),
    Slot("ServiceAccount", "spare", ("role: owner" + _KEY.format("spare"),), project="spare"),
    Slot("Group", "team", ("name: team",)),
    Slot("File", "shared", ("path: docs/a.md, purpose: assistants",)),
    Slot("File", "own", ("path: data/own.txt, purpose: assistants",)),
    Slot(
        "VectorStore",
        "handbook",
        (
            "name: handbook, files: [{path: 'docs/*.md'}]",
            "name: handbook, metadata: {team: cx}, files: [{path: docs/a.md, attributes: {team: cx}}]",
            "name: handbook, files: [{path: docs/b.md}, {file_id: '${File/shared}'}]",
        ),
    ),
    Slot(
        "VectorStore",
        "second",
        (
            "name: second, files: []",
            "name: second, files: [{path: 'docs/*.md'}]",
            "name: second, files: [{file_id: '${File/own}'}]",
        ),
        lifecycle="create_before_destroy: true",
    ),
    Slot(
        "Assistant",
        "helper",
        (
            "name: helper, model: gpt-4.1, instructions: One",
            "name: helper, model: gpt-4.1, instructions: Two, metadata: {team: cx}",
            "name: helper, model: gpt-4.1, instructions: One"
            + _SEARCH.format("VectorStore/handbook"),
        ),
    ),
    Slot("Assistant", "other", ("name: other, model: gpt-4.1",)),
    Slot(
        "Agent",
        "agent",
        ("name: agent, model: gpt-5.1", "name: agent, model: gpt-5.1, instructions: Two"),
    ),
)
ALWAYS = "Assistant/other"
PATHS = ("docs/a.md", "docs/b.md", "docs/c.md", "data/own.txt")
OPTIONAL_PATH = "docs/c.md"

KINDS = (
    "project",
    "service_account",
    "group",
    "file",
    "vector_store",
    "vector_store_file",
    "assistant",
    "agent",
)
UNMARKED = ("project", "service_account", "group", "file")
"""What a lost state cannot tell from what is somebody else's, once no manifest declares it."""

_LIVE_KIND = {
    "Project": "project",
    "ServiceAccount": "service_account",
    "Group": "group",
    "VectorStore": "vector_store",
    "Assistant": "assistant",
    "Agent": "agent",
}
_URLS = {
    "project": "/organization/projects/{id}",
    "service_account": "/organization/projects/{scope}/service_accounts/{id}",
    "group": "/organization/groups/{id}",
    "rate_limit": "/organization/projects/{scope}/rate_limits/{id}",
    "file": "/files/{id}",
    "vector_store": "/vector_stores/{id}",
    "vector_store_file": "/vector_stores/{scope}/files/{id}",
    "assistant": "/assistants/{id}",
    "agent": "/agents/{id}",
}
_EDITS: dict[str, dict[str, Any]] = {
    "rate_limit": {"max_requests_per_1_minute": 3},
    "service_account": {"role": "owner"},
    "vector_store": {"name": "edited", "expires_after": {"anchor": "last_active_at", "days": 3}},
    "assistant": {"name": "edited", "instructions": "Edited"},
    "agent": {"name": "edited", "instructions": "Edited"},
}
_ALLOW = re.compile(r"--allow-delete ([A-Z]\w+/[\w/-]+)")
_ALIKE = re.compile(r"((?:file-\w+, )+file-\w+) have the same .*? reconciler import (\S+) ID")
_KEY_TEXT = re.compile(r"sk-[\w-]{8,}")
KNOWN_CODES = (0, 1, 2, 10, 11, 12, 13)


@dataclass
class Story:
    """A stack, what is declared in it, and the acts that can happen to it: each method named `act_…`."""

    emulator: Emulator
    mortals: Sequence[Mortals]
    folder: Path
    declared: dict[str, int] = field(default_factory=dict)
    contents: dict[str, int] = field(
        default_factory=lambda: {path: 0 for path in PATHS if path != OPTIONAL_PATH}
    )
    order: int = 0
    edits: int = 0
    state_was_lost: bool = False
    left: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.emulator.clear_faults()
        self.emulator.reset()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        # What is somebody else's, and must come through all of it as it is.
        legacy = f"/organization/projects/{self.emulator.project_id}/service_accounts"
        self.send("POST", "/organization/projects", json={"name": "theirs"})
        self.send("POST", legacy, json={"name": "theirs"})
        self.send("POST", "/vector_stores", json={"name": "theirs"})
        self.send("POST", "/assistants", json={"name": "theirs", "model": "gpt-4.1"})
        self.send(
            "POST",
            "/files",
            data={"purpose": "assistants"},
            files={"file": ("theirs.txt", b"theirs")},
        )
        self.before = self.live()

    # --- acts

    def act_edit(self, *changes: tuple[int, int]) -> None:
        """Declare slots in a way, or not at all."""
        for slot, way in changes:
            address, ways = SLOTS[slot].address, len(SLOTS[slot].ways)
            if way < ways:
                self.declared[address] = way
            else:
                self.declared.pop(address, None)
        self.declared[ALWAYS] = 0  # a stack without manifests is an error of its own

    def act_write(self, path: str) -> None:
        """Give a file a content that it never had; the optional one appears and disappears."""
        self.edits += 1
        if path == OPTIONAL_PATH and path in self.contents:
            del self.contents[path]
        else:
            self.contents[path] = self.edits

    def act_shuffle(self, order: int) -> None:
        """Move the documents about, between files and within them."""
        self.order = order

    def act_meddle(self, number: int, delete: bool) -> None:
        """Somebody edits or deletes an object of ours."""
        with self.emulator.store.lock:
            theirs = set(self.before)
            names = (*KINDS, "rate_limit") if not delete else KINDS
            ours = [
                item for kind in names for item in self.emulator.store.all(kind) if _is_live(item)
            ]
            ours = [
                item
                for item in ours
                if item.kind == "rate_limit" or self._named(item) not in theirs
            ]
            ours = [item for item in ours if delete or item.kind in _EDITS]
        if not ours:
            return
        item = ours[number % len(ours)]
        url = _URLS[item.kind].format(id=item.id, scope=item.scope)
        if item.kind == "vector_store" and delete:
            # Whoever deletes a store by hand leaves its files, and there is no store any more to look for them in.
            with self.emulator.store.lock:
                held = self.emulator.store.collection("vector_store_file", item.id).ordered()
                self.left |= {f"file {self._named(one).split()[1]}" for one in held}
        if not delete:
            self.send("POST", url, json=_EDITS[item.kind])
        elif item.kind == "project":
            self.send("POST", url + "/archive")
        else:
            self.send("DELETE", url)

    def act_apply(self, *flags: str) -> None:
        self.run("apply", "--yes", *flags)

    def act_die(self, fatal: int) -> None:
        """An apply is killed at a boundary, if it gets that far."""
        self.run("apply", "--yes", "--adopt", fatal=fatal)

    def act_weather(self, *faults: str) -> None:
        """An apply in bad weather, which is over with it."""
        for fault in faults:
            self.emulator.add_fault(fault)
        self.run("apply", "--yes", "--adopt")
        self.emulator.clear_faults()

    def act_lose_state(self) -> None:
        self.state_was_lost = True
        shutil.rmtree(self.folder / ".reconciler", ignore_errors=True)

    def act_race(self) -> None:
        """Two applies side by side."""
        self.write()
        with ThreadPoolExecutor() as pool:
            both = list(
                pool.map(lambda one: self._run(one, ("apply", "--yes", "--adopt")), self.mortals)
            )
        for ended in both:
            self.note("apply (one of two)", ended)

    # --- the end

    def tell(self, acts: Sequence[Act]) -> list[str]:
        """Live through the acts and bring it to an end; what is wrong then."""
        self.live_through(acts)
        self.order_does_not_matter()
        self.settle()
        return [*self.wrong, *self.wrong_objects(), *self.wrong_keys(), *self.wrong_state()]

    def live_through(self, acts: Sequence[Act]) -> None:
        for name, *given in acts:
            getattr(self, f"act_{name}")(*given)
            self.commands.append(f"{name} {given}")

    def settle(self) -> None:
        """Apply as anybody would: at most three times, allowing what a guard asks to be allowed."""
        allowed: dict[str, None] = {}
        for _ in range(3):
            flags = [word for address in allowed for word in ("--allow-delete", address)]
            ended = self.run("apply", "--yes", "--adopt", *flags)
            if ended.code == 0:
                break
            allowed |= dict.fromkeys(_ALLOW.findall(ended.err))
            self.say_which(ended)
        else:
            self.wrong.append(f"three applies did not do: {ended}")
        ended = self.run("plan", "--detailed-exitcode")
        if ended.code != 0:
            self.wrong.append(f"the next plan is not empty: {ended}")

    def say_which(self, refused: Ended) -> None:
        """Where a file is as good as another without the state, say which one it is, as the refusal asks to."""
        for ids, address in _ALIKE.findall(refused.err) if self.state_was_lost else ():
            free = [id for id in ids.split(", ") if not self.emulator.store.holders(id)]
            self.run("import", address, free[0] if free else ids.split(", ")[0])

    def order_does_not_matter(self) -> None:
        """The plan is the same however the documents lie in files."""
        plans = []
        for order in (self.order, self.order + 1):
            self.order = order
            plans.append(self.run("plan", "--adopt", "--format", "json"))
        first, second = (_plan_value(ended) for ended in plans)
        if first != second:
            self.wrong.append(
                f"another order of documents makes another plan: {_differing(first, second)}"
            )

    def import_everything(self) -> list[str]:
        """Bind every object by hand in an empty state; what the next plan would change but for marks."""
        with self._state() as state:
            ids = {str(address): record.id for address, record in state.records().items()}
        shutil.rmtree(self.folder / ".reconciler")
        for address in sorted(ids, key=lambda one: not one.startswith("Project")):
            ended = self.run("import", address, ids[address])
            if ended.code != 0:
                self.wrong.append(f"{address} cannot be imported: {ended}")
        ended = self.run("plan", "--detailed-exitcode")
        return (
            self.wrong
            if ended.code == 0
            else [*self.wrong, f"imported, and yet different: {ended}"]
        )

    def wrong_objects(self) -> Iterator[str]:
        """Live objects against what is declared and what was there before."""
        live, expected = self.live(), self.before + self.expected()
        for name, count in (expected - live).items():
            yield f"missing: {name} × {count}"
        for name, count in (live - expected).items():
            if name not in self.left and not (self.state_was_lost and _may_be_left(name, expected)):
                yield f"too much: {name} × {count}"
        with self.emulator.store.lock:
            marks = Counter(
                item.body["metadata"]["reconciler"]
                for kind in KINDS
                for item in self.emulator.store.all(kind)
                if "reconciler" in (item.body.get("metadata") or {})
            )
        yield from (f"{count} objects carry {mark}" for mark, count in marks.items() if count > 1)

    def wrong_keys(self) -> Iterator[str]:
        """Key files hold keys that work, of the account that asked for them."""
        for slot, spec in self.present():
            for path in re.findall(r"file: (secrets/\S+\.key)", spec):
                text = (self.folder / path).read_text() if (self.folder / path).exists() else ""
                key = self.emulator.store.key_record(text.strip())
                owner = key and self.emulator.store.get(
                    "service_account", key.scope, key.hidden["owner"]["id"]
                )
                if owner is None or owner.body["name"] != slot.name:
                    yield f"{path} holds no key of {slot.address} that works: {owner}"

    def wrong_state(self) -> Iterator[str]:
        with self._state() as state:
            yield from (
                f"unfinished: {entry.address} ({entry.name})" for entry in state.runs.unfinished()
            )
            bound = {str(address) for address in state.records()}
        declared = {slot.address for slot, _ in self.present()}
        if bound != declared:
            yield f"the state knows {sorted(bound)} and not {sorted(declared)}"

    # --- what is there and what should be

    def present(self) -> Iterator[tuple[Slot, str]]:
        """What is declared, each with its spec: nothing in an absent project, no dangling references."""
        for slot in SLOTS:
            way = self.declared.get(slot.address)
            if way is None or (
                slot.project in ("main", "spare") and f"Project/{slot.project}" not in self.declared
            ):
                continue
            spec = slot.ways[way]
            whole = all(needed in self.declared for needed in re.findall(r"\$\{(.+?)\}", spec))
            yield slot, spec if whole else slot.ways[0]

    def expected(self) -> Counter[str]:
        """What the declarations ask for, named as in `live`."""
        found: Counter[str] = Counter()
        for slot, spec in self.present():
            if slot.kind in _LIVE_KIND:
                found[f"{_LIVE_KIND[slot.kind]} {slot.name}"] += 1
            for pattern in re.findall(r"path: '?([^'},]+)", spec):
                for path in self.folder.glob(pattern):
                    found[f"file {path.name}"] += 1
                    if slot.kind == "VectorStore":
                        found[f"vector_store_file {path.name} in {slot.name}"] += 1
            for needed in re.findall(r"file_id: '\$\{(.+?)\}", spec):
                name = "a.md" if needed == "File/shared" else "own.txt"
                found[f"vector_store_file {name} in {slot.name}"] += 1
        return found

    def live(self) -> Counter[str]:
        """What exists, by kind and name."""
        with self.emulator.store.lock:
            return Counter(
                self._named(item)
                for kind in KINDS
                for item in self.emulator.store.all(kind)
                if _is_live(item)
            )

    def _named(self, item: ObjectRow) -> str:
        if item.kind == "vector_store_file":
            file = next((one for one in self.emulator.store.all("file") if one.id == item.id), None)
            store = next(
                one for one in self.emulator.store.all("vector_store") if one.id == item.scope
            )
            return f"{item.kind} {file and file.body['filename']} in {store.body['name']}"
        return f"{item.kind} {item.body.get('name') or item.body.get('filename') or ''}"

    # --- running

    def send(self, method: str, url: str, **more: Any) -> None:
        key = self.emulator.admin_key if url.startswith("/organization") else self.emulator.api_key
        headers = {"OpenAI-Beta": "assistants=v2,agents=v1", "Authorization": f"Bearer {key}"}
        httpx.request(
            method, self.emulator.base_url + url, headers=headers, **more
        ).raise_for_status()

    def write(self) -> None:
        """Write the manifests as they are declared now, in the present order."""
        chance = random.Random(self.order)
        texts = [
            document(slot.kind, slot.name, spec, project=slot.project, lifecycle=slot.lifecycle)
            for slot, spec in self.present()
        ]
        chance.shuffle(texts)
        cut = chance.randint(0, len(texts))
        files = {"reconciler.yaml": STACK_WITH_LEGACY, "m/z.yaml": "---\n".join(texts[:cut])}
        files |= {"m/a/b.yaml": "---\n".join(texts[cut:])}
        files |= {path: "x" * (20 + number) for path, number in self.contents.items()}
        (self.folder / OPTIONAL_PATH).unlink(missing_ok=True)
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)

    def run(self, *arguments: str, **more: Any) -> Ended:
        self.write()
        ended = self._run(self.mortals[0], arguments, **more)
        self.note(" ".join(arguments), ended)
        return ended

    def _run(self, mortals: Mortals, arguments: Sequence[str], **more: Any) -> Ended:
        return mortals.run(
            arguments,
            folder=self.folder,
            variables={
                "OPENAI_BASE_URL": self.emulator.base_url,
                "OPENAI_ADMIN_KEY": self.emulator.admin_key,
                "OPENAI_API_KEY": self.emulator.api_key,
                "RECONCILER_SETTLE_SECONDS": "0.05",
            },
            whole_bytes=2000,
            **({"watched": False} if "fatal" not in more else more),
        )

    def note(self, command: str, ended: Ended) -> None:
        """Look at what every command must leave: a known exit code, and no secret anywhere."""
        self.commands.append(f"  {command}: {ended.code} {ended.passed[-1:] if ended.died else ''}")
        if (not ended.died and ended.code not in KNOWN_CODES) or "Traceback" in ended.err:
            self.wrong.append(f"{command} ended badly: {ended}")
        written = [
            path.read_bytes().decode("latin-1") for path in self.folder.glob(".reconciler/*")
        ]
        if any(_KEY_TEXT.search(text) for text in (ended.out, ended.err, *written)):
            self.wrong.append(f"{command} gave a key away: {ended}")

    def _state(self) -> StateStore:
        return StateStore.open_for_reading(
            self.folder / ".reconciler", stack="shop", environment="default"
        )


def _is_live(item: ObjectRow) -> bool:
    return item.body.get("status") != "archived"


def _differing(first: Any, second: Any) -> str:
    texts = (json.dumps(value, indent=1, sort_keys=True).splitlines() for value in (first, second))
    return "\n".join(difflib.unified_diff(*texts, n=1, lineterm=""))


def _may_be_left(name: str, expected: Counter[str]) -> bool:
    kind = name.partition(" ")[0]
    return kind == "file" or (kind in UNMARKED and name not in expected)


def _plan_value(ended: Ended) -> Any:
    """A plan without what may differ between two of the same."""
    if ended.code not in (0, 2):
        return ended.code, sorted(re.findall(r"[A-Z]\w+/[\w/-]+", ended.err))
    return ended.code, json.loads(ended.out, object_hook=_without_chance)


def _without_chance(item: dict[str, Any]) -> dict[str, Any]:
    """Without where a document lies, and when and how fast the plan was made."""
    chance = ("source", "config_digest", "timestamp", "began_at", "seconds", "summary")
    return {name: value for name, value in item.items() if name not in chance}
