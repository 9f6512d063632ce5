"""Test beds for fleets: folders of stacks, their organizations, and a shared state.

    bed = FleetBed(tmp_path, platform, database)
    bed.write_stacks(50)                          # round-robin over the organizations
    bed.run("fleet", "apply", "--stacks", "stacks/*", "--yes", expect=0)
    assert bed.wrong() == []                      # no duplicate, no orphan, everything as declared

A stack has a project of its own with service accounts, whose keys go to files, and rate limits, all
of them behind admin routes; and assistants in the default project, which carry marks.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from reconciler.emulator.world import DEFAULT_PROJECT
from tests import fork_server
from tests.conftest import Finished
from tests.fleet.organizations import Organization, Organizations, admin_variable, key_variable
from tests.servers.postgres import Database

FOLDER = "stacks"
MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o3")
"""Models whose rate limits stacks set."""


@dataclass(frozen=True)
class StackSize:
    """What each stack declares beside its project."""

    accounts: int = 1
    limits: int = 1
    assistants: int = 0


@dataclass(frozen=True)
class BedStack:
    """A stack of the bed, in one environment."""

    folder: Path
    environment: str
    organization: Organization
    project: str
    """The name of its project at the API."""
    size: StackSize

    @property
    def name(self) -> str:
        return self.folder.name

    def objects(self) -> Iterator[str]:
        """What it asks for, as `KIND NAME`."""
        yield f"project {self.project}"
        for number in range(self.size.accounts):
            yield f"service_account {self.project}-{number}"
        for number in range(self.size.assistants):
            yield f"assistant {self.project}-{number}"


@dataclass
class FleetBed:
    """Stacks in a folder. `database` is the shared state, None for a local one."""

    folder: Path
    platform: Organizations
    database: Database | None = None
    variables: dict[str, str] = field(default_factory=dict)
    """Further environment variables."""
    stacks: list[BedStack] = field(default_factory=list)

    def write_stacks(
        self,
        count: int,
        *,
        size: StackSize = StackSize(),
        environments: tuple[str, ...] = (),
        limit: int = 500,
    ) -> list[BedStack]:
        """Write so many folders; with environments, each is a stack in every one of them.

        Stack and environment number n belongs to organization n, round and round. `limit` is the
        number of requests that rate limits set: writing again with another one changes every stack.
        """
        self.stacks = []
        for number in range(count):
            folder = self.folder / FOLDER / f"team-{number:04}"
            (folder / "manifests").mkdir(parents=True, exist_ok=True)
            homes = self._homes(number, environments)
            (folder / "reconciler.yaml").write_text(self._stack(homes))
            (folder / "manifests" / "all.yaml").write_text(_manifests(folder.name, size, limit))
            for environment, organization in homes.items():
                project = f"{folder.name}{_suffix(environment)}"
                self.stacks.append(BedStack(folder, environment, organization, project, size))
        return self.stacks

    def _homes(self, number: int, environments: tuple[str, ...]) -> dict[str, Organization]:
        names = environments or ("default",)
        first = number * len(names)
        return {
            name: self.platform[(first + index) % len(self.platform)]
            for index, name in enumerate(names)
        }

    def _stack(self, homes: dict[str, Organization]) -> str:
        settings = {name: self._settings(name, home) for name, home in homes.items()}
        head = "kind: Stack\nspec:\n  manifests: [manifests/]\n"
        if self.database is not None:
            head += "  backend: remote\n"
        head += "  guards: {max_deletes: 1000, max_delete_percent: 100}\n"
        head += '  variables: {suffix: {default: ""}}\n'
        if list(settings) == ["default"]:
            return head + _indented(settings["default"], 2)
        head += "  environments:\n"
        return head + "".join(
            f"    {name}:\n{_indented(text, 6)}" for name, text in settings.items()
        )

    def _settings(self, environment: str, home: Organization) -> str:
        text = (
            f"organization: {home.id}\n"
            f"projects: {{main: {DEFAULT_PROJECT}}}\n"
            "credentials:\n"
            f"  admin: ${{env.{admin_variable(home.number)}}}\n"
            f"  default: ${{env.{key_variable(home.number)}}}\n"
            f"  projects: {{main: '${{env.{key_variable(home.number)}}}'}}\n"
        )
        suffix = _suffix(environment)
        return text + (f"variables: {{suffix: {suffix}}}\n" if suffix else "")

    @property
    def environment(self) -> dict[str, str]:
        """What the process of a command sees."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OPENAI_", "RECONCILER_"))
        }
        return {**kept, **self.own_environment}

    @property
    def own_environment(self) -> dict[str, str]:
        """What the bed itself adds to the environment of a command."""
        backend = {} if self.database is None else {"RECONCILER_BACKEND": self.database.url()}
        return {
            **backend,
            **self.platform.variables,
            "RECONCILER_SETTLE_SECONDS": "0.1",
            **self.variables,
        }

    def run(
        self, *arguments: str, expect: int | None = None, folder: Path | None = None
    ) -> Finished:
        """Run the command line in a process of its own; with `expect`, insist on the exit code."""
        finished = Finished(
            *fork_server.run(
                arguments, folder=folder or self.folder, environment=self.environment, stdin=""
            )
        )
        if expect is not None:
            assert finished.code == expect, (
                f"exit code {finished.code}\n{finished.out}\n{finished.err}"
            )
        return finished

    def reset(self) -> None:
        """Forget all objects, states and delivered keys; what is declared stays."""
        self.platform.reset()
        for stack in self.stacks:
            for name in ("secrets", ".reconciler"):
                shutil.rmtree(stack.folder / name, ignore_errors=True)
        if self.database is not None:
            self.database.execute("DELETE FROM reconciler.states")

    def change_a_limit(self, number: int) -> None:
        """Let somebody change a rate limit of a stack by hand, as the log reports."""
        stack = self.stacks[number]
        projects = stack.organization.objects("project")
        [project] = [item.id for item in projects if item.body["name"] == stack.project]
        path = f"/organization/projects/{project}/rate_limits/rl-gpt-4.1"
        httpx.post(
            self.platform.base_url + path,
            headers={"Authorization": f"Bearer {stack.organization.admin_key}"},
            json={"max_requests_per_1_minute": 77},
        ).raise_for_status()

    # --- what came of it

    def writes(self) -> int:
        """How many requests that change something all organizations have seen."""
        return sum(request.method != "GET" for home in self.platform for request in home.requests)

    def wrong(self) -> list[str]:
        """What differs between the organizations and the stacks, in words; nothing if all is well."""
        return [
            sentence for organization in self.platform for sentence in self._wrong_in(organization)
        ] + list(self._wrong_keys())

    def _wrong_in(self, organization: Organization) -> Iterator[str]:
        live = live_objects(organization)
        expected: Counter[str] = Counter()
        for stack in self.stacks:
            if stack.organization is organization:
                expected.update(stack.objects())
        for name, count in (expected - live).items():
            yield f"{organization.id}: missing: {name} × {count}"
        for name, count in (live - expected).items():
            yield f"{organization.id}: too much: {name} × {count}"

    def _wrong_keys(self) -> Iterator[str]:
        """Key files hold keys that work, of the account that asked for them."""
        for stack in self.stacks:
            for number in range(stack.size.accounts):
                path = stack.folder / "secrets" / f"{stack.project}-{number}.key"
                text = path.read_text().strip() if path.exists() else ""
                store = stack.organization.store
                key = store.key_record(text)
                owner = key and store.get("service_account", key.scope, key.hidden["owner"]["id"])
                if owner is None or owner.body["name"] != f"{stack.project}-{number}":
                    yield f"{path.name} holds no key that works"


