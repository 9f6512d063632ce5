"""Invites into the organization: pending for a week, then expired, unless the person accepts."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids, world
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store
from reconciler.emulator.validation import choice, fields, listed, text

_PROJECT = fields({"id": text(minimum=1), "role": choice("member", "owner")})
_CREATE = fields(
    {"email": text(minimum=3, pattern=r"[^@\s]+@[^@\s]+"), "role": choice("reader", "owner")},
    {"projects": listed(_PROJECT)},
)
_WEEK = 7 * 86_400


def list_invites(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("invite", ORGANIZATION),
        page_of(call.query, order=None, before=False),
        render=lambda invite: _render(call, invite),
    )


def create_invite(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    _refuse_known(call, sent["email"])
    projects = sent.get("projects", [{"id": world.default_project(call.store), "role": "member"}])
    for index, project in enumerate(projects):
        if call.store.get("project", ORGANIZATION, project["id"]) is None:
            raise not_found(
                f"No project found with id '{project['id']}'.", param=f"projects[{index}].id"
            )
    body = {
        "object": "organization.invite",
        "id": ids.fresh("invite"),
        "email": sent["email"],
        "role": sent["role"],
        "status": "pending",
        "created_at": call.now,
        "expires_at": call.now + _WEEK,
        "accepted_at": None,
        "projects": projects,
    }
    invite = call.store.add("invite", ORGANIZATION, body)
    log(call, "invite.sent", invite.id, data={"email": sent["email"], "role": sent["role"]})
    return body


def retrieve_invite(call: Call) -> dict[str, Any]:
    return _render(call, _invite(call))


def delete_invite(call: Call) -> dict[str, Any]:
    invite = _invite(call)
    if invite.body["status"] == "accepted":
        raise bad_request("The invite has been accepted and cannot be deleted.", param="invite_id")
    log(call, "invite.deleted", invite.id)
    return call.removed(invite, "organization.invite.deleted")


def accept(store: Store, invite: ObjectRow) -> ObjectRow:
    """Accept the invite, as by the link in the mail; returns the new user."""
    invite.body.update(status="accepted", accepted_at=store.now())
    store.changed(invite)
    email, role = invite.body["email"], invite.body["role"]
    user = world.add_user(store, email.partition("@")[0].title(), email, role)
    for entry in invite.body["projects"]:
        project = store.get("project", ORGANIZATION, entry["id"])
        if project is not None:
            world.add_member(store, project, user, entry["role"])
    return user


def _render(call: Call, invite: ObjectRow) -> dict[str, Any]:
    has_expired = invite.body["status"] == "pending" and invite.body["expires_at"] <= call.now
    return {**invite.body, "status": "expired"} if has_expired else invite.body


def _invite(call: Call) -> ObjectRow:
    return call.path_record("invite", ORGANIZATION, "invite_id", "No invite found with id '{id}'.")


def _refuse_known(call: Call, email: str) -> None:
    users = call.store.collection("user", ORGANIZATION).ordered()
    invites = call.store.collection("invite", ORGANIZATION).ordered()
    pending = [invite for invite in invites if _render(call, invite)["status"] == "pending"]
    if any(record.body["email"].lower() == email.lower() for record in (*users, *pending)):
        raise bad_request(
            f"'{email}' is a member of the organization or has been invited.", param="email"
        )


_ALL = "/organization/invites"
_ONE = f"{_ALL}/{{invite_id}}"
ROUTES = (
    Route("GET", _ALL, list_invites, Access.ADMIN),
    Route("POST", _ALL, create_invite, Access.ADMIN),
    Route("GET", _ONE, retrieve_invite, Access.ADMIN),
    Route("DELETE", _ONE, delete_invite, Access.ADMIN),
)
