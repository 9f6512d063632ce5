"""Stacks of one organization, run in this process with what the stacks of a fleet share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.app.plans import PlanRequest
from reconciler.app.sharing import Sharing
from reconciler.emulator import Emulator
from reconciler.emulator.store import ORGANIZATION
from reconciler.fleet.stack_run import FleetContext, FleetStack, StackRequest, run_stack
from reconciler.manifests import Settings
from reconciler.model.fleet import Command, StackId, StackResult, StackStatus
from reconciler.model.secret import Secret
from tests.fleet.stack_files import stack_file

SETTLE = "0"
STACKS = 8
"""More than most tests run."""
FULL = PlanRequest(refresh="full")


@dataclass
class Neighbours:
    """Stacks by name, each with its manifests, on one emulator."""

    folder: Path
    emulator: Emulator
    manifests: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    stack_fields: str = ""
    """Further lines for each stack file, indented by two."""

    def declare(self, name: str, manifests: str, *, stack: str = "") -> None:
        """Declare a stack, or replace its declaration."""
        self.manifests[name] = manifests
        folder = self.folder / name
        (folder / "manifests").mkdir(parents=True, exist_ok=True)
        text = stack_file(name, spec=self.stack_fields + stack)
        (folder / "reconciler.yaml").write_text(text)
        (folder / "manifests" / "all.yaml").write_text(manifests)

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "OPENAI_BASE_URL": self.emulator.base_url,
            "OPENAI_ADMIN_KEY": self.emulator.admin_key,
            "OPENAI_API_KEY": self.emulator.api_key,
            "RECONCILER_SETTLE_SECONDS": SETTLE,
            **self.variables,
        }

    def stack(self, name: str) -> FleetStack:
        settings = Settings(root=self.folder / name, env=self.environment)
        return FleetStack(StackId(name, "default", name), self.folder / name, settings)

    def run(
        self,
        command: Command,
        names: Sequence[str] | None = None,
        *,
        sharing: Sharing | None = None,
        plan: PlanRequest = FULL,
        workers: int = 1,
        may_fail: bool = False,
    ) -> list[StackResult]:
        """Run a command on each stack, and insist that none of them failed unless it may."""
        context = FleetContext(sharing=sharing)
        request = StackRequest(command, plan)
        with ThreadPoolExecutor(workers) as pool:
            stacks = map(self.stack, names or sorted(self.manifests))
            results = list(pool.map(lambda stack: run_stack(stack, request, context), stacks))
        failed = [result for result in results if result.status is StackStatus.FAILED]
        reasons = {str(result.id): (result.message, result.diagnostics) for result in failed}
        assert may_fail or not failed, reasons
        return results

    def calls(self) -> Counter[str]:
        """The requests since `clear`, as `METHOD PATH`, whatever the page."""
        return Counter(f"{sent.method} {sent.path}" for sent in self.emulator.requests)

    def project_id(self, name: str) -> str:
        """The id of the project that has a name at the API."""
        projects = self.emulator.store.collection("project", ORGANIZATION).ordered()
        return next(project.id for project in projects if project.body["name"] == name)

    def by_hand(self, method: str, path: str, body: Mapping[str, object]) -> None:
        """Change something at the API, as a person does in the dashboard."""
        key = Key(Secret(self.emulator.admin_key), "a person", is_admin=True)
        client = Client(self.emulator.base_url)
        client.request(method, path, key=key, json=dict(body))
        client.close()

    def clear(self) -> None:
        self.emulator.clear_requests()


@pytest.fixture
def neighbours(tmp_path: Path, emulator: Emulator) -> Neighbours:
    """No stack yet."""
    return Neighbours(tmp_path, emulator)


@pytest.fixture
def sharing() -> Iterator[Sharing]:
    """What the stacks of one run share, with lists that hardly lag."""
    shared = Sharing(stacks=STACKS, settle_seconds=float(SETTLE))
    yield shared
    shared.close()
