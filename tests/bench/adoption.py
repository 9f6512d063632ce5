"""Measures taking over an existing organization: an export, and a Terraform state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.bench.results import Figure, Results
from tests.bench.stage import Stage, Usage

OBJECTS = 5_000
_HANDMADE = {
    "projects": 20,
    "service_accounts_per_project": 58,
    "users_per_project": 5,
    "assistants": 3_200,
    "vector_stores": 500,
}
"""About `OBJECTS` objects, which nobody has marked."""
_PROJECTS = 25
_SOURCE = 'provider["registry.terraform.io/openai/openai"]'


def adoption(folder: Path, results: Results) -> None:
    """An export of an organization, and the import of a state of Terraform."""
    _export(folder / "export", results)
    _terraform(folder / "terraform", results)


def _export(folder: Path, results: Results) -> None:
    with Stage(folder) as stage:
        stage.control("POST", "seed", _HANDMADE)
        runs: list[Usage] = []
        for _ in range(3):
            stage.forget_requests()
            runs.append(stage.run("export"))
            (stage.folder / "reconciler.yaml").unlink()
            shutil.rmtree(stage.folder / "manifests")
            shutil.rmtree(stage.folder / ".reconciler")
        calls = len(stage.requests())
    used = min(runs, key=lambda run: run.cpu_seconds)
    about = f"export, {OBJECTS:,} objects"
    results.add(
        Figure(f"{about}: client CPU", used.cpu_seconds, "s", 3.0, used.out.splitlines()[0]),
        Figure(f"{about}: peak memory", used.peak_mb, "MB", 200),
        Figure(f"{about}: calls", calls, "calls"),
        Figure(f"{about}: wall", used.wall_seconds, "s"),
    )


def _terraform(folder: Path, results: Results) -> None:
    with Stage(folder) as stage:
        stage.write({"terraform.tfstate": json.dumps(_state(OBJECTS))})
        runs = []
        for number in range(3):
            out = f"manifests-{number}"
            arguments = ("import", "--from-terraform", "terraform.tfstate", "--out", out)
            runs.append(stage.run("-C", f"stack-{number}", *_absolute(stage, arguments)))
    used = min(runs, key=lambda run: run.wall_seconds)
    about = f"import --from-terraform, {OBJECTS:,} instances"
    results.add(
        Figure(f"{about}: wall", used.wall_seconds, "s", 5.0, used.out.splitlines()[0]),
        Figure(f"{about}: client CPU", used.cpu_seconds, "s"),
        Figure(f"{about}: peak memory", used.peak_mb, "MB"),
    )


def _absolute(stage: Stage, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments for a stack in a folder of its own, which is made."""
    place = stage.folder / arguments[arguments.index("--out") + 1].replace("manifests", "stack")
    place.mkdir(exist_ok=True)
    state = str(stage.folder / "terraform.tfstate")
    return tuple(state if word == "terraform.tfstate" else word for word in arguments)


def _state(instances: int) -> dict[str, object]:
    """A state with so many instances: projects, and service accounts by `for_each`."""
    projects = [_project(number) for number in range(_PROJECTS)]
    accounts = [_account(number) for number in range(instances - _PROJECTS)]
    return {
        "version": 4,
        "terraform_version": "1.11.4",
        "serial": 1,
        "lineage": "5d2f0f2e-54f5-4b5d-9d44-8d1f6f4c0f11",
        "outputs": {},
        "resources": [
            _resource("openai_project", "teams", projects),
            _resource("openai_project_service_account", "accounts", accounts),
        ],
        "check_results": None,
    }


def _resource(type: str, name: str, instances: list[dict[str, object]]) -> dict[str, object]:
    return {
        "mode": "managed",
        "type": type,
        "name": name,
        "provider": _SOURCE,
        "instances": instances,
    }


def _project(number: int) -> dict[str, object]:
    attributes = {"id": f"proj_{number:04}", "name": f"Team {number}", "status": "active"}
    return _instance(f"team-{number}", attributes)


def _account(number: int) -> dict[str, object]:
    project = f"proj_{number % _PROJECTS:04}"
    attributes = {
        "id": f"svc_acct_{number:05}",
        "service_account_id": f"svc_acct_{number:05}",
        "project_id": project,
        "name": f"Account {number}",
        "role": "member",
    }
    return _instance(f"account-{number}", attributes)


def _instance(key: str, attributes: dict[str, str]) -> dict[str, object]:
    return {
        "index_key": key,
        "schema_version": 0,
        "sensitive_attributes": [],
        "attributes": attributes,
    }
