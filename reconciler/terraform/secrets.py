"""Finds API keys that a state holds in clear text. Reports their locations, never their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.model.secret import Secret
from reconciler.terraform.providers import PROVIDERS
from reconciler.terraform.state import TerraformInstance, TerraformState

_KEY = re.compile(r"(?<![A-Za-z0-9])sk-(?=[A-Za-z0-9_-]*[0-9])[A-Za-z0-9_-]{16,}")


class ClearKey(Struct, frozen=True):
    """A key in clear text."""

    place: str
    """The address of the resource with the attribute, or the output."""
    key_id: str = ""
    """The API's id of the key; empty if the state does not say."""
    address: str = ""
    """The address here of the account or key; empty if it was not carried over."""


def holds_key(value: Any) -> bool:
    """Whether any text in a value contains what looks like an API key."""
    return any(_KEY.search(text) for _, text in _texts(value, ""))


def keys_elsewhere(state: TerraformState, known: Iterable[str]) -> Iterator[ClearKey]:
    """Keys in places other than those that the providers are known to write to."""
    seen = set(known)
    for instance in (*state.instances, *state.data):
        for place in _places(instance):
            if place not in seen:
                seen.add(place)
                yield ClearKey(place)
    for name, value in state.outputs.items():
        if holds_key(value):
            yield ClearKey(f"output.{name}")


def key_values(state: TerraformState) -> Iterator[Secret]:
    """Every key in a state, so that no message ever shows one."""
    for instance in (*state.instances, *state.data):
        for _, text in _texts(instance.attributes, ""):
            yield from map(Secret, _KEY.findall(text))
        for attribute, _ in key_attributes(instance):
            value = instance.attributes.get(attribute)
            if isinstance(value, str):
                yield Secret(value)


def key_attributes(instance: TerraformInstance) -> Sequence[tuple[str, str]]:
    """The attributes of an instance that hold a key, each with the attribute of the key's id."""
    provider = PROVIDERS.get(instance.provider)
    mapping = provider.types.get(instance.type) if provider is not None else None
    return mapping.keys if mapping is not None else ()


def _places(instance: TerraformInstance) -> Iterator[str]:
    for path, text in _texts(instance.attributes, instance.address):
        if _KEY.search(text):
            yield path


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        if "sk-" in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _texts(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _texts(part, f"{path}[{index}]")
