"""What we send and what we are answered, through the whole story of the example, held against the description."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from reconciler.emulator.recorder import RequestRecord
from tests.conftest import Workspace
from tests.description import (
    DESCRIPTION,
    Description,
    mistakes_in_answers,
    mistakes_in_requests,
    needs_description,
    unknown_parameters,
)

pytestmark = needs_description
ACME = Path(__file__).parent.parent / "examples" / "acme"


@pytest.fixture(scope="module")
def description() -> Description:
    return Description(str(DESCRIPTION))


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RequestRecord]]:
    """Everything that applying, changing and destroying the example sends."""
    with Emulator() as emulator:
        workspace = Workspace(tmp_path_factory.mktemp("contract") / "acme", emulator)
        shutil.copytree(ACME, workspace.folder)
        workspace.apply("-e", "dev")
        prompt = workspace.folder / "prompts" / "support-bot.md"
        prompt.write_text(prompt.read_text() + "\nOne more rule.\n")
        (workspace.folder / "handbook" / "tone-of-voice.md").write_text("# Short\n")
        (workspace.folder / "handbook" / "orders" / "refunds.md").unlink()
        workspace.apply("-e", "dev", "--var", "support_model=gpt-4.1")
        workspace.run("drift", "-e", "dev", "--blame")
        workspace.run("destroy", "--yes", "-e", "dev")
        yield emulator.requests


def test_the_story_makes_calls_of_every_sort(records: list[RequestRecord]) -> None:
    assert {record.method for record in records if record.status == 200} == {
        "GET",
        "POST",
        "DELETE",
    }


def test_every_body_that_we_send_is_valid(
    records: list[RequestRecord], description: Description
) -> None:
    assert mistakes_in_requests(records, description) == []


def test_every_answer_that_we_get_is_valid(
    records: list[RequestRecord], description: Description
) -> None:
    assert mistakes_in_answers(records, description) == []


def test_every_parameter_that_we_send_is_known(
    records: list[RequestRecord], description: Description
) -> None:
    assert unknown_parameters(records, description) == []


def test_nothing_that_we_send_is_refused_as_invalid(records: list[RequestRecord]) -> None:
    assert [
        (r.method, r.path, r.response_body)
        for r in records
        if r.status in (400, 401, 403, 405, 422)
    ] == []
