"""Creates many objects directly, without requests, for benchmarks and demos.

Service accounts and members are created in each new project, everything else in the default
project. Usage is created for every project, including the new ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.emulator import indexing, usage, world
from reconciler.emulator.files import make_file
from reconciler.emulator.ids import fresh
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store

COUNTS = (
    "projects",
    "service_accounts_per_project",
    "users_per_project",
    "assistants",
    "vector_stores",
    "files_per_store",
    "files",
    "usage_days",
)


def seed(store: Store, counts: Mapping[str, int]) -> dict[str, list[str]]:
    """Create the given number of objects of each kind, and return the ids of the top-level ones."""
    for name, count in counts.items():
        if name not in COUNTS:
            raise ValueError(f"unknown count {name!r}; it is one of {', '.join(COUNTS)}")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"{name} must be a whole number of at least 0")
    wanted = {name: counts.get(name, 0) for name in COUNTS}
    people = _people(store, wanted["users_per_project"])
    with store.lock:
        made = {
            "projects": [_project(store, n, wanted, people) for n in range(wanted["projects"])],
            "assistants": [_assistant(store, n) for n in range(wanted["assistants"])],
            "vector_stores": [
                _vector_store(store, n, wanted["files_per_store"])
                for n in range(wanted["vector_stores"])
            ],
            "files": [_file(store, f"file-{n:04}.md") for n in range(wanted["files"])],
        }
        usage.make(store, wanted["usage_days"])
        store.commit()
    return {name: [record.id for record in records] for name, records in made.items()}


def _people(store: Store, count: int) -> list[ObjectRow]:
    present = store.collection("user", ORGANIZATION).ordered()
    missing = count - len(present)
    for number in range(missing):
        world.add_person(store, number)
    return list(store.collection("user", ORGANIZATION).ordered()[:count])


def _project(
    store: Store, number: int, wanted: dict[str, int], people: list[ObjectRow]
) -> ObjectRow:
    project = world.add_project(store, f"project-{number:04}")
    for index in range(wanted["service_accounts_per_project"]):
        world.add_service_account(store, project, f"service-account-{index:04}", "member")
    for user in people:
        world.add_member(store, project, user, "member")
    return project


def _assistant(store: Store, number: int) -> ObjectRow:
    body = {
        "id": fresh("assistant"),
        "object": "assistant",
        "created_at": store.now(),
        "name": f"assistant-{number:04}",
        "description": None,
        "model": "gpt-4.1",
        "instructions": f"You are assistant {number}.",
        "tools": [],
        "top_p": None,
        "temperature": None,
        "reasoning_effort": None,
        "tool_resources": {},
        "metadata": {},
        "response_format": None,
    }
    return store.add("assistant", world.DEFAULT_PROJECT, body)


def _vector_store(store: Store, number: int, files: int) -> ObjectRow:
    vector_store = indexing.make_store(store, world.DEFAULT_PROJECT, {"name": f"store-{number:04}"})
    for index in range(files):
        file = _file(store, f"store-{number:04}-file-{index:04}.md")
        indexing.attach(store, EmulatorOptions(), vector_store, file)
    return vector_store


def _file(store: Store, filename: str) -> ObjectRow:
    content = f"# {filename}\n".encode()
    return make_file(
        store, world.DEFAULT_PROJECT, filename=filename, purpose="assistants", content=content
    )
