"""Users: the members of the organization and of its projects.

Users cannot be created, since people join by invitation; they can get another role and be removed.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import world
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.routes.role_assignments import forget_principal
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import choice, fields, nullable, text

_MODIFY = fields(
    {},
    {
        "role": nullable(choice("owner", "reader")),
        "role_id": nullable(text()),
        "technical_level": nullable(text()),
        "developer_persona": nullable(text()),
    },
)
_PROJECT_ROLE = choice("owner", "member")
_ADD = fields({"role": _PROJECT_ROLE}, {"user_id": nullable(text()), "email": nullable(text())})
_CHANGE = fields({}, {"role": nullable(_PROJECT_ROLE)})


def list_users(call: Call) -> dict[str, Any]:
    emails = {email.lower() for email in call.query.all("emails")}
    return call.list_answer(
        call.store.collection("user", ORGANIZATION),
        page_of(call.query, order=None, before=False),
        keep=lambda user: not emails or user.body["email"].lower() in emails,
    )


def retrieve_user(call: Call) -> dict[str, Any]:
    user = _user(call)
    projects = [
        {"id": member.scope, "name": _project_name(call, member.scope), "role": member.body["role"]}
        for member in call.store.all("project_user")
        if member.id == user.id
    ]
    return {**user.body, "projects": {"object": "list", "data": projects}}


def modify_user(call: Call) -> dict[str, Any]:
    user = _user(call)
    sent = call.json(_MODIFY)
    if sent.get("role") == "reader":
        _refuse_last_owner(call, user)
    changes = {
        name: value
        for name, value in sent.items()
        if name != "role_id" and (name, value) != ("role", None)
    }
    user.body.update(changes)
    call.store.changed(user)
    role = {"role": sent["role"]} if sent.get("role") else {}
    log(call, "user.updated", user.id, changes_requested=role)
    return user.body


def delete_user(call: Call) -> dict[str, Any]:
    user = _user(call)
    _refuse_scim(user)
    _refuse_last_owner(call, user)
    for member in list(call.store.all("project_user")):
        if member.id == user.id:
            call.store.remove(member)
    forget_principal(call.store, user.id)
    log(call, "user.deleted", user.id)
    return call.removed(user, "organization.user.deleted")


def list_project_users(call: Call) -> dict[str, Any]:
    project = call.path_project()
    members = call.store.collection("project_user", project.id)
    return call.list_answer(members, page_of(call.query, order=None, before=False))


def add_project_user(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    sent = call.json(_ADD)
    if (sent.get("user_id") is None) == (sent.get("email") is None):
        raise bad_request("Exactly one of 'user_id' and 'email' is required.", param="user_id")
    user = _find(call, sent)
    if call.store.get("project_user", project.id, user.id) is not None:
        raise bad_request("User already exists in project.", param="user_id")
    member = world.add_member(call.store, project, user, sent["role"])
    log(call, "user.added", user.id, project=project, data={"role": sent["role"]})
    return member.body


def retrieve_project_user(call: Call) -> dict[str, Any]:
    return _member(call).body


def modify_project_user(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    member = _member(call)
    sent = call.json(_CHANGE)
    changes = {"role": sent["role"]} if sent.get("role") else {}
    member.body.update(changes)
    call.store.changed(member)
    log(call, "user.updated", member.id, project=project, changes_requested=changes)
    return member.body


def delete_project_user(call: Call) -> dict[str, Any]:
    project = call.path_project(to_change=True)
    member = _member(call)
    log(call, "user.deleted", member.id, project=project)
    return call.removed(member, "organization.project.user.deleted")


def _user(call: Call) -> ObjectRow:
    return call.path_record("user", ORGANIZATION, "user_id", "No user found with id '{id}'.")


def _member(call: Call) -> ObjectRow:
    refusal = "No user found with id '{id}' in project '{project_id}'."
    return call.path_record("project_user", call.path_project().id, "user_id", refusal)


def _find(call: Call, sent: dict[str, Any]) -> ObjectRow:
    for user in call.store.collection("user", ORGANIZATION).ordered():
        email = sent.get("email")
        if user.id == sent.get("user_id") or (
            email and user.body["email"].lower() == email.lower()
        ):
            return user
    raise not_found(
        "No such user in the organization.", param="user_id" if sent.get("user_id") else "email"
    )


def _project_name(call: Call, id: str) -> str | None:
    project = call.store.get("project", ORGANIZATION, id)
    return None if project is None else project.body["name"]


def _refuse_scim(user: ObjectRow) -> None:
    if user.body["is_scim_managed"]:
        raise bad_request(
            "The user is managed through SCIM and cannot be changed here.", param="user_id"
        )


def _refuse_last_owner(call: Call, user: ObjectRow) -> None:
    owners = [
        u
        for u in call.store.collection("user", ORGANIZATION).ordered()
        if u.body["role"] == "owner"
    ]
    if owners == [user]:
        raise bad_request("The last owner of an organization cannot be removed.", param="user_id")


_ALL = "/organization/users"
_ONE = f"{_ALL}/{{user_id}}"
_MEMBERS = "/organization/projects/{project_id}/users"
_MEMBER = f"{_MEMBERS}/{{user_id}}"
ROUTES = (
    Route("GET", _ALL, list_users, Access.ADMIN),
    Route("GET", _ONE, retrieve_user, Access.ADMIN),
    Route("POST", _ONE, modify_user, Access.ADMIN),
    Route("DELETE", _ONE, delete_user, Access.ADMIN),
    Route("GET", _MEMBERS, list_project_users, Access.ADMIN),
    Route("POST", _MEMBERS, add_project_user, Access.ADMIN),
    Route("GET", _MEMBER, retrieve_project_user, Access.ADMIN),
    Route("POST", _MEMBER, modify_project_user, Access.ADMIN),
    Route("DELETE", _MEMBER, delete_project_user, Access.ADMIN),
)
