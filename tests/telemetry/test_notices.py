"""Notices are announced once, at the right time, in the right words."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import StateError
from reconciler.model.change import OutcomeStatus
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.secret import Redactor, Secret
from reconciler.telemetry.announcing import AnnouncingRecorder
from reconciler.telemetry.notices import (
    MAX_CHARACTERS,
    Announcer,
    Notice,
    NoticeSeverity,
    notice_of,
)
from reconciler.telemetry.recorder import NoRecorder
from reconciler.telemetry.topics import Event, Topic
from tests.telemetry.stacks import applied, change, drift, plan, result, rotation, stack_id

TOKEN = "T0KENabcdefghij"


@dataclass
class Wall:
    """A target that keeps its messages while it is up."""

    id: str = "wall"
    is_up: bool = True
    notices: list[Notice] = field(default_factory=list)

    def send(self, notice: Notice) -> bool:
        self.notices.append(notice)
        return self.is_up

    @property
    def titles(self) -> list[str]:
        return [notice.title.removeprefix("reconciler: ") for notice in self.notices]


class Memory:
    """A memory of this process."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, dict[str, str]]] = {}
        self.reads = self.writes = 0

    def announced(self, target: str) -> Mapping[str, Mapping[str, str]]:
        self.reads += 1
        return self.states.get(target, {})

    def announce(self, target: str, states: Mapping[str, Mapping[str, str]]) -> None:
        self.writes += 1
        known = self.states.setdefault(target, {})
        known.update({stack: dict(topics) for stack, topics in states.items()})


@dataclass
class Watch:
    """Runs of a fleet, one announcer each, as processes of CI are."""

    walls: list[Wall]
    memory: Memory = field(default_factory=Memory)

    def run(self, *results: StackResult) -> int:
        announcer = Announcer(self.walls, self.memory, redact=Redactor([Secret(TOKEN)]))
        for each in results:
            announcer.add(each)
        return announcer.announce()


@pytest.fixture
def wall() -> Wall:
    """A target."""
    return Wall()


@pytest.fixture
def watch(wall: Wall) -> Watch:
    """Runs with one target."""
    return Watch([wall])


def drifted(*names: str, **fields: object) -> StackResult:
    """A run that found drift of objects."""
    return result(StackStatus.DRIFTED, plan=plan(drifts=tuple(map(drift, names))), **fields)


def in_sync(**fields: object) -> StackResult:
    """A run that found nothing."""
    return result(StackStatus.IN_SYNC, plan=plan(), **fields)


def failed(reason: str = "ApiFailed", **fields: object) -> StackResult:
    """A run that failed."""
    fields = {"message": "The API answered 500.", **fields}
    return result(StackStatus.FAILED, reason=reason, **fields)


def test_drift_is_announced_once_and_its_end_once(watch: Watch, wall: Wall) -> None:
    for found in (drifted("bot"), drifted("bot"), in_sync(), in_sync(), drifted("bot")):
        watch.run(found)
    assert wall.titles == ["1 drifted", "1 without drift again", "1 drifted"]


def test_a_stack_in_sync_is_no_news(watch: Watch, wall: Wall) -> None:
    watch.run(in_sync())
    assert wall.notices == []


def test_drift_of_a_further_object_is_news_and_less_drift_is_not(watch: Watch, wall: Wall) -> None:
    for found in (drifted("a", "b"), drifted("a"), drifted("a", "c")):
        watch.run(found)
    assert wall.titles == ["1 drifted", "1 drifted"]
    assert "VectorStore/c" in wall.notices[-1].body


@pytest.mark.parametrize(
    "between",
    [
        failed(),
        result(StackStatus.LOCKED, reason="Locked"),
        result(StackStatus.INTERRUPTED, reason="Interrupted"),
        result(StackStatus.DRIFTED, reason="DependencyNotApplied"),
        result(StackStatus.DRIFTED, plan=plan(change(blocked="unreadable"))),
    ],
)
def test_a_run_that_saw_nothing_ends_no_drift(
    watch: Watch, wall: Wall, between: StackResult
) -> None:
    watch.run(drifted("bot"))
    watch.run(between)
    watch.run(drifted("bot"))
    assert wall.titles.count("1 drifted") == 1
    assert not any("without drift" in title for title in wall.titles)


