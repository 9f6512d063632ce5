"""The sources of keys, their destinations, and that no other output contains them."""

from __future__ import annotations

import pytest

from reconciler.manifests import check_credentials
from reconciler.model.sinks import sink_names
from tests.manifests.conftest import PROJECT, Folder

KEY = "sk-proj-THISisAkeyTHATisINuse"
LEAKY = "kind: Stack\nspec: {variables: {leak: {type: string}}}\n"
AGENT = "kind: Agent\nmetadata: {name: bot}\nspec: {model: m}\n"


def account(name: str, target: str) -> str:
    metadata = f"{{name: {name}, project: search}}"
    return (
        f"---\nkind: ServiceAccount\nmetadata: {metadata}\nspec: {{name: {name}, key: {target}}}\n"
    )


def stack(credentials: str) -> str:
    return f"kind: Stack\nspec:\n  credentials: {credentials}\n"


def missing(folder: Folder) -> list[str]:
    return [str(problem) for problem in check_credentials(folder.load())]


def test_without_a_stack_the_usual_variables_hold_the_keys(folder: Folder) -> None:
    folder.env.update(OPENAI_API_KEY="sk-project-key", OPENAI_ADMIN_KEY="sk-admin-key")
    credentials = folder.write({"m.yaml": AGENT}).load().stack.credentials
    assert [
        (one.source, one.secret.reveal() if one.secret else None) for one in credentials.all()
    ] == [
        ("OPENAI_ADMIN_KEY", "sk-admin-key"),
        ("OPENAI_API_KEY", "sk-project-key"),
    ]


def test_a_credential_names_its_variable_and_its_entry(folder: Folder) -> None:
    folder.env["SEARCH_KEY"] = "sk-of-search"
    folder.write(
        {"reconciler.yaml": stack("{projects: {search: '${env.SEARCH_KEY}'}}"), "m.yaml": AGENT}
    )
    found = folder.load().stack.credentials.projects["search"]
    assert found.source == "SEARCH_KEY (credentials.projects.search in reconciler.yaml)"
    assert found.secret is not None
    assert found.secret.reveal() == "sk-of-search"


def test_a_variable_that_is_not_set_leaves_the_credential_without_a_secret(folder: Folder) -> None:
    folder.write({"reconciler.yaml": stack("{default: '${env.NOPE}'}"), "m.yaml": AGENT})
    default = folder.load().stack.credentials.default
    assert default is not None
    assert default.secret is None


def test_null_means_no_key(folder: Folder) -> None:
    folder.env["OPENAI_API_KEY"] = "sk-project-key"
    folder.write({"reconciler.yaml": stack("{default: null}"), "m.yaml": AGENT})
    assert folder.load().stack.credentials.default is None


def test_a_credential_in_a_file_is_read_later(folder: Folder) -> None:
    folder.write({"reconciler.yaml": stack("{default: '${file:secrets/a.key}'}"), "m.yaml": AGENT})
    default = folder.load().stack.credentials.default
    assert default is not None
    assert (default.file, default.secret) == ("secrets/a.key", None)


def test_an_environment_replaces_single_credentials(folder: Folder) -> None:
    text = stack("{default: '${env.A}', projects: {one: '${env.B}', two: '${env.C}'}}")
    folder.write(
        {
            "reconciler.yaml": text
            + "  environments: {prod: {credentials: {projects: {two: '${env.D}'}}}}\n"
        }
    )
    credentials = folder.load_stack(environment="prod").credentials
    assert [one.source.split(" ")[0] for one in credentials.all()] == [
        "OPENAI_ADMIN_KEY",
        "A",
        "B",
        "D",
    ]


@pytest.mark.parametrize("value", [KEY, "x ${env.A}", "${var.key}", "plain"])
def test_a_key_in_the_stack_file_is_refused_and_not_printed(folder: Folder, value: str) -> None:
    folder.write({"reconciler.yaml": stack(f"{{default: '{value}'}}"), "m.yaml": AGENT})
    assert folder.problems() == [
        (
            "reconciler.yaml:3:26: error: A key does not belong in a file: Write ${env.NAME} or ${file:PATH} for "
            "credentials.default."
        )
    ]


