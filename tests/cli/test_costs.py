"""Claims about `costs`: exact sums by project, line item and day, in every format."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from tests.cli.spending import NOVEMBER, million, named
from tests.conftest import Workspace
from tests.description import DESCRIPTION, Description, needs_description, unknown_parameters
from tests.security.hostile_api import Liar, listening

OTHER = "proj_somebodyelses"


@pytest.fixture
def spent(workspace: Workspace) -> Workspace:
    """Six dollars of a declared project, two of another, and a little more on the border of the period."""
    emulator = named(workspace).emulator
    million(emulator, "2025-11-03", millions=2)
    million(emulator, "2025-11-04")
    million(emulator, "2025-11-04", project=OTHER)
    million(emulator, "2025-11-30", millions=1, model="gpt-4o-mini")
    million(emulator, "2025-12-01")
    million(emulator, "2025-10-31")
    return workspace


def costs(workspace: Workspace, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        workspace.run("costs", *arguments, "--format", "json", expect=0).out
    )
    return found


def page(*amounts: tuple[Any, Any], **rest: Any) -> str:
    """The answer of a server whose one bucket has these amounts."""
    results = [
        {
            "object": "organization.costs.result",
            "project_id": f"p{number}",
            "amount": {"value": value, "currency": unit},
        }
        for number, (value, unit) in enumerate(amounts)
    ]
    bucket = {
        "object": "bucket",
        "start_time": 1_761_955_200,
        "end_time": 1_762_041_600,
        "results": results,
    }
    return json.dumps(
        {"object": "page", "data": [bucket], "has_more": False, "next_page": None, **rest}
    )


def test_costs_are_those_of_the_period_by_declared_project(spent: Workspace) -> None:
    assert costs(spent, *NOVEMBER) == {
        "since": "2025-11-01", "until": "2025-12-01", "by": "project", "totals": {"USD": "8.15"},
        "costs": [
            {"project": "search", "project_id": spent.emulator.project_id, "declared": True,
             "amount": "6.15", "currency": "USD"},
            {"project": OTHER, "project_id": OTHER, "declared": False, "amount": "2.0", "currency": "USD"},
        ],
    }  # fmt: skip


def test_a_project_of_the_state_has_the_name_of_its_address(workspace: Workspace) -> None:
    workspace.write(
        {"m.yaml": "kind: Project\nmetadata: {name: team}\nspec: {name: Somehow else}\n"}
    ).apply()
    (made,) = [
        record
        for record in workspace.emulator.store.all("project")
        if record.body["name"] == "Somehow else"
    ]
    million(workspace.emulator, "2025-11-03", project=made.id)
    assert [row["project"] for row in costs(workspace, *NOVEMBER)["costs"]] == ["team"]


def test_costs_by_line_item_have_the_dearest_first(spent: Workspace) -> None:
    rows = costs(spent, *NOVEMBER, "--by", "line_item")["costs"]
    assert [(row["line_item"], row["amount"]) for row in rows] == [
        ("gpt-4.1, input", "8.0"), ("gpt-4o-mini, input", "0.15")
    ]  # fmt: skip


def test_costs_by_day_show_the_days_without_any(spent: Workspace) -> None:
    rows = costs(spent, "--since", "2025-11-02", "--until", "2025-11-06", "--by", "day")["costs"]
    assert [(row["day"], row["amount"]) for row in rows] == [
        ("2025-11-02", "0"), ("2025-11-03", "4.0"), ("2025-11-04", "4.0"), ("2025-11-05", "0")
    ]  # fmt: skip


@pytest.mark.parametrize("given", ["search", "proj_EmulatorDefaultProject00"])
def test_one_project_is_asked_for_by_name_or_id(spent: Workspace, given: str) -> None:
    assert costs(spent, *NOVEMBER, "--project", given)["totals"] == {"USD": "6.15"}


def test_every_page_of_a_long_period_is_read(spent: Workspace) -> None:
    assert costs(spent, "--since", "2024-01-01", "--until", "2026-02-01")["totals"] == {
        "USD": "12.15"
    }
    assert (
        len([record for record in spent.emulator.requests if record.path == "/organization/costs"])
        == 5
    )


def test_a_table_has_bars_in_proportion_and_a_total(spent: Workspace) -> None:
    lines = spent.run("costs", *NOVEMBER, expect=0).out.splitlines()
    assert lines == [
        "Project             Amount  Currency  Share",
        "search                6.15  USD        75 %  ████████████████████████",
        "proj_somebodyelses    2.00  USD        25 %  ███████▊",
        "Total                 8.15  USD",
    ]


def test_csv_is_exact_and_has_a_header(spent: Workspace) -> None:
    rows = list(
        csv.reader(io.StringIO(spent.run("costs", *NOVEMBER, "--format", "csv", expect=0).out))
    )
    assert rows == [
        ["project", "project_id", "amount", "currency"],
        ["search", spent.emulator.project_id, "6.15", "USD"],
        [OTHER, OTHER, "2.0", "USD"],
    ]


def test_reports_are_written_in_every_format_of_the_command(spent: Workspace) -> None:
    spent.run("costs", *NOVEMBER, "--report", "c.csv:csv", "--report", "c.md:markdown", expect=0)
    assert "search,proj_EmulatorDefaultProject00,6.15,USD" in (spent.folder / "c.csv").read_text()
    assert "| `search` | `6.15` | `USD` | `75 %` |" in (spent.folder / "c.md").read_text()


def test_currencies_are_never_added_up(workspace: Workspace) -> None:
    with listening(Liar(200, page((1.1, "usd"), (2.2, "eur"), (3, "usd")), reads_too=True)) as liar:
        found = costs(named(workspace), *NOVEMBER, "--base-url", liar.url)
        text = workspace.run("costs", *NOVEMBER, "--base-url", liar.url, expect=0).out
    assert found["totals"] == {"EUR": "2.2", "USD": "4.1"}
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("Total")] == [
        ["Total", "2.20", "EUR"], ["Total", "4.10", "USD"]
    ]  # fmt: skip


def test_amounts_are_added_as_decimals(workspace: Workspace) -> None:
    amounts = [(0.1, "usd"), (0.2, "usd"), ("0.00000000000000000001", "usd")]
    with listening(Liar(200, page(*amounts), reads_too=True)) as liar:
        found = costs(named(workspace), *NOVEMBER, "--by", "day", "--base-url", liar.url)
    assert found["totals"] == {"USD": "0.30000000000000000001"}


@pytest.mark.parametrize("value", [None, True, "lots", "NaN", {}])
def test_an_amount_that_is_no_number_is_an_error(workspace: Workspace, value: Any) -> None:
    with listening(Liar(200, page((value, "usd")), reads_too=True)) as liar:
        done = named(workspace).run("costs", *NOVEMBER, "--base-url", liar.url, expect=1)
    assert "/organization/costs: the answer has" in done.err


def test_a_name_of_a_stranger_is_no_formula_and_no_escape_sequence(workspace: Workspace) -> None:
    body = json.loads(page((1, "usd")))
    body["data"][0]["results"][0]["project_id"] = "=HYPERLINK(1)\x1b[2J"
    with listening(Liar(200, json.dumps(body), reads_too=True)) as liar:
        out = {
            name: named(workspace)
            .run("costs", "--format", name, "--base-url", liar.url, expect=0)
            .out
            for name in ("csv", "text", "markdown", "json")
        }
    assert out["csv"].splitlines()[1].startswith("'=HYPERLINK(1)\\x1b[2J,")
    assert not any("\x1b" in text for text in out.values())


@needs_description
def test_every_parameter_that_we_send_is_known(spent: Workspace) -> None:
    spent.run("costs", *NOVEMBER, "--project", "search", expect=0)
    spent.run("usage", *NOVEMBER, "--project", "search", expect=0)
    assert len(spent.emulator.requests) == 12
    assert unknown_parameters(spent.emulator.requests, Description(str(DESCRIPTION))) == []


def test_without_costs_there_is_a_sentence_and_no_table(workspace: Workspace) -> None:
    done = named(workspace).run("costs", expect=0)
    assert (done.out, done.err) == ("", "Nothing was paid in this period.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--project", "serch"], 'no project "serch". Did you mean "search"?'),
        (["--since", "2025-12-01", "--until", "2025-12-01"], "end before it begins"),
        (["--since", "12h"], '--since "12h" is no day'),
        (["--until", "2025-02-30"], '--until "2025-02-30" is no day'),
        (["--report", "x.txt:pdf"], "with a format of text, json, markdown, csv"),
    ],
    ids=str,
)
def test_a_wrong_question_is_refused_before_any_call(
    workspace: Workspace, arguments: list[str], message: str
) -> None:
    assert message in named(workspace).run("costs", *arguments, expect=1).err
    assert workspace.emulator.requests == []


def test_a_project_key_instead_of_an_admin_key_is_explained(workspace: Workspace) -> None:
    workspace.variables["OPENAI_ADMIN_KEY"] = workspace.emulator.api_key
    assert "needs an admin key of the organization" in named(workspace).run("costs", expect=1).err


def test_a_wrong_stack_is_explained_where_the_format_is_csv(workspace: Workspace) -> None:
    assert (
        "Unknown environment"
        in named(workspace).run("costs", "-e", "nope", "--format", "csv", expect=1).err
    )


def test_the_page_compares_each_project_with_its_declared_limit(spent: Workspace) -> None:
    limit = "kind: SpendLimit\nmetadata: {name: search, project: search}\nspec: {threshold_amount: 500}\n"
    spent.write({"m/limit.yaml": limit})
    text = spent.run("costs", *NOVEMBER, "--format", "html", expect=0).out
    for heading in ("By project", "By line item", "By day"):
        assert f">{heading}</h2>" in text
    assert "5.00 (" in text
    assert 'class="bar over"' in text


def test_the_page_is_made_without_readable_manifests(spent: Workspace) -> None:
    spent.write({"m/broken.yaml": "kind: Nonsense\n"})
    assert ">By day</h2>" in spent.run("costs", *NOVEMBER, "--format", "html", expect=0).out
