"""Claims about macros over resources: an index changes their cost, never their result."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.cel import (
    EvaluationError,
    IndexedList,
    Later,
    UndecidedError,
    compile_expression,
)
from tests.cel.reference import budget, value_of

KINDS = ("Project", "SpendLimit", "RateLimit")
RESOURCES = [
    {"kind": kind, "project": project, "name": f"{kind}-{number}", "spec": {"amount": number}}
    for number, kind in enumerate(KINDS * 4)
    for project in (None, "search", "support")
]
RESOURCES[5] = {**RESOURCES[5], "spec": {"amount": Later("later")}}
RESOURCES[7] = {**RESOURCES[7], "spec": {}}

SOURCES = [
    'r.exists(i, i.kind == "SpendLimit" && i.project == name)',
    'r.exists(i, i.project == name && i.kind == "SpendLimit" && i.spec.amount > 6)',
    'r.exists(i, "SpendLimit" == i.kind && i.spec.amount < 0)',
    'r.exists(i, i.spec.amount > 100 && i.kind == "RateLimit")',
    'r.filter(i, i.kind == "Project" && i.project == null).size()',
    'r.filter(i, i.kind == "Project").filter(i, i.project == name).map(i, i.name)',
    'r.exists_one(i, i.kind == "RateLimit" && i.project == name && i.spec.amount == 5)',
    'r.all(i, i.kind != "SpendLimit" || i.spec.amount >= 0)',
    'r.all(i, i.kind != "SpendLimit" || i.project != name || i.spec.amount > 3)',
    'r.all(i, i.kind != "RateLimit")',
    'r.all(i, i.project != missing.name || i.kind != "Project")',
    'r.exists(i, i.kind == "Nothing")',
    'r.exists(i, i.kind == "SpendLimit" && i.project == missing.name)',
    'r.exists(i, i.kind == "SpendLimit" && i.project == i.name)',
    'r.exists(i, i.kind == "SpendLimit" && i.kind == "Project")',
    'r.exists(i, i.kind == "SpendLimit" && i.project == 3)',
    'r.all(i, i.kind == "Project")',
    'r.all(i, i.kind == "Project" || i.project == name)',
    'r.exists(i, i.kind != "Project")',
    'r.filter(i, i.kind != "Project" && i.project != name).size()',
    'r.map(i, i.kind == "SpendLimit", i.name).size()',
]


def outcome(source: str, resources: Any, name: str) -> Any:
    try:
        return value_of(source, {"r": resources, "name": name, "missing": {}})
    except (EvaluationError, UndecidedError) as error:
        return type(error)


@pytest.mark.parametrize("name", ["search", "other"])
@pytest.mark.parametrize("source", SOURCES)
def test_an_index_does_not_change_the_result(source: str, name: str) -> None:
    assert outcome(source, IndexedList(RESOURCES), name) == outcome(source, RESOURCES, name)


def test_a_macro_about_one_kind_costs_only_the_resources_of_that_kind() -> None:
    source = 'r.exists(i, i.kind == "SpendLimit" && i.project == "nobody")'
    program = compile_expression(source, {"r": []})
    spent = []
    for number in (10, 10_000):
        limits = budget()
        before = limits.total
        others = [{"kind": "File", "project": None} for _ in range(number)]
        program.evaluate({"r": IndexedList(others)}, limits)
        spent.append(before - limits.total)
    assert spent[0] == spent[1]
