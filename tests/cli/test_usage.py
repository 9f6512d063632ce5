"""Claims about `usage`: figures of every type by declared project and by day."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.emulator.usage import SORTS
from tests.cli.spending import NOVEMBER, million, named, use
from tests.conftest import Workspace

OTHER = "proj_somebodyelses"


@pytest.fixture
def used(workspace: Workspace) -> Workspace:
    """A declared project that used tokens on two days and stored bytes, and another one."""
    emulator = named(workspace).emulator
    million(emulator, "2025-11-03", millions=2)
    million(emulator, "2025-11-04")
    million(emulator, "2025-11-04", project=OTHER)
    for day, stored in (("2025-11-03", 500), ("2025-11-04", 300)):
        use(emulator, "vector_stores", day, usage_bytes=stored)
    return workspace


def usage(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        workspace.run("usage", *arguments, "--format", "json", expect=0).out
    )
    return found


def test_figures_are_those_of_each_project_and_type(used: Workspace) -> None:
    rows = usage(used, *NOVEMBER)["usage"]
    assert [
        (row["type"], row["project"], row["declared"], row["figures"].get("input_tokens"))
        for row in rows
    ] == [
        ("completions", OTHER, False, 1_000_000),
        ("completions", "search", True, 3_000_000),
        ("vector_stores", "search", True, None),
    ]


def test_bytes_that_were_stored_are_not_added_up_over_days(used: Workspace) -> None:
    assert usage(used, *NOVEMBER)["totals"]["vector_stores"] == {"usage_bytes": 500}


def test_figures_by_day_are_those_of_all_projects(used: Workspace) -> None:
    rows = usage(used, *NOVEMBER, "--by", "day", "--type", "completions")["usage"]
    assert [(row["day"], row["figures"]["num_model_requests"]) for row in rows] == [
        ("2025-11-03", 1), ("2025-11-04", 2)
    ]  # fmt: skip


def test_figures_by_model_leave_out_what_has_no_model(used: Workspace) -> None:
    million(used.emulator, "2025-11-05", model="gpt-4o-mini")
    rows = usage(used, *NOVEMBER, "--by", "model")["usage"]
    assert [(row["type"], row["model"], row["figures"]["input_tokens"]) for row in rows] == [
        ("completions", "gpt-4.1", 4_000_000), ("completions", "gpt-4o-mini", 1_000_000)
    ]  # fmt: skip
    refused = used.run("usage", "--by", "model", "--type", "vector_stores", expect=1).err
    assert "usage of type vector_stores has no model" in refused


def test_a_table_for_each_type_has_bars_and_a_total(used: Workspace) -> None:
    assert used.run("usage", *NOVEMBER, expect=0).out.splitlines() == [
        "completions",
        "Project             Requests  Input tokens  Cached input  Output tokens",
        "proj_somebodyelses         1     1,000,000             7              0  ████████",
        "search                     2     3,000,000            14              0  ████████████████████████",
        "Total                      3     4,000,000            21              0",
        "",
        "vector_stores",
        "Project  Most bytes",
        "search          500  ████████████████████████",
        "Total           500",
    ]


def test_csv_has_a_line_for_each_figure(used: Workspace) -> None:
    out = used.run("usage", *NOVEMBER, "--type", "vector_stores", "--format", "csv", expect=0).out
    id = used.emulator.project_id
    assert (
        out == f"type,project,project_id,figure,value\nvector_stores,search,{id},usage_bytes,500\n"
    )


def test_markdown_has_a_heading_for_each_type(used: Workspace) -> None:
    out = used.run("usage", *NOVEMBER, "--format", "markdown", expect=0).out
    assert [line for line in out.splitlines() if line.startswith("#")] == [
        "### completions",
        "### vector_stores",
    ]
    assert "| `search` | `500` |" in out


def test_every_type_that_the_server_has_is_asked_for_and_shown(workspace: Workspace) -> None:
    workspace.emulator.seed(usage_days=1)
    assert list(usage(workspace, "--since", "1d")["totals"]) == sorted(sort.name for sort in SORTS)


def test_only_the_types_and_projects_that_are_wanted_are_asked_for(used: Workspace) -> None:
    found = usage(used, *NOVEMBER, "--type", "completions", "--project", OTHER)
    assert [row["project"] for row in found["usage"]] == [OTHER]
    assert [record.path for record in used.emulator.requests] == ["/organization/usage/completions"]


def test_a_type_that_a_server_lacks_is_left_out_unless_it_is_asked_for(used: Workspace) -> None:
    used.emulator.add_fault("on=GET:/organization/usage/vector_stores,do=error:404,times=0")
    assert list(usage(used, *NOVEMBER)["totals"]) == ["completions"]
    assert (
        "vector_stores answered 404" in used.run("usage", "--type", "vector_stores", expect=1).err
    )


def test_months_are_read_page_by_page(used: Workspace) -> None:
    found = usage(used, "--since", "2025-09-01", "--until", "2025-12-01", "--type", "completions")
    assert found["totals"]["completions"]["input_tokens"] == 4_000_000
    assert [record.query.get("page") is None for record in used.emulator.requests] == [
        True,
        False,
        False,
    ]


def test_an_unknown_type_names_the_nearest(workspace: Workspace) -> None:
    assert (
        'Did you mean "images"?' in named(workspace).run("usage", "--type", "image", expect=1).err
    )


def test_without_usage_there_is_a_sentence(workspace: Workspace) -> None:
    done = named(workspace).run("usage", expect=0)
    assert (done.out, done.err) == ("", "Nothing was used in this period.\n")
