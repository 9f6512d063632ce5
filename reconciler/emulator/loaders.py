"""How an object that the API showed becomes a record: one loader for each collection.

A loader gets an answer of the API with the parameters of its path. Where the emulator keeps more
than it shows, such as the end of an indexing, the loader chooses what fits the answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from reconciler.emulator.jobs import loaded_timing
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store, digest

Item = dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """An answer of the API: the parameters of its path, its project, and the object.

    `project` is empty for what an admin key reads.
    """

    params: dict[str, str]
    project: str
    item: Item

    @property
    def scope(self) -> str:
        """The scope of an admin path: the project it names, otherwise the organization."""
        return self.params.get("project_id", ORGANIZATION)


Loader = Callable[[Store, Loaded], "ObjectRow | None"]
"""Adds a record, and returns it where the order of a list is that of records."""


def _put(store: Store, kind: str, scope: str, body: Item, /, **hidden: Any) -> ObjectRow:
    """Add a record that lists show at once, whatever their lag."""
    id = hidden.pop("record_id", None)
    record = store.add(kind, scope, body, id=id, **hidden)
    record.born = 0.0
    return record


def _plain(kind: str, *, id: str = "id", **defaults: Any) -> Loader:
    """A loader for records whose body is the answer; `defaults` are fields that handlers need."""

    def load(store: Store, loaded: Loaded) -> ObjectRow | None:
        scope = loaded.project or loaded.scope
        body = {**defaults, **loaded.item}
        return _put(store, kind, scope, body, record_id=str(loaded.item[id]))

    return load


def _below(kind: str, parent: str, hidden: Item | None = None, **defaults: Any) -> Loader:
    """A loader for records in a parent, whose id is a parameter of the path."""

    def load(store: Store, loaded: Loaded) -> ObjectRow | None:
        scope, body = loaded.params[parent], {**defaults, **loaded.item}
        return _put(store, kind, scope, body, **deepcopy(hidden or {}))

    return load


def _single(kind: str) -> Loader:
    """A loader for settings that exist once for each scope."""

    def load(store: Store, loaded: Loaded) -> ObjectRow | None:
        return _put(store, kind, loaded.scope, dict(loaded.item), record_id=kind)

    return load


def _project(store: Store, loaded: Loaded) -> ObjectRow | None:
    body = {"status": "active", "external_key_id": None, "archived_at": None, **loaded.item}
    return _put(store, "project", ORGANIZATION, body, limits={})


def _user(store: Store, loaded: Loaded) -> ObjectRow | None:
    defaults = {"name": None, "email": "", "role": "reader", "is_scim_managed": False}
    item = {**loaded.item}
    item.pop("projects", None)  # computed from the members of projects
    return _put(store, "user", ORGANIZATION, {**defaults, "created": item.get("added_at"), **item})


def _rate_limit(store: Store, loaded: Loaded) -> ObjectRow | None:
    project = store.get("project", ORGANIZATION, loaded.params["project_id"])
    if project is None:
        raise ValueError(f"no project {loaded.params['project_id']} for its rate limits")
    rows = project.hidden.setdefault("rows", [])
    rows[:] = [row for row in rows if row["id"] != loaded.item["id"]] + [dict(loaded.item)]
    store.changed(project)
    return None


def _project_key(store: Store, loaded: Loaded) -> ObjectRow | None:
    owner = loaded.item.get("owner") or {}
    kind = str(owner.get("type") or "user")
    member = owner.get(kind) or {}
    hidden: Item = {
        "digest": digest(secrets.token_hex(16)),
        "owner": {"type": kind, "id": str(member.get("id") or "")},
        "roams": False,
        "scopes": [],
        "last_used_at": loaded.item.get("last_used_at"),
    }
    body = {"expires_at": None, **loaded.item}
    return _put(store, "api_key", loaded.scope, body, **hidden)


def _admin_key(store: Store, loaded: Loaded) -> ObjectRow | None:
    used = loaded.item.get("last_used_at")
    body = {"expires_at": None, **loaded.item}
    unknown = digest(secrets.token_hex(16))
    return _put(store, "admin_key", ORGANIZATION, body, digest=unknown, last_used_at=used)


def _assignment(store: Store, loaded: Loaded) -> ObjectRow | None:
    principal = loaded.params.get("user_id") or loaded.params["group_id"]
    sources = loaded.item.get("assignment_sources") or []
    groups = [source["principal_id"] for source in sources if source.get("principal_id")]
    if principal not in groups and any(_is_member(store, group, principal) for group in groups):
        return None  # inherited: computed from the group's own assignment
    role = str(loaded.item["id"])
    if store.get("role", loaded.scope, role) is None:
        shown = {name: loaded.item[name] for name in _OF_ROLE if name in loaded.item}
        _put(store, "role", loaded.scope, {**_ROLE, "object": "role", **shown})
    body = {"id": role, "created_at": loaded.item.get("created_at")}
    return _put(store, "role_assignment", f"{loaded.scope}/{principal}", body)


def _is_member(store: Store, group: str, user: str) -> bool:
    return store.get("group_user", group, user) is not None


_OF_ROLE = ("id", "name", "permissions", "resource_type", "predefined_role", "description")
_ROLE: Item = {"description": None, "predefined_role": False, "permissions": [], "name": ""}


def _certificate(store: Store, loaded: Loaded) -> ObjectRow | None:
    item = {name: value for name, value in loaded.item.items() if name != "active"}
    id = str(item["id"])
    record = store.get("certificate", ORGANIZATION, id)
    if record is None:
        body = {"certificate_details": {}, "name": None, **item, "object": "certificate"}
        record = _put(store, "certificate", ORGANIZATION, body, pem="")
    if loaded.item.get("active"):
        _put(store, "active_certificate", loaded.scope, {"id": id})
    return record


def _federation_rule(store: Store, loaded: Loaded) -> ObjectRow | None:
    provider = loaded.params["workload_identity_provider_id"]
    return _put(store, "federation_rule", provider, dict(loaded.item))


def _file(store: Store, loaded: Loaded) -> ObjectRow | None:
    body = {"purpose": "assistants", "filename": "", "bytes": 0, "expires_at": None, **loaded.item}
    return _put(store, "file", loaded.project, body, content=b"", is_unread=True)


def _attached_file(store: Store, loaded: Loaded) -> ObjectRow | None:
    item, parent = loaded.item, loaded.params["vector_store_id"]
    body = {
        "object": "vector_store.file",
        "created_at": 0,
        "vector_store_id": parent,
        "chunking_strategy": None,
        **item,
        "attributes": item.get("attributes") or {},
    }
    status = item.get("status", "completed")
    error = item.get("last_error")
    if status == "failed" and not error:
        error = {"code": "server_error", "message": "The file could not be indexed."}
    is_indexing = status == "in_progress"
    return _put(
        store,
        "vector_store_file",
        parent,
        body,
        bytes=item.get("usage_bytes") or 0,
        error=error if status == "failed" else None,
        ready_at=store.clock() + _INDEXING_SECONDS if is_indexing else 0.0,
        cancelled=status == "cancelled",
    )


_INDEXING_SECONDS = 2.0
"""After how many seconds the indexing of a loaded file ends."""


def _vector_store(store: Store, loaded: Loaded) -> ObjectRow | None:
    item = loaded.item
    defaults = {"name": None, "description": None, "expires_after": None, "object": "vector_store"}
    body = {**defaults, "created_at": 0, "metadata": {}, **item}
    if body.get("last_active_at") is None:
        body["last_active_at"] = body["created_at"]
    body["metadata"] = body["metadata"] or {}
    store.file_counts_cache.pop(str(item["id"]), None)
    return _put(store, "vector_store", loaded.project, body)


def _skill(store: Store, loaded: Loaded) -> ObjectRow | None:
    item, id = loaded.item, str(loaded.item["id"])
    latest = str(item.get("latest_version") or item.get("default_version") or "1")
    default = str(item.get("default_version") or latest)
    versions = int(latest) if latest.isdigit() else 1
    body = {**item, "default_version": default}
    record = _put(store, "skill", loaded.project, body, versions=versions)
    known = {version.body["version"] for version in store.collection("skill_version", id).ordered()}
    described = {name: item.get(name) or "" for name in ("name", "description")}
    for number in dict.fromkeys((default, latest)):
        if number not in known:
            _add_version(store, id, {**_version(id, number, item), **described})
    return record


def _version(skill: str, number: str, item: Item) -> Item:
    return {
        "id": f"skillver_{skill.removeprefix('skill_')}_{number}",
        "object": "skill.version",
        "skill_id": skill,
        "version": number,
        "created_at": item.get("created_at"),
    }


def _skill_version(store: Store, loaded: Loaded) -> ObjectRow | None:
    skill = loaded.params["skill_id"]
    number = str(loaded.item.get("version"))
    for version in list(store.collection("skill_version", skill).ordered()):
        if version.body["version"] == number:
            store.remove(version)
    return _add_version(store, skill, {"name": "", "description": "", **loaded.item})


def _add_version(store: Store, skill: str, body: Item) -> ObjectRow:
    return _put(store, "skill_version", skill, body, content=b"")


def _container(store: Store, loaded: Loaded) -> ObjectRow | None:
    item = loaded.item
    body = {"name": "", "status": "running", "network_policy": {"type": "disabled"}, **item}
    body["last_active_at"] = item.get("last_active_at") or item.get("created_at") or store.now()
    after = item.get("expires_after") or {"anchor": "last_active_at", "minutes": _NEVER_MINUTES}
    return _put(store, "container", loaded.project, {**body, "expires_after": after})


_NEVER_MINUTES = 10**8


def _job(kind: str, parent: str = "") -> Loader:
    def load(store: Store, loaded: Loaded) -> ObjectRow | None:
        scope = loaded.params[parent] if parent else loaded.project
        body = {"metadata": None, **loaded.item}
        return _put(store, kind, scope, body, **loaded_timing(str(body.get("status"))))

    return load


def _with_hidden(kind: str, hidden: Callable[[], Item], **defaults: Any) -> Loader:
    def load(store: Store, loaded: Loaded) -> ObjectRow | None:
        return _put(store, kind, loaded.project, {**defaults, **loaded.item}, **hidden())

    return load


_IN_PROJECT = "/organization/projects/{project_id}"
_RESOURCES: Item = {"tool_resources": {}, "metadata": {}}
_ASSISTANT: Item = dict.fromkeys(("top_p", "temperature", "response_format"))

LOADERS: dict[str, Loader] = {
    "/organization/projects": _project,
    "/organization/users": _user,
    "/organization/groups": _plain("group", name="", is_scim_managed=False),
    "/organization/groups/{group_id}/users": _below("group_user", "group_id"),
    "/organization/roles": _plain("role", **_ROLE),
    "/projects/{project_id}/roles": _plain("role", **_ROLE),
    "/organization/groups/{group_id}/roles": _assignment,
    "/organization/users/{user_id}/roles": _assignment,
    "/projects/{project_id}/groups/{group_id}/roles": _assignment,
    "/projects/{project_id}/users/{user_id}/roles": _assignment,
    f"{_IN_PROJECT}/rate_limits": _rate_limit,
    f"{_IN_PROJECT}/service_accounts": _plain("service_account", role="member"),
    f"{_IN_PROJECT}/users": _plain("project_user", role="member", name=None),
    f"{_IN_PROJECT}/api_keys": _project_key,
    f"{_IN_PROJECT}/groups": _plain("project_group", id="group_id"),
    f"{_IN_PROJECT}/model_permissions": _single("model_permissions"),
    f"{_IN_PROJECT}/hosted_tool_permissions": _single("hosted_tool_permissions"),
    f"{_IN_PROJECT}/service_tier_settings": _single("service_tier_settings"),
    f"{_IN_PROJECT}/data_retention": _single("data_retention"),
    "/organization/data_retention": _single("data_retention"),
    f"{_IN_PROJECT}/spend_limit": _single("spend_limit"),
    "/organization/spend_limit": _single("spend_limit"),
    f"{_IN_PROJECT}/spend_alerts": _plain("spend_alert"),
    "/organization/spend_alerts": _plain("spend_alert"),
    "/organization/invites": _plain("invite", status="pending", expires_at=0, projects=[]),
    "/organization/admin_api_keys": _admin_key,
    "/organization/certificates": _certificate,
    f"{_IN_PROJECT}/certificates": _certificate,
    "/organization/external_keys": _plain("external_key", purpose="ekm"),
    "/organization/external_storage": _plain("external_storage", project_id="", status="pending"),
    "/organization/workload_identity_providers": _plain("identity_provider", name=""),
    "/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules": (
        _federation_rule
    ),
    "/fine_tuning/checkpoints/{fine_tuned_model_checkpoint}/permissions": _below(
        "checkpoint_permission", "fine_tuned_model_checkpoint", project_id=""
    ),
    "/files": _file,
    "/vector_stores": _vector_store,
    "/vector_stores/{vector_store_id}/files": _attached_file,
    "/assistants": _plain("assistant", tools=[], **_RESOURCES, **_ASSISTANT),
    "/threads": _plain("thread", **_RESOURCES),
    "/threads/{thread_id}/messages": _below("thread_message", "thread_id", run_id=None),
    "/agents/environments/templates": _with_hidden(
        "environment_template", lambda: {"env": {}, "setup_commands": []}
    ),
    "/agents/automations": _with_hidden("automation", lambda: {"env": {}}, target={}, metadata={}),
    "/agents": _plain("agent", experimental={"time_awareness": False}),
    "/vaults": _plain("vault", metadata={}),
    "/vaults/{vault_id}/credentials": _below(
        "credential", "vault_id", hidden={"secrets": {}}, metadata={}
    ),
    "/skills": _skill,
    "/skills/{skill_id}/versions": _skill_version,
    "/webhook_endpoints": _plain("webhook", name="", url="", event_types=[]),
    "/containers": _container,
    "/containers/{container_id}/files": _below(
        "container_file", "container_id", hidden={"content": b""}
    ),
    "/conversations": _plain("conversation", metadata={}),
    "/conversations/{conversation_id}/items": _below("item", "conversation_id"),
    "/evals": _plain("eval", metadata={}, name=""),
    "/evals/{eval_id}/runs": _job("eval_run", "eval_id"),
    "/batches": _job("batch"),
    "/fine_tuning/jobs": _job("fine_tuning_job"),
    "/chat/completions": _with_hidden("chat_completion", lambda: {"messages": []}, metadata={}),
}
"""By the path of the collection, or of the object where a scope has one. Parents come first."""

_NO_PROGRESS = "the progress of jobs that were running when they were read"
_NO_SPENDING = "spending, so no limit or alert is ever reached"

UNREAD = {
    "/files": "the bytes of files: a download is empty, and jobs take any such file as valid",
    "/skills": "the archives of skills, and versions that are neither the default nor the latest",
    "/containers/{container_id}/files": "the bytes of files in containers",
    "/vaults/{vault_id}/credentials": "the secrets in credentials",
    "/webhook_endpoints": "the signing secrets of webhooks, and deliveries",
    f"{_IN_PROJECT}/api_keys": "the values of keys, so only keys that are created here can be used",
    "/organization/admin_api_keys": (
        "the values of keys, so only keys that are created here can be used"
    ),
    "/agents/environments/templates": "the variables and setup commands of environment templates",
    "/agents/automations": "the runs of automations on their schedule",
    "/batches": _NO_PROGRESS,
    "/fine_tuning/jobs": _NO_PROGRESS,
    "/evals/{eval_id}/runs": _NO_PROGRESS,
    f"{_IN_PROJECT}/rate_limits": "the highest rate limits that the organization permits",
    f"{_IN_PROJECT}/spend_limit": _NO_SPENDING,
    f"{_IN_PROJECT}/spend_alerts": _NO_SPENDING,
    "/organization/spend_limit": _NO_SPENDING,
    "/organization/spend_alerts": _NO_SPENDING,
    "/organization/invites": "the person who accepts an invite",
    "/organization/external_keys": "the cloud behind an external key or storage",
    "/organization/external_storage": "the cloud behind an external key or storage",
}
"""What no answer shows, so that a copy lacks it, by the path of the collection."""