def test_an_apply_ends_the_drift_that_it_sets_right(watch: Watch, wall: Wall) -> None:
    planned = plan(change(name="bot"), drifts=(drift("bot"),))
    outcomes = applied(planned, OutcomeStatus.APPLIED)
    watch.run(drifted("bot"))
    watch.run(result(StackStatus.APPLIED, command=Command.APPLY, plan=planned, result=outcomes))
    assert wall.titles == ["1 drifted", "1 without drift again"]


def test_a_failed_apply_is_over_with_the_next_that_works(watch: Watch, wall: Wall) -> None:
    pending = plan(change())
    watch.run(failed(command=Command.APPLY))
    watch.run(result(StackStatus.PENDING, command=Command.DRIFT, plan=pending))
    watch.run(result(StackStatus.PENDING, command=Command.PLAN, plan=pending))
    assert wall.titles == ["1 failed"]
    watch.run(result(StackStatus.APPLIED, command=Command.APPLY, plan=pending))
    assert wall.titles == ["1 failed", "1 working again"]


def test_a_failed_drift_is_over_with_the_next_that_works(watch: Watch, wall: Wall) -> None:
    for found in (failed(), failed(), drifted("bot")):
        watch.run(found)
    assert wall.titles == ["1 failed", "1 drifted, 1 working again"]


def test_the_same_failure_of_another_command_is_no_news(watch: Watch, wall: Wall) -> None:
    watch.run(failed(command=Command.APPLY))
    watch.run(failed(command=Command.DRIFT))
    watch.run(result(StackStatus.PENDING, command=Command.DRIFT, plan=plan(change())))
    assert wall.titles == ["1 failed"]


def test_another_reason_to_fail_is_news(watch: Watch, wall: Wall) -> None:
    for found in (failed("ApiFailed"), failed("ApiFailed"), failed("KeyRefused")):
        watch.run(found)
    assert wall.titles == ["1 failed", "1 failed"]


def test_each_refused_plan_is_announced_once(watch: Watch, wall: Wall) -> None:
    def refused(digest: str) -> StackResult:
        return result(
            StackStatus.REFUSED,
            command=Command.PLAN,
            reason="GuardRefused",
            plan=plan(refusals=("5 of 6 objects would be deleted",)),
            digest=digest,
        )

    for found in (refused("a"), refused("a"), drifted("bot"), refused("a"), refused("b")):
        watch.run(found)
    assert wall.titles == ["1 refused", "1 drifted", "1 without drift again", "1 refused"]
    assert "5 of 6 objects would be deleted" in wall.notices[0].body


def test_a_plan_that_waits_for_approval_is_announced_by_its_digest(
    watch: Watch, wall: Wall
) -> None:
    def waiting(digest: str) -> StackResult:
        return result(
            StackStatus.REFUSED,
            command=Command.APPLY,
            reason="ApprovalMissing",
            plan=plan(change()),
            digest=digest,
        )

    for found in (waiting("abc"), waiting("abc"), waiting("def")):
        watch.run(found)
    assert wall.titles == ["1 waiting for approval", "1 waiting for approval"]
    assert "plan abc" in wall.notices[0].body


def test_overdue_keys_are_announced_once(watch: Watch, wall: Wall) -> None:
    late = plan(change(keys=(rotation(is_due=True),)))
    for _ in range(2):
        watch.run(result(StackStatus.DRIFTED, plan=late))
    watch.run(in_sync())
    watch.run(result(StackStatus.DRIFTED, plan=late))
    assert wall.titles == ["1 with overdue keys", "1 with overdue keys"]


def test_many_stacks_that_fail_together_are_one_message(watch: Watch, wall: Wall) -> None:
    watch.run(*(failed(id=stack_id(f"stack-{number:03}")) for number in range(500)))
    (notice,) = wall.notices
    assert notice.title == "reconciler: 500 failed"
    assert notice.body.splitlines()[-1] == "… and 480 more"
    assert len(notice.body) <= MAX_CHARACTERS
    assert notice.severity is NoticeSeverity.FAILURE


def test_long_names_leave_room_for_fewer_stacks(watch: Watch, wall: Wall) -> None:
    watch.run(*(failed(id=stack_id(f"{number:02}-{'x' * 200}")) for number in range(20)))
    (notice,) = wall.notices
    *stacks, last = notice.body.splitlines()
    assert len(notice.body) <= MAX_CHARACTERS
    assert last == f"… and {20 - len(stacks)} more"


