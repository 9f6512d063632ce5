"""In `api/`, transport imports no objects, and single objects do not import the provider."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

API = Path(__file__).parents[2] / "reconciler" / "api"
TRANSPORT = sorted((API / "transport").glob("*.py"))
OBJECTS = sorted((API / "objects").glob("*.py"))
TOP = {"reader", "writer", "provider", "field_handlers", "scopes"}
"""The modules that put the calls for objects together."""


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def name_of(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", TRANSPORT, ids=name_of)
def test_transport_imports_no_objects(path: Path) -> None:
    assert {name for name in imports(path) if name.startswith("reconciler.api.objects")} == set()


@pytest.mark.parametrize("path", [path for path in OBJECTS if path.stem not in TOP], ids=name_of)
def test_the_parts_do_not_import_their_users(path: Path) -> None:
    assert imports(path) & {f"reconciler.api.objects.{name}" for name in TOP} == set()
