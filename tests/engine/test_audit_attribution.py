"""Attribution as a table: which entries of the audit log are our own writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest

from reconciler.engine.refresh.audit_attribution import (
    Write,
    attribute,
    has_type,
    is_removal,
    reports_projects,
    with_entry_delays,
)
from reconciler.kinds import KINDS
from reconciler.model.log import AuditEntry
from tests.engine.tables import NOW


def wrote(
    id: str = "proj_1", kind: str = "Project", *, project: str | None = None, at: float = NOW
) -> Write:
    """A write that took one second."""
    project_id = f"proj_{project}" if project else None
    return Write.of(KINDS[kind], project, project_id, id, times=(at, at + 1), removes=False)


def entry(
    id: str,
    resource: str | None = "proj_1",
    *,
    type: str = "project.updated",
    at: float = NOW,
    project: str | None = None,
    actor: str = "ci",
    **details: str,
) -> AuditEntry:
    return AuditEntry(id, type, at, project, resource, actor, details=details)


class Row(NamedTuple):
    """The entries that are taken for our own."""

    what: str
    writes: Sequence[Write]
    entries: Sequence[AuditEntry]
    ours: set[str]
    projects_reported: bool = False


ROWS = [
    Row("one write and its entry", [wrote()], [entry("a")], {"a"}),
    Row("no write", [], [entry("a")], set()),
    Row("an entry about another object", [wrote()], [entry("a", "proj_2")], set()),
    Row("an entry of another type", [wrote()], [entry("a", type="user.updated")], set()),
    Row("an entry long before the write", [wrote()], [entry("a", at=NOW - 3_600)], set()),
    Row("an entry long after the write", [wrote()], [entry("a", at=NOW + 3_600)], set()),
    Row("an entry within the clock's tolerance", [wrote()], [entry("a", at=NOW - 1)], {"a"}),
    Row(
        "more entries than writes: somebody else wrote too",
        [wrote()],
        [entry("a"), entry("b")],
        set(),
    ),
    Row(
        "as many entries as writes",
        [wrote(), wrote(at=NOW + 1)],
        [entry("a"), entry("b")],
        {"a", "b"},
    ),
    Row(
        "fewer entries than writes: some are late",
        [wrote(), wrote(at=NOW + 1)],
        [entry("a")],
        {"a"},
    ),
    Row(
        "entries of several makers",
        [wrote("proj_1"), wrote("proj_2")],
        [entry("a"), entry("b", "proj_2", actor="fay")],
        set(),
    ),
    Row(
        "an entry that names the object in its details",
        [wrote("sa_1", "ServiceAccount", project="a")],
        [entry("a", "proj_a", type="service_account.created", account="sa_1")],
        {"a"},
    ),
    Row(
        "the same id in two projects, where entries tell the project",
        [wrote("rl-1", "RateLimit", project="a")],
        [
            entry("a", "rl-1", type="rate_limit.updated", project="proj_a"),
            entry("b", "rl-1", type="rate_limit.updated", project="proj_b"),
        ],
        {"a"},
        projects_reported=True,
    ),
    Row(
        "the same id in two projects, where they do not",
        [wrote("rl-1", "RateLimit", project="a")],
        [
            entry("a", "rl-1", type="rate_limit.updated", project="proj_a"),
            entry("b", "rl-1", type="rate_limit.updated", project="proj_b"),
        ],
        set(),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_attribution(row: Row) -> None:
    ours = attribute(row.entries, row.writes, KINDS, projects_reported=row.projects_reported)
    assert set(ours) == row.ours


def test_a_write_notes_how_late_its_entry_is() -> None:
    (write,) = with_entry_delays(
        [entry("a", at=NOW + 1)], [wrote()], KINDS, projects_reported=False
    )
    assert write.noted_after == 1


def test_a_write_without_an_entry_notes_nothing() -> None:
    (write,) = with_entry_delays([], [wrote()], KINDS, projects_reported=False)
    assert write.noted_after is None


def test_one_entry_is_noted_for_one_write() -> None:
    writes = with_entry_delays([entry("a")], [wrote(), wrote()], KINDS, projects_reported=False)
    assert [write.noted_after for write in writes] == [0, None]


ACCOUNT = [
    wrote("sa_1", "ServiceAccount", project="a"),
    wrote("sa_2", "ServiceAccount", project="b"),
]


@pytest.mark.parametrize(
    ("places", "reported"),
    [
        (("proj_a", "proj_b"), True),
        (("proj_a", "proj_a"), False),
        (("proj_default", "proj_default"), False),
        (("proj_a", None), False),
    ],
)
def test_entries_in_two_projects_prove_whether_the_log_names_projects(
    places: tuple[str | None, str | None], reported: bool
) -> None:
    entries = [
        entry(id, id, type="service_account.created", project=place)
        for id, place in zip(("sa_1", "sa_2"), places, strict=True)
    ]
    assert reports_projects(entries, ACCOUNT, KINDS) is reported


def test_entries_in_one_project_prove_nothing() -> None:
    one = entry("a", "sa_1", type="service_account.created", project="proj_a")
    assert reports_projects([one], ACCOUNT[:1], KINDS) is None


CREATION = entry("p", "proj_a", type="project.created", project="proj_a")


@pytest.mark.parametrize(
    ("writes", "creation", "place", "reported"),
    [
        ([wrote("proj_a")], [CREATION], "proj_a", True),
        ([wrote("proj_a")], [CREATION], "proj_default", False),
        ([wrote("proj_a")], [], "proj_a", None),
        ([], [CREATION], "proj_a", None),
        ([wrote("proj_b")], [CREATION], "proj_a", None),
    ],
    ids=["ours", "ours, elsewhere", "an older project", "not our write", "another project"],
)
def test_entries_in_a_project_that_we_created_prove_it_because_that_is_not_the_default_one(
    writes: list[Write], creation: list[AuditEntry], place: str, reported: bool | None
) -> None:
    one = entry("a", "sa_1", type="service_account.created", project=place)
    assert reports_projects([*creation, one], [*writes, ACCOUNT[0]], KINDS) is reported


@pytest.mark.parametrize(
    ("since", "is_told"), [(NOW - 3_600, True), (NOW, False), (NOW + 60, False)]
)
def test_a_write_is_surely_in_a_window_that_begins_well_before_it(
    since: float, is_told: bool
) -> None:
    assert wrote().is_shown_since(since) is is_told


def test_an_entry_has_the_types_that_begin_as_given() -> None:
    assert has_type(entry("a"), ["project."])
    assert not has_type(entry("a"), ["user."])
    assert not has_type(entry("a"), [])


@pytest.mark.parametrize(
    ("type", "removes"), [("project.deleted", True), ("project.updated", False)]
)
def test_removals_are_recognised_by_their_entries(type: str, removes: bool) -> None:
    assert is_removal(entry("a", type=type)) is removes
