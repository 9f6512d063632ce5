"""Values of a spec survive the way through JSON, and secrets do not enter it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from reconciler.errors import StateError
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.model.secret import Secret
from reconciler.model.values import decode, encode
from reconciler.state.rows import from_json, record_from_dict, record_to_dict, to_json
from tests.state.strategies import records, values


@given(values)
def test_a_value_survives_a_round_trip_through_json(value: Any) -> None:
    assert decode(json.loads(json.dumps(encode(value)))) == value


@given(values)
def test_a_value_survives_a_round_trip_through_a_column(value: Any) -> None:
    assert from_json(to_json(value)) == value


@settings(max_examples=30)
@given(records)
def test_a_record_survives_a_round_trip_through_json(record: Record) -> None:
    assert record_from_dict(json.loads(json.dumps(record_to_dict(record)))) == record


def test_every_field_of_a_record_is_part_of_its_json() -> None:
    written = record_to_dict(Record(Address.parse("Project/search"), "proj_1"))
    assert set(written) == set(Record.__struct_fields__)


@pytest.mark.parametrize("value", [Secret("sk-hidden"), {"a": [Secret("sk-hidden")]}])
def test_a_secret_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="Secret cannot be part"):
        to_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(StateError, match="cannot be stored"):
        to_json({"temperature": value})


@pytest.mark.parametrize(
    "text", ["{", '{"$reconciler":"moon"}', '{"$reconciler":"reference","address":"x","path":[]}']
)
def test_text_that_cannot_be_read_says_what_to_do(text: str) -> None:
    with pytest.raises(StateError, match="unreadable") as caught:
        from_json(text)
    assert "restore" in caught.value.hint
