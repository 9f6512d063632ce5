"""Claims about manifests that ask for too much: each is refused with a sentence, before the work is done."""

from __future__ import annotations

import os
from typing import Any

import pytest

from reconciler.kinds import KINDS
from reconciler.manifests import file_search, files, room
from reconciler.manifests.configuration_loader import load_configuration
from reconciler.rules import RULE_KINDS
from tests.manifests.conftest import Folder

STACK = "kind: Stack\nmetadata: {name: s}\nspec: {manifests: [m/], variables: {names: {default: [%s]}}}\n"
EACH = "kind: Assistant\nmetadata: {name: 'a%d-${each.key}'}\nfor_each: ${var.names}\nspec: {model: m}\n"


def named(count: int) -> str:
    return ", ".join(f"n{number}" for number in range(count))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that small inputs reach."""
    limited = lambda: room.Room(resources=100, characters=20_000)  # noqa: E731
    monkeypatch.setattr("reconciler.manifests.configuration_loader.Room", limited)


@pytest.mark.usefixtures("small")
def test_all_documents_together_expand_to_a_bounded_number_of_resources(folder: Folder) -> None:
    folder.write(
        {"reconciler.yaml": STACK % named(30), "m/a.yaml": "---\n".join(EACH % n for n in range(3))}
    )
    assert len(folder.load().resources) == 90
    folder.write({"m/a.yaml": "---\n".join(EACH % n for n in range(4))})
    assert folder.problems() == [
        (
            "m/a.yaml:16:1: error: Stack too large: The documents expand to more than 100 resources. "
            "Split the stack into several."
        )
    ]


INSERTED = {
    "a file": "${file:big.txt}",
    "a file in text": "see ${file:big.txt}",
    "a variable": "${var.big}",
    "a part of a variable": "${var.map.text}",
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("text", INSERTED.values(), ids=INSERTED)
def test_the_total_size_of_inserted_values_is_bounded(folder: Folder, text: str) -> None:
    big = "x" * 1_000
    stack = (STACK % named(30)).replace(
        "variables: {", f"variables: {{big: {big}, map: {{default: {{text: {big}}}}}, "
    )
    document = (EACH % 1).replace("model: m", f"model: m, instructions: '{text}'")
    folder.write({"reconciler.yaml": stack, "big.txt": big, "m/a.yaml": document})
    assert "exceed 20,000 characters after their expressions are expanded" in folder.problems()[0]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("inserted", ["${var.tree}", "${each.value}"])
def test_an_inserted_map_counts_with_its_contents(folder: Folder, inserted: str) -> None:
    tree = "{" + ", ".join(f"k{n}: v" for n in range(16)) + "}"
    stack = (STACK % named(60)).replace("variables: {", f"variables: {{tree: {{default: {tree}}}, ")
    document = EACH % 1
    if "each" in inserted:
        pairs = ", ".join(f"n{n}: *t" for n in range(1, 60))
        document = document.replace("${var.names}", f"{{n0: &t {tree}, {pairs}}}")
    folder.write(
        {
            "reconciler.yaml": stack,
            "m/a.yaml": document.replace("m}", f"m, metadata: '{inserted}'}}"),
        }
    )
    assert "exceed 20,000 characters" in folder.problems()[0]


@pytest.mark.usefixtures("small")
def test_a_repeated_document_counts_once_per_resource(folder: Folder) -> None:
    document = (EACH % 1).replace("model: m", f"model: m, instructions: {'x' * 1_000}")
    folder.write({"reconciler.yaml": STACK % named(30), "m/a.yaml": document})
    assert "exceed 20,000 characters" in folder.problems()[0]


def test_a_long_text_is_not_repeated_by_aliases_without_bound(folder: Folder) -> None:
    aliases = ", ".join(["*t"] * 2_000)
    folder.write(
        {
            "m.yaml": f"kind: Agent\nmetadata: {{name: a}}\nspec: {{x: &t [{'x' * 20_000}], y: [{aliases}]}}\n"
        }
    )
    assert "Aliases expand too far" in folder.problems()[0]


def test_the_aliases_of_all_documents_of_a_file_count_together(folder: Folder) -> None:
    one = f"kind: Agent\nmetadata: {{name: a}}\nspec: {{x: &t [{'x' * 20_000}], y: [{', '.join(['*t'] * 40)}]}}\n"
    folder.write({"m.yaml": "---\n".join([one] * 20)})
    assert any("Aliases expand too far" in problem for problem in folder.problems())


def test_the_length_of_a_list_is_checked_before_its_duplicates(
    folder: Folder,
) -> None:
    folder.write({"reconciler.yaml": STACK % f"{named(200_000)}, n199999", "m/a.yaml": EACH % 1})
    assert "for_each has 200,001 entries; the maximum is 10,000." in folder.problems()[0]


@pytest.mark.parametrize("path", ["a." * 200_000 + "a", "a" * 5_000])
def test_a_long_expression_is_refused(folder: Folder, path: str) -> None:
    folder.write(
        {"m.yaml": f"kind: Agent\nmetadata: {{name: a}}\nspec: {{model: '${{var.{path}}}'}}\n"}
    )
    assert (
        "Expression too long: An expression may have at most 4,200 characters."
        in folder.problems()[0]
    )


# --- files -----------------------------------------------------------------------------------------------------------

SKILL = "---\nname: s\ndescription: d\n---\n"
LARGE: dict[str, tuple[str, int, str]] = {
    "File": ("{path: big.bin, purpose: assistants}", 20 << 30, "8,589,934,592"),
    "VectorStore": ("{files: [{path: '*.bin'}]}", 20 << 30, "8,589,934,592"),
    "Skill": ("{files: [{path: '*.md'}, {path: 'big.bin'}]}", 4 << 30, "52,428,800"),
    "Check": (
        "{operation: createTranscription, body: {model: whisper-1}, files: {file: big.bin}}",
        4 << 30,
        "104,857,600",
    ),
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_file_over_its_limit_is_refused_before_it_is_read(
    folder: Folder, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, size, most = LARGE[kind]
    folder.write(
        {
            "m.yaml": f"kind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n",
            "SKILL.md": SKILL,
            "big.bin": "",
        }
    )
    os.truncate(folder.root / "big.bin", size)

    def read(self: Any, path: str, file: int) -> None:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(files.Files, "_read_large", read)
    with pytest.raises(Exception, match="problem") as caught:
        load_configuration(folder.settings(), KINDS, RULE_KINDS)
    (problem,) = caught.value.diagnostics  # type: ignore[attr-defined]
    assert f'"big.bin" has {size:,} bytes; the maximum is {most}.' in str(problem)


def test_all_patterns_together_visit_a_bounded_number_of_files(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_search, "MAX_WALKED", 50)
    folder.write({f"d/{number}.md": "x" for number in range(20)})
    store = "kind: VectorStore\nmetadata: {name: 'a${each.key}'}\nfor_each: [x, y]\nspec: {files: [{path: 'd/*.md'}]}\n"
    assert len(folder.write({"m.yaml": store}).load().resources) == 2
    folder.write({"m.yaml": store.replace("[x, y]", "[x, y, z]")})
    assert "the patterns search more than 50 files" in folder.problems()[0]