def test_a_credential_file_outside_the_stack_is_refused(folder: Folder) -> None:
    folder.write({"reconciler.yaml": stack("{default: '${file:../a.key}'}"), "m.yaml": AGENT})
    assert folder.problems() == [
        'reconciler.yaml:3:26: error: Path outside the stack: "../a.key" points outside the stack\'s folder.'
    ]


@pytest.mark.parametrize(
    "document",
    [
        AGENT.replace("model: m", f"model: {KEY}"),
        AGENT.replace("model: m", f"model: m, instructions: 'a {KEY} b'"),
        AGENT.replace("model: m", f"model: m, metadata: {{k: '{KEY}'}}"),
        AGENT.replace("model: m", f"model: m, metadata: {{'{KEY}': v}}"),
        AGENT.replace("model: m", "model: m, instructions: '${var.leak}'"),
        AGENT.replace("model: m", "model: m, instructions: '${VectorStore/s} ${var.leak}'")
        + "---\nkind: VectorStore\nmetadata: {name: s}\nspec: {}\n",
        AGENT.replace("model: m", "model: '${file:copy.txt}'"),
        AGENT.replace("model: m", f"model: m, tools: '{KEY}'"),
    ],
)
def test_a_key_in_use_is_refused_in_any_manifest_and_never_printed(
    folder: Folder, document: str
) -> None:
    folder.env["OPENAI_API_KEY"] = KEY
    folder.write({"reconciler.yaml": LEAKY, "m.yaml": document, "copy.txt": KEY})
    problems = folder.problems(variables={"leak": KEY})
    assert any("A credential does not belong in a manifest" in problem for problem in problems)
    assert not any(KEY in problem for problem in problems)


def test_the_key_in_a_credential_file_is_refused_in_manifests_too(folder: Folder) -> None:
    folder.write(
        {
            "reconciler.yaml": stack("{projects: {search: '${file:secrets/a.key}'}}"),
            "secrets/a.key": f"{KEY}\n",
            "m.yaml": AGENT.replace("model: m", f"model: {KEY}"),
        }
    )
    assert "A credential does not belong in a manifest" in folder.problems()[0]


def test_a_key_in_use_is_refused_in_an_output(folder: Folder) -> None:
    folder.env["OPENAI_API_KEY"] = KEY
    folder.write(
        {"reconciler.yaml": LEAKY.replace("{v", "{outputs: {a: '${var.leak}'}, v"), "m.yaml": AGENT}
    )
    assert folder.problems(variables={"leak": KEY}) == [
        (
            'reconciler.yaml:2:21: error: A credential does not belong in a manifest: The variable "leak" '
            "contains what looks like an API key: manifests must not contain secrets."
        )
    ]


@pytest.mark.parametrize(
    "document",
    [
        "---\nkind: File\nmetadata: {name: f}\nspec: {path: secrets/a.key, purpose: assistants}\n",
        "---\nkind: VectorStore\nmetadata: {name: s}\nspec: {files: [{path: 'secrets/*'}]}\n",
        "---\n" + AGENT.replace("model: m", "model: m, instructions: '${file:secrets/a.key}'"),
    ],
)
def test_a_key_file_cannot_be_part_of_a_resource(folder: Folder, document: str) -> None:
    text = PROJECT + document + account("a", "{write_to: {file: secrets/a.key}}")
    folder.write({"m.yaml": text, "secrets/a.key": "sk-whatever-it-is"})
    assert "A credential does not belong in a manifest" in folder.problems()[0]


