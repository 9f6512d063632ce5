"""Webhooks of a project. Only the responses that create a signing secret show it."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow, digest
from reconciler.emulator.validation import boolean, choice, fields, listed, text

EVENT_TYPES = (
    *(f"batch.{end}" for end in ("completed", "failed", "expired", "cancelled")),
    *(f"response.{end}" for end in ("completed", "failed", "cancelled", "incomplete")),
    *(f"eval.run.{end}" for end in ("succeeded", "failed", "canceled")),
    *(f"fine_tuning.job.{end}" for end in ("succeeded", "failed", "cancelled")),
    "realtime.call.incoming",
    "video.completed",
    "video.failed",
    *(f"agent.environment.{end}" for end in ("ready", "failed", "suspended", "expired")),
    *(
        f"agent.session.{end}"
        for end in ("created", "action_required", "in_progress", "idle", "failed")
    ),
    "safety.alert.created",
)
_BODY = {
    "name": text(minimum=1),
    "url": text(pattern=r"https://\S+"),
    "event_types": listed(choice(*EVENT_TYPES), minimum=1),
}
_CREATE = fields(_BODY)
_UPDATE = fields({}, _BODY)
_ROTATE = fields({}, {"keep_old_secret_active_for_24_hours": boolean()})
_TEST = fields({"event_type": choice(*EVENT_TYPES)})


def list_webhooks(call: Call) -> dict[str, Any]:
    webhooks = call.store.collection("webhook", call.project_id)
    return call.list_answer(
        webhooks, page_of(call.query, order=None, before=False, descending=True)
    )


def create_webhook(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    now = call.now
    body = {
        "id": ids.fresh("webhook"),
        "object": "webhook_endpoint",
        **sent,
        "created_at": now,
        "updated_at": now,
    }
    webhook = call.store.add("webhook", call.project_id, body)
    return _with_new_secret(call, webhook)


def retrieve_webhook(call: Call) -> dict[str, Any]:
    return _webhook(call).body


def update_webhook(call: Call) -> dict[str, Any]:
    webhook = _webhook(call)
    sent = call.json(_UPDATE)
    changed = any(webhook.body[name] != value for name, value in sent.items())
    webhook.body.update(sent, **({"updated_at": call.now} if changed else {}))
    call.store.changed(webhook)
    return webhook.body


def delete_webhook(call: Call) -> dict[str, Any]:
    return call.removed(_webhook(call), "webhook_endpoint.deleted")


def rotate_secret(call: Call) -> dict[str, Any]:
    webhook = _webhook(call)
    call.json(_ROTATE)
    webhook.body["updated_at"] = call.now
    return _with_new_secret(call, webhook)


def send_test(call: Call) -> dict[str, Any]:
    """Return a simulated delivery; the emulator calls no endpoint."""
    webhook = _webhook(call)
    sent = call.json(_TEST)
    return {
        "object": "webhook_endpoint.test",
        "webhook_endpoint_id": webhook.id,
        "event_type": sent["event_type"],
        "status_code": 200,
        "success": True,
    }


def list_event_types(_call: Call) -> dict[str, Any]:
    return {"object": "list", "data": list(EVENT_TYPES)}


def _with_new_secret(call: Call, webhook: ObjectRow) -> dict[str, Any]:
    secret = ids.signing_secret()
    webhook.hidden["digest"] = digest(secret)
    webhook.body["signing_secret_hint"] = f"{secret[:6]}…{secret[-4:]}"
    call.store.changed(webhook)
    return {**webhook.body, "signing_secret": secret}


def _webhook(call: Call) -> ObjectRow:
    refusal = "No webhook endpoint found with id '{id}'."
    return call.path_record("webhook", call.project_id, "webhook_endpoint_id", refusal)


_ALL = "/webhook_endpoints"
_ONE = f"{_ALL}/{{webhook_endpoint_id}}"
ROUTES = (
    Route("GET", _ALL, list_webhooks, Access.PROJECT),
    Route("POST", _ALL, create_webhook, Access.PROJECT),
    Route("GET", _ONE, retrieve_webhook, Access.PROJECT),
    Route("POST", _ONE, update_webhook, Access.PROJECT),
    Route("DELETE", _ONE, delete_webhook, Access.PROJECT),
    Route("POST", f"{_ONE}/rotate_secret", rotate_secret, Access.PROJECT),
    Route("POST", f"{_ONE}/test", send_test, Access.PROJECT),
    Route("GET", "/webhook_event_types", list_event_types, Access.PROJECT),
)
