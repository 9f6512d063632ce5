"""The documentation matches the program.

The info string of a code block selects its check: `yaml manifest` and `yaml stack` must validate, `yaml workflow` and
`yaml gitlab` must be pipelines of GitHub and GitLab, `yaml include` includes our component, `yaml of PATH` is a part of
an example. Text between a marker such as `<!-- command plan -->` and `<!-- end -->` is generated from the program:
`RECONCILER_GOLDEN=write pytest tests/test_docs.py` writes it, and the tests compare it otherwise.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml

from reconciler.cli.failures import exit_code
from reconciler.cli.main import COMMANDS, cli
from reconciler.emulator import FAULT_HELP
from reconciler.engine.refresh.affected_scopes import is_reported_in_audit_log
from reconciler.errors import GuardError, Interrupted, LockedError, ReconcilerError, StalePlanError
from reconciler.kinds import KINDS
from reconciler.manifests import Settings, load_configuration
from reconciler.model.formats import ALL_FORMATS, PLAIN_FORMATS
from reconciler.operator.resources import organization_of, stack_of
from reconciler.render.explain import explain_kind
from reconciler.render.kind_page import index, kind_page, page_name
from reconciler.rules import CHECK, RULE_KINDS
from reconciler.rules.operations import OPERATIONS, Operation
from reconciler.telemetry import catalog
from tests import error_messages
from tests.conftest import Workspace

ROOT = Path(__file__).parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (
        ROOT / "README.md",
        ROOT / "deploy" / "README.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
KIND_PAGES = {
    f"docs/kinds/{page_name(name)}": kind for name, kind in {**KINDS, **RULE_KINDS}.items()
}

EXAMPLE_FILES = {
    "prompts/support.md": "Be kind.\n",
    "data/price-list.md": "# Prices\n",
    "data/requests.jsonl": "{}\n",
    "handbook/orders/refunds.md": "# Refunds\n",
    "handbook/drafts/loyalty.md": "# Loyalty\n",
}
"""Files that examples in the documentation read."""

STACK = """\
kind: Stack
spec:
  manifests: [manifests/]
  variables: {model: gpt-5.1, stage: dev}
"""

REFERENCED_RESOURCES = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
---
kind: ServiceAccount
metadata: {name: deployer, project: search}
spec: {name: deployer, key: {write_to: {file: secrets/search.key}}}
---
kind: VectorStore
metadata: {name: handbook, project: search}
spec: {name: Handbook}
"""
"""Resources that examples of stack files refer to."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code: `info` is what follows the opening fence, `note` a marker above it."""

    page: str
    line: int
    info: str
    text: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> Iterator[Block]:
    text = PAGES[page].read_text(encoding="utf-8")
    for found in re.finditer(
        r"(?:^<!-- ([a-z ]+) -->\n)?^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        yield Block(
            page, text[: found.start(2)].count("\n") + 1, found[2].strip(), found[3], found[1] or ""
        )


BLOCKS = [block for page in PAGES for block in blocks(page)]


