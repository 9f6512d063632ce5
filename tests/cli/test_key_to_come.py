"""A project's key comes from a variable that a command of the same apply fills."""

from __future__ import annotations

import pytest

from tests.conftest import Workspace

STACK = """\
kind: Stack
metadata: {name: acme}
spec:
  credentials:
    projects: {search: "${env.SEARCH_API_KEY}"}
"""
PROJECT = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
ACCOUNT = """\
kind: ServiceAccount
metadata: {name: ci, project: search}
spec: {name: ci, key: {write_to: {command: [sh, -c, "cat > ../taken"]}}}
"""
STORE = "kind: VectorStore\nmetadata: {name: docs, project: search}\nspec: {name: Docs}\n"
OTHER = "kind: Project\nmetadata: {name: other}\nspec: {name: Other}\n"


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    return workspace.write({"reconciler.yaml": STACK})


def bring_back(stack: Workspace) -> None:
    stack.variables["SEARCH_API_KEY"] = (stack.folder.parent / "taken").read_text().strip()


def test_one_apply_makes_the_project_its_account_and_what_needs_the_key(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    bring_back(stack)
    assert stack.plan().code == 0


def test_an_unset_variable_without_an_account_that_delivers_the_key_is_an_error(
    stack: Workspace,
) -> None:
    done = stack.declare(PROJECT, STORE).run("plan", expect=1)
    assert "set SEARCH_API_KEY" in done.err


def test_a_variable_that_was_not_brought_back_stops_its_own_project_alone(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    done = stack.declare(PROJECT, ACCOUNT, STORE, OTHER).run("apply", "--yes", expect=13)
    assert "credentials.projects.search" in done.err
    assert "Project/other" in stack.run("state", "list", expect=0).out
    made = [item.path for item in stack.emulator.requests if item.method == "POST"]
    assert made.count("/vector_stores") == 1


def test_objects_that_need_the_key_are_created_after_it(stack: Workspace) -> None:
    stack.declare(PROJECT, ACCOUNT, STORE).apply()
    paths = [
        item.path.rpartition("/")[2] for item in stack.emulator.requests if item.method == "POST"
    ]
    assert paths == ["projects", "service_accounts", "vector_stores"]


# --- a project without a credential of its own, and keys that are read back

BARE = "kind: Stack\nmetadata: {name: acme}\n"
FROM_SINK = """\
kind: Stack
metadata: {name: acme}
spec: {credentials: {projects: {search: {from_sink: ServiceAccount/search/ci}}}}
"""
IN_FILE = ACCOUNT.replace('{command: [sh, -c, "cat > ../taken"]}', "{file: secrets/ci.key}")


@pytest.fixture
def keyless(workspace: Workspace) -> Workspace:
    """A workspace whose environment has the admin key alone."""
    workspace.variables["OPENAI_API_KEY"] = ""
    return workspace


def test_a_project_without_any_credential_is_made_with_what_needs_its_key(
    keyless: Workspace,
) -> None:
    keyless.write({"reconciler.yaml": BARE}).declare(PROJECT, ACCOUNT, STORE).apply()
    assert "VectorStore/search/docs" in keyless.run("state", "list", expect=0).out


def test_a_key_in_a_sink_opens_its_project_in_every_run(keyless: Workspace) -> None:
    keyless.write({"reconciler.yaml": FROM_SINK}).declare(PROJECT, IN_FILE, STORE).apply()
    assert keyless.plan().code == 0
    keyless.declare(PROJECT, IN_FILE, STORE.replace("Docs", "Manuals")).apply()
    assert keyless.plan().code == 0


def test_a_rotated_key_in_a_sink_opens_its_project_in_the_same_run(keyless: Workspace) -> None:
    rotating = IN_FILE.replace("{write_to", "{rotate: {every: 30d}, write_to")
    keyless.write({"reconciler.yaml": FROM_SINK}).declare(PROJECT, rotating, STORE).apply()
    keyless.run("rotate", "--now", "ServiceAccount/search/ci", "--yes", expect=0)
    keyless.declare(PROJECT, rotating, STORE.replace("Docs", "Manuals")).apply()
    assert keyless.plan().code == 0


def test_without_the_key_file_the_plan_says_so_and_goes_on_with_the_rest(
    keyless: Workspace,
) -> None:
    keyless.write({"reconciler.yaml": FROM_SINK}).declare(PROJECT, IN_FILE, STORE).apply()
    (keyless.folder / "secrets/ci.key").unlink()
    keyless.declare(PROJECT, IN_FILE, STORE, OTHER)
    done = keyless.run("plan", expect=1)
    assert "Project/other" in done.out
    assert 'Project "search" cannot be read' in done.out + done.err
    assert "rotate --now --keep-old ServiceAccount/search/ci" in done.out + done.err
    keyless.run("rotate", "--now", "--keep-old", "ServiceAccount/search/ci", "--yes", expect=0)
    keyless.apply()
    assert keyless.plan().code == 0


@pytest.mark.parametrize(
    ("entry", "documents", "said"),
    [
        ("ServiceAccount/search/ci", (ACCOUNT,), "goes to command, from where it cannot be read"),
        ("ServiceAccount/search/cy", (IN_FILE,), "no manifest declares a key there"),
        ("ServiceAccount/other/ci", (IN_FILE,), "is not in it"),
        ("nonsense", (IN_FILE,), "from_sink"),
    ],
)
def test_a_sink_that_cannot_be_the_source_of_a_key_is_an_error(
    keyless: Workspace, entry: str, documents: tuple[str, ...], said: str
) -> None:
    stack = FROM_SINK.replace("ServiceAccount/search/ci", entry)
    keyless.write({"reconciler.yaml": stack}).declare(PROJECT, *documents, STORE)
    assert said in keyless.run("plan", expect=1).err


def test_a_file_that_somebody_else_wrote_is_no_source_of_a_key(keyless: Workspace) -> None:
    keyless.write({"reconciler.yaml": FROM_SINK}).declare(PROJECT, IN_FILE, STORE).apply()
    (keyless.folder / "secrets/ci.key").write_text("sk-somebody-elses-key-0000\n")
    keyless.emulator.clear_requests()
    keyless.run("plan", expect=1)
    assert not [item for item in keyless.emulator.requests if item.key_class == "unknown"]
