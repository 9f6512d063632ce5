"""Certificates for mutual TLS, uploaded to the organization, and active or inactive there and in each project.

An object has one of three type names, depending on the call; only lists show whether it is active.
"""

from __future__ import annotations

from typing import Any

from reconciler.emulator import ids
from reconciler.emulator.audit import log
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.paging import page_of
from reconciler.emulator.pem import validity
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import choice, fields, listed, text

_CREATE = fields({"certificate": text(minimum=1)}, {"name": text()})
_MODIFY = fields({}, {"name": text()})
_TOGGLE = fields({"certificate_ids": listed(text(), minimum=1, maximum=10)})
_MOST = 50


def list_certificates(call: Call) -> dict[str, Any]:
    certificates = call.store.collection("certificate", ORGANIZATION)
    page = page_of(call.query, order="desc", before=False)
    return call.list_answer(
        certificates, page, render=lambda certificate: _in_list(call, certificate)
    )


def upload_certificate(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    if len(call.store.collection("certificate", ORGANIZATION)) >= _MOST:
        raise bad_request(
            f"An organization can have at most {_MOST} certificates.", param="certificate"
        )
    try:
        valid_at, expires_at = validity(sent["certificate"])
    except ValueError:
        raise bad_request(
            "The certificate is not valid PEM.", param="certificate", code="invalid_value"
        ) from None
    body = {
        "object": "certificate",
        "id": ids.fresh("certificate"),
        "name": sent.get("name"),
        "created_at": call.now,
        "certificate_details": {"valid_at": valid_at, "expires_at": expires_at},
    }
    certificate = call.store.add("certificate", ORGANIZATION, body, pem=sent["certificate"])
    log(call, "certificate.created", certificate.id, name=sent.get("name"))
    return body


def retrieve_certificate(call: Call) -> dict[str, Any]:
    certificate = _certificate(call, call.params["certificate_id"])
    wanted = call.query.all("include")
    for name in wanted:
        choice("content")(name, "include")
    details = dict(certificate.body["certificate_details"])
    shown = {**details, "content": certificate.hidden["pem"]} if wanted else details
    return {**certificate.body, "certificate_details": shown}


def modify_certificate(call: Call) -> dict[str, Any]:
    certificate = _certificate(call, call.params["certificate_id"])
    certificate.body.update(call.json(_MODIFY))
    call.store.changed(certificate)
    log(call, "certificate.updated", certificate.id, name=certificate.body["name"])
    return certificate.body


def delete_certificate(call: Call) -> dict[str, Any]:
    certificate = _certificate(call, call.params["certificate_id"])
    if any(active.id == certificate.id for active in call.store.all("active_certificate")):
        raise bad_request(
            "The certificate is active and cannot be deleted.", param="certificate_id"
        )
    call.store.remove(certificate)
    log(call, "certificate.deleted", certificate.id, name=certificate.body["name"])
    return {"object": "certificate.deleted", "id": certificate.id}


def activate(call: Call) -> dict[str, Any]:
    return _toggled(call, on=True)


def deactivate(call: Call) -> dict[str, Any]:
    return _toggled(call, on=False)


def _toggled(call: Call, *, on: bool) -> dict[str, Any]:
    """Activate or deactivate all, or none if one does not exist; idempotent."""
    project, scope = call.scope_project(to_change=True), call.scope_id
    wanted = [_certificate(call, id) for id in call.json(_TOGGLE)["certificate_ids"]]
    for certificate in wanted:
        active = call.store.get("active_certificate", scope, certificate.id)
        if on and active is None:
            call.store.add("active_certificate", scope, {"id": certificate.id})
        elif not on and active is not None:
            call.store.remove(active)
    names = [{"id": certificate.id, "name": certificate.body["name"]} for certificate in wanted]
    word = "activated" if on else "deactivated"
    log(call, f"certificates.{word}", scope, project=project, certificates=names)
    kind = "activation" if on else "deactivation"
    return {
        "object": f"{_what(call)}.{kind}",
        "data": [_in_list(call, certificate) for certificate in wanted],
    }


def _in_list(call: Call, certificate: ObjectRow) -> dict[str, Any]:
    active = call.store.get("active_certificate", call.scope_id, certificate.id) is not None
    return {**certificate.body, "object": _what(call), "active": active}


def _what(call: Call) -> str:
    return (
        "organization.project.certificate"
        if "project_id" in call.params
        else "organization.certificate"
    )


def _certificate(call: Call, id: str) -> ObjectRow:
    certificate = call.store.get("certificate", ORGANIZATION, id)
    if certificate is None:
        raise not_found(f"No certificate found with id '{id}'.", param="certificate_id")
    return certificate


_ALL = "/organization/certificates"
_ONE = f"{_ALL}/{{certificate_id}}"
_OF_PROJECT = "/organization/projects/{project_id}/certificates"
ROUTES = (
    # Fixed paths come before `{id}`, which would match them.
    *(
        Route(method, f"{base}{tail}", handler, Access.ADMIN)
        for base in (_ALL, _OF_PROJECT)
        for method, tail, handler in (
            ("GET", "", list_certificates),
            ("POST", "/activate", activate),
            ("POST", "/deactivate", deactivate),
        )
    ),
    Route("POST", _ALL, upload_certificate, Access.ADMIN),
    Route("GET", _ONE, retrieve_certificate, Access.ADMIN),
    Route("POST", _ONE, modify_certificate, Access.ADMIN),
    Route("DELETE", _ONE, delete_certificate, Access.ADMIN),
)