def test_a_text_that_only_looks_like_a_key_is_a_warning(folder: Folder) -> None:
    folder.write(
        {"m.yaml": AGENT.replace("model: m", f"model: m, instructions: 'for example {KEY}'")}
    )
    assert folder.warnings() == [
        "m.yaml:3:32: warning: Agent/bot: Looks like a key: The text contains something that looks like an API key."
    ]


SINK_LIST = ", ".join(f"`{name}`" for name in sink_names())

SINKS = {
    "nothing": (
        "{write_to: {}}",
        f"Wrong length: spec.key.write_to has 0 pairs; the minimum is 1. Write one of {SINK_LIST}.",
    ),
    "both": (
        "{write_to: {file: a, command: [b]}}",
        f"Too many: spec.key.write_to has 2 pairs; the maximum is 1. Write one of {SINK_LIST}.",
    ),
    "command as text": (
        "{write_to: {command: a}}",
        'Wrong type: spec.key.write_to.command must be a list; found "a".',
    ),
    "empty command": (
        "{write_to: {command: []}}",
        "Wrong length: spec.key.write_to.command has 0 items; the minimum is 1.",
    ),
    "absolute": (
        "{write_to: {file: /tmp/a}}",
        'Path outside the stack: "/tmp/a" is absolute: write it relative to the stack\'s folder.',
    ),
    "upwards": (
        "{write_to: {file: ../a}}",
        'Path outside the stack: "../a" points outside the stack\'s folder.',
    ),
    "upwards inside": (
        "{write_to: {file: a/../b}}",
        'Path outside the stack: "a/../b" contains "..": write the path without it.',
    ),
}


@pytest.mark.parametrize(("target", "message"), SINKS.values(), ids=SINKS.keys())
def test_a_bad_sink_is_one_problem(folder: Folder, target: str, message: str) -> None:
    folder.write({"m.yaml": PROJECT + account("a", target)})
    (problem,) = folder.problems()
    assert problem.startswith("m.yaml:7:")
    assert problem.endswith(f"error: ServiceAccount/search/a: {message}")


def test_two_keys_in_one_file_are_refused(folder: Folder) -> None:
    sinks = account("a", "{write_to: {file: secrets/k}}") + account(
        "b", "{write_to: {file: ./secrets//k}}"
    )
    folder.write({"m.yaml": PROJECT + sinks})
    assert folder.problems() == [
        (
            "m.yaml:11:40: error: ServiceAccount/search/b: Two keys in one file: ServiceAccount/search/a "
            'also writes its key to "secrets/k".'
        )
    ]


def test_a_configuration_is_valid_without_any_key(folder: Folder) -> None:
    folder.write({"m.yaml": f"{PROJECT}---\n{AGENT}"})
    assert len(folder.load().resources) == 2


def test_each_scope_without_a_key_is_one_problem_at_its_first_resource(folder: Folder) -> None:
    more = "".join(
        f"---\nkind: Agent\nmetadata: {{name: {name}, project: search}}\nspec: {{model: m}}\n"
        for name in "ab"
    )
    folder.write({"m.yaml": f"{PROJECT}---\n{AGENT}{more}"})
    assert missing(folder) == [
        "m.yaml:1:1: error: Project/search: No admin key: 1 resource needs it: set OPENAI_ADMIN_KEY.",
        "m.yaml:5:1: error: Agent/bot: No key for the default scope: 1 resource needs it: set OPENAI_API_KEY.",
        (
            'm.yaml:9:1: error: Agent/search/a: No key for project "search": 2 resources need it: set '
            "OPENAI_API_KEY, or credentials.projects.search in reconciler.yaml."
        ),
    ]


def test_the_default_key_serves_every_project_without_its_own(folder: Folder) -> None:
    folder.env.update(OPENAI_API_KEY="sk-project-key", OPENAI_ADMIN_KEY="sk-admin-key")
    folder.write(
        {"m.yaml": PROJECT + "---\n" + AGENT.replace("name: bot", "name: bot, project: search")}
    )
    assert missing(folder) == []