def of(info: str) -> list[Block]:
    return [block for block in BLOCKS if block.info == info]


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its path, such as `state list`."""
    waiting: list[tuple[str, click.Command]] = [("", cli)]
    while waiting:
        path, command = waiting.pop(0)
        yield path, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                waiting.append((f"{path} {name}".strip(), below))


BY_PATH = dict(commands())
GLOBAL = {name for option in BY_PATH["history"].params for name in option.opts}


# --- examples --------------------------------------------------------------------------------------------------------


def folder_with(folder: Path, files: dict[str, str]) -> Path:
    for name, text in {**EXAMPLE_FILES, **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


EXCERPTS = [block for block in BLOCKS if block.info.startswith("yaml of ")]
"""Blocks that repeat a part of an example."""


@pytest.mark.parametrize("block", EXCERPTS, ids=str)
def test_an_excerpt_of_an_example_is_in_its_file(block: Block) -> None:
    path = block.info.removeprefix("yaml of ")
    assert block.text in (ROOT / path).read_text(encoding="utf-8")


def test_every_yaml_block_says_what_it_is() -> None:
    wrong = [str(block) for block in BLOCKS if block.info.startswith("yaml") and block not in EXCERPTS and block not in [
        *of("yaml manifest"), *of("yaml stack"), *of("yaml workflow"), *of("yaml gitlab"), *of("yaml include"),
        *of("yaml kubernetes"),
    ]]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("block", of("yaml kubernetes"), ids=str)
def test_a_custom_resource_of_the_documentation_is_valid(block: Block) -> None:
    for body in yaml.safe_load_all(block.text):
        if body["kind"] == "Secret":
            continue
        read = {"Stack": stack_of, "Organization": organization_of}[body["kind"]]
        resource = read(body)
        assert resource is not None
        assert not resource.problem


@pytest.mark.parametrize("block", of("yaml manifest"), ids=str)
def test_a_manifest_of_the_documentation_is_valid(block: Block, tmp_path: Path) -> None:
    declares_project = re.search(
        r"^kind: Project\nmetadata: \{name: search\}", block.text, re.MULTILINE
    )
    stack = STACK if declares_project else STACK + "  projects: {search: proj_abc123}\n"
    root = folder_with(tmp_path, {"reconciler.yaml": stack, "manifests/example.yaml": block.text})
    configuration = load_configuration(
        Settings(root=root, env={"RECONCILER_VAR_STAGE": "ci"}, allow_sources=("**",)),
        KINDS,
        RULE_KINDS,
    )
    assert configuration.resources or configuration.rules
    assert configuration.warnings == ()


@pytest.mark.parametrize("block", of("yaml stack"), ids=str)
def test_a_stack_of_the_documentation_is_valid_in_all_its_environments(
    block: Block, tmp_path: Path
) -> None:
    root = folder_with(
        tmp_path, {"reconciler.yaml": block.text, "manifests/example.yaml": REFERENCED_RESOURCES}
    )
    for environment in yaml.safe_load(block.text)["spec"].get("environments") or (None,):
        assert (
            load_configuration(Settings(root=root, environment=environment), KINDS).warnings == ()
        )


@pytest.mark.parametrize("block", of("yaml workflow"), ids=str)
def test_a_workflow_of_the_documentation_is_yaml(block: Block) -> None:
    assert yaml.safe_load(block.text)["jobs"]


def uses() -> Iterator[tuple[Block, str, set[str]]]:
    """Every use of what we publish, with the file that declares it and the inputs that it gets."""
    for block in of("yaml workflow"):
        for job in yaml.safe_load(block.text)["jobs"].values():
            for part in (job, *job.get("steps", ())):
                path, _, name = (
                    part.get("uses", "").partition("@")[0].partition("reconciler-iac/reconciler")
                )
                if "reconciler-iac" in part.get("uses", ""):
                    assert not path
                    yield block, name.lstrip("/") or "action.yml", set(part.get("with", ()))
    for block in of("yaml include"):
        for part in yaml.safe_load(block.text)["include"]:
            yield block, COMPONENT, set(part["inputs"])


def test_a_use_of_what_we_publish_gives_only_inputs_that_it_declares() -> None:
    listed = list(uses())
    assert {path for _, path, _ in listed} == {
        "action.yml",
        ".github/workflows/reconcile.yml",
        COMPONENT,
    }
    wrong = [(str(block), given - inputs_of(path).keys()) for block, path, given in listed]
    assert [pair for pair in wrong if pair[1]] == []


@pytest.mark.parametrize("block", of("yaml gitlab"), ids=str)
def test_each_job_of_a_gitlab_pipeline_has_rules_and_a_script(block: Block) -> None:
    jobs = yaml.safe_load(block.text)
    jobs.pop("default")
    assert jobs
    assert [name for name, job in jobs.items() if not (job["rules"] and job["script"])] == []


def test_the_quick_start_of_the_readme_works(workspace: Workspace) -> None:
    (block,) = [block for block in BLOCKS if block.note == "run"]
    results = []
    for line in block.text.splitlines():
        first, *words = shlex.split(line)
        if first == "cd":
            workspace.folder /= words[0]
        elif first == "reconciler":
            results.append(
                workspace.run(*words, *(["--yes"] if words == ["apply"] else []), expect=0)
            )
    assert "No changes." in results[-1].out


@pytest.mark.slow
def test_the_plan_in_the_readme_is_what_the_program_prints(workspace: Workspace) -> None:
    shutil.copytree(ROOT / "examples/acme", workspace.folder, dirs_exist_ok=True)
    workspace.run("-e", "dev", "apply", "--yes", expect=0)
    project = workspace.run("-e", "dev", "output", "support_project", expect=0).out.strip()
    httpx.post(
        f"{workspace.emulator.base_url}/organization/projects/{project}/rate_limits/rl-gpt-5.4",
        headers={"Authorization": f"Bearer {workspace.emulator.admin_key}"},
        json={"max_requests_per_1_minute": 450},
    ).raise_for_status()
    edit(
        workspace.folder / "manifests/support/support-bot.yaml",
        "temperature: 0.3",
        "temperature: 0.6",
    )
    edit(
        workspace.folder / "prompts/support-bot.md",
        "# Who you are\n",
        "# Who you are and what you know\n",
    )
    edit(
        workspace.folder / "manifests/service-accounts.yaml",
        "  name: ${each.key}\n  role: member\n",
        "  name: ${each.key}\n  role: member\n---\nkind: ServiceAccount\nmetadata:\n  name: newsletter\n"
        "  project: support\nspec:\n  name: newsletter\n  role: member\n  key:\n    write_to:\n"
        "      file: secrets/newsletter.key\n",
    )
    (block,) = [block for block in BLOCKS if block.note == "plan"]
    printed = workspace.run("-e", "dev", "plan", expect=0).out
    assert without_chance("$ reconciler -e dev plan\n" + printed) == without_chance(block.text)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def without_chance(text: str) -> str:
    text = re.sub(r" in [\d.]+ s\b", " in … s", re.sub(r"since [\d-]+ [\d:]+ UTC", "since …", text))
    text = re.sub(r"Plan digest: \w+", "Plan digest: …", text)  # of a server on another port
    return re.sub(r"asst_\w+", "asst_…", text)


# --- commands --------------------------------------------------------------------------------------------------------


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every use of the command line, in blocks and between backticks, with where it stands."""
    for block in BLOCKS:
        for offset, line in enumerate(block.text.splitlines()):
            found = re.search(r"(?:^|\brun: |^\$ |^- )(reconciler .*)$", line.strip())
            if found and block.info != "text":
                yield (
                    f"{block.page}:{block.line + offset + 1}",
                    shlex.split(found[1], comments=True)[1:],
                )
    for page, path in PAGES.items():
        prose = re.sub(
            r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for text in re.findall(r"`((?:reconciler) [^`\n]+)`", prose):
            yield f"{page}: {text}", shlex.split(text)[1:]


LINES = list(command_lines())


@pytest.mark.parametrize(("where", "words"), LINES, ids=[where for where, _ in LINES])
def test_a_command_line_of_the_documentation_exists(where: str, words: list[str]) -> None:
    path, rest = "", list(words)
    options = {name: option for option in cli.params for name in option.opts}
    while rest:
        word = rest.pop(0)
        if word in (">", "|"):
            break
        if word.startswith("-"):
            assert word in options
            option = options[word]
            if isinstance(option, click.Option) and not option.is_flag and not option.count:
                rest.pop(0)
        elif f"{path} {word}".strip() in BY_PATH:
            path = f"{path} {word}".strip()
            options |= {name: option for option in BY_PATH[path].params for name in option.opts}
        else:
            assert path, f"there is no command {word}"
            assert any(isinstance(parameter, click.Argument) for parameter in BY_PATH[path].params)


def test_every_command_has_a_section() -> None:
    text = PAGES["docs/commands.md"].read_text(encoding="utf-8")
    assert re.findall(r"^## `reconciler (\w+)`$", text, re.MULTILINE) == list(COMMANDS)


NO_HELP_YET = {("graph", "type")}
"""Options that say nothing of themselves. Keep it empty."""


@pytest.mark.parametrize("path", BY_PATH)
def test_every_command_and_option_has_help(path: str) -> None:
    command = BY_PATH[path]
    silent = [
        parameter.opts[0]
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help
        if (path, parameter.opts[0].lstrip("-")) not in NO_HELP_YET
    ]
    assert command.help
    assert silent == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_of_a_command_begins_its_help_and_fits_its_line(name: str) -> None:
    help_text = BY_PATH[name].help or ""
    assert help_text.split("\n\n")[0].replace("\n", " ") == COMMANDS[name]
    assert len(f"  {'emulator'}  {COMMANDS[name]}") <= 78


# --- what is written from the program --------------------------------------------------------------------------------


def written(parameter: click.Parameter) -> str:
    """An option or an argument as one types it."""
    if isinstance(parameter, click.Argument):
        name = parameter.metavar or str(parameter.name).upper()
        return name if parameter.required or name.startswith("[") else f"[{name}]"
    assert isinstance(parameter, click.Option)
    names = ", ".join(parameter.opts)
    if parameter.is_flag or parameter.count:
        return names
    choices = "|".join(parameter.type.choices) if isinstance(parameter.type, click.Choice) else ""
    return f"{names} {parameter.metavar or choices or 'N'}"


def option_table(options: list[click.Option]) -> str:
    rows = [(written(option).replace("|", "\\|"), help_of(option)) for option in options]
    return (
        "\n".join(
            [
                "| Option | Meaning |",
                "|---|---|",
                *(f"| `{option}` | {text} |" for option, text in rows),
            ]
        )
        + "\n"
    )


def help_of(option: click.Option) -> str:
    default = (
        option.default if option.show_default or isinstance(option.type, click.Choice) else None
    )
    shown = (
        f" Default: `{default}`." if isinstance(default, str | int) and not option.is_flag else ""
    )
    return f"{option.help or ''}{shown}".strip().replace("|", "\\|")


def own_options(path: str) -> list[click.Option]:
    return [
        option
        for option in BY_PATH[path].params
        if isinstance(option, click.Option)
        and (not GLOBAL.intersection(option.opts) or takes_other_formats(option))
    ]


def takes_other_formats(option: click.Option) -> bool:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    return "--format" in option.opts and tuple(choices) not in (PLAIN_FORMATS, ALL_FORMATS)


def usage(path: str) -> str:
    arguments = [written(item) for item in BY_PATH[path].params if isinstance(item, click.Argument)]
    return " ".join(
        ["reconciler", path, *(["[OPTION…]"] if BY_PATH[path].params else []), *arguments]
    )


def command_section(path: str) -> str:
    if isinstance(BY_PATH[path], click.Group):
        below = {name: item for name, item in BY_PATH.items() if name.startswith(f"{path} ")}
        rows = ["| Command | Does |", "|---|---|"]
        for name, item in below.items():
            line = usage(name).replace(" [OPTION…]", "").replace("|", "\\|")
            summary = (item.help or "").partition("\n\n")[0]
            rows.append(f"| `{line}` | {summary} |")
        return "\n".join(rows) + "\n"
    options = own_options(path)
    return f"```text\n{usage(path)}\n```\n" + (f"\n{option_table(options)}" if options else "")


def kinds_table() -> str:
    rows = [
        f"| [`{kind.name}`](docs/kinds/{page_name(kind.name)}) | {kind.doc} |"
        for kind in KINDS.values()
    ]
    return "\n".join(["| Kind | Description |", "|---|---|", *rows]) + "\n"


def refresh_kinds() -> str:
    rows = [
        f"| `{kind.name}` | {', '.join(f'`{type}*`' for type in kind.audit_events)} |"
        for kind in sorted(KINDS.values(), key=lambda kind: kind.name)
        if is_reported_in_audit_log(kind)
    ]
    return (
        "\n".join(["| Kind | Audit log entry types that cause a read |", "|---|---|", *rows]) + "\n"
    )


def rule_pages() -> str:
    return "\n".join(f"```text\n{explain_kind(kind)}```\n" for kind in (CHECK,))


def operations_table() -> str:
    rows = [
        f"| {one.group} | `{one.name}` | `{one.call}` | {'; '.join(remarks(one))} |"
        for one in OPERATIONS.values()
    ]
    return "\n".join(["| Group | `operation` | Call | Notes |", "|---|---|---|---|", *rows]) + "\n"


def remarks(operation: Operation) -> Iterator[str]:
    if operation.files:
        yield f"multipart form with {' and '.join(f'`{name}`' for name in operation.files)}"
    if operation.costly:
        yield "costs money"
    if operation.admin:
        yield "needs the admin key"
    if operation.waiting:
        yield "polled until it ends"
    if operation.ended:
        yield "retired on the live platform"


def inputs_of(path: str) -> dict[str, dict[str, Any]]:
    """The inputs that the action, the reusable workflow or the GitLab component declares."""
    read = next(yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")))
    # YAML 1.1 reads the key `on` as true.
    holder = read.get("spec") or read.get(True, {}).get("workflow_call") or read
    declared: dict[str, dict[str, Any]] = holder["inputs"]
    return declared


def input_table(path: str) -> str:
    rows = []
    for name, one in inputs_of(path).items():
        default = one.get("default")
        is_required = one.get("required", path == COMPONENT and "default" not in one)
        if is_required:
            default = "required"
        elif default != "":
            default = f"`{default}`"
        rows.append(f"| `{name}` | {one['description']} | {default} |")
    return "\n".join(["| Input | Meaning | Default |", "|---|---|---|", *rows]) + "\n"


def metrics_table() -> str:
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{label}`' for label in metric.labels)} "
        f"| {metric.help} |"
        for metric in catalog.METRICS
    ]
    return "\n".join(["| Metric | Type | Labels | Meaning |", "|---|---|---|---|", *rows]) + "\n"


COMPONENT = "templates/reconciler.yml"
GENERATED: dict[str, str | Callable[[], str]] = {
    "operations": operations_table(),
    "rule pages": rule_pages(),
    **{f"command {name}": command_section(name) for name in COMMANDS},
    **{f"command {path}": command_section(path) for path in BY_PATH if path.startswith("fleet ")},
    "global options": option_table(
        [item for item in BY_PATH["history"].params if isinstance(item, click.Option)]
    ),
    "options emulator": option_table(own_options("emulator")),
    "faults": f"```text\n{FAULT_HELP}```\n",
    "kinds": kinds_table(),
    "refresh kinds": refresh_kinds(),
    "action inputs": input_table("action.yml"),
    "workflow inputs": input_table(".github/workflows/reconcile.yml"),
    "component inputs": input_table(COMPONENT),
    "problems": error_messages.problem_list,
    "guards": error_messages.guard_list,
    "error messages": error_messages.message_list,
    "metrics": metrics_table(),
    "kind index": index({**KINDS, **RULE_KINDS}),
}


def generated(name: str) -> str:
    """The text of a marker. Texts that take seconds are made when a page asks for them."""
    assert name in GENERATED, (
        f"<!-- {name} --> is no marker; between it and <!-- end --> goes a line"
    )
    text = GENERATED[name]
    return text if isinstance(text, str) else text()


MARKED = re.compile(r"^<!-- ([a-z ]+) -->\n\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)


SLOW_PAGES = {"docs/errors.md"}
"""Pages for which the whole source is parsed."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page in SLOW_PAGES else page for page in PAGES],
)
def test_what_is_written_from_the_program_is_what_the_program_says(page: str) -> None:
    text = PAGES[page].read_text(encoding="utf-8")
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        fresh = MARKED.sub(
            lambda found: f"<!-- {found[1]} -->\n\n{generated(found[1])}\n<!-- end -->", text
        )
        PAGES[page].write_text(fresh, encoding="utf-8", newline="\n")
        text = fresh
    for found in MARKED.finditer(text):
        assert found[2] == f"{generated(found[1])}\n", (
            f"{page}, <!-- {found[1]} --> is outdated: run `make golden`"
        )


def test_the_page_on_reading_says_of_each_admin_kind_why_it_is_trusted_or_not() -> None:
    text = PAGES["docs/refresh.md"].read_text(encoding="utf-8")
    of_admins = {kind.name for kind in KINDS.values() if kind.scope.needs_admin_key}
    trusted, _, others = text.partition("<!-- end -->")
    said = {
        name
        for name in of_admins
        if f"`{name}`" in (trusted if is_reported_in_audit_log(KINDS[name]) else others)
    }
    assert said == of_admins, (
        "docs/refresh.md, Kinds: `make golden` lists kinds with `audit_events`; say of each other "
        "kind, below the table, why the audit log does not cover it"
    )


def test_the_terms_that_the_page_of_kinds_explains_are_those_of_the_pages() -> None:
    text = PAGES["docs/kinds.md"].read_text(encoding="utf-8").partition("<!--")[0]
    terms = [
        term.partition(":")[0].removesuffix(" …")
        for term in re.findall(r"^\| ([a-z][^|]*) \|", text, re.MULTILINE)
    ]
    pages = "\n".join(kind_page(kind) for kind in KIND_PAGES.values())
    assert terms
    assert [term for term in terms if term not in pages] == []


@pytest.mark.parametrize("page", KIND_PAGES)
def test_the_page_of_a_kind_is_what_its_declaration_says(page: str) -> None:
    path, fresh = ROOT / page, kind_page(KIND_PAGES[page])
    if os.environ.get("RECONCILER_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(fresh, encoding="utf-8", newline="\n")
    assert path.exists(), f"{page} is missing: run `make golden`"
    assert path.read_text(encoding="utf-8") == fresh, f"{page} is outdated: run `make golden`"


def test_explain_prints_the_page_of_a_kind(workspace: Workspace) -> None:
    printed = workspace.run("explain", "VectorStore", "--format", "markdown", expect=0).out
    assert printed == (ROOT / "docs/kinds/vector-store.md").read_text(encoding="utf-8")


def test_no_page_is_of_a_kind_that_is_gone() -> None:
    committed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "kinds").iterdir()}
    assert committed - KIND_PAGES.keys() == set(), "remove these pages"


def test_everything_that_can_be_written_is_on_some_page() -> None:
    shown = {
        found[1]
        for path in PAGES.values()
        for found in MARKED.finditer(path.read_text(encoding="utf-8"))
    }
    assert set(GENERATED) - shown == set(), (
        "no page has these markers: a command needs `<!-- command NAME -->`, an empty line and "
        "`<!-- end -->` in docs/commands.md"
    )
    assert shown - set(GENERATED) == set(), "nothing generates these: remove the markers"


# --- the rest --------------------------------------------------------------------------------------------------------


def readme_codes() -> dict[int, str]:
    text = (
        PAGES["README.md"]
        .read_text(encoding="utf-8")
        .partition("<!-- exit codes -->")[2]
        .partition("\n##")[0]
    )
    return {
        int(code): meaning
        for code, meaning in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    }


def test_the_exit_codes_of_the_readme_are_those_of_the_help() -> None:
    assert cli.epilog
    assert list(readme_codes()) == [
        int(code) for code in re.findall(r"(?:: |, )(\d+) ", cli.epilog)
    ]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ReconcilerError("x"), "error"),
        (StalePlanError("x"), "stale"),
        (GuardError(["x"]), "guard"),
        (LockedError("x"), "lock"),
        (Interrupted("x"), "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_an_error_ends_with_the_code_that_the_readme_gives_it(
    error: ReconcilerError, word: str
) -> None:
    assert word in readme_codes()[exit_code(error)]


def links() -> Iterator[tuple[str, str]]:
    for page, path in PAGES.items():
        prose = re.sub(
            r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        yield from (
            (page, target)
            for target in re.findall(r"\]\(([^)\s]+)\)", prose)
            if "://" not in target
        )


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_a_relative_link_leads_somewhere(page: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = PAGES[page].parent / name if name else PAGES[page]
    assert path.exists()
    if anchor:
        assert anchor in anchors(path)
