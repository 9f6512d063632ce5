"""What docs/state.md says about shared states is what the program does with real servers."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from reconciler.app.states import LEASE_SECONDS, lease_seconds
from reconciler.errors import UsageError
from reconciler.state.remote import lease
from reconciler.state.remote.objects.address import parse_address
from reconciler.state.remote.objects.failures import Explainer, Operation, StorageFailure
from reconciler.state.remote.objects.settings import read_settings
from tests.conftest import Workspace
from tests.servers.object_stores import Place
from tests.servers.postgres import Database

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "state.md").read_text(encoding="utf-8")

MANIFESTS = """\
kind: Project
metadata: {name: search}
spec: {name: Search}
---
kind: RateLimit
metadata: {name: gpt-4.1, project: search}
spec: {model: gpt-4.1, max_requests_per_1_minute: 450}
---
kind: ServiceAccount
metadata: {name: deployer, project: search}
spec: {name: deployer}
"""
STACK = """\
kind: Stack
metadata: {name: acme}
spec: {manifests: [manifests.yaml]}
"""


def section(title: str) -> str:
    """The text below a heading, up to the next heading of the same level or a higher one."""
    match = re.search(rf"^(#+) {re.escape(title)}\n", PAGE, re.MULTILINE)
    assert match is not None, title
    rest = PAGE[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def block(language: str, *, below: str = "", note: str = "") -> str:
    """The first block of a language below a heading, or the block that a note marks."""
    text = section(below) if below else PAGE
    marker = f"<!-- {note} -->\n" if note else ""
    match = re.search(rf"{marker}```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert match is not None, (language, below, note)
    return match[1]


def commands(script: str, variables: Mapping[str, str]) -> Iterator[list[str]]:
    """The arguments of each `reconciler` in a script."""
    for line in script.splitlines():
        program, *arguments = shlex.split(Template(line).safe_substitute(variables))
        if program == "reconciler":
            yield arguments


@pytest.fixture
def stack(workspace: Workspace) -> Workspace:
    """A stack with three resources."""
    workspace.write({"reconciler.yaml": STACK})
    return workspace.declare(MANIFESTS)


# --- first use, moving, checking -------------------------------------------------------------------


def test_a_stack_with_a_remote_backend_is_refused_without_an_address_in_the_words_of_the_page(
    workspace: Workspace,
) -> None:
    workspace.write({"reconciler.yaml": block("yaml stack", below="First use")})
    workspace.declare(MANIFESTS)
    assert workspace.run("plan", expect=1).err == block("text", below="First use")


def test_the_commands_of_the_first_use_apply_to_an_empty_database(
    stack: Workspace, database: Database
) -> None:
    stack.variables["RECONCILER_BACKEND"] = database.url()
    for words in commands(block("sh", below="First use"), {}):
        stack.run(*words, *(["--yes"] if words == ["apply"] else []), expect=0)
    assert stack.plan().code == 0
    assert not (stack.folder / ".reconciler").exists()


def test_the_commands_that_move_a_state_leave_nothing_to_do_at_the_new_address(
    stack: Workspace, database: Database
) -> None:
    stack.apply()
    stack.variables["RECONCILER_BACKEND"] = database.url()
    for words in commands(block("sh", below="Moving a state"), stack.variables):
        stack.run(*words, expect=0)
    assert stack.plan().code == 0


def test_a_run_at_the_old_address_is_refused_with_the_new_address(
    stack: Workspace, database: Database
) -> None:
    stack.apply()
    stack.run("state", "migrate", "--to", database.url(), expect=0)
    assert f"127.0.0.1:{database.port}/{database.name}" in stack.run("apply", "--yes", expect=1).err


def test_a_state_does_not_move_onto_another_state(stack: Workspace, database: Database) -> None:
    stack.apply()
    stack.run("--backend", database.url(), "apply", "--yes", "--adopt", expect=0)
    moved = stack.run("state", "migrate", "--to", database.url(), expect=1)
    assert "there is a state of acme/default already" in moved.err


def test_the_check_of_postgres_prints_the_lines_of_the_page(
    stack: Workspace, database: Database
) -> None:
    stack.variables["RECONCILER_BACKEND"] = database.url()
    stack.apply()
    assert stack.run("state", "check", expect=0).out == block("text", note="check postgres")


def test_the_check_of_an_object_store_prints_the_lines_of_the_page(
    stack: Workspace, s3_place: Place
) -> None:
    stack.variables |= {**s3_place.env, "RECONCILER_BACKEND": s3_place.url}
    stack.apply()
    assert stack.run("state", "check", expect=0).out == block("text", note="check objects")


# --- leases ----------------------------------------------------------------------------------------


def test_the_page_shows_the_error_of_a_lease_that_is_held() -> None:
    holder = (
        "mona in acme/infra@0123456 (https://github.com/acme/infra/actions/runs/77), "
        "running `apply` since 2026-11-30T16:29:15Z"
    )
    error = lease.held(holder, lease.DEFAULT_SECONDS)
    assert block("text", below="Leases") == f"Error: {error}\n  {error.hint}\n"


def test_the_page_shows_the_error_of_a_lost_lease() -> None:
    error = lease.lost("postgresql://db.example.com/infra (acme/production)")
    assert f"```text\nError: {error}\n  {error.hint}\n```" in section("Leases")


def test_the_page_has_the_default_and_the_limits_of_a_lease() -> None:
    match = re.search(r"lease of (\d+) seconds(?s:.*)`\w+`\*\* \((\d+) to (\d+)\)", PAGE)
    assert match is not None
    default, shortest, longest = map(int, match.groups())
    assert default == lease_seconds({})
    assert lease_seconds({LEASE_SECONDS: str(shortest)}) == shortest
    assert lease_seconds({LEASE_SECONDS: str(longest)}) == longest
    for outside in (shortest - 1, longest + 1):
        with pytest.raises(UsageError):
            lease_seconds({LEASE_SECONDS: str(outside)})


# --- permissions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Roles:
    """A database with the tables and the two roles of the page."""

    database: Database

    @property
    def apply(self) -> str:
        """The address of the role that writes."""
        return self.database.url(user="reconciler_apply", password="choose one")

    @property
    def plan(self) -> str:
        """The address of the role that reads."""
        return self.database.url(user="reconciler_plan", password="choose another")


@pytest.fixture
def roles(stack: Workspace, database: Database) -> Iterator[Roles]:
    tables = stack.run(*next(commands(block("sh", below="Postgres"), {})), expect=0).out
    database.execute(tables, block("sql", note="grants"))
    yield Roles(database)
    for role in ("reconciler_apply", "reconciler_plan"):
        database.execute(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_the_grants_of_the_page_suffice_to_apply_and_to_check(
    stack: Workspace, roles: Roles
) -> None:
    stack.variables["RECONCILER_BACKEND"] = roles.apply
    stack.apply()
    stack.run("state", "check", expect=0)


@pytest.mark.parametrize(
    "words", [["plan"], ["drift"], ["history"], ["state", "list"]], ids=" ".join
)
def test_the_grants_of_the_role_that_reads_suffice_to_look(
    stack: Workspace, roles: Roles, words: list[str]
) -> None:
    stack.run("--backend", roles.apply, "apply", "--yes", expect=0)
    stack.run("--backend", roles.plan, *words, expect=0)


def test_the_role_that_reads_cannot_apply(stack: Workspace, roles: Roles) -> None:
    refused = stack.run("--backend", roles.plan, "apply", "--yes", expect=1)
    assert 'GRANT DELETE, INSERT, UPDATE ON reconciler.states TO "reconciler_plan";' in refused.err


def test_the_policy_for_s3_permits_what_the_program_asks_for_and_nothing_else() -> None:
    address = parse_address("s3://acme-infra/reconciler")
    explainer = Explainer(address, read_settings(address, {"HOME": "/nonexistent"}))
    denied = StorageFailure(403, "AccessDenied", False, False, False, "")
    operations: tuple[Operation, ...] = ("list", "read", "write", "delete")
    needed = set()
    for operation in operations:
        needed.update(re.findall(r"s3:\w+", explainer.error(denied, operation).hint or ""))
    permitted: set[str] = set()
    for statement in json.loads(block("json", note="policy"))["Statement"]:
        action = statement["Action"]
        permitted.update([action] if isinstance(action, str) else action)
    assert permitted == needed


def test_the_reader_of_a_bucket_can_plan(stack: Workspace, s3_place: Place) -> None:
    stack.variables |= {**s3_place.env, "RECONCILER_BACKEND": s3_place.url}
    stack.apply()
    access_key = "no-write"
    stack.variables |= {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": f"secret-of-{access_key}",
    }
    assert stack.plan().code == 0


def test_every_variable_of_a_provider_on_the_page_is_one_that_the_program_reads() -> None:
    folder = ROOT / "reconciler" / "state" / "remote" / "objects"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    named = set(re.findall(r"\b(?:AWS|AZURE|GOOGLE)_[A-Z0-9_]+\b", PAGE))
    assert named
    assert {name for name in named if not re.search(rf'"{name}"', source)} == set()


# --- encryption and recovery -----------------------------------------------------------------------


@pytest.mark.parametrize("words", [["plan"], ["apply", "--yes"]], ids=" ".join)
def test_a_stack_that_declares_encryption_refuses_a_state_that_is_not_encrypted(
    stack: Workspace, database: Database, words: list[str]
) -> None:
    stack.variables["RECONCILER_BACKEND"] = database.url()
    stack.apply()
    declared = yaml.safe_load(block("yaml stack", below="Encryption"))
    declared["spec"]["manifests"] = ["manifests.yaml"]
    stack.write({"reconciler.yaml": json.dumps(declared)})
    assert "Run `reconciler state rekey` to encrypt it" in stack.run(*words, expect=1).err


def test_a_state_that_was_moved_aside_is_replaced_by_an_export(
    stack: Workspace, database: Database
) -> None:
    stack.variables["RECONCILER_BACKEND"] = database.url()
    stack.apply()
    stack.write({"state.json": stack.run("state", "export", expect=0).out})
    aside = block("sql", below="A segment is damaged or missing")
    database.execute(aside.replace("'production'", "'default'"))
    assert "The state is empty." in stack.run("state", "list", expect=0).err
    stack.run("state", "import", "state.json", expect=0)
    assert stack.plan().code == 0


def test_a_lost_state_is_adopted_without_a_second_object(
    stack: Workspace, database: Database
) -> None:
    stack.apply()
    stack.variables["RECONCILER_BACKEND"] = database.url()
    for words in commands(block("sh", below="The state is lost"), {}):
        shown = stack.run(*words, *(["--yes"] if words[0] == "apply" else []), expect=0).out
        assert re.search(r"Plan: 0 to create, 0 to update, 0 to delete, [1-9] to adopt", shown)
    assert stack.plan().code == 0


# --- CI --------------------------------------------------------------------------------------------


def workflows() -> list[Any]:
    """Every workflow of the page; that of the README leaves all steps to the action."""
    texts = re.findall(r"^```yaml (?:workflow|gitlab)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [yaml.safe_load(text) for text in texts if "actions/cache" not in text]


def steps(workflow: Mapping[str, Any]) -> Iterator[str]:
    """Every line of every script, of GitHub and of GitLab."""
    for job in workflow.get("jobs", workflow).values():
        for step in job.get("steps", ()):
            yield from step.get("run", "").splitlines()
        yield from job.get("script", ())


@pytest.mark.parametrize("workflow", workflows(), ids=["github", "gitlab"])
def test_every_apply_of_a_workflow_waits_for_the_lock(workflow: Mapping[str, Any]) -> None:
    applies = [step for step in steps(workflow) if "reconciler apply" in step]
    assert applies
    assert [step for step in applies if "--lock-wait" not in step] == []


def test_only_the_jobs_of_the_environment_production_apply() -> None:
    github, gitlab = workflows()
    for jobs in (github["jobs"], gitlab):
        applying = {name for name, job in jobs.items() if "reconciler apply" in json.dumps(job)}
        privileged = {name for name, job in jobs.items() if job.get("environment") == "production"}
        assert applying == privileged == {"apply"}


def test_the_identity_of_a_workflow_is_readable_by_its_user_alone(tmp_path: Path) -> None:
    environment = {
        "AGE_IDENTITY": "the identity",
        "GITHUB_ENV": str(tmp_path / "env"),
        "RUNNER_TEMP": str(tmp_path),
    }
    script = block("sh", note="identity")
    subprocess.run(["sh", "-e", "-c", f"umask 022\n{script}"], env=environment, check=True)
    _, _, path = (tmp_path / "env").read_text(encoding="utf-8").strip().partition("=")
    assert Path(path).read_text(encoding="utf-8") == "the identity\n"
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
