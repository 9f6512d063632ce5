"""GitLab: what is refused and why, and what a variable is made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from reconciler.errors import SinkError, SinkSetupError
from reconciler.model.secret import Secret
from tests.secrets.drivers.conftest import INDEXER, KEY, TOKEN, Run, delivered, refusal
from tests.servers import fake_gitlab
from tests.servers.fake_gitlab import READ_ONLY_TOKEN, FakeGitlab
from tests.servers.fake_http import FakeAnswer

PROJECT = "projects/acme/search"
TARGET = {"gitlab_variable": {"project": "acme/search", "name": "OPENAI_API_KEY"}}


@pytest.fixture
def server() -> Iterator[FakeGitlab]:
    with FakeGitlab() as running:
        yield running


@pytest.fixture
def env(server: FakeGitlab) -> dict[str, str]:
    return {"CI_API_V4_URL": server.address, "GITLAB_TOKEN": fake_gitlab.TOKEN}


def with_more(**more: Any) -> dict[str, Any]:
    return {"gitlab_variable": {**TARGET["gitlab_variable"], **more}}


def test_a_variable_is_masked_and_raw_and_names_its_owner(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    delivered(run(env), TARGET)
    (variable,) = server.variables[PROJECT]
    assert variable == {
        "key": "OPENAI_API_KEY",
        "value": KEY.reveal(),
        "description": f"reconciler: acme/prod/{INDEXER}",
        "masked": True,
        "hidden": False,
        "protected": False,
        "raw": True,
        "environment_scope": "*",
        "variable_type": "env_var",
    }


def test_the_same_name_in_two_scopes_is_two_variables(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    sinks, production = run(env), with_more(environment_scope="production", protected=True)
    delivered(sinks, TARGET)
    receipt = delivered(sinks, production)
    sinks.put(production, Secret(f"{KEY.reveal()}-2"), address=INDEXER, token="2" * 32)
    values = {one["environment_scope"]: one["value"] for one in server.variables[PROJECT]}
    assert values == {"*": KEY.reveal(), "production": f"{KEY.reveal()}-2"}
    sinks.withdraw(production, receipt, address=INDEXER)  # the receipt of the key before
    assert len(server.variables[PROJECT]) == 2


def test_a_group_can_hold_a_variable(run: Run, env: dict[str, str], server: FakeGitlab) -> None:
    delivered(run(env), {"gitlab_variable": {"group": "acme", "name": "A"}})
    assert [one["key"] for one in server.variables["groups/acme"]] == ["A"]


def test_a_hidden_variable_is_replaced_and_removed_although_nobody_can_read_it(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    target, sinks = with_more(hidden=True), run(env)
    delivered(sinks, target)
    assert sinks.recall(target, address=INDEXER) is None
    receipt = sinks.put(target, Secret("k" * 20), address=INDEXER, token=TOKEN)
    assert server.variables[PROJECT][0]["value"] == "k" * 20
    sinks.withdraw(target, receipt, address=INDEXER)
    assert server.variables[PROJECT] == []


def test_a_key_that_cannot_be_masked_is_refused_and_not_shown(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    with pytest.raises(SinkError, match="value is invalid") as refused:
        run(env).put(TARGET, Secret("two words of a key"), address=INDEXER, token=TOKEN)
    assert "two words" not in str(refused.value)
    assert server.variables[PROJECT] == []


def test_a_value_that_somebody_changed_is_not_removed(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    sinks = run(env)
    receipt = delivered(sinks, TARGET)
    server.variables[PROJECT][0]["value"] = "changed by hand"
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    assert server.variables[PROJECT][0]["value"] == "changed by hand"


def test_a_full_project_is_named(run: Run, env: dict[str, str], server: FakeGitlab) -> None:
    server.variables[PROJECT] = [
        {"key": f"V{number}", "environment_scope": "*"} for number in range(fake_gitlab.MOST)
    ]
    with pytest.raises(SinkError, match="Maximum number of variables"):
        delivered(run(env), TARGET)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"project": "acme/nowhere", "name": "A"}, "404 Project Not Found"),
        ({"group": "nobody", "name": "A"}, "404 Group Not Found"),
        ({"project": "acme/search", "name": "A-B"}, "is no name of a GitLab variable"),
        ({"project": "acme/../search", "name": "A"}, "is not a path in GitLab"),
        (
            {"project": "acme/search", "name": "A", "environment_scope": "a\nb"},
            "is no environment scope",
        ),
        ({"project": "acme/search", "name": "A", "hidden": True, "masked": False}, "is masked too"),
        ({"name": "A"}, "not of its form"),
    ],
    ids=str,
)
def test_a_target_that_does_not_exist_is_refused_during_the_plan(
    run: Run, env: dict[str, str], target: Mapping[str, Any], said: str
) -> None:
    assert said in refusal(run(env), {"gitlab_variable": target})


@pytest.mark.parametrize(
    ("token", "said"),
    [(READ_ONLY_TOKEN, "the role Maintainer"), ("glpat-wrong-token", "a token that is valid")],
    ids=["read-only", "unknown"],
)
def test_a_token_that_may_not_write_is_refused_during_the_plan(
    run: Run, env: dict[str, str], token: str, said: str
) -> None:
    told = refusal(run({**env, "GITLAB_TOKEN": token}), TARGET)
    assert (said in told, token in told) == (True, False)


@pytest.mark.parametrize(
    ("message", "explanation"),
    [
        ({"value": ["is invalid", None]}, ": value is invalid"),
        ({"value": "is invalid"}, ": value is invalid"),
        ({"value": None}, ": value"),
        (["is invalid", "is empty"], ": is invalid and is empty"),
        (None, ""),
    ],
    ids=str,
)
def test_a_refusal_explains_itself_whatever_the_form_of_its_message(
    run: Run, env: dict[str, str], server: FakeGitlab, message: Any, explanation: str
) -> None:
    server.before_answer = lambda _, __: FakeAnswer(400, {"message": message})
    with pytest.raises(SinkError) as refused:
        run(env).check(TARGET, address=INDEXER)
    assert f"(status 400{explanation})" in str(refused.value)


def test_the_token_of_a_job_is_used_where_there_is_no_other(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    job = {"CI_API_V4_URL": env["CI_API_V4_URL"], "CI_JOB_TOKEN": fake_gitlab.TOKEN}
    run(job).check(TARGET, address=INDEXER)
    run({**job, "GITLAB_TOKEN": fake_gitlab.TOKEN}).check(TARGET, address=INDEXER)
    used = [{"job-token", "private-token"} & set(request.headers) for request in server.requests]
    assert used == [{"job-token"}, {"private-token"}]


def test_a_missing_token_is_named(run: Run, env: dict[str, str]) -> None:
    with pytest.raises(SinkSetupError, match="GITLAB_TOKEN is not set"):
        run({"CI_API_V4_URL": env["CI_API_V4_URL"]}).check(TARGET, address=INDEXER)


def test_a_long_owner_is_shortened_and_still_recognised(
    run: Run, env: dict[str, str], server: FakeGitlab
) -> None:
    owner = f"{'long' * 60}/prod"
    delivered(run(env, owner=owner), TARGET)
    assert len(server.variables[PROJECT][0]["description"]) <= 255
    run(env, owner=owner).check(TARGET, address=INDEXER)
    assert "which would be lost" in refusal(run(env, owner=f"{'long' * 60}/prox"), TARGET)
