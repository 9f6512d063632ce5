"""Lagging lists and lost states never cause a second create."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.models import MODELS
from reconciler.kinds import KINDS
from reconciler.model.change import Action, OutcomeStatus
from reconciler.model.kind import Kind, Readable
from tests.bench import workloads
from tests.properties.bench import pending
from tests.properties.lifecycle import SETTLE_SECONDS, Clock, Life, conflicts
from tests.soak import SOAK
from tests.whole_examples import is_listed, whole_example

pytestmark = pytest.mark.slow

LAG_MS = 5000
READ_LAG_MS = 4000
LIST_LAG_MS = 6000
LIMIT = """\
kind: RateLimit
metadata: {{name: {model}, project: search}}
spec: {{model: {model}, max_requests_per_1_minute: 3}}
"""
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
FEW = ("ServiceAccount", "VectorStore", "GroupMember")
few_kinds = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if SOAK or kind.name in FEW], ids=attrgetter("name")
)
few_listed_kinds = pytest.mark.parametrize(
    "kind",
    [kind for kind in KINDS.values() if (SOAK and is_listed(kind)) or kind.name in FEW],
    ids=attrgetter("name"),
)
unmarked_kind = pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in KINDS.values()
        if not kind.mark and not kind.unique_key and kind.calls.listable and not kind.parents
    ],
    ids=attrgetter("name"),
)
LISTED = list(filter(is_listed, KINDS.values()))
found_again_kind = pytest.mark.parametrize("kind", LISTED, ids=attrgetter("name"))
marked_kind = pytest.mark.parametrize(
    "kind", [kind for kind in LISTED if kind.mark and not kind.parents], ids=attrgetter("name")
)


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as running:
        yield running


@pytest.fixture
def life(kind: Kind, server: Emulator, clock: Clock, tmp_path: Path) -> Iterator[Life]:
    yield Life(kind, server, clock, tmp_path / "stack")
    server.set_options(job_delay_ms=0, list_lag_ms=0, read_lag_ms=0, admin_rpm=0)


@pytest.fixture
def slow(life: Life) -> Life:
    """A life in which what is new shows neither in lists nor alone for some seconds."""
    life.emulator.set_options(list_lag_ms=LAG_MS, read_lag_ms=LAG_MS)
    return life


@every_kind
def test_what_does_not_show_yet_is_not_made_again(slow: Life, kind: Kind) -> None:
    slow.emulator.add_fault(
        f"on=POST:*{kind.collection.rpartition('}')[2]},do=error:503,when=after"
    )
    slow.applied()
    made = slow.counts()
    assert slow.apply().outcomes == ()
    slow.clock.sleep(LAG_MS / 1000)
    assert (slow.counts(), pending(slow.plan())) == (made, [])


@every_kind
def test_a_second_run_within_seconds_makes_nothing_twice(life: Life) -> None:
    # A job that ends would add what it made.
    life.emulator.set_options(
        list_lag_ms=LIST_LAG_MS, read_lag_ms=READ_LAG_MS, job_delay_ms=86_400_000
    )
    life.apply()
    made = life.counts()
    # The members of a store are listed late as well, so its second run may look them up and attach nothing.
    assert {outcome.change.action for outcome in life.apply().outcomes} <= {Action.UPDATE}
    assert life.counts() == made


@pytest.mark.parametrize(
    "kind", [KINDS["ServiceAccount"], KINDS["GroupMember"], KINDS["Agent"]], ids=attrgetter("name")
)
def test_nothing_is_waited_for_without_asking_again(life: Life) -> None:
    life.emulator.set_options(list_lag_ms=LIST_LAG_MS, read_lag_ms=READ_LAG_MS)
    life.apply()
    life.emulator.clear_requests()
    life.clock.woke_at.clear()
    life.plan()
    asked_at = {request.at for request in life.emulator.requests}
    assert life.clock.woke_at
    assert [moment for moment in life.clock.woke_at if moment not in asked_at] == []


@unmarked_kind
def test_of_two_runners_with_one_cached_state_one_is_refused_what_the_other_made(
    life: Life, tmp_path: Path
) -> None:
    twin = life.twin(tmp_path / "twin")
    refused = life.apply(meanwhile=twin.applied).of(OutcomeStatus.STALE)
    made = life.counts()
    assert refused
    assert [
        outcome for outcome in refused if "the plan did not know of it" not in outcome.message
    ] == []
    assert twin.apply().outcomes == ()
    assert life.counts() == made == calm_counts(life)


def calm_counts(life: Life) -> dict[str, int]:
    """What there is where one runner alone applies the same."""
    alone = Life(life.kind, life.emulator, life.clock, life.root)
    alone.applied()
    return alone.counts()


@few_kinds
def test_what_vanished_right_after_an_apply_is_waited_for_only_until_it_would_have_to_show(
    life: Life,
) -> None:
    life.applied()
    made_at = life.clock()
    lost = [address for address in life.records() if not KINDS[address.kind].always_exists]
    for address in lost:
        kind, id = KINDS[address.kind], life.records()[address].id
        life.vanish(id if kind.calls.id_field else kind.parent_and_id(id)[1])
    assert {
        change.address for change in life.plan().changes if change.action is Action.CREATE
    } >= set(lost)
    assert life.clock() - made_at <= SETTLE_SECONDS + 1  # the API tells times in whole seconds


@few_kinds
def test_what_is_gone_for_good_is_made_again(slow: Life) -> None:
    slow.applied()
    slow.clock.sleep(LAG_MS)
    lost = [address for address in slow.records() if not KINDS[address.kind].always_exists]
    for address in lost:
        kind, id = KINDS[address.kind], slow.records()[address].id
        slow.vanish(id if kind.calls.id_field else kind.parent_and_id(id)[1])
    assert {
        change.address for change in slow.plan().changes if change.action is Action.CREATE
    } >= set(lost)


@found_again_kind
def test_a_lost_state_is_found_again_by_marks_and_by_adopting(life: Life) -> None:
    life.applied()
    made, known = life.counts(), life.records()
    life.forget()
    unmarked = [at for at in known if not KINDS[at.kind].mark and not KINDS[at.kind].always_exists]
    if unmarked:
        found = conflicts(life.plan())  # what lives in something unknown is as unknown
        assert found
        assert set(found) <= set(map(str, unmarked))
        life.apply(adopt=True)
    else:
        hidden = life.kind.takes_secrets or any(
            item.readable is Readable.NEVER for item in life.kind.fields
        )
        assert pending(life.plan()) == [] or hidden  # what nobody can read is written once more
        life.applied()
    assert {at: record.id for at, record in life.records().items()} == {
        at: r.id for at, r in known.items()
    }
    assert (life.counts(), pending(life.plan())) == (made, [])


@marked_kind
def test_what_we_marked_and_no_longer_declare_is_deleted_although_the_state_is_lost(
    life: Life, kind: Kind
) -> None:
    life.emulator.set_options(
        job_delay_ms=86_400_000
    )  # a job that has ended would be history, and left alone
    life.applied()
    ours = [at for at in life.records() if at.kind == kind.name]
    life.forget()
    life.write({"manifests.yaml": "kind: Conversation\nmetadata: {name: other}\nspec: {}\n"})
    doomed = [change.address for change in life.plan().changes if change.action is Action.DELETE]
    assert [address for address in doomed if address.kind == kind.name] == ours


@few_listed_kinds
def test_a_state_lost_after_half_an_apply_makes_nothing_twice(life: Life) -> None:
    life.applied()
    made = life.counts()
    again = Life(life.kind, life.emulator, life.clock, life.root)
    again.emulator.add_fault("on=POST:*,do=error:400,skip=1,times=0")
    again.apply()
    again.emulator.clear_faults()
    again.forget()
    again.apply(adopt=True)
    again.apply(adopt=True)
    assert (again.counts(), pending(again.plan())) == (made, [])


@pytest.mark.parametrize("style", ["bare", "retry-after", "text"])
@pytest.mark.parametrize("kind", [KINDS["RateLimit"]], ids=attrgetter("name"))
def test_seven_requests_a_minute_are_enough(life: Life, kind: Kind, style: str) -> None:
    limits = "---\n".join(
        LIMIT.format(model=model.id) for model in MODELS[:20] if model.id not in kind.example
    )
    life.write({"manifests.yaml": f"{whole_example(kind)}---\n{limits}"})
    life.emulator.set_options(admin_rpm=7, throttle_style=style)
    began = life.clock()
    life.applied()
    refused = [request for request in life.emulator.requests if request.status == 429]
    assert len(refused) <= 6
    assert life.clock() - began <= 6 * 60


@pytest.mark.parametrize("style", ["bare", "retry-after", "text"])
@pytest.mark.parametrize("kind", [KINDS["Project"]], ids=attrgetter("name"))
def test_a_first_plan_of_fifty_projects_takes_what_the_pace_allows(
    life: Life, kind: Kind, style: str
) -> None:
    """At seven requests a minute and route: fifty lists of accounts take eight minutes, and all else goes beside."""
    life.write(dict(workloads.reference_organization(accounts=2, assistants=2, stores=1, files=1)))
    (life.root / "manifests.yaml").unlink()
    life.applied()
    life.emulator.set_options(admin_rpm=7, throttle_style=style)
    life.emulator.clear_requests()
    began = life.clock()
    assert pending(life.plan()) == []
    refused = [request for request in life.emulator.requests if request.status == 429]
    assert len(refused) <= 6
    assert life.clock() - began <= 50 / 7 * 60 + 60
