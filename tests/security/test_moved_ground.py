"""An object that changed since the plan is left alone, and the rest is applied."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.security.conftest import Inside
from tests.security.platform import MANIFESTS, Platform, manifest, outcomes, write

UPDATED = {
    **MANIFESTS,
    "RateLimit/search/main": "{model: gpt-4.1, max_requests_per_1_minute: 400}",
    "ServiceAccount/search/ci": "{name: ci, role: owner}",
    "VectorStore/docs": "{name: Docs 2}",
    "Assistant/bot": "{name: Bot, model: gpt-4o, instructions: Be very kind.}",
    "Assistant/quiet": "{name: Quiet, model: gpt-4o, instructions: Say less.}",
    "Agent/helper": "{name: Helper, model: gpt-5.1, instructions: Help more.}",
}
OUTSIDE: dict[str, dict[str, object]] = {
    "ServiceAccount/search/ci": {"name": "theirs"},
    "RateLimit/search/main": {"max_requests_per_1_minute": 7},
    "VectorStore/docs": {"name": "theirs"},
    "Assistant/bot": {"name": "theirs"},
    "Agent/helper": {"name": "theirs"},
}
"""What somebody else does to each object that can be changed in place."""
PROJECT = {"Project/search": "{name: Search}"}
ADOPTABLE = {
    "ServiceAccount/search/ci": {"name": "ci"},
    "VectorStore/docs": {"name": "Docs"},
    "Assistant/bot": {"name": "Bot", "model": "gpt-4o", "instructions": "Be kind."},
    "Agent/helper": {"name": "Helper", "model": "gpt-5.1", "instructions": "Help."},
}
"""Objects of somebody else that look like those of the manifests."""


@pytest.fixture
def platform(inside: Inside) -> Platform:
    return Platform(write(inside, MANIFESTS))


def kind_of(address: str) -> str:
    return address.partition("/")[0]


def move(
    platform: Platform, ids: Mapping[str, str], moves: Mapping[str, Mapping[str, object]] = OUTSIDE
) -> None:
    for address, fields in moves.items():
        platform.change(kind_of(address), ids[address].rpartition("/")[2], **fields)


def statuses(found: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    return {address: item["status"] for address, item in found.items()}


def test_no_kind_is_updated_once_it_moved_and_what_did_not_move_is(platform: Platform) -> None:
    platform.workspace.apply()
    workspace = write(platform.workspace, UPDATED)
    workspace.run("plan", "--out", "p.json", expect=0)
    move(platform, platform.ids())
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert statuses(found) == {**dict.fromkeys(OUTSIDE, "stale"), "Assistant/quiet": "applied"}
    shown = {
        a: [(part["path"], part["before"], part["after"]) for part in found[a]["moved"]]
        for a in OUTSIDE
    }
    assert shown["RateLimit/search/main"] == [("max_requests_per_1_minute", 300, 7)]
    assert shown["ServiceAccount/search/ci"] == [("name", "ci", "theirs")]
    assert all(fields for fields in shown.values())


def test_no_kind_is_deleted_or_forgotten_once_it_moved(platform: Platform) -> None:
    kept = {"Assistant/bot", "Agent/helper", "VectorStore/docs"}
    specs = {address: spec for address, spec in MANIFESTS.items() if address not in kept}
    retained = {
        f"m/kept-{kind_of(a)}.yaml": manifest(a, MANIFESTS[a], "{on_remove: retain}") for a in kept
    }
    workspace = write(platform.workspace, specs, **retained)
    workspace.apply()
    ids = platform.ids()
    workspace.run("plan", "--destroy", "--out", "p.json", expect=0)
    move(platform, ids)
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert {address: found[address]["status"] for address in OUTSIDE} == dict.fromkeys(
        OUTSIDE, "stale"
    )
    assert {address: found[address]["action"] for address in kept} == dict.fromkeys(kept, "forget")
    assert found["Assistant/quiet"]["status"] == "applied"
    assert platform.ids().keys() >= OUTSIDE.keys()


def test_no_kind_is_replaced_once_it_moved(platform: Platform) -> None:
    platform.workspace.apply()
    ids = platform.ids()
    replaced = [word for address in OUTSIDE for word in ("--replace", address)]
    platform.workspace.run("plan", "--out", "p.json", *replaced, expect=0)
    move(platform, ids)
    found = outcomes(platform.workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert statuses(found) == dict.fromkeys(OUTSIDE, "stale")
    assert platform.ids() == ids


def test_a_replacement_that_makes_the_new_one_first_makes_none_once_the_old_one_moved(
    platform: Platform,
) -> None:
    specs = {"Assistant/bot": MANIFESTS["Assistant/bot"]}
    workspace = write(platform.workspace, specs, "{create_before_destroy: true}")
    workspace.apply()
    workspace.run("plan", "--out", "p.json", "--replace", "Assistant/bot", expect=0)
    move(platform, platform.ids(), {"Assistant/bot": {"name": "theirs"}})
    workspace.run("apply", "p.json", expect=10)
    assert [item["name"] for item in platform.all("Assistant")] == ["theirs"]


def test_no_kind_is_adopted_once_it_moved(platform: Platform) -> None:
    workspace = write(platform.workspace, PROJECT)
    workspace.apply()
    ids = {
        address: platform.make(kind_of(address), **fields) for address, fields in ADOPTABLE.items()
    }
    write(workspace, PROJECT | {address: MANIFESTS[address] for address in ADOPTABLE})
    workspace.run("plan", "--adopt", "--out", "p.json", expect=0)
    move(platform, ids, {address: {"name": "theirs"} for address in ADOPTABLE})
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert {
        address: (item["action"], item["status"]) for address, item in found.items()
    } == dict.fromkeys(ADOPTABLE, ("adopt", "stale"))
    assert platform.ids().keys() == PROJECT.keys()


def test_no_second_object_is_made_where_somebody_made_one_since_the_plan(
    platform: Platform,
) -> None:
    workspace = write(platform.workspace, PROJECT)
    workspace.apply()
    write(workspace, MANIFESTS | {"Project/other": "{name: Other}"})
    workspace.run("plan", "--out", "p.json", expect=0)
    theirs = {
        address: platform.make(kind_of(address), **fields) for address, fields in ADOPTABLE.items()
    }
    theirs |= {
        "File/notes": platform.upload("notes.txt", "one"),
        "Project/other": platform.make("Project", name="Other"),
    }
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert {
        address for address, item in found.items() if item["status"] == "stale"
    } == theirs.keys()
    assert all(theirs[address] in found[address]["message"] for address in theirs)
    assert (found["Assistant/quiet"]["status"], found["RateLimit/search/main"]["status"]) == (
        "applied",
        "applied",
    )


def test_a_deleted_object_is_not_updated_and_not_made_again(platform: Platform) -> None:
    platform.workspace.apply()
    workspace = write(platform.workspace, UPDATED)
    workspace.run("plan", "--out", "p.json", expect=0)
    platform.call("DELETE", f"/assistants/{platform.ids()['Assistant/bot']}")
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert "has been deleted since" in found["Assistant/bot"]["message"]
    assert {item["name"] for item in platform.all("Assistant")} == {"Quiet"}


def test_an_archived_project_is_not_updated_and_what_is_in_it_is_left_alone(
    platform: Platform,
) -> None:
    platform.workspace.apply()
    workspace = write(platform.workspace, UPDATED | {"Project/search": "{name: Search 2}"})
    workspace.run("plan", "--out", "p.json", expect=0)
    platform.call(
        "POST", f"{platform.collection('Project')}/{platform.ids()['Project/search']}/archive"
    )
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert "has been archived since" in found["Project/search"]["message"]
    assert found["RateLimit/search/main"]["status"] == "skipped"
    assert found["Assistant/bot"]["status"] == "applied"


def test_a_file_that_somebody_put_into_a_store_keeps_the_store_from_being_replaced(
    platform: Platform,
) -> None:
    specs = {"VectorStore/docs": "{name: Docs, files: [{path: notes.txt}]}"}
    workspace = write(platform.workspace, specs)
    workspace.apply()
    workspace.run("plan", "--out", "p.json", "--replace", "VectorStore/docs", expect=0)
    store = platform.ids()["VectorStore/docs"]
    theirs = platform.upload("theirs.txt", "two")
    platform.call("POST", f"/vector_stores/{store}/files", json={"file_id": theirs})
    done = workspace.run("apply", "p.json", expect=10)
    assert "files" in done.out
    assert [item["id"] for item in platform.all("VectorStore")] == [store]


def test_what_moved_is_shown_before_and_after_with_who_did_it(platform: Platform) -> None:
    platform.workspace.apply()
    workspace = write(platform.workspace, UPDATED)
    workspace.run("plan", "--out", "p.json", expect=0)
    move(platform, platform.ids(), {"ServiceAccount/search/ci": {"name": "theirs"}})
    done = workspace.run("apply", "p.json", "--report", "r.md:markdown", expect=10)
    report = (workspace.folder / "r.md").read_text()
    assert '"ci" → "theirs"' in done.out
    assert '- name: "ci"' in report
    assert '+ name: "theirs"' in report
    assert "service_account.updated by " in done.out
    assert "service" in report


def test_nobody_is_blamed_where_the_audit_log_knows_nothing(platform: Platform) -> None:
    platform.workspace.apply()
    workspace = write(platform.workspace, UPDATED)
    workspace.run("plan", "--out", "p.json", expect=0)
    move(platform, platform.ids(), {"Assistant/bot": {"name": "theirs"}})
    workspace.emulator.clear_requests()
    found = outcomes(workspace.run("apply", "p.json", "--format", "json", expect=10))
    assert found["Assistant/bot"]["blame"] is None
    assert not [item for item in workspace.emulator.requests if "audit_logs" in item.path]
