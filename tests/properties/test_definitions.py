"""Assistants and stores as people really write them: applied with the real command line, they leave nothing to plan."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.model.resource import MARK_KEY
from tests.conftest import Workspace

DEFINITIONS = Path(__file__).parent / "definitions"
NAMES = sorted(path.name for path in DEFINITIONS.iterdir())
LONG = 50_000

STACK = """\
kind: Stack
metadata: {name: shop}
spec:
  manifests: [manifests/]
  projects: {search: proj_EmulatorDefaultProject00}
"""
AROUND = """\
kind: File
metadata: {name: sales, project: search}
spec: {path: data/sales.csv, purpose: assistants}
---
kind: File
metadata: {name: notes, project: search}
spec: {path: data/notes.txt, purpose: assistants}
---
kind: VectorStore
metadata: {name: handbook, project: search}
spec:
  name: "Handbook: everything"
  description: What new people read first.
  expires_after: {anchor: last_active_at, days: 30}
  files:
    - path: handbook/**/*.md
      attributes: {team: cx, year: 2026, public: true, weight: 0.5}
      chunking_strategy: {type: static, static: {max_chunk_size_tokens: 400, chunk_overlap_tokens: 100}}
    - {path: handbook/extra.txt, chunking_strategy: {type: auto}}
  metadata: {team: cx, empty: ""}
---
kind: VectorStore
metadata: {name: bare, project: search}
spec: {}
---
kind: VectorStore
metadata: {name: uploaded, project: search}
spec: {name: null, expires_after: null, metadata: null, files: [{file_id: "${File/search/notes}"}]}
"""


def manifest(path: Path) -> str:
    """A definition as a manifest, its own text kept."""
    metadata = {"name": path.stem, "project": "search"}
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        spec = {**json.loads(text), **extremes(path.stem)}
        return json.dumps({"kind": "Assistant", "metadata": metadata, "spec": spec}, indent=1)
    if path.stem == "long-instructions":
        _, _, prompt = text.partition("instructions: |\n")
        text += prompt * (LONG // len(prompt))
    return (
        f"kind: Assistant\nmetadata: {json.dumps(metadata)}\nspec:\n{textwrap.indent(text, '  ')}"
    )


def extremes(name: str) -> dict[str, Any]:
    """Values that would only be long to read in a file."""
    if name != "limits":
        return {}
    return {
        "name": "n" * 256,
        "description": "ü" * 512,
        "instructions": "長い指示。\n" * 40_000,
        "metadata": {f"{'k' * 60}{number:04}": "v" * 512 for number in range(15)},
        "tools": [
            {"type": "function", "function": {"name": f"{'f' * 61}{number:03}", "parameters": {}}}
            for number in range(126)
        ]
        + [{"type": "code_interpreter"}, {"type": "file_search"}],
    }


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """One project with everything in it."""
    files = {
        "reconciler.yaml": STACK,
        "manifests/around.yaml": AROUND,
        "data/notes.txt": "Prices rise in May.\n",
        "data/sales.csv": "month;amount\n01;3,50\n",
        "handbook/a.md": "# A\n",
        "handbook/ünï/日本.md": "# B\n",
        "handbook/extra.txt": "more\n",
    }
    for name, text in files.items():
        path = workspace.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    for name in NAMES:
        (workspace.folder / "manifests" / name).write_bytes(manifest(DEFINITIONS / name).encode())
    return workspace


def test_real_definitions_are_applied_once_and_for_all(shop: Workspace) -> None:
    shop.apply()
    assert shop.plan().code == 0
    shop.emulator.clear_requests()
    shop.apply()
    assert {request.method for request in shop.emulator.requests} == {"GET"}


def test_real_definitions_are_found_again_without_a_state(shop: Workspace) -> None:
    shop.apply()
    for path in (shop.folder / ".reconciler").iterdir():
        path.unlink()
    plan = json.loads(shop.run("plan", "--adopt", "--format", "json", expect=0).out)
    actions = {item["address"]: item["change"]["actions"] for item in plan["resource_changes"]}
    assert {address: found for address, found in actions.items() if found != ["no-op"]} == {}


def test_what_the_api_shows_is_what_was_written(shop: Workspace) -> None:
    shop.apply()
    shown = shop.emulator.store.collection("assistant", shop.emulator.project_id).ordered()
    bodies = {record.body["metadata"][MARK_KEY].rpartition("/")[2]: record.body for record in shown}
    assert {name: words(body) for name, body in bodies.items()} == {
        path.stem: words(definition(path)) for path in DEFINITIONS.iterdir()
    }


def definition(path: Path) -> dict[str, Any]:
    """What a definition says, as other parsers read it."""
    text = path.read_text("utf-8").replace("$${", "${")
    return {
        **(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)),
        **extremes(path.stem),
    }


def words(body: dict[str, Any]) -> list[Any]:
    """The texts of an assistant as far as they are in its file, and its functions."""
    texts = [
        body.get("name"),
        body.get("description"),
        body["model"],
        (body.get("instructions") or "")[:200],
    ]
    return [*texts, functions(body.get("tools") or [])]


def functions(tools: list[dict[str, Any]]) -> str:
    """The functions among tools and their parameters, as text, since 1 equals True in Python."""
    found = [tool["function"] for tool in tools if tool["type"] == "function"]
    empty = {"type": "object", "properties": {}}
    return json.dumps(
        [(one["name"], one.get("parameters") or empty) for one in found], sort_keys=True
    )


def test_there_is_a_definition_for_each_way_of_writing_one() -> None:
    assert len(NAMES) >= 12
