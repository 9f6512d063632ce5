"""Saved plans apply only to the state and manifests that they were made from, unedited."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.conftest import Inside
from tests.security.platform import MANIFESTS, Platform, manifest, write

BOT = {"Assistant/bot": MANIFESTS["Assistant/bot"]}
ENVIRONMENTS = "kind: Stack\nmetadata: {name: acme}\nspec: {manifests: [m/], environments: {dev: {}, prod: {}}}\n"

Change = Callable[[Inside], object]


def edit(change: Callable[[str], str]) -> Change:
    """An edit of the plan file."""

    def edited(inside: Inside) -> None:
        path = inside.folder / "p.json"
        path.write_text(change(path.read_text()))

    return edited


def newer(text: str) -> str:
    view = json.loads(text)
    view["reconciler"]["plan_format"] += 1
    return json.dumps(view)


REFUSALS: dict[str, tuple[Change, tuple[str, ...], int, str]] = {
    "other manifests": (
        lambda inside: write(
            inside,
            {**BOT, "Agent/helper": MANIFESTS["Agent/helper"]},
            **{"reconciler.yaml": ENVIRONMENTS},
        ),
        (),
        10,
        "the manifests changed since the plan was made",
    ),
    "other stack": (
        lambda inside: inside.write({"reconciler.yaml": ENVIRONMENTS.replace("acme", "umbrella")}),
        (),
        10,
        "the plan is of acme/dev, and this is umbrella/dev",
    ),
    "other environment": (
        lambda _: None,
        ("-e", "prod"),
        10,
        "the plan is of acme/dev, and this is acme/prod",
    ),
    "other state": (
        lambda inside: inside.apply("-e", "dev"),
        (),
        10,
        "the state has moved on since the plan was made (serial 0",
    ),
    "other server": (
        lambda _: None,
        ("--base-url", "http://127.0.0.1:9/v1"),
        10,
        "and this is http://127.0.0.1:9/v1",
    ),
    "newer format": (edit(newer), (), 10, "saved by a newer version of reconciler"),
    "edited": (
        edit(lambda text: text.replace("Be kind.", "Be rude.")),
        (),
        1,
        "changed after it was saved",
    ),
    "cut": (edit(lambda text: text[: len(text) // 2]), (), 1, "it is not JSON"),
    "not a plan": (edit(lambda _: "{}"), (), 1, "the file is not a saved plan"),
}


@pytest.mark.parametrize(
    ("change", "options", "code", "sentence"), REFUSALS.values(), ids=REFUSALS.keys()
)
def test_a_saved_plan_is_refused_with_a_sentence_of_its_own(
    inside: Inside, change: Change, options: tuple[str, ...], code: int, sentence: str
) -> None:
    write(inside, BOT, **{"reconciler.yaml": ENVIRONMENTS}).run(
        "plan", "-e", "dev", "--out", "p.json", expect=0
    )
    change(inside)
    before = len(Platform(inside).all("Assistant"))
    environment = () if "-e" in options else ("-e", "dev")
    done = inside.run("apply", "p.json", *environment, *options, expect=code)
    assert sentence in done.err
    assert len(Platform(inside).all("Assistant")) == before


def test_the_guards_are_asked_again_when_a_saved_plan_is_applied(inside: Inside) -> None:
    inside.write(
        {"m.yaml": manifest("Assistant/bot", MANIFESTS["Assistant/bot"], "{prevent_destroy: true}")}
    ).apply()
    allow = ("--allow-delete", "Assistant/bot")
    inside.run("plan", "--destroy", "--out", "p.json", expect=11)
    assert not (inside.folder / "p.json").exists()
    inside.run("plan", "--destroy", "--out", "p.json", *allow, expect=0)
    assert allow[0] in inside.run("apply", "p.json", expect=11).err
    inside.run("apply", "p.json", *allow, expect=0)
    assert Platform(inside).all("Assistant") == []


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_a_link_that_a_checkout_brought_is_not_written_through(
    inside: Inside, tmp_path: Path, option: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (inside.folder / "p.json").symlink_to(precious)
    (inside.folder / "out").symlink_to(tmp_path)
    write(inside, BOT)
    suffix = ":json" if option == "--report" else ""
    assert "symbolic link" in inside.run("plan", option, f"p.json{suffix}", expect=1).err
    assert "symbolic link" in inside.run("plan", option, f"out/precious{suffix}", expect=1).err
    assert precious.read_text() == "mine"
    assert inside.emulator.requests == []


def test_a_report_can_go_to_standard_output(inside: Inside) -> None:
    write(inside, BOT).run("plan", "--report", "/dev/null:json", expect=0)
