"""The workloads: configurations of a known size, as files that a person would write.

The reference organization is the one that the promises are made for.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.bench.stage import PROJECT_ID

Files = Mapping[str, str]

STACK = f"""\
kind: Stack
metadata: {{name: bench}}
spec:
  manifests: [manifests/]
  projects: {{main: {PROJECT_ID}}}
"""
_DOCUMENTS_IN_A_FILE = 100
_PEOPLE = ("ada", "ben", "cleo", "dev", "eli")
"""Whom the emulator's organization begins with: people cannot be created, only invited."""


def assistants(count: int) -> Files:
    """So many assistants, each a document as people write them."""
    return {
        "reconciler.yaml": STACK,
        **_in_files("assistants", [_assistant(number) for number in range(count)]),
    }


def reference_organization(
    *,
    users: int = 5,
    projects: int = 50,
    accounts: int = 3,
    limits: int = 20,
    assistants: int = 200,
    stores: int = 50,
    files: int = 100,
) -> Files:
    """By default 5 users, 50 projects of 3 service accounts, 20 rate limits, 200 assistants, 50 stores of 100 files."""
    names = [f"team-{number:02}" for number in range(projects)]
    found: dict[str, str] = {"reconciler.yaml": STACK}
    found |= _in_files("users", [_user(name) for name in _PEOPLE[:users]])
    found |= _in_files("projects", [_project(name) for name in names])
    found |= _in_files(
        "accounts", [_account(name, number) for name in names for number in range(accounts)]
    )
    found |= _in_files("limits", [_limit(name) for name in names[:limits]])
    found |= _in_files("assistants", [_assistant(number) for number in range(assistants)])
    found |= _in_files("stores", [_store(f"store-{number:02}") for number in range(stores)])
    for store in range(stores):
        found |= folder(f"store-{store:02}", files)
    return found


def one_more_project() -> str:
    """A project that the reference organization lacks, as a manifest."""
    return _project("one-more")


def folder_sync(count: int) -> Files:
    """One store that is kept in step with a folder of so many small files."""
    manifest = _in_files("stores", [_store("handbook")])
    return {"reconciler.yaml": STACK, **manifest, **folder("handbook", count)}


def folder(name: str, count: int, *, edition: int = 1) -> Files:
    """Small files; another `edition` of them has other bytes."""
    return {
        f"{name}/{number // 1000:02}/page-{number:05}.md": f"# Page {number} of {name}\n\nEdition {edition}.\n"
        for number in range(count)
    }


def _in_files(name: str, documents: list[str]) -> Files:
    parts = range(0, len(documents), _DOCUMENTS_IN_A_FILE)
    return {
        f"manifests/{name}-{start // _DOCUMENTS_IN_A_FILE:03}.yaml": "---\n".join(
            documents[start : start + _DOCUMENTS_IN_A_FILE]
        )
        for start in parts
    }


def _assistant(number: int) -> str:
    return f"""\
kind: Assistant
metadata:
  name: assistant-{number:05}
  project: main
spec:
  name: Assistant {number}
  model: gpt-4.1
  description: Answers questions of department {number % 40}
  instructions: |
    You are the assistant of department {number % 40}, number {number}.
    Answer briefly, and say so when you do not know.
  temperature: 0.5
  tools:
    - type: file_search
  metadata:
    team: team-{number % 40}
"""


def _user(name: str) -> str:
    return f"kind: User\nmetadata: {{name: {name}}}\nspec:\n  email: {name}@example.com\n"


def _project(name: str) -> str:
    return f"kind: Project\nmetadata: {{name: {name}}}\nspec:\n  name: {name}\n"


def _account(project: str, number: int) -> str:
    return f"""\
kind: ServiceAccount
metadata:
  name: account-{number}
  project: {project}
spec:
  role: member
  key: {{write_to: {{file: secrets/{project}-{number}.key}}}}
"""


def _limit(project: str) -> str:
    return f"""\
kind: RateLimit
metadata:
  name: gpt-4.1
  project: {project}
spec:
  model: gpt-4.1
  max_requests_per_1_minute: 500
  max_tokens_per_1_minute: 200000
"""


def _store(name: str) -> str:
    return f"""\
kind: VectorStore
metadata:
  name: {name}
  project: main
spec:
  name: {name}
  files:
    - path: {name}/**/*.md
"""
