"""Identity providers whose tokens act as service accounts, and the rules that map them."""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import (
    Check,
    boolean,
    choice,
    fields,
    listed,
    mapping,
    nullable,
    tagged,
    text,
    wrong_type,
)

_SOME = text(minimum=1)
_TRANSFORMATIONS = listed(fields({"attribute": _SOME, "expression": _SOME}))
_VERIFICATION = tagged(
    {
        "discovery": fields({"type": choice("discovery"), "discovery_url": nullable(text())}),
        "uploaded_jwks": fields({"type": choice("uploaded_jwks"), "jwks": mapping}),
    }
)
_REST = {
    "enabled": boolean(),
    "attribute_transformations": _TRANSFORMATIONS,
    "verification": _VERIFICATION,
}
_NAMES: dict[str, Check] = {"name": _SOME, "issuer": _SOME, "audience": _SOME}
_CREATE = fields({"type": choice("oidc"), **_NAMES}, {"description": text(), **_REST})
_UPDATE = fields({}, {**_NAMES, "description": nullable(text()), **_REST})


def _scalar(value: Any, place: str) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    raise wrong_type(value, place, "one of a string, a number, or a boolean")


def _matchers(value: Any, place: str) -> dict[str, Any]:
    return {name: _scalar(item, f"{place}.{name}") for name, item in mapping(value, place).items()}


_PERMISSIONS = tagged(
    {
        "service_account_default": fields({"type": choice("service_account_default")}),
        "restricted": fields({"type": choice("restricted"), "scopes": listed(_SOME)}),
    }
)
_RULE_REST = {"enabled": boolean(), "permissions": _PERMISSIONS}
_CREATE_RULE = fields(
    {"attribute_matchers": _matchers, "project_id": _SOME, "service_account_id": _SOME},
    {"name": text(), "description": text(), **_RULE_REST},
)
_UPDATE_RULE = fields(
    {},
    {
        "attribute_matchers": _matchers,
        "name": nullable(text()),
        "description": nullable(text()),
        **_RULE_REST,
    },
)


def list_providers(call: Call) -> dict[str, Any]:
    providers = call.store.collection("identity_provider", ORGANIZATION)
    return call.list_answer(providers, page_of(call.query, order="desc", before=False))


def create_provider(call: Call) -> dict[str, Any]:
    body = {
        "object": "organization.workload_identity_provider",
        "id": ids.fresh("identity_provider"),
        "created_at": call.now,
        "updated_at": call.now,
        "description": None,
        "enabled": True,
        "attribute_transformations": [],
        "verification": {"type": "discovery", "discovery_url": None},
        **call.json(_CREATE),
    }
    provider = call.store.add("identity_provider", ORGANIZATION, body)
    log(call, "workload_identity_provider.created", provider.id, data={})
    return body


def retrieve_provider(call: Call) -> dict[str, Any]:
    return _provider(call).body


def update_provider(call: Call) -> dict[str, Any]:
    provider = _provider(call)
    provider.body.update(call.json(_UPDATE), updated_at=call.now)
    call.store.changed(provider)
    log(call, "workload_identity_provider.updated", provider.id, changes_requested={})
    return provider.body


def delete_provider(call: Call) -> dict[str, Any]:
    provider = _provider(call)
    for rule in list(call.store.collection("federation_rule", provider.id).ordered()):
        call.store.remove(rule)
    log(call, "workload_identity_provider.deleted", provider.id, name=provider.body["name"])
    return call.removed(provider, "organization.workload_identity_provider.deleted")


def list_rules(call: Call) -> dict[str, Any]:
    account = call.query.get("service_account_id")
    return call.list_answer(
        call.store.collection("federation_rule", _provider(call).id),
        page_of(call.query, order="desc", before=False),
        keep=lambda rule: account in (None, rule.body["service_account_id"]),
    )


def create_rule(call: Call) -> dict[str, Any]:
    provider = _provider(call)
    sent = call.json(_CREATE_RULE)
    if call.store.get("service_account", sent["project_id"], sent["service_account_id"]) is None:
        raise not_found("No such service account in the project.", param="service_account_id")
    body = {
        "object": "organization.workload_identity_federation_rule",
        "id": ids.fresh("federation_rule"),
        "workload_identity_provider_id": provider.id,
        "created_at": call.now,
        "updated_at": call.now,
        "name": None,
        "description": None,
        "enabled": True,
        "permissions": {"type": "service_account_default"},
        **sent,
    }
    rule = call.store.add("federation_rule", provider.id, body)
    log(
        call,
        "workload_identity_provider_mapping.created",
        rule.id,
        identity_provider_id=provider.id,
        data={},
    )
    return body


def retrieve_rule(call: Call) -> dict[str, Any]:
    return _rule(call).body


def update_rule(call: Call) -> dict[str, Any]:
    rule = _rule(call)
    rule.body.update(call.json(_UPDATE_RULE), updated_at=call.now)
    call.store.changed(rule)
    event = "workload_identity_provider_mapping.updated"
    log(call, event, rule.id, identity_provider_id=rule.scope, changes_requested={})
    return rule.body


def delete_rule(call: Call) -> dict[str, Any]:
    rule = _rule(call)
    named = {name: rule.body[name] for name in ("project_id", "service_account_id")}
    log(
        call,
        "workload_identity_provider_mapping.deleted",
        rule.id,
        identity_provider_id=rule.scope,
        **named,
    )
    return call.removed(rule, "organization.workload_identity_federation_rule.deleted")


def _provider(call: Call) -> ObjectRow:
    refusal = "No workload identity provider found with id '{id}'."
    return call.path_record(
        "identity_provider", ORGANIZATION, "workload_identity_provider_id", refusal
    )


def _rule(call: Call) -> ObjectRow:
    refusal = "No federation rule found with id '{id}'."
    return call.path_record(
        "federation_rule", _provider(call).id, "workload_identity_federation_rule_id", refusal
    )


_ALL = "/organization/workload_identity_providers"
_ONE = f"{_ALL}/{{workload_identity_provider_id}}"
_RULES = f"{_ONE}/federation_rules"
_RULE = f"{_RULES}/{{workload_identity_federation_rule_id}}"
ROUTES = (
    Route("GET", _ALL, list_providers, Access.ADMIN),
    Route("POST", _ALL, create_provider, Access.ADMIN),
    Route("GET", _ONE, retrieve_provider, Access.ADMIN),
    Route("POST", _ONE, update_provider, Access.ADMIN),
    Route("DELETE", _ONE, delete_provider, Access.ADMIN),
    Route("GET", _RULES, list_rules, Access.ADMIN),
    Route("POST", _RULES, create_rule, Access.ADMIN),
    Route("GET", _RULE, retrieve_rule, Access.ADMIN),
    Route("POST", _RULE, update_rule, Access.ADMIN),
    Route("DELETE", _RULE, delete_rule, Access.ADMIN),
)
