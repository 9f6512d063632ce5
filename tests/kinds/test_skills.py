"""A changed skill becomes a new default version, and each version is read once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.emulator import Emulator
from reconciler.kinds import KINDS
from reconciler.model.change import Action, OutcomeStatus, Plan
from tests.properties.bench import only, pending
from tests.properties.lifecycle import Clock, Life

WORDS, ENTRY = "skills/greeting/words/hello.txt", "skills/greeting/SKILL.md"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(clock=Clock()) as running:
        yield running


@pytest.fixture
def life(server: Emulator, tmp_path: Path) -> Life:
    found = Life(KINDS["Skill"], server, Clock(), tmp_path / "stack")
    found.applied()
    server.clear_requests()
    return found


@pytest.fixture
def http(server: Emulator) -> Iterator[httpx.Client]:
    """What somebody else does to the skill."""
    headers = {"Authorization": f"Bearer {server.api_key}"}
    with httpx.Client(base_url=server.base_url, headers=headers, verify=False) as client:
        yield client


def skill(life: Life) -> dict[str, Any]:
    (one,) = life.emulator.store.all("skill")
    return {"id": one.id, **one.body}


def contents(life: Life, version: str) -> dict[str, bytes]:
    """The files of a version, as it is kept."""
    kept = next(
        one for one in life.emulator.store.all("skill_version") if one.body["version"] == version
    )
    with zipfile.ZipFile(io.BytesIO(kept.hidden["content"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def downloads(life: Life) -> int:
    return sum(request.path.endswith("/content") for request in life.emulator.requests)


def upload(http: httpx.Client, life: Life, words: str, **fields: str) -> None:
    """Somebody adds a version whose words are these."""
    files = {"SKILL.md": life.texts[ENTRY], "words/hello.txt": words}
    parts = [("files[]", (f"greeting/{name}", text.encode())) for name, text in files.items()]
    http.post(f"/skills/{skill(life)['id']}/versions", files=parts, data=fields).raise_for_status()


def test_a_changed_file_makes_a_version_that_counts_and_leaves_the_old_one(life: Life) -> None:
    before = skill(life)
    life.write({WORDS: "Hi\n"})
    change = only(life.plan())
    assert (change.action, [field.dotted for field in change.fields]) == (
        Action.UPDATE,
        ['files["words/hello.txt"].sha256'],
    )
    life.applied()
    assert (skill(life)["id"], skill(life)["default_version"]) == (before["id"], "2")
    assert contents(life, "1")["greeting/words/hello.txt"] == b"Hello\n"
    assert contents(life, "2") == {
        "greeting/SKILL.md": life.texts[ENTRY].encode(),
        "greeting/words/hello.txt": b"Hi\n",
    }


def test_a_plan_downloads_nothing_while_the_version_that_we_left_counts(life: Life) -> None:
    assert pending(life.plan()) == []
    assert [request.path for request in life.emulator.requests] == [f"/skills/{skill(life)['id']}"]


def test_another_pointer_is_drift_of_files_and_is_put_back(life: Life, http: httpx.Client) -> None:
    upload(http, life, "Bye\n", default="true")
    change = only(life.plan())
    assert (change.action, [field.dotted for field in change.fields]) == (
        Action.UPDATE,
        ['files["words/hello.txt"].sha256'],
    )
    life.applied()
    assert contents(life, skill(life)["default_version"])["greeting/words/hello.txt"] == b"Hello\n"


def test_another_version_that_does_not_count_is_no_difference(
    life: Life, http: httpx.Client
) -> None:
    upload(http, life, "Bye\n")
    assert pending(life.plan()) == []
    assert downloads(life) == 0


def test_a_version_with_the_same_files_is_no_difference_and_is_looked_into_once(
    life: Life, http: httpx.Client
) -> None:
    upload(http, life, "Hello\n", default="true")
    life.applied()
    seen = downloads(life)
    assert pending(life.plan()) == []
    assert (life.writes(), seen, downloads(life)) == (["POST"], 1, 1)


def test_what_was_looked_into_is_not_taken_for_what_another_version_holds(
    life: Life, http: httpx.Client
) -> None:
    life.write({WORDS: "Hi\n"})
    upload(http, life, "Hi\n", default="true")
    life.applied()
    http.post(f"/skills/{skill(life)['id']}", json={"default_version": "1"})
    assert [change.action for change in life.plan().changes] == [Action.UPDATE]


def test_a_lost_state_is_found_again_by_name_and_content(life: Life) -> None:
    life.forget()
    assert [str(one.address) for one in life.plan().diagnostics] == ["Skill/greeting"]
    life.apply(adopt=True)
    seen = downloads(life)
    assert pending(life.plan()) == []
    assert (life.writes(), downloads(life)) == ([], seen)


def test_files_that_the_api_does_not_give_out_are_as_we_left_them(
    life: Life, http: httpx.Client
) -> None:
    upload(http, life, "Bye\n", default="true")
    life.emulator.add_fault("on=GET:/skills/*/content,do=error:404,times=0")
    assert pending(life.plan()) == []


def test_a_version_whose_answer_was_lost_is_not_made_twice(life: Life) -> None:
    life.write({WORDS: "Hi\n"})
    life.emulator.add_fault("on=POST:/skills/*/versions,do=reset,when=after")
    life.applied()
    assert len(list(life.emulator.store.all("skill_version"))) == 2


def test_a_file_that_moved_since_the_plan_is_refused(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    life.write({WORDS: "Hi\n"})
    planned = Life._planned

    def moved(self: Life, *rest: Any, **options: Any) -> Plan:
        plan = planned(self, *rest, **options)
        self.write({WORDS: "Hey\n"})
        return plan

    monkeypatch.setattr(Life, "_planned", moved)
    (outcome,) = life.apply().outcomes
    assert outcome.status is OutcomeStatus.STALE
    assert life.writes() == []
