"""A bench to try specs on: one emulator for a module, and for each example an empty platform and an empty state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from reconciler.api.keys import KeyRing
from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.client import Client
from reconciler.app.planning import Planning
from reconciler.emulator import Emulator, world
from reconciler.emulator.files import make_file
from reconciler.emulator.indexing import make_store
from reconciler.emulator.models import MAXIMUM_FACTOR, MODELS
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store
from reconciler.engine.apply.scheduler import ApplyContext, apply_plan
from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.ownership import Ownership
from reconciler.engine.refresh.audit_trust import FullRefreshPolicy
from reconciler.kinds import KINDS
from reconciler.kinds.data_retention import OF_BOTH
from reconciler.manifests import Credential
from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, OutcomeStatus, Plan
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.resource import LiveObject, Resource
from reconciler.model.secret import Redactor, Secret
from reconciler.model.types import KeySinkType
from reconciler.model.values import SecretValue
from reconciler.secrets import SinkSet
from reconciler.state import StateStore
from tests.properties.strategies import Surroundings, specs
from tests.whole_examples import EXAMPLE, OTHER_PEM, PEM, REQUEST

CONTENTS = {
    "docs/a.md": b"# A\n",
    "docs/same as a.md": b"# A\n",
    "docs/b.txt": "Ünïcode ✓".encode(),
    "notes/日本語.md": b"x" * 3000,
    "notes/cafe\u0301.md": b"decomposed",
    "notes/short.md": b"x",
    "skills/one/SKILL.md": b"---\nname: one\ndescription: Some.\n---\nDo one thing.\n",
    "skills/two/SKILL.md": b"---\nname: two\ndescription: Some.\n---\nDo two things.\n",
}
FILE_IDS = ("file-Existing0000000000001", "file-Existing0000000000002")
STORE_IDS = ("vs_existing00000000000000000000001", "vs_existing00000000000000000000002")
USER_IDS = ("user-existing1", "user-existing2")
KEY_NAMES = ("Key one", "Key two")
GROUP_IDS = ("group_existing1", "group_existing2")
ROLE_IDS = ("role-api-organization-owner", "role_existing1")
CERTIFICATE_IDS = ("cert_existing1", "cert_existing2")
PROVIDER_IDS = ("wip_existing1", "wip_existing2")
ACCOUNT_IDS = ("svc_acct_existing1", "svc_acct_existing2")
AGENT_IDS = ("agent_existing1", "agent_existing2")
TEMPLATE_IDS = ("envtmpl_existing1", "envtmpl_existing2")
VAULT_IDS = ("vault_existing1", "vault_existing2")
THREAD_IDS = ("thread_existing1", "thread_existing2")
BATCH_FILE_IDS = ("file-Requests000000000001", "file-Requests000000000002")
TRAINING_FILE_IDS = ("file-Examples000000000001", "file-Examples000000000002")
ITEM_FILE_IDS = ("file-Items000000000001",)
FILES_OF_JOBS = {
    **dict.fromkeys(BATCH_FILE_IDS, ("batch", REQUEST)),
    **dict.fromkeys(TRAINING_FILE_IDS, ("fine-tune", EXAMPLE)),
    **dict.fromkeys(ITEM_FILE_IDS, ("evals", '{"item": {}}')),
}
EVAL_IDS = ("eval_existing1", "eval_existing2")
AROUND = Surroundings(
    CONTENTS,
    {
        "agent_id": AGENT_IDS,
        "environment_template_id": TEMPLATE_IDS,
        "vault_id": VAULT_IDS,
        "vault_ids": VAULT_IDS,
        "timezone": ("Europe/Berlin", "UTC"),
        "run_at": (4_000_000_000, 4_100_000_000),
        "file_id": FILE_IDS,
        "file_ids": FILE_IDS,
        "thread_id": THREAD_IDS,
        "checkpoint": ("ft:gpt-4.1:acme::a:ckpt-step-1", "ft:gpt-4.1:acme::b"),
        "vector_store_ids": STORE_IDS,
        "user_id": USER_IDS,
        "group_id": GROUP_IDS,
        "role_id": ROLE_IDS,
        "id": (world.DEFAULT_PROJECT,),
        "recipients": ("ada@example.com", "ben@example.com", "Cleo@example.com"),
        "certificate": (PEM, OTHER_PEM),
        "certificate_id": CERTIFICATE_IDS,
        "FederationRule.workload_identity_provider_id": PROVIDER_IDS,
        "project_id": (world.DEFAULT_PROJECT,),
        "service_account_id": ACCOUNT_IDS,
        "Batch.input_file_id": BATCH_FILE_IDS,
        "FineTuningJob.model": ("gpt-4.1-mini", "gpt-4o-mini"),
        "FineTuningJob.training_file": TRAINING_FILE_IDS,
        "FineTuningJob.validation_file": TRAINING_FILE_IDS,
        "EvalRun.eval_id": EVAL_IDS,
        "EvalRun.id": ITEM_FILE_IDS,
        "Batch.endpoint": ("/v1/chat/completions",),
        "DataRetention.retention_type": OF_BOTH,
        "ProjectKey.name": KEY_NAMES,
        "ProjectKey.owner": (f"{USER_IDS[0]}@example.com",),
        "User.email": tuple(f"{id}@example.com" for id in USER_IDS),
        "ProjectUser.email": tuple(f"{id}@example.com" for id in USER_IDS),
        "ProjectGroup.role": ("role-api-project-member", "role-api-project-owner", "role_custom"),
    },
)
PROJECT, OTHER_PROJECT = "search", "other"


def revealed(value: SecretValue) -> Secret:
    """A secret for each value, as if it were read from where that says."""
    return Secret(f"{value.source} {value.digest}")


class Steps:
    """A journal that remembers nothing."""

    @contextmanager
    def step(self, name: str, **intent: Any) -> Iterator[Steps]:
        yield self

    def done(self, id: str | None = None, **result: Any) -> None:
        """Nothing to note."""

    def unfinished(self, name: str) -> list[Mapping[str, Any]]:
        return []

    finished = unfinished


@dataclass
class Bench:
    """What all examples of a module share."""

    emulator: Emulator
    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.client = Client(self.emulator.base_url)

    def fresh(self) -> Stack:
        """An empty platform, but for what `AROUND` names, and a stack that has never been applied."""
        self.emulator.reset()
        store = self.emulator.store
        with store.lock:
            for id in FILE_IDS:
                made = make_file(
                    store,
                    world.DEFAULT_PROJECT,
                    filename=f"{id}.md",
                    purpose="assistants",
                    content=b"x",
                )
                store.remove(made)
                store.add("file", world.DEFAULT_PROJECT, {**made.body, "id": id}, **made.hidden)
            for id, (purpose, text) in FILES_OF_JOBS.items():
                made = make_file(
                    store,
                    world.DEFAULT_PROJECT,
                    filename=id,
                    purpose=purpose,
                    content=text.encode(),
                )
                store.remove(made)
                store.add("file", world.DEFAULT_PROJECT, {**made.body, "id": id}, **made.hidden)
            for id in EVAL_IDS:
                store.add(
                    "eval",
                    world.DEFAULT_PROJECT,
                    {"id": id, "name": id, "testing_criteria": [], "metadata": {}},
                )
            for id in STORE_IDS:
                made = make_store(store, world.DEFAULT_PROJECT, {})
                store.remove(made)
                store.add(
                    "vector_store", world.DEFAULT_PROJECT, {**made.body, "id": id}, **made.hidden
                )
            for id in THREAD_IDS:
                body = {
                    "id": id,
                    "object": "thread",
                    "created_at": 0,
                    "metadata": {},
                    "tool_resources": {},
                }
                store.add("thread", world.DEFAULT_PROJECT, body)
            for id in USER_IDS:
                world.add_user(store, id, f"{id}@Example.com", "reader", id=id)
            for id in GROUP_IDS:
                store.add(
                    "group",
                    ORGANIZATION,
                    {"id": id, "name": id, "created_at": 0, "is_scim_managed": False},
                )
            for id in CERTIFICATE_IDS:
                body = {
                    "id": id,
                    "object": "certificate",
                    "name": id,
                    "created_at": 0,
                    "certificate_details": {},
                }
                store.add("certificate", ORGANIZATION, body, pem=PEM)
            for id in PROVIDER_IDS:
                store.add("identity_provider", ORGANIZATION, {"id": id, "name": id})
            for id in ACCOUNT_IDS:
                body = {"id": id, "name": id, "role": "none", "created_at": 0}
                store.add("service_account", world.DEFAULT_PROJECT, body)
            for kind, ids in (
                ("agent", AGENT_IDS),
                ("environment_template", TEMPLATE_IDS),
                ("vault", VAULT_IDS),
            ):
                for id in ids:
                    store.add(
                        kind,
                        world.DEFAULT_PROJECT,
                        {"id": id, "name": id, "created_at": 0, "metadata": {}},
                    )
            role = {
                "id": ROLE_IDS[1],
                "name": "Existing",
                "permissions": [],
                "predefined_role": False,
            }
            store.add(
                "role",
                ORGANIZATION,
                {"object": "role", "resource_type": "api.organization", **role},
            )
            other = world.add_project(store, "Other")
            for project in store.all("project"):
                _furnish(store, project)
        root = self.folder / str(next(self.numbers))
        for path, content in CONTENTS.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return Stack(self, root, {PROJECT: self.emulator.project_id, OTHER_PROJECT: other.id})


def _furnish(store: Store, project: ObjectRow) -> None:
    """Service accounts, and keys that a person made, in a project."""
    for id in ACCOUNT_IDS:
        made = world.add_service_account(store, project, id, "member")
        store.remove(made)
        store.add("service_account", project.id, {**made.body, "id": id})
    for name in KEY_NAMES:
        owner = {"type": "user", "id": USER_IDS[0]}
        world.add_key(store, project, f"{name} of {project.id}", name=name, owner=owner)


@dataclass
class Stack:
    """A folder with a state of its own, and the engine wired to the real provider."""

    bench: Bench
    root: Path
    projects: Mapping[str, str]

    def __post_init__(self) -> None:
        self.store = StateStore.open(self.root / ".reconciler", stack="shop", environment="test")
        emulator = self.bench.emulator
        self.keys = KeyRing(
            admin=Credential("admin", Secret(emulator.admin_key)),
            default=Credential("default", Secret(emulator.api_key)),
            projects={},
            root=self.root,
        )
        sinks = SinkSet(self.root, Redactor())
        projects = dict(self.projects)
        self.provider = HttpProvider(
            self.bench.client, self.keys, sinks, self.root, projects, reveal=revealed
        )

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def plan(self, *resources: Resource, **options: Any) -> Plan:
        """Plan as the command does, with everything between the planner and the client."""
        inputs = PlanInputs(
            resources,
            KINDS,
            self.store.records(),
            self._ownership,
            projects=self.projects,
            options=PlanOptions(**options),
        )
        refreshing = Planning(
            self.provider, self.bench.client, self.keys, FullRefreshPolicy(), parallelism=1
        )
        return refreshing.plan(inputs, self.store, mode="full")

    def apply(self, *resources: Resource, **options: Any) -> ApplyResult:
        """Plan and apply, and insist that all went through and that the API kept every value as asked."""
        plan = self.plan(*resources, **options)
        assert plan.diagnostics == ()
        run = self.store.runs.begin(command="test", user="u", host="h", pid=1, plan_digest="d")
        result = apply_plan(
            plan,
            ApplyContext(self.provider, self.store, KINDS, self._ownership, run, parallelism=1),
        )
        assert [
            one.message for one in result.outcomes if one.status is not OutcomeStatus.APPLIED
        ] == []
        assert {
            str(record.address): record.answered
            for record in self.store.records().values()
            if record.answered
        } == {}
        return result

    def make(self, resource: Resource) -> LiveObject:
        """The object of a spec, made directly at the API, without a mark and unknown to the state."""
        kind, address = resource.kind, resource.address
        spec = {
            name: value
            for name, value in kind.fill_defaults(resource.spec).items()
            if value is not None and not isinstance(kind.by_name[name].type, KeySinkType)
        }
        if kind.always_exists:
            live = self.natural(resource)
            changes = {name: value for name, value in spec.items() if kind.by_name[name].on_update}
            return self.provider.update(
                live, changes, address=address, mark=None, record=None, steps=Steps()
            ).live
        return self.provider.create(
            kind, address.project, spec, address=address, mark=None, steps=Steps()
        ).live

    def natural(self, resource: Resource) -> LiveObject:
        found = self.provider.list(resource.kind, resource.address.project)
        return next(
            one
            for one in found
            if resource.kind.identity(resource.spec) in resource.kind.identities(one.attributes)
        )

    def live(self, resource: Resource) -> LiveObject:
        """The object that an address is bound to, as the API shows it now, with its carried fields."""
        found = self.provider.get(
            resource.kind, resource.address.project, self.store.records()[resource.address].id
        )
        assert found is not None
        return self.provider.read_own_calls(found, {item.name for item in resource.kind.own_calls})

    @property
    def _ownership(self) -> Ownership:
        return Ownership("shop", "test")


def resource(
    kind: Kind, spec: Mapping[str, Any], *, project: str = PROJECT, name: str = "it"
) -> Resource:
    """A spec as the loader makes a resource of it; objects that the key alone places have no project here."""
    address = Address(kind.name, name, project if kind.scope is ScopeType.PROJECT else None)
    return Resource(
        address,
        kind,
        {**{item.name: name for item in kind.fields if item.defaults_to_name}, **spec},
    )


@cache  # making a strategy takes as long as drawing from it
def _specs(name: str, having: str) -> st.SearchStrategy[dict[str, Any]]:
    return specs(KINDS[name], AROUND, having=having)


def valid_specs(
    kind: Kind, *, like: Mapping[str, Any] | None = None, having: str = ""
) -> st.SearchStrategy[dict[str, Any]]:
    """Specs of a kind that the emulator's platform has room for; of the same object as `like`, where it matters."""
    if kind.name != "RateLimit":
        found = _specs(kind.name, having)
        known = kind.identity(like) if like is not None and kind.unique_key else None
        return found if known is None else found.filter(lambda spec: kind.identity(spec) == known)
    return st.sampled_from(
        [model for model in MODELS if like is None or model.id == like["model"]]
    ).flatmap(
        lambda model: st.fixed_dictionaries(
            {"model": st.just(model.id)},
            optional={
                name: st.integers(0, most * MAXIMUM_FACTOR) for name, most in model.limits.items()
            },
        )
    )


def only(plan: Plan) -> Change:
    (change,) = plan.changes
    return change


def pending(plan: Plan) -> list[str]:
    """What a plan would do, in words that help when a test fails; empty where it would do nothing."""
    return [
        f"{change.action} {change.address} ({change.reason}): {[(f.dotted, f.before, f.after) for f in change.fields]}"
        for change in plan.changes
        if change.action is not Action.NO_OP
    ]
