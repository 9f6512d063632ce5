"""The initial data: an organization with a default project, some people and one project key."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.auth import ADMIN_KEY, ADMIN_KEY_ID, PROJECT_KEY, redacted
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store, digest

DEFAULT_PROJECT = "proj_EmulatorDefaultProject00"

# name, email, role, managed by SCIM. Two owners, so that one of them can be removed.
_PEOPLE = (
    ("Ada Owner", "ada@example.com", "owner", False),
    ("Ben Owner", "ben@example.com", "owner", False),
    ("Cleo Reader", "cleo@example.com", "reader", False),
    ("Dev Reader", "dev@example.com", "reader", False),
    ("Eli Reader", "eli@example.com", "reader", True),
)


def found(store: Store) -> None:
    """Create the organization in an empty store."""
    project = add_project(store, "Default project", id=DEFAULT_PROJECT)
    people = [add_user(store, *person) for person in _PEOPLE]
    add_admin_key(store, ADMIN_KEY, name="Emulator admin key", id=ADMIN_KEY_ID)
    for user in people[:2]:
        add_member(store, project, user, "owner")
    add_key(
        store,
        project,
        PROJECT_KEY,
        name="Emulator key",
        owner={"type": "user", "id": people[0].id},
        roams=True,
    )


def add_project(store: Store, name: str, *, id: str | None = None, **extra: Any) -> ObjectRow:
    body = {
        "id": id or ids.fresh("project"),
        "object": "organization.project",
        "name": name,
        "created_at": store.now(),
        "archived_at": None,
        "status": "active",
        "external_key_id": extra.get("external_key_id"),
        # The residency of the organization, used if a request names none.
        "residency": extra.get("residency") or "GLOBAL",
    }
    return store.add("project", ORGANIZATION, body, limits={})


def add_user(
    store: Store, name: str, email: str, role: str, scim: bool = False, *, id: str | None = None
) -> ObjectRow:
    now = store.now()
    user_id = id or ids.fresh("user")
    body: dict[str, Any] = {
        "object": "organization.user",
        "id": user_id,
        "name": name,
        "email": email,
        "role": role,
        "added_at": now,
        "is_default": False,
        "created": now,
        "user": {
            "object": "user",
            "id": user_id,
            "email": email,
            "name": name,
            "picture": None,
            "enabled": True,
            "banned": False,
            "banned_at": None,
        },
        "is_service_account": False,
        "is_scale_tier_authorized_purchaser": False,
        "is_scim_managed": scim,
        "api_key_last_used_at": None,
        "technical_level": None,
        "developer_persona": None,
    }
    return store.add("user", ORGANIZATION, body)


def add_member(store: Store, project: ObjectRow, user: ObjectRow, role: str) -> ObjectRow:
    """Make a user a member of a project."""
    body = {
        "object": "organization.project.user",
        "id": user.id,
        "name": user.body["name"],
        "email": user.body["email"],
        "role": role,
        "added_at": store.now(),
    }
    return store.add("project_user", project.id, body)


def add_person(store: Store, number: int) -> ObjectRow:
    """Add one of many readers, to make the organization large."""
    return add_user(store, f"Person {number}", f"person-{number}@example.com", "reader", False)


def add_key(
    store: Store,
    project: ObjectRow,
    secret: str,
    *,
    name: str,
    owner: dict[str, str],
    expires_at: int | None = None,
    roams: bool = False,
    scopes: list[str] | None = None,
) -> ObjectRow:
    """Add a key to a project; only its digest is stored."""
    body = {
        "object": "organization.project.api_key",
        "redacted_value": redacted(secret),
        "name": name,
        "created_at": store.now(),
        "expires_at": expires_at,
        "id": ids.fresh("api_key"),
    }
    hidden: dict[str, Any] = {
        "digest": digest(secret),
        "owner": owner,
        "roams": roams,
        "scopes": scopes or [],
    }
    return store.add("api_key", project.id, body, last_used_at=None, **hidden)


def add_admin_key(
    store: Store, secret: str, *, name: str, id: str | None = None, expires_at: int | None = None
) -> ObjectRow:
    """Add an admin key of the first owner; only its digest is stored."""
    owner = next(iter(store.collection("user", ORGANIZATION).ordered()), None)
    person = {} if owner is None else {name: owner.body[name] for name in ("id", "name", "role")}
    created = (
        {}
        if owner is None
        else {"object": "organization.user", "created_at": owner.body["added_at"]}
    )
    body = {
        "object": "organization.admin_api_key",
        "id": id or ids.fresh("api_key"),
        "name": name,
        "redacted_value": redacted(secret),
        "created_at": store.now(),
        "expires_at": expires_at,
        "owner": {"type": "user", **created, **person},
    }
    return store.add("admin_key", ORGANIZATION, body, digest=digest(secret), last_used_at=None)


def add_copied_key(store: Store, secret: str, *, project_id: str = "") -> ObjectRow:
    """Add a key to a loaded organization that no list shows; an admin key without a project."""
    hidden: dict[str, Any] = {"digest": digest(secret), "last_used_at": None}
    body: dict[str, Any] = {"id": ids.fresh("api_key"), "expires_at": None}
    if not project_id:
        return store.add("admin_key", _UNLISTED, body, **hidden)
    if store.get("project", ORGANIZATION, project_id) is None:
        add_project(store, project_id, id=project_id)
    owner = {"type": "user", "id": ""}
    return store.add(
        "api_key", _UNLISTED, body, **hidden, owner=owner, roams=True, acts_in=project_id, scopes=[]
    )


_UNLISTED = "unlisted"
"""The scope of keys that no list shows."""


def default_project(store: Store) -> str:
    """The id of the default project; in a loaded organization, the oldest one of that name."""
    projects = store.collection("project", ORGANIZATION).ordered()
    named = [project.id for project in projects if project.body["name"] == "Default project"]
    if store.get("project", ORGANIZATION, DEFAULT_PROJECT) is not None or not named:
        return DEFAULT_PROJECT
    return named[0]


def add_service_account(store: Store, project: ObjectRow, name: str, role: str) -> ObjectRow:
    body = {
        "object": "organization.project.service_account",
        "id": ids.fresh("service_account"),
        "name": name,
        "role": role,
        "created_at": store.now(),
    }
    return store.add("service_account", project.id, body)
