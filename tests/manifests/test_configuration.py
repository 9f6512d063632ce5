"""Whole configurations: the examples load, and the digest changes with what apply would do."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import ConfigurationError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, Settings, check_credentials, load_configuration
from reconciler.model.kind import Kind, OnRemove
from reconciler.model.resource import Lifecycle
from reconciler.rules import RULE_KINDS
from tests.manifests.conftest import PROJECT, Folder
from tests.whole_examples import FILES, whole_example

EXAMPLES = Path(__file__).parents[2] / "examples"
KEYS = {"OPENAI_ADMIN_KEY": "sk-admin-emulator", "OPENAI_API_KEY": "sk-emulator"}


FLEET = sorted(path.parent.relative_to(EXAMPLES) for path in EXAMPLES.glob("fleet/**/*.yaml"))
FOLDERS = sorted({path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"fleet"})
"""The examples. That of a fleet has a stack in each of its folders."""


@pytest.mark.parametrize("name", [*FOLDERS, *sorted({folder.as_posix() for folder in FLEET})])
@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_example_loads_without_problems(name: str, environment: str) -> None:
    has_stack = (EXAMPLES / name / "reconciler.yaml").exists()
    settings = Settings(EXAMPLES / name, environment if has_stack else None, env=KEYS)
    configuration = load_configuration(settings, KINDS, RULE_KINDS)
    assert configuration.resources or configuration.rules
    assert (configuration.warnings, check_credentials(configuration)) == ((), [])


@pytest.mark.parametrize("kind", KINDS.values(), ids=attrgetter("name"))
def test_the_example_of_every_kind_loads(folder: Folder, kind: Kind) -> None:
    folder.write({"m.yaml": whole_example(kind), **FILES})
    assert kind.name in {resource.kind.name for resource in folder.load().resources}


def test_resources_come_in_the_order_of_their_addresses(folder: Folder) -> None:
    names = ["b", "a", "c"]
    folder.write(
        {
            f"{n}.yaml": PROJECT.replace("search", name).replace("Search", name)
            for n, name in enumerate(names)
        }
    )
    assert [resource.address.name for resource in folder.load().resources] == ["a", "b", "c"]


def test_a_resource_has_its_location_and_those_of_its_fields(folder: Folder) -> None:
    folder.write({"m.yaml": f"# first\n---\n{PROJECT}"})
    (resource,) = folder.load().resources
    assert (str(resource.location), str(resource.locations["name"])) == (
        "m.yaml:3:1",
        "m.yaml:5:14",
    )


def test_all_fields_of_a_lifecycle_are_read(folder: Folder) -> None:
    life = (
        "lifecycle: {prevent_destroy: true, ignore_changes: [name], on_remove: delete, adopt: proj_1, "
        "create_before_destroy: false, renamed_from: Project/old}\n"
    )
    folder.write({"m.yaml": PROJECT + life})
    found = folder.load().resources[0].lifecycle
    assert str(found.renamed_from) == "Project/old"
    assert found == Lifecycle(True, ("name",), OnRemove.DELETE, "proj_1", False, found.renamed_from)


def test_all_changes_can_be_ignored(folder: Folder) -> None:
    folder.write({"m.yaml": PROJECT + "lifecycle: {ignore_changes: all}\n"})
    assert folder.load().resources[0].lifecycle.ignore_changes == ("all",)


AGENT = "kind: Agent\nmetadata: {name: bot}\nspec: {model: m, metadata: {a: x, b: y}}\n"
STORE = "kind: VectorStore\nmetadata: {name: s}\nspec: {files: [{path: docs/*.md}]}\n"
BASE = {
    "reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\nspec: {environments: {prod: }}\n",
    "a.yaml": f"{PROJECT}---\n{AGENT}",
    "s.yaml": STORE,
    "docs/a.md": "a",
}


def digest(folder: Folder, changes: Mapping[str, str | None], environment: str = "default") -> str:
    for path in folder.root.rglob("*"):
        if path.is_file():
            path.unlink()
    folder.write({name: text for name, text in {**BASE, **changes}.items() if text is not None})
    return folder.load(environment=environment).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"a.yaml": f"# a comment\n{PROJECT}---\n\n\n{AGENT}"},
        {"a.yaml": f"{AGENT}---\n{PROJECT}"},
        {"a.yaml": AGENT, "z/p.yaml": PROJECT},
        {"a.yaml": BASE["a.yaml"].replace("{a: x, b: y}", "{b: 'y', a: \"x\"}")},
        {"a.yaml": PROJECT, "b.json": '{"kind": "Agent", "metadata": {"name": "bot"}, "spec": {"metadata": '
         '{"a": "x", "b": "y"}, "model": "m"}}'},
        {"docs/b.txt": "matches no glob"},
    ],
)  # fmt: skip
def test_the_digest_ignores_comments_and_layout(folder: Folder, changes: dict[str, str]) -> None:
    assert digest(folder, changes) == digest(folder, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"a.yaml": BASE["a.yaml"].replace("a: x", "a: z")},
        {"a.yaml": BASE["a.yaml"].replace("name: bot", "name: bat")},
        {"a.yaml": BASE["a.yaml"] + "lifecycle: {prevent_destroy: true}\n"},
        {"a.yaml": PROJECT},
        {"docs/a.md": "other bytes"},
        {"docs/b.md": "another file"},
        {"reconciler.yaml": BASE["reconciler.yaml"].replace("acme", "other")},
        {
            "reconciler.yaml": BASE["reconciler.yaml"].replace(
                "spec: {", "spec: {guards: {max_deletes: 3}, "
            )
        },
        {
            "reconciler.yaml": BASE["reconciler.yaml"].replace(
                "spec: {", "spec: {outputs: {a: '${Agent/bot}'}, "
            )
        },
        {
            "reconciler.yaml": BASE["reconciler.yaml"].replace(
                "spec: {", "spec: {projects: {old: p_1}, "
            )
        },
    ],
)
def test_the_digest_changes_with_the_applied_values(
    folder: Folder, changes: dict[str, str]
) -> None:
    assert digest(folder, changes) != digest(folder, {})


def test_the_digest_changes_with_the_environment(folder: Folder) -> None:
    assert digest(folder, {}, "prod") != digest(folder, {})


DOCUMENTS = [
    PROJECT,
    AGENT,
    AGENT.replace("bot", "bat"),
    "kind: VectorStore\nmetadata: {name: s, project: search}\nspec: {name: '${Agent/bot}'}\n",
    (
        "kind: RateLimit\nmetadata: {name: '${each.key}', project: search}\n"
        "for_each: [a, b]\nspec: {model: '${each.key}'}\n"
    ),
]


def loaded(files: Mapping[int, list[str]]) -> Configuration:
    with tempfile.TemporaryDirectory() as root:
        for number, documents in files.items():
            (Path(root) / f"{number}.yaml").write_text("---\n".join(documents))
        (Path(root) / "reconciler.yaml").write_text("kind: Stack\nmetadata: {name: acme}\n")
        return load_configuration(Settings(root=Path(root)), KINDS)


@settings(max_examples=20, deadline=None)
@given(
    st.permutations(DOCUMENTS),
    st.lists(st.integers(0, 3), min_size=len(DOCUMENTS), max_size=len(DOCUMENTS)),
)
def test_the_order_of_files_and_documents_does_not_matter(
    documents: list[str], where: list[int]
) -> None:
    files: dict[int, list[str]] = {}
    for document, number in zip(documents, where, strict=True):
        files.setdefault(number, []).append(document)
    found, wanted = loaded(files), loaded({0: DOCUMENTS})
    assert found.digest == wanted.digest
    assert [(one.address, one.spec) for one in found.resources] == [
        (one.address, one.spec) for one in wanted.resources
    ]


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("kind:AgetmadnsporjcV{}[]'\"$ \n-&*!|>0"), max_size=80))
def test_no_text_crashes_the_loader(text: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "a.yaml").write_text(
            f"kind: Agent\nmetadata: {{name: a}}\nspec:\n  model: m\n{text}"
        )
        with contextlib.suppress(ConfigurationError):
            load_configuration(Settings(root=Path(root)), KINDS)
