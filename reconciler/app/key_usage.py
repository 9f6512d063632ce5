"""Finds the resource that delivered each key in use, which guards keep and deletions leave for last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from reconciler.engine.plan.guard import KeyInUse
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration
from reconciler.manifests.configuration import Credential
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.model.secret import Secret
from reconciler.model.sinks import receipts_in, targets_of
from reconciler.model.types import KeySinkType
from reconciler.secrets import digests


def keys_in_use(
    configuration: Configuration,
    records: Mapping[Address, Record],
) -> dict[str, KeyInUse]:
    """The key of each project, where a resource of this stack delivers it; "" is the default scope.

    Recorded resources count too: their keys are in use until they are deleted. A key from a
    variable is recognized by the digest of its delivery, wherever it was copied since.
    """
    credentials = configuration.stack.credentials
    addresses = {*records, *(resource.address for resource in configuration.resources)}
    projects = {"", *credentials.projects, *(address.project or "" for address in addresses)}
    known, to_come = list(_delivered(records)), list(_to_come(configuration))
    opening = _opening(to_come, known)
    keys: dict[int, _Delivery | None] = {}  # by credential, which most projects share
    in_use = {}
    for project in sorted(projects):
        credential = credentials.for_project(project or None)
        if credential is None:
            continue
        if id(credential) not in keys:
            # Delivered keys first: until the apply, the old key is the one in use.
            of_credential = (key for key in (*known, *to_come) if _is_of(credential, key))
            keys[id(credential)] = next(of_credential, None)
        key = keys[id(credential)]
        if key is None and credential.is_unset:
            # Of an unset credential that projects share, each project gets the key of its own.
            key = opening.get(project)
        if key is not None:
            in_use[project] = KeyInUse(
                key.writer,
                key.field,
                credential.source,
                is_read_again=credential.file is not None or credential.from_sink is not None,
                is_delivered=key in known and not credential.is_unset,
            )
    return in_use


class _Delivery(Struct, frozen=True):
    """A key of a resource, with the receipt of its delivery or, before that, its target."""

    writer: Address
    field: str
    receipt: Mapping[str, Any]


def _delivered(records: Mapping[Address, Record]) -> Iterator[_Delivery]:
    for address, record in records.items():
        for name in _key_fields(address.kind):
            entry = record.delivered.get(name)
            for receipt in receipts_in(entry):
                yield _Delivery(address, name, receipt)


def _to_come(configuration: Configuration) -> Iterator[_Delivery]:
    for resource in configuration.resources:
        for name in _key_fields(resource.address.kind):
            value = resource.spec.get(name)
            write_to = value.get("write_to") if isinstance(value, Mapping) else None
            for target in targets_of(write_to):
                yield _Delivery(resource.address, name, target)


@cache
def _key_fields(name: str) -> list[str]:
    kind = KINDS.get(name)
    if kind:
        return [field.name for field in kind.own_calls if isinstance(field.type, KeySinkType)]
    return []


def _opening(*deliveries: Iterable[_Delivery]) -> Mapping[str, _Delivery]:
    """The delivery that fills an unset variable: the first service-account key of each project."""
    first: dict[str, _Delivery] = {}
    for keys in deliveries:
        ordered = sorted(keys, key=lambda key: key.writer.sort_key)
        for key in filter(_opens_its_project, ordered):
            first.setdefault(key.writer.project or "", key)
    return first


def _opens_its_project(key: _Delivery) -> bool:
    kind = KINDS.get(key.writer.kind)
    if kind is None or kind.is_shown_once:
        return False
    return isinstance(kind.by_name[key.field].type, KeySinkType)


def _is_of(credential: Credential, key: _Delivery) -> bool:
    if credential.from_sink is not None:
        return key.writer == credential.from_sink
    if credential.file is not None:
        return key.receipt.get("file") == credential.file
    if credential.secret is None:
        return False
    return _is_digest(key.receipt.get("digest"), credential.secret)


def _is_digest(known: object, secret: Secret) -> bool:
    # With the newline with which a key is delivered to a file.
    return isinstance(known, str) and digests.matches(secret.reveal().encode() + b"\n", known)
