"""Drafts with addresses: references in place of ids, and comments for the reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.export.resource import ExportedResource
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.model.types import KeySinkType
from reconciler.model.values import Reference
from reconciler.terraform.drafted import Drafted


def resource_of(
    drafted: Drafted,
    address: Address,
    kind: Kind,
    by_id: Mapping[str, Address],
    emails: Mapping[str, str],
) -> ExportedResource:
    """The resource of a draft. `by_id` has the addresses of objects, `emails` those of users."""
    spec = dict(_with_references(drafted.draft.spec, by_id, address))
    comments = dict(drafted.draft.comments)
    # Ids of users say nothing to a reader.
    user_id = spec.get("user_id")
    if isinstance(user_id, str) and user_id in emails:
        comments["user_id"] = emails[user_id]
    for declared in kind.fields:
        if isinstance(declared.type, KeySinkType) and declared.required:
            spec[declared.name] = {"write_to": {"file": f"secrets/{address.name}.key"}}
            comments[declared.name] = "Where a new key goes: the present one was never delivered."
    # The comment names the location of the key, and never contains the key.
    if any(drafted.instance.attributes.get(key) for key, _ in drafted.mapping.keys):
        advice = _advice(drafted, address, kind)
        comments[""] = "\n".join(filter(None, (comments.get("", ""), advice)))
    return ExportedResource(
        address=address,
        id=drafted.id,
        spec=spec,
        project_id=drafted.project_id,
        comments=comments,
    )


def _advice(drafted: Drafted, address: Address, kind: Kind) -> str:
    """How to rotate a key that the state holds."""
    if kind.is_shown_once:
        return (
            "Terraform's state holds this key in clear text. To rotate it, replace it: a new key "
            f"goes to the file below.\nreconciler apply --replace {address}"
        )
    key_ids = [drafted.instance.attributes.get(id) for _, id in drafted.mapping.keys]
    return (
        "Terraform's state holds the key of this account in clear text. To rotate it, add "
        "`key: {write_to: {file: secrets/NAME.key}}`, apply, give the new key to its users, and "
        f"delete the old key.\nThe old key: {next(filter(None, key_ids), 'unknown')}"
    )


def _with_references(value: Any, by_id: Mapping[str, Address], own: Address) -> Any:
    if isinstance(value, str):
        target = by_id.get(value)
        return value if target is None or target == own else Reference(target)
    if isinstance(value, Mapping):
        return {key: _with_references(part, by_id, own) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_references(part, by_id, own) for part in value]
    return value