def test_a_project_whose_own_key_is_not_set_does_not_fall_back_to_another(folder: Folder) -> None:
    folder.env.update(OPENAI_API_KEY="sk-project-key", OPENAI_ADMIN_KEY="sk-admin-key")
    document = PROJECT + "---\n" + AGENT.replace("name: bot", "name: bot, project: search")
    folder.write(
        {"reconciler.yaml": stack("{projects: {search: '${env.NOPE}'}}"), "m.yaml": document}
    )
    assert missing(folder) == [
        (
            'm.yaml:5:1: error: Agent/search/bot: No key for project "search": 1 resource needs it: set NOPE '
            "(credentials.projects.search in reconciler.yaml)."
        )
    ]


@pytest.mark.parametrize("how", ["exists", "is written"])
def test_a_key_file_that_exists_or_will_be_written_is_a_key(folder: Folder, how: str) -> None:
    folder.env["OPENAI_ADMIN_KEY"] = "sk-admin-key"
    document = PROJECT + "---\n" + AGENT.replace("name: bot", "name: bot, project: search")
    if how == "exists":
        folder.write({"secrets/a.key": "sk-search-key"})
    else:
        document += account("a", "{write_to: {file: ./secrets/a.key}}")
    folder.write(
        {
            "reconciler.yaml": stack("{projects: {search: '${file:secrets/a.key}'}}"),
            "m.yaml": document,
        }
    )
    assert missing(folder) == []


def test_a_key_file_that_no_resource_writes_is_no_key(folder: Folder) -> None:
    document = AGENT
    folder.write(
        {"reconciler.yaml": stack("{default: '${file:secrets/a.key}'}"), "m.yaml": document}
    )
    assert missing(folder) == [
        (
            "m.yaml:1:1: error: Agent/bot: No key for the default scope: 1 resource needs it: secrets/a.key "
            "(credentials.default in reconciler.yaml) does not exist, and no declared ServiceAccount writes it."
        )
    ]


def test_all_known_keys_are_listed_for_redaction(folder: Folder) -> None:
    folder.env.update(
        OPENAI_API_KEY="sk-project-key", OPENAI_ADMIN_KEY="sk-admin-key", OTHER="sk-other-key"
    )
    text = stack("{default: '${env.OTHER}', projects: {a: '${file:secrets/a.key}'}}")
    folder.write({"reconciler.yaml": text, "m.yaml": AGENT, "secrets/a.key": "sk-file-key\n"})
    secrets = {secret.reveal() for secret in folder.load().secrets}
    assert secrets == {"sk-project-key", "sk-admin-key", "sk-other-key", "sk-file-key"}


def test_a_configuration_prints_no_key(folder: Folder) -> None:
    folder.env.update(OPENAI_API_KEY=KEY)
    configuration = folder.write({"m.yaml": AGENT}).load()
    assert KEY not in repr(configuration) + repr(folder.settings())


TARGETS = {
    "a folder": ("d", '"d" is a folder: name a file in it.'),
    "the stack's folder": (".", '"." is a folder: name a file in it.'),
    "the stack file": ("reconciler.yaml", '"reconciler.yaml" is the stack file.'),
    "a stack file to be": ("./reconciler.yml", '"reconciler.yml" is the stack file.'),
    "a manifest": ("m.yaml", '"m.yaml" is one of the manifests.'),
    "below a manifest": ("m.yaml/k", '"m.yaml/k" is below "m.yaml", which is a file.'),
    "the usual state folder": (".reconciler/k", '".reconciler/k" is in the state folder.'),
    "the state folder": ("state/deep/k", '"state/deep/k" is in the state folder.'),
    "workflows": (
        ".github/workflows/k",
        '".github/workflows/k" is in .github, whose files are published or executed.',
    ),
}


