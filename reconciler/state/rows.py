"""Converts values of the model to text in columns, and back.

Specs are JSON as `model.values.encode` makes it. So a reference or a local file is restored as one,
and a `Secret` is refused with a TypeError before it reaches the disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.json_codec import read_json
from reconciler.model.kind import OnRemove
from reconciler.model.resource import Record
from reconciler.model.values import decode, encode

_TAG_TEXT = '"$reconciler"'
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

SPEC_COLUMNS = ("applied", "answered", "overwritten", "delivered")


def to_json(value: Any) -> str:
    """JSON text of any value of a spec. Raises TypeError for secrets, StateError for `nan` and
    infinity.
    """
    try:
        return _ENCODER.encode(encode(value))
    except ValueError as error:
        raise StateError(f"a value cannot be stored in the state: {error}") from error


def from_json(text: str) -> Any:
    """The inverse of `to_json`. Raises StateError on text that this version cannot read."""
    # Most columns of most records are empty.
    if text == "{}":
        return {}
    if text == "[]":
        return []
    with readable():
        value = read_json(text)
        # Most values are plain JSON, and walking the specs of ten thousand resources would slow
        # down every plan.
        return decode(value) if _TAG_TEXT in text else value


def all_from_json(texts: Sequence[str]) -> list[Any]:
    """The values of many texts, as `from_json` returns them."""
    with readable():
        # One parse for all: the parser keeps equal keys of maps once, and ten thousand specs have
        # few different ones.
        values: list[Any] = read_json(f"[{','.join(texts)}]")
        # A damaged column such as `1,2` would otherwise shift the values of all rows after it.
        if len(values) != len(texts):
            raise ValueError("a column holds more than one value")
        return [
            decode(value) if _TAG_TEXT in text else value
            for value, text in zip(values, texts, strict=True)
        ]


DAMAGED_HINT = (
    "restore the file from a backup, or move it away: plan and apply "
    "then find objects by their marks and, with --adopt, by their natural keys"
)
"""The hint for a state that cannot be read. Nothing in it is irreplaceable."""


@contextmanager
def readable() -> Iterator[None]:
    """Turn errors about the content of a row into StateError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(
            f"the state contains unreadable data: {error}", hint=DAMAGED_HINT
        ) from error


def plain(text: str) -> str:
    """`text` as a column can hold it: bytes of file names that are no characters become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def record_to_dict(record: Record) -> dict[str, Any]:
    """A record as JSON, all fields present; the inverse is `record_from_dict`."""
    return {
        "address": str(record.address),
        "id": record.id,
        "project_id": record.project_id,
        **{name: encode(getattr(record, name)) for name in SPEC_COLUMNS},
        "prevent_destroy": record.prevent_destroy,
        "on_remove": None if record.on_remove is None else str(record.on_remove),
        "depends_on": [str(address) for address in record.depends_on],
        "deposed": list(record.deposed),
        "marked_later": record.marked_later,
    }


def record_from_dict(data: Mapping[str, Any]) -> Record:
    """A record from its JSON. Raises ValueError, KeyError or TypeError where the data is not one."""
    on_remove = data["on_remove"]
    return Record(
        address=Address.parse(data["address"]),
        id=data["id"],
        project_id=data["project_id"],
        **{name: decode(data[name]) for name in SPEC_COLUMNS},
        prevent_destroy=data["prevent_destroy"],
        on_remove=None if on_remove is None else OnRemove(on_remove),
        depends_on=tuple(Address.parse(text) for text in data["depends_on"]),
        deposed=tuple(data["deposed"]),
        # Exports before version 3 lack it.
        marked_later=data.get("marked_later", False),
    )
