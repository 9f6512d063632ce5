"""Keys, and which routes they may call.

There are two disjoint kinds of key. An admin key opens everything below `/organization`, a project
key everything else, and each is refused with 403 on the other's side. A service account's key is
bound to its project; the project key that the emulator starts with behaves like a person's, so the
`OpenAI-Project` header moves it to any active project.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.emulator.errors import ErrorAnswer, forbidden, unauthorized
from reconciler.emulator.routing import Access, Principal, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store

ADMIN_KEY = "sk-admin-emulator"
PROJECT_KEY = "sk-emulator"
_NOTED_SECONDS = 60
"""How old a persisted time of use may be: not every request is worth a write."""
ADMIN_KEY_ID = "key_EmulatorAdmin000"

# The missing scope that a refusal names, by the first segment of the path.
_SCOPES = {"models": "model", "uploads": "files"}


def key_class(store: Store, headers: Mapping[str, str]) -> str:
    """The kind of key that a request carries, for the recorder: admin, project, unknown or none."""
    secret = _secret(headers)
    if secret is None:
        return "none"
    record = store.key_record(secret)
    if record is None:
        return "unknown"
    return "admin" if record.kind == "admin_key" else "project"


def authenticate(
    store: Store, headers: Mapping[str, str], route: Route, *, organization: str
) -> Principal:
    """Return the caller, or refuse; `organization` is the id of the emulated organization."""
    secret = _secret(headers)
    if secret is None:
        raise unauthorized(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using "
            "Bearer auth (i.e. Authorization: Bearer YOUR_KEY)."
        )
    named = headers.get("openai-organization")
    if named and named != organization:
        raise unauthorized(
            "OpenAI-Organization header should match organization for API key",
            code="mismatched_organization",
        )
    record = store.key_record(secret)
    if record is None or _has_expired(store, record):
        raise _invalid_key(secret)
    if record.kind == "admin_key":
        return _admin(store, route, record)
    project = _project(store, record, headers.get("openai-project"))
    if route.access is Access.ADMIN:
        raise _missing_scopes(route, "api.management")
    _note_use(store, record)
    return Principal(Access.PROJECT, record.id, project)


def redacted(secret: str) -> str:
    """Return the redacted form of a key that the API shows: its first and last characters."""
    if len(secret) < 16:
        return secret[:3] + "*" * max(len(secret) - 5, 3) + secret[-2:]
    return f"{secret[:8]}{'*' * min(len(secret) - 12, 40)}{secret[-4:]}"


def _secret(headers: Mapping[str, str]) -> str | None:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _admin(store: Store, route: Route, key: ObjectRow) -> Principal:
    if route.access is not Access.ADMIN:
        first = route.path.split("/")[1]
        raise _missing_scopes(route, f"api.{_SCOPES.get(first, first)}")
    _note_use(store, key)
    owner = next((user for user in store.collection("user", ORGANIZATION).ordered()), None)
    user = {} if owner is None else {"id": owner.id, "email": owner.body["email"]}
    actor = {"type": "api_key", "api_key": {"id": key.id, "type": "user", "user": user}}
    return Principal(Access.ADMIN, key.id, actor=actor)


def _note_use(store: Store, key: ObjectRow) -> None:
    noted, now = key.hidden["last_used_at"], store.now()
    key.hidden["last_used_at"] = now
    if noted is None or now - noted >= _NOTED_SECONDS:
        store.changed(key)


def _missing_scopes(route: Route, area: str) -> ErrorAnswer:
    scope = f"{area}.{'read' if route.method == 'GET' else 'write'}"
    return forbidden(
        f"You have insufficient permissions for this operation. Missing scopes: {scope}. Check that you have the "
        "correct role in your organization, and if you're using a restricted API key, that it has the necessary "
        "scopes."
    )


def _invalid_key(secret: str) -> ErrorAnswer:
    return unauthorized(
        f"Incorrect API key provided: {redacted(secret)}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def _has_expired(store: Store, record: ObjectRow) -> bool:
    expires_at = record.body.get("expires_at")
    return expires_at is not None and expires_at <= store.now()


def _project(store: Store, key: ObjectRow, wanted: str | None) -> ObjectRow:
    bound = not key.hidden.get("roams")
    home = key.hidden.get("acts_in", key.scope)
    project_id = home if bound or not wanted else wanted
    project = store.get("project", ORGANIZATION, project_id)
    if project is None or (wanted and wanted != project_id):
        raise unauthorized(
            "OpenAI-Project header should match project for API key", code="mismatched_project"
        )
    if project.body["status"] == "archived":
        raise unauthorized(
            "The project you are requesting has been archived and is no longer accessible.",
            code="not_authorized_invalid_project",
        )
    return project
