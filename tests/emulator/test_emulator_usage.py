"""Usage and costs: buckets of time, page by page, filtered and grouped."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.usage import DAY, SORTS
from tests.description import (
    DESCRIPTION,
    Description,
    mistakes_in_answers,
    needs_description,
    unknown_parameters,
)
from tests.emulator.conftest import Clock

COSTS = "/organization/costs"
COMPLETIONS = "/organization/usage/completions"


@pytest.fixture
def used(emulator: Emulator) -> Emulator:
    """An organization whose two projects have used everything on each of ten days."""
    emulator.seed(projects=1, usage_days=10)
    return emulator


def read(admin: httpx.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = admin.get(path, params={"limit": 31, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]  # type: ignore[no-any-return]


def results(buckets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [result for bucket in buckets for result in bucket["results"]]


def test_an_organization_that_used_nothing_has_empty_buckets(
    admin: httpx.Client, clock: Clock
) -> None:
    buckets = read(admin, COSTS, start_time=int(clock.now) - 3 * DAY)
    assert len(buckets) == 4
    assert results(buckets) == []


def test_every_sort_is_read_with_the_official_client(
    used: Emulator, client: openai.OpenAI, clock: Clock
) -> None:
    usage, start = client.admin.organization.usage, int(clock.now) - 9 * DAY
    for sort in SORTS:
        page = getattr(usage, sort.name)(start_time=start, limit=31, group_by=["project_id"])
        found = [result for bucket in page.data for result in bucket.results]
        assert {result.object for result in found} == {sort.object}
        assert len(found) == 20, sort.name
        assert all(getattr(found[0], measure) > 0 for measure in sort.measures)


def test_costs_are_read_with_the_official_client_page_by_page(
    used: Emulator, client: openai.OpenAI, clock: Clock
) -> None:
    costs, start = client.admin.organization.usage.costs, int(clock.now) - 9 * DAY
    whole = costs(start_time=start, limit=180)
    pages = [costs(start_time=start, limit=4)]
    while pages[-1].has_more:
        pages.append(costs(start_time=start, limit=4, page=str(pages[-1].next_page)))
    assert [len(page.data) for page in pages] == [4, 4, 2]
    assert [bucket for page in pages for bucket in page.data] == whole.data
    assert (whole.has_more, whole.next_page) == (False, None)


def test_the_audit_log_is_read_with_the_official_client(
    emulator: Emulator, client: openai.OpenAI
) -> None:
    made = client.admin.organization.projects.create(name="Search")
    [entry] = client.admin.organization.audit_logs.list(project_ids=[made.id])
    assert (entry.type, entry.project and entry.project.name) == ("project.created", "Search")


def test_groups_add_up_to_the_whole(used: Emulator, admin: httpx.Client, clock: Clock) -> None:
    start = int(clock.now) - 9 * DAY
    totals = {
        group: sum(
            round(item["amount"]["value"] * 10**9) for item in results(read(admin, COSTS, **query))
        )
        for group in ("", "project_id", "line_item", "api_key_id")
        for query in [{"start_time": start, **({"group_by": group} if group else {})}]
    }
    assert len(set(totals.values())) == 1
    assert totals[""] > 0


def test_what_is_not_grouped_by_is_null(used: Emulator, admin: httpx.Client, clock: Clock) -> None:
    [result, *_] = results(
        read(admin, COMPLETIONS, start_time=int(clock.now) - DAY, **{"group_by[]": ["model"]})
    )
    assert (result["model"], result["project_id"], result["batch"]) == ("gpt-4.1", None, None)


def test_only_the_projects_asked_for_are_counted(
    used: Emulator, admin: httpx.Client, clock: Clock
) -> None:
    query = {
        "start_time": int(clock.now) - DAY,
        "project_ids": used.project_id,
        "group_by": "project_id",
    }
    for path in (COSTS, COMPLETIONS):
        assert {result["project_id"] for result in results(read(admin, path, **query))} == {
            used.project_id
        }


def test_batches_can_be_left_out_or_asked_for(
    used: Emulator, admin: httpx.Client, clock: Clock
) -> None:
    start = int(clock.now) - DAY
    counts = [
        len(results(read(admin, COMPLETIONS, start_time=start, batch=batch)))
        for batch in ("true", "false")
    ]
    assert counts == [0, 2]


def test_buckets_are_as_wide_as_asked(used: Emulator, admin: httpx.Client, clock: Clock) -> None:
    now = int(clock.now)
    buckets = read(admin, COMPLETIONS, start_time=now - 7200, end_time=now + 60, bucket_width="1h")
    assert {bucket["end_time"] - bucket["start_time"] for bucket in buckets} == {3600}
    assert len(results(buckets)) == 1


def test_the_same_names_use_the_same(used: Emulator, admin: httpx.Client, clock: Clock) -> None:
    query = {"start_time": int(clock.now) - 9 * DAY}
    before = read(admin, COSTS, **query)
    used.reset()
    used.seed(projects=1, usage_days=10)
    assert read(admin, COSTS, **query) == before


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        (COSTS, {}, "Missing required parameter: 'start_time'"),
        (COSTS, {"start_time": 1, "bucket_width": "1h"}, "Invalid value: '1h'"),
        (COSTS, {"start_time": 1, "group_by": "model"}, "Invalid value: 'model'"),
        (COSTS, {"start_time": 1, "limit": 181}, "Expected a value <= 180"),
        (COMPLETIONS, {"start_time": 1, "limit": 32}, "Expected a value <= 31"),
        (
            COMPLETIONS,
            {"start_time": 1, "bucket_width": "1m", "limit": 1441},
            "Expected a value <= 1440",
        ),
        (COMPLETIONS, {"start_time": 5, "end_time": 5}, "must be after 'start_time'"),
        (COMPLETIONS, {"start_time": 1, "page": "page_x"}, "is no page of this list"),
        (
            "/organization/usage/vector_stores",
            {"start_time": 1, "group_by": "model"},
            "Invalid value: 'model'",
        ),
    ],
    ids=str,
)
def test_a_question_that_cannot_be_answered_is_told_why(
    admin: httpx.Client, path: str, query: dict[str, Any], message: str
) -> None:
    answer = admin.get(path, params=query)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_project_key_reads_no_costs(http: httpx.Client) -> None:
    assert http.get(COSTS, params={"start_time": 1}).status_code == 403


@needs_description
def test_answers_and_parameters_are_those_of_the_description(
    used: Emulator, admin: httpx.Client, clock: Clock
) -> None:
    start = int(clock.now) - 3 * DAY
    for sort in SORTS:
        filters = {parameter: "true" for parameter in sort.grouped_by.values() if parameter}
        read(
            admin,
            f"/organization/usage/{sort.name}",
            start_time=start,
            group_by=list(sort.grouped_by),
        )
        read(
            admin,
            f"/organization/usage/{sort.name}",
            start_time=start,
            bucket_width="1d",
            **filters,
        )
    read(admin, COSTS, start_time=start, group_by=["project_id", "line_item", "api_key_id"])
    admin.get(COSTS)
    description = Description(str(DESCRIPTION))
    assert mistakes_in_answers(used.requests, description) == []
    assert unknown_parameters(used.requests, description) == []