def test_a_round_without_runs_leaves_the_memory_alone(watch: Watch) -> None:
    watch.run()
    assert watch.memory.reads == 0


def test_a_run_without_news_writes_nothing(watch: Watch) -> None:
    watch.run(drifted("bot"))
    writes = watch.memory.writes
    watch.run(drifted("bot"))
    assert (writes, watch.memory.writes) == (1, 1)


def test_the_worst_comes_first() -> None:
    events = [
        Event(stack_id("a"), Topic.DRIFT, is_over=True),
        Event(stack_id("b"), Topic.OVERDUE),
        Event(stack_id("c"), Topic.FAILED),
    ]
    notice = notice_of(events, redact=str, link="https://ci.example/1")
    names = [line.partition(" ")[0] for line in notice.body.splitlines()]
    assert names == ["stacks/c", "stacks/b", "stacks/a", "Run:"]
    assert notice.title == "reconciler: 1 failed, 1 with overdue keys, 1 without drift again"


def test_a_target_that_was_down_hears_it_with_the_next_run(wall: Wall) -> None:
    other = Wall("other")
    watch = Watch([wall, other])
    wall.is_up = False
    assert watch.run(drifted("bot")) == 1
    wall.is_up = True
    assert watch.run(drifted("bot")) == 0
    assert wall.titles == ["1 drifted", "1 drifted"]
    assert other.titles == ["1 drifted"]


def test_a_run_that_dies_before_it_remembers_repeats_its_message(wall: Wall) -> None:
    class Dying(Memory):
        def announce(self, target: str, states: Mapping[str, Mapping[str, str]]) -> None:
            raise StateError("killed")

    watch = Watch([wall], Dying())
    with pytest.raises(StateError):
        watch.run(drifted("bot"))
    watch.memory = Memory()
    watch.run(drifted("bot"))
    watch.run(drifted("bot"))
    assert wall.titles == ["1 drifted", "1 drifted"]


def test_a_plan_and_its_apply_in_one_run_are_one_change(watch: Watch, wall: Wall) -> None:
    planned = plan(change(name="bot"), drifts=(drift("bot"),))
    outcomes = applied(planned, OutcomeStatus.APPLIED)
    watch.run(
        result(StackStatus.DRIFTED, command=Command.PLAN, plan=planned),
        result(StackStatus.APPLIED, command=Command.APPLY, plan=planned, result=outcomes),
    )
    assert wall.notices == []


@pytest.mark.parametrize(
    "hostile",
    [
        "@everyone look",
        "<!channel>",
        "[click](https://evil.example)",
        "a\nb\x1b[2J",
        f"key {TOKEN}",
    ],
)
def test_untrusted_text_calls_nobody_and_links_nowhere(
    watch: Watch, wall: Wall, hostile: str
) -> None:
    watch.run(failed(message=hostile, id=StackId(hostile, hostile)))
    (notice,) = wall.notices
    text = notice.title + notice.body
    assert "@everyone" not in text
    assert "!channel" not in text
    assert "https://" not in text
    assert "\x1b" not in text
    assert TOKEN not in text
    assert len(notice.body.splitlines()) == 1


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(Topic), st.text(max_size=300)), min_size=1))
def test_a_message_is_bounded_whatever_it_says(events: list[tuple[Topic, str]]) -> None:
    notice = notice_of(
        [Event(StackId(text, text), topic, text) for topic, text in events], redact=str
    )
    assert len(notice.body) <= MAX_CHARACTERS
    assert len(notice.title) <= 200


def test_a_process_that_goes_on_announces_by_itself(wall: Wall) -> None:
    heard = threading.Event()
    announcer = Announcer([wall], Memory(), redact=str, on_sent=lambda _: heard.set())
    recorder = AnnouncingRecorder(NoRecorder(), announcer, redact=str, round_seconds=0.01)
    recorder.record(drifted("bot"))
    assert heard.wait(30)
    recorder.record(in_sync())
    recorder.close()
    assert wall.titles == ["1 drifted", "1 without drift again"]


def test_a_process_that_ends_announces_the_remaining_changes(wall: Wall) -> None:
    announcer = Announcer([wall], Memory(), redact=str)
    recorder = AnnouncingRecorder(NoRecorder(), announcer, redact=str)
    recorder.record(drifted("bot"))
    recorder.close()
    assert wall.titles == ["1 drifted"]
