"""`state migrate` and `state check`: from each backend to each, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations

import pytest

from tests.conftest import Workspace
from tests.servers.object_stores import Place
from tests.servers.postgres import Database, PgBouncer

PROJECT = """
kind: Project
metadata: {name: search}
spec: {name: Search}
"""
BACKENDS = ("local", "postgres", "pgbouncer", "s3", "azure")
Address = Callable[[str], str]


@pytest.fixture
def address_of(request: pytest.FixtureRequest, workspace: Workspace) -> Callable[[str], str]:
    """The address of a backend; its credentials are in the environment of the workspace then."""

    def address(name: str) -> str:
        if name == "local":
            return f"local:{workspace.folder / 'state'}"
        if name in ("s3", "azure"):
            place: Place = request.getfixturevalue(f"{name}_place")
            workspace.variables.update(place.env)
            return place.url
        database: Database = request.getfixturevalue("database")
        port = 0
        if name == "pgbouncer":
            bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
            port = bouncer.port
        return database.url(port=port)

    return address


def use(workspace: Workspace, address: str) -> Workspace:
    workspace.variables["RECONCILER_BACKEND"] = address
    return workspace


@pytest.mark.parametrize(
    ("source", "target"),
    [pair for pair in permutations(BACKENDS, 2) if set(pair) != {"postgres", "pgbouncer"}],
)
def test_a_state_moves_whole(
    workspace: Workspace, address_of: Address, source: str, target: str
) -> None:
    workspace.declare(PROJECT)
    old, new = address_of(source), address_of(target)
    use(workspace, old).apply()
    before = json.loads(workspace.run("state", "export", expect=0).out)
    workspace.run("state", "migrate", "--to", new, expect=0)
    use(workspace, new)
    assert json.loads(workspace.run("state", "export", expect=0).out) == before
    assert workspace.plan().code == 0
    assert "1 applied" in workspace.run("history", expect=0).out


def test_the_old_state_is_refused_from_then_on(workspace: Workspace, address_of: Address) -> None:
    workspace.declare(PROJECT)
    new = address_of("postgres")
    workspace.apply()
    workspace.run("state", "migrate", "--to", new, expect=0)
    finished = workspace.run("plan", expect=1)
    assert "was moved to postgresql://127.0.0.1" in finished.err


def test_a_state_moves_back_over_the_one_that_was_left(
    workspace: Workspace, address_of: Address
) -> None:
    workspace.declare(PROJECT)
    new, old = address_of("postgres"), f"local:{workspace.folder / '.reconciler'}"
    workspace.apply()
    workspace.run("state", "migrate", "--to", new, expect=0)
    use(workspace, new).run("state", "migrate", "--to", old, expect=0)
    del workspace.variables["RECONCILER_BACKEND"]
    assert workspace.plan().code == 0


def test_a_state_is_not_moved_over_another(workspace: Workspace, address_of: Address) -> None:
    workspace.declare(PROJECT)
    new = address_of("postgres")
    use(workspace, new).apply()
    del workspace.variables["RECONCILER_BACKEND"]
    workspace.apply("--adopt")
    finished = workspace.run("state", "migrate", "--to", new, expect=1)
    assert "there is a state of" in finished.err
    assert workspace.plan().code == 0


def test_a_remote_stack_needs_an_address(workspace: Workspace) -> None:
    stack = "kind: Stack\nmetadata: {name: acme}\nspec: {manifests: [manifests.yaml], backend: remote}\n"
    workspace.declare(PROJECT).write({"reconciler.yaml": stack})
    finished = workspace.run("plan", expect=1)
    assert "`backend: remote`, but no backend address" in finished.err


@pytest.mark.parametrize("backend", BACKENDS)
def test_check_finds_nothing_wrong_with_a_sound_backend(
    workspace: Workspace, address_of: Address, backend: str
) -> None:
    use(workspace.declare(PROJECT), address_of(backend)).apply()
    findings = json.loads(workspace.run("state", "check", "--format", "json", expect=0).out)
    assert all(finding["holds"] for finding in findings)
    assert findings[-1]["detail"].startswith("1 resource")


def test_the_password_of_an_address_is_not_printed(
    workspace: Workspace, address_of: Address
) -> None:
    workspace.declare(PROJECT)
    new = address_of("postgres")
    workspace.apply()
    finished = workspace.run("state", "migrate", "--to", new, "-v", expect=0)
    assert "s3cret" not in finished.out + finished.err
    assert "127.0.0.1" in finished.out
