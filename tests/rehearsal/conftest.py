"""An organization with an object of every kind, its recording, and a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.recorder import RequestRecord
from reconciler.kinds import KINDS
from reconciler.rehearsal.recording import Recording, as_organization, load
from tests.conftest import Workspace
from tests.whole_examples import FILES, PROJECT, make_a_persons_key, whole_example

ADMIN_KEY, PROJECT_KEY = "sk-admin-of-the-copy", "sk-of-the-copy-of-the-project"
BETA = "assistants=v2, agents=v1"


@dataclass(frozen=True)
class Copied:
    """An organization that was recorded, what its reading asked, and the copy."""

    original: Emulator
    copy: Emulator
    recording: Recording
    text: str
    """The file of the recording."""
    reads: tuple[RequestRecord, ...]
    report: dict[str, Any]
    """What the emulator says about the copy."""

    def read_copy(self, read: RequestRecord) -> httpx.Response:
        """The answer of the copy to a request that the original got."""
        return ask(self.copy, read)


def ask(emulator: Emulator, read: RequestRecord) -> httpx.Response:
    """The answer of a copy to a GET request."""
    key = ADMIN_KEY if read.key_class == "admin" else PROJECT_KEY
    headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": BETA}
    return httpx.get(f"{emulator.base_url}{read.path}", params=read.query, headers=headers)


def load_copy(copy: Emulator, recording: Recording) -> dict[str, Any]:
    """Load a recording into an emulator; what that says."""
    home = recording.keys.default.project_id if recording.keys.default else ""
    keys = [{"value": ADMIN_KEY, "project": ""}, {"value": PROJECT_KEY, "project": home}]
    return copy.load(as_organization(recording, keys))


def all_examples() -> str:
    """The examples of all kinds as one manifest."""
    documents: dict[str, None] = {}
    for kind in KINDS.values():
        for text in whole_example(kind).split("---\n"):
            document = f"{text.strip()}\n"
            if document.startswith("kind: Project\n"):
                document = PROJECT
            if document.startswith("kind: AdminKey\n"):
                document = document.replace("nightly.key", "nightly-admin.key")
            documents[document] = None
    return "---\n".join(documents)


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    """An object of each kind, with a field that the emulator does not know, and its copy."""
    folder = tmp_path_factory.mktemp("kinds")
    with Emulator() as original, Emulator() as copy:
        make_a_persons_key(original)
        workspace = Workspace(folder, original)
        workspace.write({"manifests.yaml": all_examples(), **FILES}).apply()
        with original.store.lock:
            for sort in original.store.counts():
                for record in original.store.all(sort):
                    record.body["from_the_future"] = {"of": sort}
        original.clear_requests()
        workspace.run("rehearse", "--record", "organization.json", expect=0)
        reads = tuple(original.requests)
        text = (folder / "organization.json").read_text(encoding="utf-8")
        recording = load(text, name="organization.json")
        report = load_copy(copy, recording)
        yield Copied(original, copy, recording, text, reads, report)


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    """A folder with a project that was applied."""
    return workspace.write({"manifests.yaml": PROJECT})


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
