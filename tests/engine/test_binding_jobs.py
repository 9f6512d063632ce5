"""Binding of jobs as a table: a job belongs to its inputs, and its mark cannot be changed."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.bindings import Binding, BindingSource
from reconciler.engine.binding.claims import Claims
from reconciler.engine.binding.conflicts import ended
from reconciler.engine.binding.mark_match import latest, with_inputs
from reconciler.engine.inputs import PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.kinds import KINDS
from reconciler.model.consistency import CreationWindow
from reconciler.model.job import INPUTS_KEY
from reconciler.model.resource import MARK_KEY, LiveObject, Record
from reconciler.model.values import FileSet, Member
from tests.engine.tables import NOW, OTHERS, OURS, World, at, declared, recorded, shown, store

TONE = "FineTuningJob/tone"
SPEC = {"model": "gpt-4.1-mini", "training_file": "file-1"}
DESIRED = [declared(TONE, SPEC)]
KIND = KINDS["FineTuningJob"]
DIGEST = KIND.inputs_digest(KIND.fill_defaults(SPEC))


def job(
    id: str,
    *,
    status: str = "succeeded",
    mark: str = TONE,
    inputs: str | None = DIGEST,
    created_at: float = NOW,
    owner: str = OURS,
) -> LiveObject:
    """A job as the API shows it, with our metadata."""
    metadata = {MARK_KEY: f"{owner}/{mark}"}
    if inputs is not None:
        metadata[INPUTS_KEY] = inputs
    attributes = {"id": id, "status": status, "metadata": metadata, "created_at": created_at}
    return shown("FineTuningJob", id, {**attributes, **SPEC})


class Row(NamedTuple):
    """The jobs that the API shows, and the one that the resource is bound to."""

    what: str
    live: list[LiveObject]
    id: str | None = None
    prior: tuple[Record, ...] = ()


ROWS = [
    Row("no job", []),
    Row("the job with its mark and its inputs", [job("ftjob-1")], "ftjob-1"),
    Row(
        "of two with its inputs the latest",
        [job("ftjob-1", created_at=NOW), job("ftjob-2", created_at=NOW - 60)],
        "ftjob-1",
    ),
    Row(
        "one with its inputs counts more than a later one that runs",
        [
            job("ftjob-1", created_at=NOW - 60),
            job("ftjob-2", inputs="other", status="running"),
        ],
        "ftjob-1",
    ),
    Row(
        "a running one with other inputs, which has to be stopped",
        [job("ftjob-1", inputs="other", status="running")],
        "ftjob-1",
    ),
    Row("an ended one with other inputs is history", [job("ftjob-1", inputs="other")]),
    Row("an ended one whose inputs nobody knows is history", [job("ftjob-1", inputs=None)]),
    Row(
        "one with the same inputs from an address that is not declared any more",
        [job("ftjob-1", mark="FineTuningJob/former")],
        "ftjob-1",
    ),
    Row(
        "of undeclared addresses only one with the same inputs",
        [job("ftjob-1", mark="FineTuningJob/former", inputs="other")],
    ),
    Row("a job of another stack is not ours", [job("ftjob-1", owner=OTHERS)]),
    Row(
        "the recorded job counts more than a marked one",
        [job("ftjob-1"), job("ftjob-2")],
        "ftjob-2",
        (recorded(TONE, "ftjob-2", SPEC),),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_a_job_belongs_to_its_inputs(row: Row) -> None:
    # With --unmanaged the whole list is read, as after any change of the manifests.
    snapshot = World(DESIRED, row.prior, row.live, options=PlanOptions(unmanaged=True)).snapshot()
    binding = snapshot.bindings.get(at(TONE), Binding())
    assert (binding.live.id if binding.live else None) == row.id
    assert not snapshot.errors


def test_a_job_with_the_mark_of_another_declared_address_is_left_to_that_address() -> None:
    snapshot = World(
        [*DESIRED, declared("FineTuningJob/zebra", SPEC)],
        live=[job("ftjob-1", mark="FineTuningJob/zebra")],
    ).snapshot()
    bound = {str(at): binding.live for at, binding in snapshot.bindings.items() if binding.live}
    assert list(bound) == ["FineTuningJob/zebra"]


def test_a_replacement_that_a_dead_run_started_is_the_one_with_the_inputs() -> None:
    attempts = {at(TONE): [CreateAttempt(CreationWindow(NOW - 60, NOW + 60))]}
    ownership = Ownership("shop", "prod", unfinished={at(TONE): NOW - 60}, create_attempts=attempts)
    snapshot = World(
        DESIRED,
        [recorded(TONE, "ftjob-1", SPEC)],
        [job("ftjob-1", inputs="other", created_at=NOW - 900), job("ftjob-2")],
        ownership=ownership,
    ).snapshot()
    binding = snapshot.bindings[at(TONE)]
    assert binding.source is BindingSource.STATE
    assert (binding.live and binding.live.id) == "ftjob-1"
    assert (binding.replacement and binding.replacement.id) == "ftjob-2"


def test_the_latest_job_is_the_one_that_was_created_last() -> None:
    jobs = [job("ftjob-1", created_at=NOW - 60), job("ftjob-2", created_at=NOW)]
    newest = latest(jobs)
    assert newest is not None
    assert newest.id == "ftjob-2"
    assert latest([]) is None


@pytest.mark.parametrize(
    ("inputs", "ids"), [(DIGEST, ["ftjob-1"]), ("other", ["ftjob-2"]), (None, [])]
)
def test_jobs_are_compared_by_the_digest_of_their_inputs(
    inputs: str | None, ids: list[str]
) -> None:
    jobs = [job("ftjob-1"), job("ftjob-2", inputs="other"), job("ftjob-3", inputs=None)]
    assert [live.id for live in with_inputs(jobs, inputs)] == ids


class ClaimRow(NamedTuple):
    """An object, and whether it is claimed or reserved when another address asks for it."""

    what: str
    id: str
    owner: str | None
    is_reserved: bool = False


CLAIM_ROWS = [
    ClaimRow("a recorded object", "vs_1", "VectorStore/docs"),
    ClaimRow("a superseded object is ours until it is deleted", "vs_0", "VectorStore/docs"),
    ClaimRow("an object of nobody", "vs_9", None),
    ClaimRow("an object that another manifest adopts", "vs_5", None, is_reserved=True),
    ClaimRow("an object that another owner has taken", "vs_3", None),
    ClaimRow("the superseded object of a taken one stays ours", "vs_2", "VectorStore/taken"),
]


@pytest.mark.parametrize("row", CLAIM_ROWS, ids=lambda row: row.what)
def test_an_object_has_one_owner(row: ClaimRow) -> None:
    records = [
        recorded("VectorStore/docs", "vs_1", deposed=("vs_0",)),
        recorded("VectorStore/taken", "vs_3", deposed=("vs_2",)),
    ]
    adopting = declared("VectorStore/adopting", {}, adopt="vs_5")
    claims = Claims(
        {record.address: record for record in records},
        {adopting.address: adopting},
        [at("VectorStore/taken")],
    )
    live = store(row.id)
    owner = at(row.owner) if row.owner else None
    assert claims.owner(live) == owner
    assert claims.is_claimed(live) is (owner is not None)
    assert claims.is_reserved(live, at("VectorStore/other")) is row.is_reserved
    assert not claims.is_reserved(live, adopting.address)


def test_files_of_collections_and_delivered_keys_need_no_resource() -> None:
    files = FileSet((Member("a.md", None, file_id="file-1"), Member("b.md", None)))
    delivered: dict[str, Any] = {
        "key": {"key_id": "key_2", "previous": [{"key_id": "key_1", "replaced_at": NOW}]}
    }
    records = [
        recorded("VectorStore/docs", "vs_1", {"files": files}),
        recorded("ServiceAccount/search/ci", "sa_1", delivered=delivered),
    ]
    claims = Claims({record.address: record for record in records}, {}, [])
    assert claims.members == {"file-1"}
    assert claims.delivered_keys == {"key_1", "key_2"}


def test_an_ended_object_cannot_be_adopted_and_the_message_names_its_state() -> None:
    resource = declared("VectorStore/docs", {"name": "Docs"}, adopt="vs_1")
    diagnostic = ended(resource, store("vs_1", status="expired"))
    assert diagnostic.summary == "Nothing to adopt"
    assert 'vs_1 has status "expired", which is final' in diagnostic.detail
