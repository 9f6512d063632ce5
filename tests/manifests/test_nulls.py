"""A null that an answer of the API contains for a value that was never sent equals an omitted field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.kinds import KINDS
from reconciler.kinds.parts import RANKING
from reconciler.manifests.nulls import may_be_null
from tests.manifests.conftest import Folder


def spec_of(folder: Folder, kind: str, spec: dict[str, Any]) -> Any:
    document = {"kind": kind, "metadata": {"name": "x"}, "spec": spec}
    folder.write({"m.json": json.dumps(document)})
    return folder.spec(f"{kind}/x")


SEARCH = {"ranker": "default_2024_08_21", "score_threshold": 0.0, "hybrid_search": None}
TOOL = {"type": "file_search", "file_search": {"max_num_results": None, "ranking_options": SEARCH}}


def test_a_key_that_is_read_back_as_null_is_left_out(folder: Folder) -> None:
    spec = spec_of(folder, "Assistant", {"model": "gpt-4o", "tools": [TOOL]})
    assert spec["tools"][0]["file_search"] == {
        "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}
    }


@pytest.mark.parametrize(
    ("kind", "spec", "name"),
    [
        ("VectorStore", {"name": "a", "description": None}, "description"),
        (
            "FineTuningJob",
            {"model": "m", "training_file": "file-1", "validation_file": None},
            "validation_file",
        ),
        ("FineTuningJob", {"model": "m", "training_file": "file-1", "metadata": None}, "metadata"),
    ],
)
def test_a_field_that_is_read_back_as_null_is_left_out(
    folder: Folder, kind: str, spec: dict[str, Any], name: str
) -> None:
    assert name not in spec_of(folder, kind, spec)


def test_a_null_that_clears_a_field_stays(folder: Folder) -> None:
    assert spec_of(folder, "Assistant", {"model": "gpt-4o", "name": None})["name"] is None


def test_a_null_inside_free_json_stays(folder: Folder) -> None:
    function = {"name": "f", "parameters": {"type": "object", "default": None}}
    spec = spec_of(
        folder, "Assistant", {"model": "m", "tools": [{"type": "function", "function": function}]}
    )
    assert spec["tools"][0]["function"]["parameters"] == {"type": "object", "default": None}


def test_a_null_for_a_required_part_is_refused(folder: Folder) -> None:
    ranking = {"ranker": "auto", "score_threshold": None}
    tool = {"type": "file_search", "file_search": {"ranking_options": ranking}}
    document = {
        "kind": "Assistant",
        "metadata": {"name": "x"},
        "spec": {"model": "m", "tools": [tool]},
    }
    [problem] = folder.write({"m.json": json.dumps(document)}).problems()
    assert "Null is not allowed" in problem


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_optional_field_of_every_kind_takes_the_null_of_an_answer(
    folder: Folder, name: str
) -> None:
    nulls = {item.name: None for item in KINDS[name].fields if may_be_null(item) or item.nullable}
    document = {"kind": name, "metadata": {"name": "x"}, "spec": {**nulls, "unknown": 1}}
    problems = folder.write({"m.json": json.dumps(document)}).problems()
    assert any('"unknown"' in problem for problem in problems)
    assert [problem for problem in problems if "Null" in problem or "Wrong type" in problem] == []


def test_hybrid_search_can_be_set(folder: Folder) -> None:
    weights = {"embedding_weight": 1, "text_weight": 0.5}
    tool = {
        "type": "file_search",
        "file_search": {"ranking_options": {**SEARCH, "hybrid_search": weights}},
    }
    spec = spec_of(folder, "Assistant", {"model": "m", "tools": [tool]})
    assert spec["tools"][0]["file_search"]["ranking_options"]["hybrid_search"] == weights
    assert {item.name for item in RANKING.properties} == {
        "ranker",
        "score_threshold",
        "hybrid_search",
    }
