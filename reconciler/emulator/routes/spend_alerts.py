"""Spend alerts of the organization and of projects. An update requires the whole alert, like a create."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import choice, fields, integer, listed, nullable, text

_CHANNEL = fields(
    {"type": choice("email"), "recipients": listed(text(minimum=3, pattern=r"[^@\s]+@[^@\s]+"))},
    {"subject_prefix": nullable(text())},
)
_ALERT = fields(
    {
        "threshold_amount": integer(minimum=0),
        "currency": choice("USD"),
        "interval": choice("month"),
        "notification_channel": _CHANNEL,
    }
)


def list_alerts(call: Call) -> dict[str, Any]:
    return call.list_answer(
        call.store.collection("spend_alert", call.scope_id), page_of(call.query, order="asc")
    )


def create_alert(call: Call) -> dict[str, Any]:
    call.scope_project(to_change=True)
    body = {"id": ids.fresh("spend_alert"), "object": _what(call), **_whole(call)}
    return call.store.add("spend_alert", call.scope_id, body).body


def retrieve_alert(call: Call) -> dict[str, Any]:
    return _alert(call).body


def update_alert(call: Call) -> dict[str, Any]:
    call.scope_project(to_change=True)
    alert = _alert(call)
    alert.body.update(_whole(call))
    call.store.changed(alert)
    return alert.body


def delete_alert(call: Call) -> dict[str, Any]:
    call.scope_project(to_change=True)
    return call.removed(_alert(call), f"{_what(call)}.deleted")


def _whole(call: Call) -> dict[str, Any]:
    sent = call.json(_ALERT)
    return {
        **sent,
        "notification_channel": {"subject_prefix": None, **sent["notification_channel"]},
    }


def _alert(call: Call) -> ObjectRow:
    return call.path_record(
        "spend_alert", call.scope_id, "alert_id", "No spend alert found with id '{id}'."
    )


def _what(call: Call) -> str:
    return "project.spend_alert" if "project_id" in call.params else "organization.spend_alert"


# Only the audit log of the tenant has events for alerts, not that of the organization.
ROUTES = tuple(
    Route(method, path, handler, Access.ADMIN)
    for base in ("/organization/spend_alerts", "/organization/projects/{project_id}/spend_alerts")
    for method, path, handler in (
        ("GET", base, list_alerts),
        ("POST", base, create_alert),
        ("GET", f"{base}/{{alert_id}}", retrieve_alert),
        ("POST", f"{base}/{{alert_id}}", update_alert),
        ("DELETE", f"{base}/{{alert_id}}", delete_alert),
    )
)
