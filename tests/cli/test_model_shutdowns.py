"""A model that ends soon is named with its date and its uses, without a call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from reconciler.api.transport.base_url import DEFAULT_BASE_URL
from reconciler.app.model_shutdowns import SHUTDOWNS, shutdown_of, shutdown_warnings
from reconciler.emulator.models import MODELS, Model
from reconciler.model.diagnostic import Diagnostic
from tests.conftest import Workspace
from tests.manifests.conftest import Folder, folder

__all__ = ["folder"]
ROOT = Path(__file__).parents[2]

AGENT = "kind: Agent\nmetadata: {name: bot}\nspec:\n  name: Bot\n  model: gpt-4o-2024-08-06\n"


def warnings(folder: Folder, *, today: date, base_url: str = DEFAULT_BASE_URL) -> list[Diagnostic]:
    return shutdown_warnings(folder.load().resources, base_url=base_url, today=today)


def test_a_model_that_ends_soon_is_named_with_date_and_place(folder: Folder) -> None:
    folder.write({"a.yaml": AGENT})
    [warning] = warnings(folder, today=date(2027, 1, 4))
    assert warning.summary == ("The model gpt-4o-2024-08-06 shuts down on 2027-01-14, in 10 days")
    assert str(warning.location) == "a.yaml:5:10"


def test_a_model_that_has_ended_is_named(folder: Folder) -> None:
    folder.write({"a.yaml": AGENT})
    [warning] = warnings(folder, today=date(2027, 2, 1))
    assert "was shut down on 2027-01-14" in warning.summary


def test_an_end_that_is_far_away_is_not_mentioned(folder: Folder) -> None:
    folder.write({"a.yaml": AGENT})
    assert warnings(folder, today=date(2026, 9, 1)) == []


def test_rate_limits_of_an_ending_model_are_not_mentioned(folder: Folder) -> None:
    folder.write(
        {
            "a.yaml": "kind: RateLimit\nmetadata: {name: a, project: p}\n"
            "spec: {model: gpt-4o, max_requests_per_1_minute: 1}\n",
            "reconciler.yaml": "kind: Stack\nspec: {projects: {p: proj_1}}\n",
        }
    )
    assert warnings(folder, today=date(2027, 1, 4)) == []


def test_other_servers_get_no_warning(folder: Folder) -> None:
    folder.write({"a.yaml": AGENT})
    assert warnings(folder, today=date(2027, 1, 4), base_url="http://127.0.0.1:1/v1") == []


def test_validate_warns_without_a_key(workspace: Workspace) -> None:
    workspace.write({"a.yaml": AGENT.replace("gpt-4o-2024-08-06", "gpt-4")})
    workspace.variables = {
        "OPENAI_BASE_URL": "",
        "OPENAI_ADMIN_KEY": "",
        "OPENAI_API_KEY": "",
    }
    assert "The model gpt-4 was shut down on 2026-10-23" in workspace.run("validate", expect=0).err


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_the_dates_are_those_of_the_emulated_models(model: Model) -> None:
    end = shutdown_of(model.id)
    shown = None if end is None else str(end)
    assert shown == model.shutdown_date


LASTING = date(2027, 3, 31)
TUNING = ("fine-tuning-job.md", "checkpoint-permission.md")
"""Pages about fine-tuning: the models that can be tuned end earlier, and have no successors."""


def pages() -> Iterator[Path]:
    for place in ("docs", "examples"):
        yield from (ROOT / place).rglob("*.md")
        yield from (ROOT / place).rglob("*.yaml")
    yield ROOT / "README.md"


def test_docs_and_examples_name_models_that_last() -> None:
    names = "|".join(sorted(map(re.escape, SHUTDOWNS), key=len, reverse=True))
    model = re.compile(rf"(?<![\w.-])({names})(-\d{{4}}-\d\d-\d\d)?(?![\w-]|\.\d)")
    ending = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in pages()
        if path.name not in TUNING and "coverage" not in path.name
        for match in model.finditer(path.read_text(encoding="utf-8"))
        if (shutdown_of(match[0]) or LASTING) <= LASTING
    ]
    assert ending == []
