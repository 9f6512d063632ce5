"""Claims about how many calls are made, on small versions of what `make bench` measures. The counts are exact."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from reconciler.emulator import Emulator
from reconciler.emulator.recorder import RequestRecord
from tests.bench import workloads
from tests.conftest import Workspace

PAGE = 100


def calls(workspace: Workspace, *arguments: str, expect: int = 0) -> list[RequestRecord]:
    """The requests that a command sends."""
    workspace.emulator.clear_requests()
    workspace.run(*arguments, expect=expect)
    return workspace.emulator.requests


def methods(requests: Iterable[RequestRecord]) -> Counter[str]:
    return Counter(request.method for request in requests)


def test_a_plan_without_changes_reads_each_page_once_and_no_object_by_itself(workspace: Workspace) -> None:
    small = workloads.reference_organization(
        projects=3, accounts=2, limits=2, assistants=PAGE + 1, stores=2, files=PAGE + 1
    )
    workspace.write(dict(small)).apply()
    requests = calls(workspace, "plan", "--detailed-exitcode", "--refresh", "full")
    read = Counter(request.path.split("/")[-1] for request in requests)
    assert read == {
        "users": 1,
        "projects": 1,
        "service_accounts": 3,
        "rate_limits": 2,
        "assistants": 2,
        "vector_stores": 1,
        "files": 2 * 2,
    }
    pages = Counter((request.path, request.query.get("after")) for request in requests)
    assert max(pages.values()) == 1
    assert methods(requests) == {"GET": len(requests)}


def test_creating_twice_as_many_costs_no_more_reads(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(5)))
    few = methods(calls(workspace, "apply", "--yes"))
    workspace.emulator.reset()
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()
    workspace.write(dict(workloads.assistants(10)))
    many = methods(calls(workspace, "apply", "--yes"))
    assert (few["POST"], many["POST"]) == (5, 10)
    assert few["GET"] == many["GET"]


def test_a_folder_of_which_little_changed_is_read_by_pages_once_and_written_file_by_file(workspace: Workspace) -> None:
    files, changed = 3 * PAGE + 1, 2
    workspace.write(dict(workloads.folder_sync(files))).apply()
    workspace.write(dict(workloads.folder("handbook", changed, edition=2)))
    requests = calls(workspace, "apply", "--yes", "--refresh", "full")
    called = Counter(
        (request.method, re.sub(r"/(vs_|file-|vsfb_)\w+", "/ID", request.path), "limit" in request.query)
        for request in requests
    )
    assert called == {
        ("GET", "/vector_stores/ID", False): 2,  # for the plan, and before the change
        ("GET", "/vector_stores/ID/files", True): 4,
        ("GET", "/vector_stores/ID/files/ID", False): changed,
        ("POST", "/files", False): changed,
        ("POST", "/vector_stores/ID/file_batches", False): 1,
        ("GET", "/vector_stores/ID/file_batches/ID", False): 1,
        ("DELETE", "/files/ID", False): changed,
        ("DELETE", "/vector_stores/ID/files/ID", False): changed,
    }


def test_a_changed_object_is_looked_at_once_more_and_written_once(workspace: Workspace) -> None:
    workspace.write(dict(workloads.assistants(3))).apply()
    (path,) = (workspace.folder / "manifests").iterdir()
    path.write_text(path.read_text().replace("temperature: 0.5", "temperature: 0.7", 1))
    requests = calls(workspace, "apply", "--yes")
    singles = [request.method for request in requests if request.path.startswith("/assistants/")]
    assert singles == ["GET", "POST"]


def test_what_is_inside_an_object_is_read_as_soon_as_it_was_seen(workspace: Workspace) -> None:
    small = workloads.reference_organization(users=1, projects=2, accounts=2, limits=0, assistants=1, stores=1, files=2)
    workspace.write(dict(small)).apply()
    requests = calls(workspace, "plan", "--detailed-exitcode", "--refresh", "full", "--parallelism", "1")
    read = [request.path.split("/")[-1] for request in requests]
    assert read.index("files") < read.index("service_accounts")


NEW_PROJECT = {
    "reconciler.yaml": """\
        kind: Stack
        metadata: {name: new}
        spec: {credentials: {projects: {search: '${file:secrets/search.key}'}}}
        """,
    "project.yaml": "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n",
    "opener.yaml": """\
        kind: ServiceAccount
        metadata: {name: ci, project: search}
        spec: {key: {write_to: {file: secrets/search.key}}}
        """,
}


def in_new_project(workspace: Workspace, kind: str, spec: str) -> Counter[tuple[str, str]]:
    """The calls for the objects of a kind, of an apply that makes five of them and the project that they are in."""
    names = "[a, b, c, d, e]"
    workspace.write(NEW_PROJECT)
    workspace.write(
        {
            "five.yaml": f"kind: {kind}\nmetadata: {{name: '${{each.key}}', project: search}}\n"
            f"for_each: {names}\nspec: {spec}\n"
        }
    )
    requests = calls(workspace, "apply", "--yes")
    assert workspace.plan("--refresh", "full").code == 0
    return Counter((request.method, request.path.rpartition("/")[2]) for request in requests)


def test_accounts_of_a_new_project_are_not_looked_for(workspace: Workspace) -> None:
    called = in_new_project(workspace, "ServiceAccount", "{role: member}")
    assert called["POST", "service_accounts"] == 6
    assert called["GET", "service_accounts"] == 0


def test_one_look_serves_all_that_is_made_in_a_project_that_the_plan_could_not_read(workspace: Workspace) -> None:
    called = in_new_project(workspace, "Assistant", "{model: gpt-4o}")
    assert called["POST", "assistants"] == 5
    # By the plan, in the default scope, as the state is new; that look; and one for what others made meanwhile.
    assert called["GET", "assistants"] == 3


STORE_WITH_FOLDER = """\
kind: VectorStore
metadata: {name: NAME}
spec:
  name: NAME
  files: [{path: docs/NAME/*.md}]
"""


def test_parallelism_bounds_the_calls_of_all_changes_together(tmp_path: Path) -> None:
    at_once = [0]

    def clock() -> float:
        at_once.append(running[0].requests_in_flight if running else 0)
        return time.time()

    running: list[Emulator] = []
    with Emulator(clock=clock) as emulator:
        running.append(emulator)
        emulator.set_options(latency_ms=10)
        names = ("a", "b", "c", "d")
        files = {f"docs/{name}/{n}.md": f"{name} {n}" for name in names for n in range(5)}
        workspace = Workspace(tmp_path, emulator).write(files)
        workspace.declare(*(STORE_WITH_FOLDER.replace("NAME", name) for name in names)).apply("--parallelism", "3")
    assert max(at_once) <= 3


def told_calls(text: str) -> int:
    """How many calls the footers of a command tell of."""
    return sum(int(number) for number in re.findall(r"(\d+) calls? in", text))


def test_the_footers_of_an_apply_tell_of_every_call(workspace: Workspace) -> None:
    workspace.write(
        dict(workloads.reference_organization(users=1, projects=2, limits=1, assistants=1, stores=1, files=1))
    )
    done = workspace.apply()
    assert told_calls(done.out) == len(workspace.emulator.requests)


def test_the_footer_of_an_apply_that_finds_nothing_to_do_tells_of_every_call(workspace: Workspace) -> None:
    workspace.write(dict(workloads.reference_organization(users=1, projects=2, limits=1, assistants=1, stores=1)))
    workspace.apply()
    workspace.emulator.clear_requests()
    done = workspace.apply("--refresh", "full")
    assert told_calls(done.out) == len(workspace.emulator.requests)
