"""Exact call counts, on small versions of the cases of `make bench`."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import httpx

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


def test_a_plan_without_changes_reads_each_page_once_and_no_object_by_itself(
    workspace: Workspace,
) -> None:
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


def test_a_folder_of_which_little_changed_is_read_by_pages_once_and_written_file_by_file(
    workspace: Workspace,
) -> None:
    files, changed = 3 * PAGE + 1, 2
    workspace.write(dict(workloads.folder_sync(files))).apply()
    workspace.write(dict(workloads.folder("handbook", changed, edition=2)))
    requests = calls(workspace, "apply", "--yes", "--refresh", "full")
    called = Counter(
        (
            request.method,
            re.sub(r"/(vs_|file-|vsfb_)\w+", "/ID", request.path),
            "limit" in request.query,
        )
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


def test_the_contents_of_an_object_are_read_as_soon_as_it_is_listed(workspace: Workspace) -> None:
    small = workloads.reference_organization(
        users=1, projects=2, accounts=2, limits=0, assistants=1, stores=1, files=2
    )
    workspace.write(dict(small)).apply()
    requests = calls(
        workspace, "plan", "--detailed-exitcode", "--refresh", "full", "--parallelism", "1"
    )
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


def test_one_look_serves_all_that_is_made_in_a_project_that_the_plan_could_not_read(
    workspace: Workspace,
) -> None:
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
        workspace.declare(*(STORE_WITH_FOLDER.replace("NAME", name) for name in names)).apply(
            "--parallelism", "3"
        )
    assert max(at_once) <= 3


def told_calls(text: str) -> int:
    """How many calls the last line of a command tells of."""
    return int(re.findall(r"(\d+) API calls? in", text)[-1])


def test_the_last_line_of_an_apply_counts_every_call_of_the_run(workspace: Workspace) -> None:
    workspace.write(
        dict(
            workloads.reference_organization(
                users=1, projects=2, limits=1, assistants=1, stores=1, files=1
            )
        )
    )
    done = workspace.apply()
    assert told_calls(done.out) == len(workspace.emulator.requests)


def test_the_last_line_of_an_apply_of_a_saved_plan_counts_only_its_own_calls(
    workspace: Workspace,
) -> None:
    workspace.declare("kind: Group\nmetadata: {name: ops}\nspec: {name: Ops}\n")
    workspace.run("plan", "--out", "plan.json", expect=0)
    workspace.emulator.clear_requests()
    done = workspace.run("apply", "plan.json", "--yes", expect=0)
    assert told_calls(done.out) == len(workspace.emulator.requests)


def test_the_last_line_of_an_apply_that_finds_nothing_to_do_counts_every_call(
    workspace: Workspace,
) -> None:
    workspace.write(
        dict(
            workloads.reference_organization(users=1, projects=2, limits=1, assistants=1, stores=1)
        )
    )
    workspace.apply()
    workspace.emulator.clear_requests()
    done = workspace.apply("--refresh", "full")
    assert told_calls(done.out) == len(workspace.emulator.requests)


def test_a_first_apply_that_declares_nothing_of_a_project_lists_nothing_there(
    workspace: Workspace,
) -> None:
    workspace.declare(
        "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n",
        "kind: Group\nmetadata: {name: ops}\nspec: {name: Ops}\n",
    )
    requests = calls(workspace, "apply", "--yes")
    assert all(request.path.startswith("/organization/") for request in requests)


def test_a_first_apply_looks_for_marked_objects_of_other_kinds_where_it_manages_some(
    workspace: Workspace,
) -> None:
    workspace.declare("kind: Assistant\nmetadata: {name: bot}\nspec: {name: Bot, model: gpt-4o}\n")
    requests = calls(workspace, "apply", "--yes")
    assert "/vector_stores" in {request.path for request in requests}


def test_objects_that_are_adopted_without_a_write_are_read_by_list(workspace: Workspace) -> None:
    accounts = [f"account-{number}" for number in range(250)]
    workspace.write(
        {
            "all.yaml": "kind: Project\nmetadata: {name: search}\nspec: {name: search}\n---\n"
            "kind: ServiceAccount\nmetadata: {name: '${each.key}', project: search}\n"
            f"for_each: {accounts}\nspec: {{}}\n"
        }
    ).apply()
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()
    requests = calls(workspace, "apply", "--yes", "--adopt")
    lists = [request for request in requests if request.path.endswith("/service_accounts")]
    assert len(lists) == 2 * 3  # three pages for the plan, and again before the records are made
    assert not [request for request in requests if "/service_accounts/" in request.path]
    assert methods(requests) == {"GET": len(requests)}
    assert workspace.plan("--refresh", "full").code == 0


def test_an_object_that_moved_before_it_is_adopted_is_refused(workspace: Workspace) -> None:
    workspace.write(
        {
            "all.yaml": "kind: Group\nmetadata: {name: '${each.key}'}\nfor_each: [a, b, c]\nspec: {name: '${each.key}'}\n"
        }
    )
    workspace.apply()
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()
    workspace.run("plan", "--adopt", "--out", "plan.json", expect=0)
    base, headers = (
        workspace.emulator.base_url,
        {"Authorization": f"Bearer {workspace.emulator.admin_key}"},
    )
    groups = httpx.get(f"{base}/organization/groups", headers=headers).json()["data"]
    moved = next(group["id"] for group in groups if group["name"] == "b")
    httpx.post(
        f"{base}/organization/groups/{moved}", headers=headers, json={"name": "other"}
    ).raise_for_status()
    done = workspace.run("apply", "plan.json", "--yes", expect=10)
    assert "Group/b" in done.out
    listed = workspace.run("state", "list", expect=0).out
    assert [name for name in ("Group/a", "Group/b", "Group/c") if name in listed] == [
        "Group/a",
        "Group/c",
    ]


def test_one_object_that_is_adopted_is_read_singly(workspace: Workspace) -> None:
    workspace.write({"group.yaml": "kind: Group\nmetadata: {name: a}\nspec: {name: a}\n"}).apply()
    for path in (workspace.folder / ".reconciler").iterdir():
        path.unlink()
    requests = calls(workspace, "apply", "--yes", "--adopt")
    assert sum("/groups/" in request.path for request in requests) == 1
