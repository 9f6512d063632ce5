"""A saved plan contains its variables, and names those that it must not contain."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.app.saved_plans import changed_inputs
from reconciler.manifests import GivenInputs
from reconciler.model.change import Plan
from tests.conftest import Workspace

STACK = """\
kind: Stack
metadata: {name: stack}
spec:
  variables:
    model: {default: gpt-4o}
    deploy_token: {default: none}
  env: [RECONCILER_VAR_STAGE]
"""
BOT = """\
kind: Assistant
metadata: {name: bot}
spec:
  name: Bot ${env.RECONCILER_VAR_STAGE}
  model: ${var.model}
  metadata: {token: "${var.deploy_token}"}
"""
TOKEN = "9f86d081884c7d659a2feaa0c55ad015"


@pytest.fixture
def stage(workspace: Workspace) -> Workspace:
    workspace.variables = {"RECONCILER_VAR_STAGE": "dev"}
    return workspace.write(
        {"reconciler.yaml": STACK, "manifests.yaml": BOT, "prod.yaml": "model: gpt-4.1\n"}
    )


def model(workspace: Workspace) -> str:
    with workspace.emulator.store.lock:
        [record] = workspace.emulator.store.all("assistant")
        return str(record.body["model"])


@pytest.mark.parametrize(
    "given", [("--var-file", "prod.yaml"), ("--var", "model=gpt-4.1")], ids=" ".join
)
def test_a_saved_plan_is_applied_without_its_variables(
    stage: Workspace, given: tuple[str, ...]
) -> None:
    stage.run("plan", *given, "--out", "p.json", expect=0)
    stage.run("apply", "p.json", expect=0)
    assert model(stage) == "gpt-4.1"


def test_a_saved_plan_is_applied_with_its_variables_given_again(stage: Workspace) -> None:
    stage.run("plan", "--var-file", "prod.yaml", "--out", "p.json", expect=0)
    stage.run("apply", "p.json", "--var-file", "prod.yaml", expect=0)


def test_a_saved_plan_with_another_value_names_the_variable(stage: Workspace) -> None:
    stage.run("plan", "--var", "model=gpt-4.1", "--out", "p.json", expect=0)
    refused = stage.run("apply", "p.json", "--var", "model=gpt-5", expect=10).err
    assert "the plan was made with other values of model (--var or --var-file)" in refused
    assert "Leave --var and --var-file out" in refused


def test_an_environment_variable_that_changed_is_named(stage: Workspace) -> None:
    stage.run("plan", "--out", "p.json", expect=0)
    stage.variables = {"RECONCILER_VAR_STAGE": "prod"}
    refused = stage.run("apply", "p.json", expect=10).err
    assert "the environment variables RECONCILER_VAR_STAGE" in refused
    assert "dev" not in refused


def test_values_that_look_like_secrets_are_requested_by_name(stage: Workspace) -> None:
    stage.run("plan", "--var", f"deploy_token={TOKEN}", "--out", "p.json", expect=0)
    refused = stage.run("apply", "p.json", expect=10).err
    assert "Give --var deploy_token=VALUE as it was given to `plan`" in refused
    assert TOKEN not in refused
    stage.run("apply", "p.json", "--var", f"deploy_token={TOKEN}", expect=0)


def test_changed_manifests_are_called_so(stage: Workspace) -> None:
    stage.run("plan", "--var", "model=gpt-4.1", "--out", "p.json", expect=0)
    stage.write({"manifests.yaml": BOT.replace("Bot", "Robot")})
    refused = stage.run("apply", "p.json", expect=10).err
    assert "the manifests changed since the plan was made" in refused


def test_a_variable_that_is_gone_makes_a_saved_plan_stale(stage: Workspace) -> None:
    stage.run("plan", "--var", "model=gpt-4.1", "--out", "p.json", expect=0)
    stage.write(
        {
            "reconciler.yaml": STACK.replace("    model: {default: gpt-4o}\n", ""),
            "manifests.yaml": BOT.replace("${var.model}", "gpt-4o"),
        }
    )
    stage.run("apply", "p.json", expect=10)


@pytest.mark.parametrize(
    ("saved", "given"),
    [({"note": None}, {}), ({}, {"note": None}), ({"note": 1}, {"note": True})],
    ids=str,
)
def test_a_variable_that_is_null_or_of_another_type_is_named(
    saved: dict[str, Any], given: dict[str, Any]
) -> None:
    error = changed_inputs(Plan("stack", "default", (), variables=saved), GivenInputs(given))
    assert "other values of note (--var or --var-file)" in str(error)
