"""Every module, and every name in a module, that ARCHITECTURE.md and CONTRIBUTING.md mention exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASES = (ROOT / "reconciler", ROOT)
MENTION = re.compile(r"`([\w./]+\.py)(?::([A-Za-z_][\w.]*))?`")
MENTIONS = sorted(
    {
        (page, path, name)
        for page in ("ARCHITECTURE.md", "CONTRIBUTING.md")
        for path, name in MENTION.findall((ROOT / page).read_text(encoding="utf-8"))
    }
)


def module(path: str) -> Path | None:
    return next((base / path for base in BASES if (base / path).is_file()), None)


@cache
def names_in(path: Path) -> frozenset[str]:
    """The names that a module defines at its top, and those of its classes as `Class.name`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = set(defined(body))
    for node in body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for name in defined(node.body)}
    return frozenset(names)


def defined(body: list[ast.stmt]) -> list[str]:
    names = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return names


@pytest.mark.parametrize(("page", "path", "name"), MENTIONS)
def test_a_module_and_its_name_exist(page: str, path: str, name: str) -> None:
    file = module(path)
    assert file is not None, f"{page} names {path}"
    assert not name or name in names_in(file), f"{page} names {path}:{name}"


def test_the_walk_names_functions_of_every_phase() -> None:
    named = {
        path.rpartition("/")[0]
        for page, path, name in MENTIONS
        if page == "ARCHITECTURE.md" and name
    }
    assert named >= {
        "engine/refresh",
        "engine/binding",
        "engine/plan",
        "engine/apply",
        "api/objects",
        "state",
    }


def test_no_class_name_stands_for_two_things() -> None:
    homes: dict[str, list[str]] = {}
    for file in sorted((ROOT / "reconciler").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
