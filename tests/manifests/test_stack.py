"""The stack file: its defaults, its environments, its variables, and what it must not contain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import ConfigurationError
from reconciler.manifests import Guards, Settings, load_stack
from reconciler.model.address import Address
from reconciler.model.values import Reference, Template
from tests.manifests.conftest import PROJECT, Folder


def stack(spec: str, name: str = "") -> dict[str, str]:
    return {
        "reconciler.yaml": f"kind: Stack\nmetadata: {{{name}}}\nspec: {spec}\n",
        "m/p.yaml": PROJECT,
    }


def addresses(folder: Folder, **more: Any) -> list[str]:
    return [str(resource.address) for resource in folder.load(**more).resources]


def named(name: str) -> str:
    return f"kind: Project\nmetadata: {{name: {name}}}\nspec: {{name: {name.capitalize()}}}\n"


def test_everything_has_a_default(folder: Folder) -> None:
    found = folder.write({"a.yaml": PROJECT}).load().stack
    assert (found.name, found.environment, found.file) == ("shop", "default", None)
    assert (found.guards, found.admin_requests_per_minute) == (Guards(30, 10), None)
    assert found.backend_path == folder.root / ".reconciler"
    assert (found.organization, found.project) == (None, None)


def test_the_name_of_the_folder_becomes_a_valid_name(tmp_path: Path) -> None:
    root = tmp_path / "Überall shop (2)"
    root.mkdir()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", load_stack(Settings(root=root)).name)


@pytest.mark.parametrize("id", ["a\\r\\nX: b", "../files", "a b", "x\\n", "${var.id}"])
def test_the_id_of_a_project_has_the_form_of_an_id(folder: Folder, id: str) -> None:
    folder.write(stack(f'{{variables: {{id: "a/b"}}, projects: {{leg: "{id}"}}}}'))
    (problem,) = folder.problems()
    assert problem.startswith("reconciler.yaml:3:")
    assert "Invalid format: spec.projects.leg is" in problem


@pytest.mark.parametrize(
    "manifests", ["", "manifests: [m], ", "manifests: [m/loop.yaml], ", "manifests: [m/*.yaml], "]
)
def test_a_manifest_that_links_to_itself_is_one_problem_with_its_place(
    folder: Folder, manifests: str
) -> None:
    folder.write(stack(f"{{{manifests}guards: {{}}}}"))
    (folder.root / "m" / "loop.yaml").symlink_to("loop.yaml")
    (problem,) = folder.problems()
    assert re.match(r"(m/loop.yaml:1:1|reconciler.yaml:3:20): error: Cannot read the file", problem)


def test_a_stack_folder_that_links_to_itself_is_a_problem(folder: Folder) -> None:
    (folder.root / "loop").symlink_to("loop")
    assert folder.problems(root=Path("loop"))[0].startswith("error: No such folder")


def test_organization_and_project_come_from_the_process(folder: Folder) -> None:
    folder.env.update(OPENAI_ORG_ID="org-1", OPENAI_PROJECT_ID="proj_1")
    found = folder.write({"a.yaml": PROJECT}).load().stack
    assert (found.organization, found.project) == ("org-1", "proj_1")


def test_all_settings_of_a_stack_are_read(folder: Folder) -> None:
    folder.write(
        stack(
            "{guards: {max_deletes: 3}, pace: {admin_requests_per_minute: 5}, projects: {old: p_1}}",
            "name: acme",
        )
    )
    found = folder.load().stack
    assert (found.name, found.guards, found.admin_requests_per_minute) == (
        "acme",
        Guards(30, 3),
        5.0,
    )
    assert found.projects == {"old": "p_1"}


def test_a_stack_may_be_called_yml(folder: Folder) -> None:
    folder.write({"reconciler.yml": "kind: Stack\nmetadata: {name: acme}\n", "a.yaml": PROJECT})
    assert folder.load().stack.name == "acme"


class TestWhereManifestsAre:
    def test_without_a_stack_every_manifest_of_the_tree_is_read(self, folder: Folder) -> None:
        folder.write({"a.yaml": named("a"), "b/c.yml": named("c"), "d.json": '{"kind":"Project","metadata":'
                      '{"name":"d"},"spec":{"name":"D"}}'})  # fmt: skip
        assert addresses(folder) == ["Project/a", "Project/c", "Project/d"]

    @pytest.mark.parametrize(
        "path",
        [".hidden/x.yaml", ".x.yaml", ".reconciler/x.yaml", "secrets/x.yaml", "node_modules/a/x.yaml",
         ".venv/x.yaml", "a/secrets/x.yaml", "x.txt"],
    )  # fmt: skip
    def test_some_folders_are_never_searched(self, folder: Folder, path: str) -> None:
        folder.write({"a.yaml": named("a"), path: named("x")})
        assert addresses(folder) == ["Project/a"]

    def test_a_folder_with_a_stack_of_its_own_is_another_stack(self, folder: Folder) -> None:
        folder.write(
            {"a.yaml": named("a"), "sub/reconciler.yaml": "kind: Stack\n", "sub/x.yaml": named("x")}
        )
        assert addresses(folder) == ["Project/a"]

    @pytest.mark.parametrize("version", ["reconcilr/v1", "Reconciler/v1", "v1", "apps/v1"])
    def test_a_kind_of_ours_under_another_version_is_refused_and_not_passed_over(
        self, folder: Folder, version: str
    ) -> None:
        folder.write({"a.yaml": named("a"), "x.yaml": f"apiVersion: {version}\n{named('x')}"})
        (problem,) = folder.problems()
        assert problem.startswith(
            f'x.yaml:1:13: error: Project/x: Unknown value: apiVersion is "{version}"'
        )

    def test_a_misspelt_version_is_refused_whatever_the_kind(self, folder: Folder) -> None:
        folder.write(
            {"a.yaml": named("a"), "x.yaml": "apiVersion: reconcilr/v1\nkind: Projct\nspec: {}\n"}
        )
        assert folder.problems()[0].startswith("x.yaml:2:7: error: Unknown kind")

    def test_a_document_of_another_program_is_not_passed_over_where_the_stack_names_its_folder(
        self, folder: Folder
    ) -> None:
        folder.write(
            stack("{manifests: [m/]}")
            | {"m/x.yaml": "apiVersion: reconcilr/v1\nkind: A\nspec: {}\n"}
        )
        assert folder.problems()[0].startswith("m/x.yaml:2:7: error: Unknown kind")

    @pytest.mark.parametrize(
        "text",
        [
            "a: 1\n",
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: x}\n",
            "- a\n- b\n",
            "apiVersion: apps/v1\nkind: Deployment\nspec: {}\n",
            "image: {{ .Values.image }}\n",
            "on: [push]\njobs: {a: !reference [x]}\n",
        ],
    )
    def test_what_is_no_manifest_is_passed_over_where_the_stack_does_not_say(
        self, folder: Folder, text: str
    ) -> None:
        folder.write({"a.yaml": named("a"), "other.yaml": text})
        assert addresses(folder) == ["Project/a"]

    def test_where_the_stack_says_everything_must_be_a_manifest(self, folder: Folder) -> None:
        folder.write({**stack("{manifests: [m]}"), "m/x.yaml": "a: 1\n"})
        assert folder.problems()[0].startswith('m/x.yaml:1:1: error: Missing "kind"')

    def test_only_what_the_stack_names_is_read(self, folder: Folder) -> None:
        folder.write(
            {
                **stack("{manifests: [m, b.yaml, 'c/*/x.yaml']}"),
                "a.yaml": named("a"),
                "b.yaml": named("b"),
            }
        )
        folder.write({"c/d/x.yaml": named("c"), "c/d/y.yaml": named("y")})
        assert addresses(folder) == ["Project/b", "Project/c", "Project/search"]

    def test_a_file_that_is_named_twice_is_read_once(self, folder: Folder) -> None:
        folder.write(stack("{manifests: [m, m/p.yaml, ./m/../m/]}"))
        assert addresses(folder) == ["Project/search"]

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ("x", 'No such file: "x" does not exist in the stack\'s folder.'),
            ("../x", 'Path outside the stack: "../x" points outside the stack\'s folder.'),
            (
                "/etc",
                'Path outside the stack: "/etc" is absolute: write it relative to the stack\'s folder.',
            ),
            ("z/*.yaml", 'No manifests: "z/*.yaml" matches no .yaml, .yml or .json file.'),
            ("a.txt", 'Not a manifest: "a.txt" is not a .yaml, .yml or .json file.'),
            (
                "link",
                'Path outside the stack: "link" points outside the stack\'s folder through a link.',
            ),
        ],
    )
    def test_an_entry_that_leads_nowhere_is_told(
        self, folder: Folder, entry: str, message: str
    ) -> None:
        folder.write({**stack(f"{{manifests: [m, '{entry}']}}"), "a.txt": ""})
        (folder.root / "link").symlink_to(folder.root.parent)
        assert folder.problems() == [f"reconciler.yaml:3:23: error: {message}"]

    def test_a_linked_manifest_that_leads_out_is_refused(self, folder: Folder) -> None:
        (folder.root.parent / "x.yaml").write_text(named("x"))
        folder.write({"a.yaml": named("a")})
        (folder.root / "x.yaml").symlink_to(folder.root.parent / "x.yaml")
        assert folder.problems() == [
            'x.yaml:1:1: error: Path outside the stack: "x.yaml" points outside the stack\'s folder through a link.'
        ]

    def test_nothing_at_all_is_one_problem(self, folder: Folder) -> None:
        assert folder.problems() == [
            (
                f'error: No manifests: No .yaml, .yml or .json document with a kind was found in "{folder.root}". '
                "`reconciler init` writes a stack to start from, `reconciler export` writes manifests "
                "for what exists, and -C DIR chooses another folder."
            )
        ]

    def test_a_folder_that_does_not_exist_is_one_problem(self, folder: Folder) -> None:
        assert folder.problems(root=Path("nowhere")) == [
            'error: No such folder: The stack\'s folder "nowhere" does not exist. Choose another with -C DIR.'
        ]

    def test_places_are_shown_from_the_current_folder(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder.write({"m/p.yaml": "kind: Projekt\n"})
        monkeypatch.chdir(folder.root.parent)
        assert folder.problems(root=folder.root)[0].startswith("shop/m/p.yaml:1:7:")

    def test_places_outside_of_it_are_shown_from_the_stack(
        self, folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        folder.write({"m/p.yaml": "kind: Projekt\n"})
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert folder.problems(root=folder.root)[0].startswith("m/p.yaml:1:7:")


BAD = {
    "unknown section": (
        "{manifest: [m]}",
        '7: error: Unknown field "manifest": spec has no field "manifest". Did you mean "manifests"?',
    ),
    "base url": (
        "{base_url: https://evil.example}",
        ('7: error: Unknown field "base_url": spec has no field "base_url". Known fields: manifests, '
         'projects, organization, credentials, backend, encryption, guards, ignore, allow_delete, refresh, strict, '
         'variables, env, '
         'environments, pace, outputs. The base URL comes from OPENAI_BASE_URL or --base-url only, never from a file.'),
    ),
    "base url of an environment": (
        "{environments: {a: {baseUrl: https://evil.example}}}",
        ('26: error: Unknown field "baseUrl": spec.environments.a has no field "baseUrl". Known fields: '
         'manifests, projects, organization, credentials, backend, encryption, guards, ignore, allow_delete, refresh, '
         'strict, variables. The base URL comes from OPENAI_BASE_URL or --base-url only, never from a file.'),
    ),
    "address as a map": (
        "{backend: {postgres: {dsn: x}}}",
        ('17: error: Unknown field "postgres": spec.backend has no field "postgres". The address of a '
         'remote backend never stands in a file: write `backend: remote`, and set RECONCILER_BACKEND or '
         'pass --backend.'),
    ),
    "address as text": (
        "{backend: 'postgresql://ci:tauko@db/states'}",
        ('16: error: Unknown backend: The address of a remote backend never stands in a file: write '
         '`backend: remote`, and set RECONCILER_BACKEND or pass --backend.'),
    ),
    "address of an environment": (
        "{environments: {prod: {backend: 'postgresql://ci:tauko@db/states'}}}",
        ('38: error: Unknown backend: The address of a remote backend never stands in a file: write '
         '`backend: remote`, and set RECONCILER_BACKEND or pass --backend.'),
    ),
    "address as a key": (
        "{backend: {'postgresql://ci:tauko@db/states': x}}",
        ('16: error: Unknown backend: The address of a remote backend never stands in a file: write '
         '`backend: remote`, and set RECONCILER_BACKEND or pass --backend.'),
    ),
    "address as a folder": (
        "{backend: {local: {path: 'postgresql://ci:tauko@db/states'}}}",
        ('31: error: Not a folder: The address of a remote backend never stands in a file: write '
         '`backend: remote`, and set RECONCILER_BACKEND or pass --backend.'),
    ),
    "number as a backend": (
        "{backend: 3}",
        "16: error: Wrong type: spec.backend must be a map or text; found 3.",
    ),
    "recipient of another form": (
        "{encryption: {age: {recipients: [age1qqqqqqqqqqqqq, alice@example.com]}}}",
        ('58: error: Invalid format: spec.encryption.age.recipients[1] is "alice@example.com". Expected a '
         'recipient of age (age1…) or a public SSH key (ssh-ed25519 … or ssh-rsa …).'),
    ),
    "recipient of another form in an environment": (
        "{environments: {prod: {encryption: {age: {recipients: [age2]}}}}}",
        ('61: error: Invalid format: spec.environments.prod.encryption.age.recipients[0] is "age2". '
         'Expected a recipient of age (age1…) or a public SSH key (ssh-ed25519 … or ssh-rsa …).'),
    ),
    "identity as a recipient": (
        "{encryption: {age: {recipients: [age-secret-key-1qqqqqqqqqqqqqqqqqqqqq]}}}",
        ('39: error: A private key does not belong in a file: Write the public recipient, which '
         '`age-keygen -y FILE` prints. Replace the private key: whoever can read this file can decrypt '
         'with it.'),
    ),
    "encryption for nobody": (
        "{encryption: {age: {recipients: []}}}",
        ("38: error: Wrong length: spec.encryption.age.recipients has 0 items; the minimum is 1."),
    ),
    "encryption half written": (
        "{encryption: {age: }}",
        "25: error: Null is not allowed: Omit spec.encryption.age, or give it a value.",
    ),
    "encryption without recipients": (
        "{encryption: {age: {}}}",
        '20: error: Missing "recipients": spec.encryption.age requires it.',
    ),
    "backend elsewhere": (
        "{backend: {local: {path: /var/state}}}",
        ("31: error: Path outside the stack: \"/var/state\" is absolute: write it relative to the stack's "
         "folder. A folder outside the stack must come from an environment variable, for example "
         "${env.STATE_FOLDER}."),
    ),
    "share over all": (
        "{guards: {max_delete_percent: 101}}",
        "36: error: Out of range: spec.guards.max_delete_percent is 101; the maximum is 100.",
    ),
    "negative deletes": (
        "{guards: {max_deletes: -1}}",
        "29: error: Out of range: spec.guards.max_deletes is -1; the minimum is 0.",
    ),
    "pace of nothing": (
        "{pace: {admin_requests_per_minute: 0}}",
        "41: error: Out of range: spec.pace.admin_requests_per_minute is 0; the minimum is 0.01.",
    ),
    "pace next to nothing": (
        "{pace: {admin_requests_per_minute: 1.0e-308}}",
        "41: error: Out of range: spec.pace.admin_requests_per_minute is 1e-308; the minimum is 0.01.",
    ),
    "pace beyond counting": (
        "{pace: {admin_requests_per_minute: 1.0e+308}}",
        "41: error: Out of range: spec.pace.admin_requests_per_minute is 1e+308; the maximum is 100,000.",
    ),
    "overlap beyond time": (
        "{refresh: {overlap_minutes: 1.0e+308}}",
        "34: error: Out of range: spec.refresh.overlap_minutes is 1e+308; the maximum is 1,440.",
    ),
    "hours beyond time": (
        "{refresh: {full_every_hours: 1.0e+308}}",
        "35: error: Out of range: spec.refresh.full_every_hours is 1e+308; the maximum is 8,760.",
    ),
    "pace in words": (
        "{pace: {admin_requests_per_minute: fast}}",
        ('41: error: Invalid format: spec.pace.admin_requests_per_minute is "fast". Expected a number, '
        'or the word auto.'),
    ),
    "bad variable": (
        "{variables: {1x: y}}",
        ("19: error: Invalid format: spec.variables.1x is \"1x\". Variable names consist of letters, "
         "digits, '_' and '-', and do not start with a digit."),
    ),
    "unknown key of a variable": (
        "{variables: {x: {default: y, defualt: z}}}",
        '35: error: Unknown field "defualt": spec.variables.x has no field "defualt". Did you mean "default"?',
    ),
    "unknown type of a variable": (
        "{variables: {x: {type: int}}}",
        ('29: error: Unknown value: spec.variables.x.type is "int"; expected "string", "number", '
         '"boolean", "list", "map".'),
    ),
    "default of another type": (
        "{variables: {x: {type: number, default: y}}}",
        '19: error: Wrong type: The variable "x" must be of type number.',
    ),
    "variable without a value": (
        "{variables: {x: {description: y}}}",
        ('19: error: Variable without a value: "x" has no default: give it a value with --var x=VALUE, --var-file or '
        "an environment."),
    ),
    "unknown variable of an environment": (
        "{variables: {x: y}, environments: {default: {variables: {z: 1}}}}",
        '63: error: Unknown variable: No variable "z" is declared. Add it to spec.variables in reconciler.yaml.',
    ),
    "unknown reference": (
        "{outputs: {a: '${Project/serch}'}}",
        '20: error: Unknown reference: No manifest declares "Project/serch". Did you mean "Project/search"?',
    ),
    "process in an output": (
        "{outputs: {a: '${env.HOME}'}}",
        ('20: error: Environment variable not allowed: "${env.HOME}" must not be read here. Manifests '
         'may read only the variables that the caller allows. Run with --allow-env HOME, or add HOME to '
         'the environment variable RECONCILER_ALLOW_ENV.'),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_stack_is_one_problem(folder: Folder, spec: str, message: str) -> None:
    folder.write(stack(spec))
    column, rest = message.split(": ", 1)
    environment = "default" if "environments: {default" in spec else None
    problems = folder.problems(environment=environment)
    assert problems == [f"reconciler.yaml:3:{int(column) + 1}: {rest}"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "kind: Stack\n---\nkind: Stack\n"])
def test_a_stack_file_holds_one_document(folder: Folder, text: str) -> None:
    folder.write({"reconciler.yaml": text, "m.yaml": PROJECT})
    (problem,) = folder.problems()
    assert problem.endswith(
        "error: Not a stack: The stack file must contain exactly one document, of kind Stack."
    )


def test_a_stack_file_that_is_no_yaml_is_one_problem(folder: Folder) -> None:
    folder.write({"reconciler.yaml": "kind: [", "m.yaml": PROJECT})
    assert [problem.split(":")[0] for problem in folder.problems()] == ["reconciler.yaml"]


def test_two_stack_files_are_refused(folder: Folder) -> None:
    folder.write(
        {"reconciler.yaml": "kind: Stack\n", "reconciler.yml": "kind: Stack\n", "m.yaml": PROJECT}
    )
    assert folder.problems() == [
        "reconciler.yaml:1:1: error: Two stack files: Both reconciler.yaml and reconciler.yml exist: keep one."
    ]


def test_a_linked_stack_file_that_leads_out_is_refused(folder: Folder) -> None:
    (folder.root.parent / "reconciler.yaml").write_text("kind: Stack\n")
    (folder.root / "reconciler.yaml").symlink_to(folder.root.parent / "reconciler.yaml")
    assert "points outside the stack's folder through a link" in folder.problems()[0]


class TestEnvironments:
    SPEC = """{variables: {model: a}, guards: {max_deletes: 1, max_delete_percent: 2}, projects: {x: p_1},
      environments: {prod: {variables: {model: b}, guards: {max_deletes: 5}, projects: {y: p_2}}, dev: }}"""

    def test_an_environment_lies_over_the_stack(self, folder: Folder) -> None:
        found = folder.write(stack(self.SPEC)).load(environment="prod").stack
        assert (found.environment, found.guards) == ("prod", Guards(2, 5))
        assert found.projects == {"x": "p_1", "y": "p_2"}

    @pytest.mark.parametrize(
        ("environment", "model"), [("default", "a"), ("dev", "a"), ("prod", "b")]
    )
    def test_variables_have_the_environments_value(
        self, folder: Folder, environment: str, model: str
    ) -> None:
        folder.write(
            {
                **stack(self.SPEC),
                "m.yaml": "kind: Agent\nmetadata: {name: a}\nspec: {model: '${var.model}'}\n",
            }
        )
        assert folder.spec("Agent/a", environment=environment)["model"] == model

    def test_a_map_of_an_environment_is_merged_into_the_default_key_by_key(
        self, folder: Folder
    ) -> None:
        default = "{a: {x: 1, y: {p: 1, q: 2}}, list: [1, 2]}"
        above = "{a: {y: {q: 3}, z: 4}, list: [3]}"
        spec = (
            f"{{variables: {{m: {default}}}, environments: {{prod: {{variables: {{m: {above}}}}}}},"
        )
        folder.write(stack(f"{spec} outputs: {{m: '${{var.m}}'}}}}"))
        assert folder.load(environment="prod").stack.outputs["m"] == {
            "a": {"x": 1, "y": {"p": 1, "q": 3}, "z": 4},
            "list": [3],
        }

    def test_an_environment_must_be_chosen_once_there_are_any(self, folder: Folder) -> None:
        folder.write(stack("{environments: {prod: , dev: }}"))
        assert folder.problems() == [
            "reconciler.yaml:3:8: error: No environment selected: Choose one with -e: prod, dev."
        ]

    def test_an_unknown_environment_names_the_known_ones(self, folder: Folder) -> None:
        folder.write(stack("{environments: {prod: , dev: }}"))
        assert folder.problems(environment="prd") == [
            (
                'reconciler.yaml:3:8: error: Unknown environment: "prd" is not declared. Did you mean "prod"? '
                "Known: prod, dev."
            )
        ]

    def test_without_environments_none_can_be_chosen(self, folder: Folder) -> None:
        folder.write({"m.yaml": PROJECT})
        assert folder.problems(environment="prod") == [
            'error: Unknown environment: "prod" is not declared. The stack declares none: see spec.environments.'
        ]


def with_variables(folder: Folder, variables: str, value: str) -> Folder:
    agent = f"kind: Agent\nmetadata: {{name: a}}\nspec: {{model: m, metadata: {{}}, tools: [], name: '{value}'}}\n"
    return folder.write({**stack(f"{{variables: {variables}}}"), "m.yaml": agent})


class TestVariables:
    @pytest.mark.parametrize(
        ("variables", "text", "value"),
        [
            ("{x: a}", "12", "12"),
            ("{x: {type: string}}", "[a]", "[a]"),
            ("{x: {default: a}}", "true", "true"),
            ("{x: a}", "${env.HOME}", "${env.HOME}"),
            ("{x: }", "1234567e8", "1234567e8"),
            ("{x: {description: A release.}}", "1.10", "1.10"),
            ("{x: {default: null}}", "0x1F", "0x1F"),
        ],
    )
    def test_text_stays_text_on_the_command_line(
        self, folder: Folder, variables: str, text: str, value: str
    ) -> None:
        with_variables(folder, variables, "${var.x}")
        assert folder.spec("Agent/a", variables={"x": text})["name"] == value

    @pytest.mark.parametrize(
        ("variables", "text", "value"),
        [
            ("{x: 1}", "2", "2 2"),
            ("{x: }", "true", "true true"),
            ("{x: {type: number}}", "1.5", "1.5 1.5"),
        ],
    )
    def test_other_values_are_read_as_yaml(
        self, folder: Folder, variables: str, text: str, value: str
    ) -> None:
        with_variables(folder, variables, "${var.x} ${var.x}")
        assert folder.spec("Agent/a", variables={"x": text})["name"] == value

    def test_a_later_source_wins(self, folder: Folder) -> None:
        with_variables(folder, "{a: 0, b: 0, c: 0}", "${var.a} ${var.b} ${var.c}")
        folder.write({"one.yaml": "a: 1\nb: 1\nc: 1\n", "two.json": '{"b": 2, "c": 2}'})
        files = [Path("one.yaml"), Path("two.json")]
        assert folder.spec("Agent/a", variable_files=files, variables={"c": "3"})["name"] == "1 2 3"

    def test_a_bare_map_is_a_default(self, folder: Folder) -> None:
        with_variables(folder, "{x: {a: 1}}", "n${var.x.a}")
        assert folder.spec("Agent/a")["name"] == "n1"

    @pytest.mark.parametrize(
        ("variables", "message"),
        [
            (
                {"y": "1"},
                '--var y: No variable "y" is declared. Add it to spec.variables in reconciler.yaml.',
            ),
            (
                {"zz": "1"},
                '--var zz: No variable "zz" is declared. Add it to spec.variables in reconciler.yaml.',
            ),
            ({"number": "a"}, '--var number: The variable "number" must be of type number.'),
            (
                {"numbr": "1"},
                '--var numbr: No variable "numbr" is declared. Did you mean "number"?',
            ),
        ],
    )
    def test_a_bad_value_of_the_command_line_is_told(
        self, folder: Folder, variables: dict[str, str], message: str
    ) -> None:
        with_variables(folder, "{x: a, number: {type: number, default: 1}}", "${var.number}x")
        (problem,) = folder.problems(variables=variables)
        assert problem.endswith(message)

    def test_a_bad_file_of_variables_is_told(self, folder: Folder) -> None:
        with_variables(folder, "{x: a}", "n")
        folder.write({"v.yaml": "x: 1\ny: 2\n", "w.yaml": "- a\n"})
        assert folder.problems(
            variable_files=[Path("v.yaml"), Path("w.yaml"), Path("no.yaml")]
        ) == [
            "no.yaml:1:1: error: Cannot read the file: No such file or directory.",
            (
                'v.yaml:2:1: error: Unknown variable: No variable "y" is declared. Add it to spec.variables in '
                "reconciler.yaml."
            ),
            "w.yaml:1:1: error: Invalid variable file: Write one NAME: VALUE per line.",
        ]

    def test_a_variable_without_a_value_is_told_once(self, folder: Folder) -> None:
        with_variables(folder, "{x: }", "${var.x} ${var.x}")
        assert len(folder.problems()) == 1


class TestGivenAddress:
    def test_a_local_address_wins_over_the_folder_of_the_stack(
        self, folder: Folder, tmp_path: Path
    ) -> None:
        folder.write(stack("{backend: {local: {path: a}}}"))
        assert folder.load_stack(backend="local:b").backend_path == folder.root / "b"
        folder.env["RECONCILER_BACKEND"] = f"file://{tmp_path}/s%20b"
        assert folder.load_stack().backend_path == tmp_path / "s b"

    @pytest.mark.parametrize("address", ["s3://bucket/b", "local:", "b", ""])
    def test_another_address_leaves_the_folder_of_the_stack(
        self, folder: Folder, address: str
    ) -> None:
        folder.write(stack("{backend: {local: {path: a}}}"))
        assert folder.load_stack(backend=address).backend_path == folder.root / "a"

    @pytest.mark.parametrize("state", ["a", "b"])
    def test_no_manifest_reads_a_state_in_either_folder(self, folder: Folder, state: str) -> None:
        text = (
            f"kind: Agent\nmetadata: {{name: a}}\nspec: {{name: '${{file:{state}/x}}', model: m}}\n"
        )
        folder.write({**stack("{backend: {local: {path: a}}}"), f"{state}/x": "x", "m.yaml": text})
        (problem,) = folder.problems(backend="local:b")
        assert f'"{state}/x"' in problem
        assert "state" in problem


AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice"


class TestSharedState:
    def test_a_stack_is_local_and_not_encrypted_by_default(self, folder: Folder) -> None:
        folder.write(stack("{}"))
        found = folder.load_stack()
        assert (found.needs_remote, found.recipients) == (False, ())

    def test_a_remote_backend_says_where_it_was_asked_for(self, folder: Folder) -> None:
        folder.write(stack("{backend: remote}"))
        found = folder.load_stack()
        assert found.needs_remote
        assert str(found.backend_place) == "reconciler.yaml:3:17"

    @pytest.mark.parametrize(
        ("environment", "is_remote"), [("default", True), ("dev", False), ("prod", True)]
    )
    def test_an_environment_replaces_the_backend(
        self, folder: Folder, environment: str, is_remote: bool
    ) -> None:
        dev = "dev: {backend: {local: {path: state}}}"
        folder.write(stack(f"{{backend: remote, environments: {{{dev}, prod: }}}}"))
        assert folder.load_stack(environment=environment).needs_remote == is_remote

    def test_an_environment_asks_for_a_remote_backend(self, folder: Folder) -> None:
        folder.write(
            stack("{backend: {local: {path: state}}, environments: {prod: {backend: remote}}}")
        )
        assert folder.load_stack(environment="prod").needs_remote
        assert folder.load_stack(environment="default").backend_path == folder.root / "state"

    def test_nothing_is_left_of_a_backend_that_an_environment_replaces(
        self, folder: Folder
    ) -> None:
        folder.write(stack("{backend: {local: {path: state}}, environments: {dev: {backend: {}}}}"))
        found = folder.load_stack(environment="dev")
        assert found.backend_path == folder.root / ".reconciler"

    @pytest.mark.parametrize(
        "recipient", [AGE, SSH, SSH.removesuffix(" alice"), f"age1yubikey1{'q' * 58}"]
    )
    def test_a_recipient_is_of_age_or_a_public_key(self, folder: Folder, recipient: str) -> None:
        folder.write(stack(f"{{encryption: {{age: {{recipients: ['{recipient}']}}}}}}"))
        assert folder.load_stack().recipients == (recipient,)

    def test_a_recipient_in_a_block_of_text_has_no_line_break(self, folder: Folder) -> None:
        spec = f"spec:\n  encryption:\n    age:\n      recipients:\n        - |\n          {SSH}\n"
        folder.write({"reconciler.yaml": f"kind: Stack\n{spec}"})
        assert folder.load_stack().recipients == (SSH,)

    def test_recipients_keep_their_order_and_count_once(self, folder: Folder) -> None:
        folder.write(stack(f"{{encryption: {{age: {{recipients: ['{SSH}', {AGE}, '{SSH}']}}}}}}"))
        assert folder.load_stack().recipients == (SSH, AGE)

    @pytest.mark.parametrize(
        ("environment", "recipients"), [("default", (AGE,)), ("prod", (SSH,)), ("dev", ())]
    )
    def test_an_environment_replaces_the_encryption(
        self, folder: Folder, environment: str, recipients: tuple[str, ...]
    ) -> None:
        prod = f"prod: {{encryption: {{age: {{recipients: ['{SSH}']}}}}}}"
        folder.write(
            stack(
                f"{{encryption: {{age: {{recipients: [{AGE}]}}}}, "
                f"environments: {{{prod}, dev: {{encryption: {{}}}}}}}}"
            )
        )
        assert folder.load_stack(environment=environment).recipients == recipients

    @pytest.mark.parametrize(
        "spec",
        [
            "{backend: 'postgresql://ci:kahvi-tauko@db/states'}",
            "{backend: {'postgresql://ci:kahvi-tauko@db/states': }}",
            "{backend: {postgres: 'postgresql://ci:kahvi-tauko@db/states'}}",
            "{backend: {local: {path: 'postgresql://ci:kahvi-tauko@db/states'}}}",
            "{encryption: {age: {recipients: [AGE-SECRET-KEY-1KAHVI-TAUKO]}}}",
            "{encryption: {age: {recipients: [AGE-SECRET-KEY-PQ-1KAHVI-TAUKO]}}}",
            "{encryption: {age: {recipients: ['-----BEGIN OPENSSH PRIVATE KEY----- KAHVI-TAUKO']}}}",
        ],
    )
    def test_what_a_message_must_not_quote_is_not_quoted(self, folder: Folder, spec: str) -> None:
        folder.write(stack(spec))
        (problem,) = folder.problems()
        assert "tauko" not in problem.lower()


class TestBackend:
    def test_the_state_is_below_the_stack(self, folder: Folder) -> None:
        folder.write(stack("{backend: {local: {path: state/a}}}"))
        assert folder.load_stack().backend_path == folder.root / "state/a"

    def test_the_process_may_put_the_state_elsewhere(self, folder: Folder) -> None:
        folder.env |= {"STATE_FOLDER": "/var/lib/state", "RECONCILER_ALLOW_ENV": "STATE_FOLDER"}
        folder.write(stack("{backend: {local: {path: '${env.STATE_FOLDER}/shop'}}}"))
        assert folder.load_stack().backend_path == Path("/var/lib/state/shop")

    def test_a_variable_of_the_process_that_is_not_set_is_told(self, folder: Folder) -> None:
        folder.write(stack("{backend: {local: {path: '${env.STATE_FOLDER}'}}}"))
        assert folder.problems(allow_env=("STATE_FOLDER",)) == [
            'reconciler.yaml:3:32: error: Environment variable not set: "STATE_FOLDER" is not set.'
        ]

    def test_a_linked_folder_that_leads_out_is_refused(self, folder: Folder) -> None:
        (folder.root / ".reconciler").symlink_to(folder.root.parent)
        folder.write({"m.yaml": PROJECT})
        assert "points outside the stack's folder through a link" in folder.problems()[0]


class TestOutputs:
    SPEC = "{outputs: {id: '${Project/search}', text: 'see ${Project/search.name}', list: ['${Project/search}']}}"

    def test_outputs_keep_their_references(self, folder: Folder) -> None:
        project = Address("Project", "search")
        assert folder.write(stack(self.SPEC)).load().stack.outputs == {
            "id": Reference(project),
            "text": Template(("see ", Reference(project, ("name",)))),
            "list": [Reference(project)],
        }

    def test_a_stack_alone_reads_the_same_outputs(self, folder: Folder) -> None:
        folder.write(stack(self.SPEC))
        assert folder.load_stack().outputs == folder.load().stack.outputs


def test_a_stack_alone_needs_no_manifests_and_no_values(folder: Folder) -> None:
    folder.write(
        {"reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\nspec: {variables: {x: }}\n"}
    )
    assert folder.load_stack().name == "acme"


def test_a_stack_alone_is_refused_when_it_is_wrong(folder: Folder) -> None:
    folder.write({"reconciler.yaml": "kind: Stakk\n"})
    with pytest.raises(ConfigurationError):
        folder.load_stack()
