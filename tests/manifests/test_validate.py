"""Documents against their kinds: every problem at once, each at its location, in a sentence."""

from __future__ import annotations

import pytest

from tests.manifests.conftest import PROJECT, Folder


def manifest(kind: str, spec: str, *, metadata: str = "name: x", more: str = "") -> str:
    return f"kind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n{more}"


# What is wrong, and what is said; the document begins in line 1, its spec in line 3.
BAD: dict[str, tuple[str, str]] = {
    "unknown field": (
        manifest("Project", "{name: a, nam: b}"),
        '3:17: error: Project/x: Unknown field "nam": spec has no field "nam". Did you mean "name"?',
    ),
    "unknown field deep down": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at, days: 3, hours: 1}}"),
        ('3:57: error: VectorStore/x: Unknown field "hours": spec.expires_after has no field "hours". '
         'Known fields: anchor, days.'),
    ),
    "unknown key of a document": (
        manifest("Project", "{name: a}", more="lifecycel: {}\n"),
        ('4:1: error: Project/x: Unknown field "lifecycel": the document has no field "lifecycel". Did '
         'you mean "lifecycle"?'),
    ),
    "unknown key of metadata": (
        manifest("Project", "{name: a}", metadata="name: x, labels: {}"),
        '2:21: error: Project/x: Unknown field "labels": metadata has no field "labels". Known fields: name.',
    ),
    "missing field": (
        manifest("Project", "{}"),
        '3:1: error: Project/x: Missing "name": spec requires it.',
    ),
    "missing part": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at}}"),
        '3:8: error: VectorStore/x: Missing "days": spec.expires_after requires it.',
    ),
    "missing spec": (
        "kind: Project\nmetadata: {name: x}\n",
        '1:1: error: Project/x: Missing "spec": the document requires it.',
    ),
    "missing name": (
        manifest("Project", "{name: a}", metadata=""),
        '2:1: error: Missing "name": metadata requires it.',
    ),
    "number for text": (
        manifest("Agent", "{model: 4.1}"),
        "3:15: error: Agent/x: Wrong type: spec.model must be text; found 4.1. Put it in quotes.",
    ),
    "text for a number": (
        manifest("Assistant", "{model: m, temperature: hot}"),
        '3:31: error: Assistant/x: Wrong type: spec.temperature must be a number; found "hot".',
    ),
    "long text for a list": (
        manifest("Agent", f"{{model: m, tools: {'x' * 60}}}"),
        f'3:25: error: Agent/x: Wrong type: spec.tools must be a list; found "{"x" * 39}…".',
    ),
    "boolean for a whole number": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at, days: true}}"),
        "3:54: error: VectorStore/x: Wrong type: spec.expires_after.days must be a whole number; found true.",
    ),
    "fraction for a whole number": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at, days: 1.5}}"),
        "3:54: error: VectorStore/x: Wrong type: spec.expires_after.days must be a whole number; found 1.5.",
    ),
    "yes for a boolean": (
        manifest("Agent", "{model: m, multi_agent: {enabled: yes}}"),
        '3:41: error: Agent/x: Wrong type: spec.multi_agent.enabled must be true or false; found "yes".',
    ),
    "null where none is taken": (
        manifest("Agent", "{model: null}"),
        "3:15: error: Agent/x: Null is not allowed: Omit spec.model, or give it a value.",
    ),
    "list for a map": (
        manifest("Agent", "[]"),
        "3:7: error: Agent/x: Wrong type: spec must be a map; found a list.",
    ),
    "text for metadata": (
        "kind: Project\nmetadata: x\nspec: {name: a}\n",
        '2:11: error: Wrong type: metadata must be a map; found "x".',
    ),
    "too little": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at, days: 0}}"),
        "3:54: error: VectorStore/x: Out of range: spec.expires_after.days is 0; the minimum is 1.",
    ),
    "too much": (
        manifest("VectorStore", "{expires_after: {anchor: last_active_at, days: 366}}"),
        "3:54: error: VectorStore/x: Out of range: spec.expires_after.days is 366; the maximum is 365.",
    ),
    "too short": (
        manifest("Agent", "{model: ''}"),
        "3:15: error: Agent/x: Wrong length: spec.model has 0 characters; the minimum is 1.",
    ),
    "too long": (
        manifest("Assistant", f"{{model: m, name: {'x' * 257}}}"),
        "3:24: error: Assistant/x: Wrong length: spec.name has 257 characters; the maximum is 256.",
    ),
    "too many items": (
        manifest("Assistant", "{model: m, tool_resources: {file_search: {vector_store_ids: [a, b]}}}"),
        ("3:67: error: Assistant/x: Too many: spec.tool_resources.file_search.vector_store_ids has 2 "
         "items; the maximum is 1."),
    ),
    "too many pairs": (
        manifest("Agent", f"{{model: m, metadata: {{{', '.join(f'k{n}: v' for n in range(17))}}}}}"),
        "3:28: error: Agent/x: Too many: spec.metadata has 17 pairs; the maximum is 16.",
    ),
    "key too long": (
        manifest("Agent", f"{{model: m, metadata: {{{'k' * 65}: v}}}}"),
        f"3:29: error: Agent/x: Wrong length: spec.metadata.{'k' * 65} has 65 characters; the maximum is 64.",
    ),
    "unknown choice": (
        manifest("File", "{path: a.md, purpose: asistants}"),
        ('3:29: error: File/x: Unknown value: spec.purpose is "asistants"; expected "assistants", '
         '"batch", "fine-tune", "vision", "user_data", "evals". Did you mean "assistants"?'),
    ),
    "wrong form": (
        manifest("Agent", "{model: m, tools: [{type: function, name: a b, description: d, parameters: {}}]}"),
        '3:49: error: Agent/x: Invalid format: spec.tools[0].name is "a b". It must match ^[A-Za-z0-9_-]+$.',
    ),
    "unknown variant": (
        manifest("Assistant", "{model: m, tools: [{type: file_serach}]}"),
        ('3:33: error: Assistant/x: Unknown value: spec.tools[0].type is "file_serach"; expected '
         '"code_interpreter", "file_search", "function". Did you mean "file_search"?'),
    ),
    "field of another variant": (
        manifest("Assistant", "{model: m, tools: [{type: code_interpreter, file_search: {}}]}"),
        ('3:51: error: Assistant/x: Unknown field "file_search": spec.tools[0] has no field '
         '"file_search". Known fields: type.'),
    ),
    "missing tag": (
        manifest("Assistant", "{model: m, tools: [{typ: function}]}"),
        '3:26: error: Assistant/x: Missing "type": spec.tools[0] requires it.',
    ),
    "missing part of a variant": (
        manifest("Assistant", "{model: m, tools: [{type: function}]}"),
        '3:26: error: Assistant/x: Missing "function": spec.tools[0] requires it.',
    ),
    "neither the text nor the map": (
        manifest("Assistant", "{model: m, response_format: atuo}"),
        ('3:35: error: Assistant/x: Unknown value: spec.response_format is "atuo"; expected "auto". Did '
         'you mean "auto"?'),
    ),
    "bad name": (
        manifest("Project", "{name: a}", metadata="name: -x/y"),
        ("2:18: error: Invalid format: metadata.name is \"-x/y\". A name starts with a letter or digit, "
         "followed by letters, digits, '.', '_' and '-'."),
    ),
    "name with a line break": (
        manifest("Project", "{name: a}", metadata='name: "x\\n"'),
        "2:18: error: Not a name: Project has no valid metadata.name.",
    ),
    "number as a name": (
        manifest("Project", "{name: a}", metadata="name: 4.1"),
        "2:18: error: Wrong type: metadata.name must be text; found 4.1. Put it in quotes.",
    ),
    "project of what has none": (
        manifest("Project", "{name: a}", metadata="name: x, project: search"),
        ("2:21: error: Project/x: Unexpected project: Project belongs to the organization: remove "
        "metadata.project."),
    ),
    "missing project": (
        manifest("RateLimit", "{model: m}"),
        '2:1: error: Missing "project": RateLimit lives in a project: add metadata.project.',
    ),
    "unknown project": (
        manifest("RateLimit", "{model: m}", metadata="name: x, project: serach"),
        ('2:30: error: RateLimit/serach/x: Unknown project: No manifest declares project "serach", and spec.projects '
        'does not list it. Did you mean "search"?'),
    ),
    "version of another time": (
        "apiVersion: reconciler/v2\n" + manifest("Project", "{name: a}"),
        '1:13: error: Project/x: Unknown value: apiVersion is "reconciler/v2"; expected "reconciler/v1".',
    ),
    "unknown kind": (
        manifest("project", "{name: a}"),
        ('1:7: error: Unknown kind: There is no kind "project". Did you mean "Project", "ProjectKey" or "ProjectUser"? '
        "`reconciler explain` lists all kinds."),
    ),
    "no kind": (
        "knd: Project\nmetadata: {name: x}\nspec: {name: a}\n",
        '1:1: error: Missing "kind": A document needs a kind. Did you mean "kind"? `reconciler explain` lists all kinds.',
    ),
    "a list": (
        "- kind: Project\n  spec: {name: a}\n",
        ("1:1: error: Not a manifest: A document is a map with kind, metadata and spec; a --- line "
         "starts the next document."),
    ),
    "a stack": (
        "kind: Stack\n",
        "1:7: error: Stack in a manifest: Kind Stack is only allowed in reconciler.yaml.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_document_is_one_problem(folder: Folder, text: str, message: str) -> None:
    folder.write({"a.yaml": PROJECT, "x.yaml": text})
    assert folder.problems() == [f"x.yaml:{message}"]


LIFECYCLE = {
    "unknown key": (
        "{prevent_destory: true}",
        'Unknown field "prevent_destory": lifecycle has no field "prevent_destory". Did you mean "prevent_destroy"?',
    ),
    "not a boolean": (
        "{prevent_destroy: maybe}",
        'Wrong type: lifecycle.prevent_destroy must be true or false; found "maybe".',
    ),
    "unknown removal": (
        "{on_remove: keep}",
        'Unknown value: lifecycle.on_remove is "keep"; expected "delete", "retain".',
    ),
    "adopt what": (
        "{adopt: 3}",
        "Wrong type: lifecycle.adopt must be true or false, or text; found 3.",
    ),
    "ignore what": (
        "{ignore_changes: everything}",
        'Invalid format: lifecycle.ignore_changes is "everything". Expected a list of field paths, or the word all.',
    ),
    "unknown ignored field": (
        "{ignore_changes: [nam]}",
        'Unknown field "nam": VectorStore has no such field. Did you mean "name"?',
    ),
    "unknown ignored part": (
        "{ignore_changes: [name, expires_after.dayz]}",
        'Unknown field "dayz": "expires_after.dayz": expires_after has nothing at "dayz".',
    ),
    "no path": ("{ignore_changes: ['a[']}", 'Invalid path: "a[" is not a path.'),
    "no address": (
        "{renamed_from: handbook}",
        'Invalid earlier address: "handbook" is not an address: write Kind/name or Kind/project/name.',
    ),
    "address of another kind": (
        "{renamed_from: File/x}",
        'Invalid earlier address: "File/x" has another kind: its object cannot become a VectorStore.',
    ),
    "still declared": (
        "{renamed_from: VectorStore/other}",
        "Invalid earlier address: VectorStore/other is still declared.",
    ),
    "itself": (
        "{renamed_from: VectorStore/x}",
        "Invalid earlier address: VectorStore/x is this resource itself.",
    ),
}


@pytest.mark.parametrize(("lifecycle", "message"), LIFECYCLE.values(), ids=LIFECYCLE.keys())
def test_a_bad_lifecycle_is_one_problem(folder: Folder, lifecycle: str, message: str) -> None:
    other = manifest("VectorStore", "{}", metadata="name: other")
    folder.write(
        {"a.yaml": other, "x.yaml": manifest("VectorStore", "{}", more=f"lifecycle: {lifecycle}\n")}
    )
    (problem,) = folder.problems()
    assert problem.startswith("x.yaml:4:")
    assert problem.endswith(f"error: VectorStore/x: {message}")


@pytest.mark.parametrize(
    "path",
    [
        "name",
        "expires_after.days",
        "metadata.team",
        'metadata["cost.center"]',
        "tools[0].name",
        "tools.0.type",
    ],
)
def test_any_path_that_a_kind_can_have_may_be_ignored(folder: Folder, path: str) -> None:
    kind = "Agent" if path.startswith("tools") else "VectorStore"
    spec = "{model: m}" if kind == "Agent" else "{}"
    folder.write(
        {"x.yaml": manifest(kind, spec, more=f"lifecycle: {{ignore_changes: ['{path}']}}\n")}
    )
    assert folder.load().resources[0].lifecycle.ignore_changes == (path,)


def test_a_lifecycle_reads_expressions(folder: Folder) -> None:
    text = manifest(
        "Project", "{name: a}", metadata="name: 'new-${each.key}'", more="for_each: [a]\n"
    )
    folder.write({"x.yaml": text + "lifecycle: {renamed_from: 'Project/${each.key}'}\n"})
    assert str(folder.load().resources[0].lifecycle.renamed_from) == "Project/a"


def test_one_address_cannot_be_renamed_to_two(folder: Folder) -> None:
    more = "lifecycle: {renamed_from: VectorStore/old}\n"
    first, second = (
        manifest("VectorStore", "{}", metadata=f"name: {name}", more=more) for name in "ab"
    )
    folder.write({"x.yaml": f"{first}---\n{second}"})
    assert folder.problems() == [
        (
            "x.yaml:9:27: error: VectorStore/b: Invalid earlier address: VectorStore/a is also renamed from "
            "VectorStore/old; an object has only one address."
        )
    ]


def test_all_problems_of_all_files_are_reported_in_reading_order(folder: Folder) -> None:
    folder.write(
        {
            "b.yaml": manifest("Project", "{nam: a}"),
            "a.yaml": manifest("Agent", "{model: 1, tools: x}")
            + "---\n"
            + manifest("Nothing", "{}"),
        }
    )
    places = [problem.split(" ")[0] for problem in folder.problems()]
    assert places == ["a.yaml:3:15:", "a.yaml:3:25:", "a.yaml:5:7:", "b.yaml:3:1:", "b.yaml:3:8:"]


def test_a_duplicate_address_names_both_places(folder: Folder) -> None:
    folder.write({"a.yaml": PROJECT, "b.yaml": PROJECT})
    assert folder.problems() == [
        "b.yaml:2:18: error: Project/search: Duplicate address: Project/search is also declared at a.yaml:2:18."
    ]


def test_two_declarations_of_one_row_are_refused(folder: Folder) -> None:
    limits = [
        manifest("RateLimit", "{model: m}", metadata=f"name: {name}, project: search")
        for name in "ab"
    ]
    folder.write({"x.yaml": "---\n".join([PROJECT, *limits])})
    assert folder.problems() == [
        (
            "x.yaml:11:15: error: RateLimit/search/b: Two declarations of one object: RateLimit/search/a "
            "already declares model m, and there can be only one such object."
        )
    ]


ALIKE = {
    "projects": [manifest("Project", "{name: Same}", metadata=f"name: {name}") for name in "ab"],
    "service accounts": [
        manifest("ServiceAccount", "{name: same}", metadata=f"name: {name}, project: search")
        for name in "ab"
    ],
    "files": [
        manifest("File", f"{{path: {name}/x.md, purpose: assistants}}", metadata=f"name: {name}")
        for name in "ab"
    ],
    "files under one name": [
        manifest(
            "File", f"{{path: {name}/x.md, purpose: batch, filename: x}}", metadata=f"name: {name}"
        )
        for name in "ab"
    ],
}


@pytest.mark.parametrize("documents", ALIKE.values(), ids=ALIKE.keys())
def test_two_objects_that_only_the_state_could_tell_apart_are_refused(
    folder: Folder, documents: list[str]
) -> None:
    folder.write({"x.yaml": "---\n".join([PROJECT, *documents]), "a/x.md": "12", "b/x.md": "34"})
    (problem,) = folder.problems()
    assert problem.startswith("x.yaml:11:")
    assert "without state nothing else distinguishes the two" in problem


UNLIKE = {
    "marked": [
        manifest("Agent", "{model: m, name: same}", metadata=f"name: {name}") for name in "ab"
    ],
    "in two projects": [
        manifest("ServiceAccount", "{name: same}", metadata=f"name: x, project: {project}")
        for project in ("search", "old")
    ],
    "files of two purposes": [
        manifest("File", f"{{path: a/x.md, purpose: {purpose}}}", metadata=f"name: {purpose}")
        for purpose in ("batch", "vision")
    ],
    "names known later": [
        manifest(
            "ServiceAccount",
            f"{{name: '${{Project/search}} {name}'}}",
            metadata=f"name: {name}, project: search",
        )
        for name in "ab"
    ],
}


@pytest.mark.parametrize("documents", UNLIKE.values(), ids=UNLIKE.keys())
def test_objects_that_can_be_told_apart_may_look_alike(
    folder: Folder, documents: list[str]
) -> None:
    stack = "kind: Stack\nspec: {projects: {old: proj_1}}\n"
    folder.write(
        {"reconciler.yaml": stack, "x.yaml": "---\n".join([PROJECT, *documents]), "a/x.md": "12"}
    )
    assert len(folder.load().resources) == 3


@pytest.mark.parametrize(
    "id", ["../files/x", "a\\r\\nX: b", "a b", "..", "", "a\\n", "é", "x" * 201]
)
def test_an_id_to_adopt_has_the_form_of_an_id(folder: Folder, id: str) -> None:
    folder.write(
        {"x.yaml": manifest("Project", "{name: a}", more=f'lifecycle: {{adopt: "{id}"}}\n')}
    )
    (problem,) = folder.problems()
    assert problem.startswith("x.yaml:4:20: error: Project/x: Invalid format: lifecycle.adopt is")


@pytest.mark.parametrize("id", ["rl-gpt-4.1", "proj_abc-1", "user-X"])
def test_an_id_may_have_dots_and_dashes(folder: Folder, id: str) -> None:
    folder.write({"x.yaml": manifest("Project", "{name: a}", more=f"lifecycle: {{adopt: {id}}}\n")})
    assert folder.load().resources[0].lifecycle.adopt == id


@pytest.mark.parametrize("name", ["name: {}", "name: a, project: {}"])
def test_a_name_that_is_too_long_is_not_printed_whole(folder: Folder, name: str) -> None:
    folder.write({"x.yaml": manifest("Agent", "{model: m}", metadata=name.format("x" * 5_000))})
    (problem,) = folder.problems()
    assert "has 5,000 characters; the maximum is 150" in problem
    assert len(problem) < 300


def test_an_expression_in_a_key_below_spec_is_a_warning(folder: Folder) -> None:
    folder.write({"x.yaml": manifest("Agent", "{model: m, metadata: {'${var.x}': y}}")})
    assert folder.warnings() == [
        (
            'x.yaml:3:29: warning: Agent/x: A key is not expanded: "${var.x}" is used literally: '
            "expressions are expanded in values, not in keys."
        )
    ]


@pytest.mark.parametrize("field", ["name", "metadata", "tools", "reasoning"])
def test_a_nullable_field_takes_null(folder: Folder, field: str) -> None:
    folder.write({"x.yaml": manifest("Agent", f"{{model: m, {field}: null}}")})
    assert folder.spec("Agent/x")[field] is None


def test_values_that_are_known_only_after_apply_are_passed_over(folder: Folder) -> None:
    spec = "{model: m, temperature: '${VectorStore/s}', tools: ['${VectorStore/s}', {type: '${VectorStore/s}', a: 1}]}"
    folder.write(
        {
            "x.yaml": manifest("Assistant", spec)
            + "---\n"
            + manifest("VectorStore", "{}", metadata="name: s")
        }
    )
    assert len(folder.load().resources) == 2


@pytest.mark.parametrize("spec", ["${VectorStore/s}", "a ${VectorStore/s} b"])
def test_a_whole_spec_cannot_be_a_reference(folder: Folder, spec: str) -> None:
    folder.write(
        {
            "s.yaml": manifest("VectorStore", "{}", metadata="name: s"),
            "x.yaml": manifest("Agent", f"'{spec}'"),
        }
    )
    assert folder.problems() == [
        "x.yaml:3:7: error: Agent/x: Reference not possible here: spec must be a map."
    ]


@pytest.mark.parametrize(
    "more", ["lifecycle: '${var.x}'\n", "lifecycle: {ignore_changes: '${var.x}'}\n"]
)
def test_a_variable_without_a_value_is_one_problem_wherever_it_is_used(
    folder: Folder, more: str
) -> None:
    stack = "kind: Stack\nspec: {variables: {x: }}\n"
    folder.write({"reconciler.yaml": stack, "x.yaml": manifest("Agent", "{model: m}", more=more)})
    assert [problem.split(": ")[2] for problem in folder.problems()] == ["Variable without a value"]


def test_sixteen_pairs_of_metadata_leave_no_room_for_the_mark(folder: Folder) -> None:
    pairs = ", ".join(f"k{n}: v" for n in range(16))
    folder.write({"x.yaml": manifest("Agent", f"{{model: m, metadata: {{{pairs}}}}}")})
    assert folder.warnings() == [
        (
            "x.yaml:3:18: warning: Agent/x: No room for the mark: All 16 pairs are used, so there is no "
            "room for the ownership mark: if the state is lost, the object cannot be found again."
        )
    ]


def test_our_mark_cannot_be_set_by_hand(folder: Folder) -> None:
    folder.write({"x.yaml": manifest("Agent", "{model: m, metadata: {reconciler: mine}}")})
    assert folder.problems() == [
        (
            "x.yaml:3:29: error: Agent/x: Reserved key: reconciler stores the owner of an object in "
            '"reconciler": choose another key.'
        )
    ]


def test_a_project_that_is_declared_cannot_be_listed_as_unmanaged(folder: Folder) -> None:
    folder.write(
        {"reconciler.yaml": "kind: Stack\nspec: {projects: {search: proj_1}}\n", "x.yaml": PROJECT}
    )
    assert folder.problems() == [
        (
            "reconciler.yaml:2:19: error: Project/search: Project declared twice: Project/search is "
            "declared and also listed in spec.projects as not managed here: remove one of the two."
        )
    ]


def test_a_project_of_the_stack_is_a_scope(folder: Folder) -> None:
    limit = manifest("RateLimit", "{model: m}", metadata="name: x, project: legacy")
    folder.write(
        {"reconciler.yaml": "kind: Stack\nspec: {projects: {legacy: proj_1}}\n", "x.yaml": limit}
    )
    assert str(folder.load().resources[0].address) == "RateLimit/legacy/x"
