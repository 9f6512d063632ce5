"""Claims about ids in manifests: an explicit id tells objects apart, and ids inside ids have one spelling."""

from __future__ import annotations

import re
from operator import attrgetter
from textwrap import dedent

import pytest

from reconciler.kinds import KINDS
from reconciler.model.kind import Kind
from tests.cli.test_plan_and_apply import admin, user
from tests.conftest import Workspace
from tests.whole_examples import FILES, whole_example

INSIDE_OTHERS = [kind for kind in KINDS.values() if kind.parents]
GROUPS = """\
kind: Group
metadata: {name: a}
spec: {name: Finance}
lifecycle: {adopt: FIRST}
---
kind: Group
metadata: {name: b}
spec: {name: Finance}
lifecycle: {adopt: SECOND}
"""
FAQ = """\
kind: File
metadata: {name: faq-NAME}
spec: {path: NAME/faq.md, purpose: assistants}
"""


@pytest.fixture
def groups(workspace: Workspace) -> tuple[str, str]:
    """Two groups of one name."""
    with admin(workspace) as client:
        first, second = (
            client.post("/organization/groups", json={"name": "Finance"}).json()["id"]
            for _ in range(2)
        )
    return first, second


def test_two_objects_of_one_name_are_adopted_by_their_ids(
    workspace: Workspace, groups: tuple[str, str]
) -> None:
    manifest = GROUPS.replace("FIRST", groups[0]).replace("SECOND", groups[1])
    workspace.write({"g.yaml": manifest}).apply()
    assert workspace.run("state", "list", expect=0).out.split() == [
        "Group/a",
        groups[0],
        "Group/b",
        groups[1],
    ]
    assert workspace.plan().code == 0


def test_two_addresses_that_adopt_one_id_are_an_error_with_both_places(
    workspace: Workspace, groups: tuple[str, str]
) -> None:
    manifest = GROUPS.replace("FIRST", groups[0]).replace("SECOND", groups[0])
    refused = workspace.write({"g.yaml": manifest}).run("validate", expect=1).err
    assert "g.yaml:9:20" in refused
    assert "Group/a (g.yaml:1:1)" in refused


def test_an_id_that_one_address_adopts_is_no_candidate_for_another(
    workspace: Workspace, groups: tuple[str, str]
) -> None:
    manifest = GROUPS.replace("adopt: FIRST", "adopt: true").replace("SECOND", groups[1])
    workspace.write({"g.yaml": manifest}).apply()
    assert workspace.run("state", "list", expect=0).out.split() == [
        "Group/a",
        groups[0],
        "Group/b",
        groups[1],
    ]


def test_two_names_of_the_stack_for_one_project_are_an_error_with_both_places(
    workspace: Workspace,
) -> None:
    stack = "kind: Stack\nmetadata: {name: s}\nspec:\n  projects:\n    legacy: proj_1\n    search: proj_1\n"
    limit = "kind: RateLimit\nmetadata: {name: a, project: legacy}\nspec: {model: m, max_requests_per_1_minute: 5}\n"
    refused = (
        workspace.write({"reconciler.yaml": stack, "l.yaml": limit}).run("validate", expect=1).err
    )
    assert "reconciler.yaml:6:5" in refused
    assert "spec.projects.legacy (reconciler.yaml:5:5)" in refused


def test_a_project_that_is_adopted_and_named_by_the_stack_is_an_error(workspace: Workspace) -> None:
    stack = "kind: Stack\nmetadata: {name: s}\nspec: {projects: {legacy: proj_1}}\n"
    project = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\nlifecycle: {adopt: proj_1}\n"
    refused = (
        workspace.write({"reconciler.yaml": stack, "p.yaml": project}).run("validate", expect=1).err
    )
    assert "One project under two names" in refused


def test_two_files_of_one_name_and_size_are_adopted_by_their_ids(workspace: Workspace) -> None:
    faqs = {"de/faq.md": "ja", "en/faq.md": "no"}
    with user(workspace) as client:
        ids = [
            client.post(
                "/files", data={"purpose": "assistants"}, files={"file": ("faq.md", text)}
            ).json()["id"]
            for text in faqs.values()
        ]
    documents = [
        FAQ.replace("NAME", name) + f"lifecycle: {{adopt: {id}}}\n"
        for name, id in zip(("de", "en"), ids, strict=True)
    ]
    workspace.write({**faqs, "f.yaml": "---\n".join(documents)}).apply()
    assert workspace.run("state", "list", expect=0).out.split() == [
        "File/faq-de",
        ids[0],
        "File/faq-en",
        ids[1],
    ]


def test_two_files_of_one_name_and_size_without_ids_are_refused_with_what_to_write(
    workspace: Workspace,
) -> None:
    documents = "---\n".join(FAQ.replace("NAME", name) for name in ("de", "en"))
    workspace.write({"de/faq.md": "ja", "en/faq.md": "no", "f.yaml": documents})
    assert (
        "Give one of the two another filename or purpose" in workspace.run("validate", expect=1).err
    )


# --- ids inside ids


@pytest.fixture
def with_example(workspace: Workspace, kind: Kind) -> Workspace:
    workspace.write(
        {"m.yaml": whole_example(kind), **{name: dedent(text) for name, text in FILES.items()}}
    ).apply()
    return workspace


def id_of(workspace: Workspace, address: str) -> str:
    rows = (line.split() for line in workspace.run("state", "list", expect=0).out.splitlines())
    return next(id for name, id in rows if name == address)


def address_of(kind: Kind) -> str:
    name, project = (
        re.search(rf"^ +{key}: (\S+)$", kind.example, re.MULTILINE) for key in ("name", "project")
    )
    return "/".join(part for part in (kind.name, project and project[1], name and name[1]) if part)


@pytest.mark.parametrize("kind", INSIDE_OTHERS, ids=attrgetter("name"))
def test_the_id_that_the_state_shows_is_the_one_that_adopt_and_import_take(
    with_example: Workspace, kind: Kind
) -> None:
    address = address_of(kind)
    id = id_of(with_example, address)
    with_example.run("state", "rm", address, expect=0)
    with_example.run("import", address, id, expect=0)
    assert id_of(with_example, address) == id
    adopting = kind.example.split("---\n")[0] + f'lifecycle: {{adopt: "{id}"}}\n'
    with_example.write(
        {"m.yaml": whole_example(kind).replace(kind.example.split("---\n")[0], adopting)}
    )
    with_example.run("state", "rm", address, expect=0)
    with_example.apply()
    assert id_of(with_example, address) == id


@pytest.mark.parametrize("kind", INSIDE_OTHERS, ids=attrgetter("name"))
@pytest.mark.parametrize("id", ["alone", "../x", "a/../b", "a//b", "a/b/c", "a b/c"])
def test_an_id_of_another_form_is_refused_with_the_form_of_the_kind(
    workspace: Workspace, kind: Kind, id: str
) -> None:
    (workspace.folder / "m.yaml").write_text(
        kind.example.split("---\n")[0] + f'lifecycle: {{adopt: "{id}"}}\n'
    )
    refused = workspace.run("validate", expect=1).err
    assert any(form in refused for form in kind.id_forms)