def live_objects(organization: Organization) -> Counter[str]:
    """What exists in an organization beyond what every emulator begins with, as `KIND NAME`."""
    found: Counter[str] = Counter()
    for kind in ("project", "service_account", "assistant"):
        for item in organization.objects(kind):
            if item.id != DEFAULT_PROJECT:
                found[f"{kind} {item.body['name']}"] += 1
    return found


def _suffix(environment: str) -> str:
    return "" if environment == "default" else f"-{environment}"


def _indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


def _manifests(team: str, size: StackSize, limit: int) -> str:
    name = f"{team}${{var.suffix}}"
    project = f'kind: Project\nmetadata: {{name: app}}\nspec: {{name: "{name}"}}\n'
    accounts = [_account(name, number) for number in range(size.accounts)]
    limits = [_limit(model, limit) for model in MODELS[: size.limits]]
    assistants = [_assistant(name, number) for number in range(size.assistants)]
    return "---\n".join([project, *accounts, *limits, *assistants])


def _account(name: str, number: int) -> str:
    return f"""\
kind: ServiceAccount
metadata: {{name: account-{number}, project: app}}
spec:
  name: "{name}-{number}"
  key: {{write_to: {{file: "secrets/{name}-{number}.key"}}}}
"""


def _limit(model: str, limit: int) -> str:
    return f"""\
kind: RateLimit
metadata: {{name: {model}, project: app}}
spec: {{model: {model}, max_requests_per_1_minute: {limit}}}
"""


def _assistant(name: str, number: int) -> str:
    return f"""\
kind: Assistant
metadata: {{name: assistant-{number}, project: main}}
spec: {{name: "{name}-{number}", model: gpt-4.1}}
"""