@pytest.mark.parametrize(("target", "message"), TARGETS.values(), ids=TARGETS.keys())
def test_a_file_that_is_something_else_takes_no_key(
    folder: Folder, target: str, message: str
) -> None:
    (folder.root / "d").mkdir()
    text = "kind: Stack\nspec: {backend: {local: {path: state}}}\n"
    folder.write(
        {
            "reconciler.yaml": text,
            "m.yaml": PROJECT + account("a", f"{{write_to: {{file: {target}}}}}"),
        }
    )
    where = "m.yaml:7:40: error: ServiceAccount/search/a: Unusable file for a key"
    assert folder.problems() == [f"{where}: {message} Choose another file."]


def test_no_key_is_written_into_a_git_folder(folder: Folder) -> None:
    folder.write({"m.yaml": PROJECT + account("a", "{write_to: {file: .git/k}}")})
    assert folder.problems()[0].startswith(
        "m.yaml:7:40: error: ServiceAccount/search/a: Path inside .git"
    )


@pytest.mark.parametrize("names", [("k", "k/x"), ("k/x", "k")])
def test_a_key_file_is_not_a_folder_of_another(folder: Folder, names: tuple[str, str]) -> None:
    accounts = [
        account(name, f"{{write_to: {{file: {file}}}}}")
        for name, file in zip("ab", names, strict=True)
    ]
    (problem,) = folder.write({"m.yaml": PROJECT + "".join(accounts)}).problems()
    assert 'writes its key to "k", which therefore cannot be a folder.' in problem


def test_a_key_file_that_links_to_itself_is_no_mistake_of_ours(folder: Folder) -> None:
    (folder.root / "k").symlink_to("k")
    folder.write({"m.yaml": PROJECT + account("a", "{write_to: {file: k}}")})
    assert len(folder.load().resources) == 2


@pytest.mark.parametrize("glob", ["out/*", "**/*", "out/**/*.key", "*/a.key"])
def test_a_key_to_be_written_is_kept_out_of_a_store(folder: Folder, glob: str) -> None:
    store = (
        f"---\nkind: VectorStore\nmetadata: {{name: s}}\nspec: {{files: [{{path: '{glob}'}}]}}\n"
    )
    folder.write(
        {
            "m.yaml": PROJECT + store + account("a", "{write_to: {file: out/a.key}}"),
            "out/b.key": "x",
        }
    )
    assert folder.problems() == [
        (
            "m.yaml:7:23: error: VectorStore/s: A credential does not belong in a manifest: "
            f'"out/a.key" is the destination of a key, and "{glob}" matches it: resources must not contain it.'
        )
    ]


@pytest.mark.parametrize(
    "files",
    [
        "{path: '**/*.key', ignore: [out], allow_empty: true}",
        "{path: 'out/*.md', allow_empty: true}",
        "{path: '**/*'}",
    ],
)
def test_a_key_that_no_glob_finds_is_no_problem(folder: Folder, files: str) -> None:
    target = ".out/a.key" if "ignore" not in files else "out/a.key"
    store = f"---\nkind: VectorStore\nmetadata: {{name: s}}\nspec: {{files: [{files}]}}\n"
    folder.write({"m.yaml": PROJECT + store + account("a", f"{{write_to: {{file: {target}}}}}")})
    assert len(folder.load().resources) == 3


def test_a_key_for_an_undeclared_project_is_a_warning(folder: Folder) -> None:
    folder.env["SERCH_KEY"] = "sk-of-search"
    folder.write(
        {"reconciler.yaml": stack("{projects: {serch: '${env.SERCH_KEY}'}}"), "m.yaml": PROJECT}
    )
    assert folder.warnings() == [
        (
            "reconciler.yaml:3:28: warning: Key for an unknown project: No manifest declares project "
            '"serch", and spec.projects does not list it. Did you mean "search"?'
        )
    ]


def test_a_key_for_a_project_of_the_stack_is_accepted(folder: Folder) -> None:
    text = stack("{projects: {old: '${env.OLD_KEY}'}}") + "  projects: {old: proj_1}\n"
    assert folder.write({"reconciler.yaml": text, "m.yaml": PROJECT}).warnings() == []
