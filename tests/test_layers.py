"""The arrows of ARCHITECTURE.md, held by reading the imports of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "reconciler"

ALLOWED = {
    "errors": {"model"},
    "model": {"errors", "model"},
    "kinds": {"model", "kinds"},
    "cel": {"model", "cel"},
    "policies": {"errors", "model", "cel", "rules", "policies"},
    "rules": {"model", "cel", "rules"},
    "manifests": {"errors", "model", "kinds", "rules", "manifests"},
    "engine": {"errors", "model", "state", "engine"},
    "state": {"errors", "model", "state"},
    "api": {"errors", "model", "api"},
    "checks": {"errors", "model", "rules", "api", "checks"},
    "secrets": {"errors", "model", "secrets"},
    "hosts": {"errors", "hosts"},
    "export": {"errors", "model", "export"},
    "terraform": {"errors", "model", "export", "terraform"},
    "render": {"errors", "model", "render"},
    "app": {
        "errors",
        "model",
        "kinds",
        "rules",
        "manifests",
        "engine",
        "state",
        "api",
        "checks",
        "policies",
        "secrets",
        "export",
        "terraform",
        "app",
    },
    "rehearsal": {
        "errors",
        "model",
        "kinds",
        "manifests",
        "state",
        "api",
        "secrets",
        "app",
        "emulator",
        "rehearsal",
    },
    "telemetry": {"errors", "model", "render", "telemetry"},
    "fleet": {
        "errors",
        "model",
        "kinds",
        "manifests",
        "state",
        "api",
        "telemetry",
        "app",
        "fleet",
    },
    "operator": {
        "errors",
        "model",
        "manifests",
        "state",
        "api",
        "render",
        "secrets",
        "telemetry",
        "app",
        "fleet",
        "operator",
    },
    "emulator": {"emulator"},
}
"""What each layer may import of ours. `errors` names `model` for its types alone; `cli` may import anything."""

LIBRARIES = {
    "yaml": {"manifests/load.py", "operator/crds.py", "secrets/drivers/kubeconfig.py"},
    "jsonschema": {"manifests/validate.py", "rules/answer_schema.py"},
    "jmespath": {"rules/bounded.py"},
    "regex": {"rules/bounded.py"},
    "deepdiff": {"engine/diff.py"},
    "httpx": {
        "api/",
        "hosts/http.py",
        "operator/kube.py",
        "secrets/http.py",
        "secrets/drivers/instance_metadata.py",
        "secrets/drivers/kubernetes.py",
        "secrets/drivers/gcp/credentials.py",
    },
    "kopf": {"operator/handlers.py"},
    "click": {"cli/"},
    "rich": {"render/"},
    "starlette": {"emulator/"},
    "uvicorn": {"emulator/"},
    "sqlite3": {"state/"},
    "psycopg": {"state/remote/postgres/"},
    "obstore": {"state/remote/objects/bucket.py"},
    "cryptography": {"state/encryption.py"},
    "pyrage": {"state/encryption.py"},
    "boto3": {"secrets/drivers/aws/client.py"},
    "botocore": {"secrets/drivers/aws/client.py"},
    "google": {"secrets/drivers/gcp/credentials.py"},
    "prometheus_client": {"telemetry/"},
    "opentelemetry": {"telemetry/traces.py"},
    "apprise": {"telemetry/targets.py"},
    "nacl": {"secrets/drivers/github_actions.py"},
}
"""The only places, as path prefixes, that may import a library."""

ENGINE = {
    "": {"", "binding"},
    "binding": {"", "binding"},
    "refresh": {"", "binding", "refresh"},
    "plan": {"", "binding", "plan"},
    "apply": {"", "binding", "apply"},
    "planning.py": {"", "refresh", "plan"},
}
"""Which folders of the engine each folder imports; "" are the modules of the engine itself.

Only `planning.py` joins reading and deciding. Apply gets a plan as a value, so it imports no `plan/`.
"""

WITH_PROVIDER = ("engine/planning.py", "engine/refresh/", "engine/apply/")
"""The only places of the engine, as path prefixes, that may name a provider. All others are pure."""

MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    return frozenset(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def ours(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("reconciler.")}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_layer_imports_only_what_lies_below_it(path: Path) -> None:
    layer = relative(path).split("/")[0].removesuffix(".py")
    assert ours(path) <= ALLOWED.get(layer, ours(path))


def engine_folder(module: str) -> str:
    """The folder of a module of the engine, given by its dotted name below `reconciler.engine`."""
    first = module.split(".")[0]
    return first if (PACKAGE / "engine" / first).is_dir() else ""


def engine_imports(path: Path) -> Iterator[str]:
    """The engine's modules that a module imports, by their dotted names below `reconciler.engine`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "reconciler.engine":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "reconciler.engine."
        ):
            yield str(node.module).removeprefix("reconciler.engine.")


ENGINE_MODULES = [path for path in MODULES if relative(path).startswith("engine/")]


@pytest.mark.parametrize("path", ENGINE_MODULES, ids=relative)
def test_a_folder_of_the_engine_imports_only_what_its_phase_may_use(path: Path) -> None:
    name = relative(path).removeprefix("engine/")
    folder = name if name in ENGINE else engine_folder(name.removesuffix(".py").replace("/", "."))
    assert {engine_folder(module) for module in engine_imports(path)} <= ENGINE[folder]


@pytest.mark.parametrize("path", ENGINE_MODULES, ids=relative)
def test_planning_knows_no_provider(path: Path) -> None:
    protocols = {"LiveReader", "LiveWriter", "Provider"}
    named = {
        alias.name
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module == "reconciler.model.provider"
        for alias in node.names
    }
    assert relative(path).startswith(WITH_PROVIDER) or not named & protocols


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    users = {
        relative(path)
        for path in MODULES
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert users
    assert {user for user in users if not user.startswith(tuple(LIBRARIES[library]))} == set()


def test_every_folder_has_its_line_in_the_architecture() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    folders = {
        path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    assert {folder for folder in folders if f"`{folder}/`" not in page} == set()


def test_nothing_in_the_engine_names_a_kind() -> None:
    from reconciler.kinds import KINDS

    found = [
        (relative(path), node.value)
        for folder in ("engine", "api", "state", "secrets")
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and node.value in KINDS
    ]
    assert found == []
