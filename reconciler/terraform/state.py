"""Reads a state: the file of version 4, or the output of `terraform show -json`.

Both become a `TerraformState`. `show -json` of a saved plan says in addition which attributes the
configuration sets, which no state does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field

from reconciler.errors import UsageError

STATE_VERSION = 4
PULL_HINT = "Run `terraform state pull` (or `tofu state pull`), and pass its output."

_PROVIDER = re.compile(r'\["([^"]+)"\]')
_STEP = re.compile(r'module\.([^.\[]+)(?:\[(?:"((?:[^"\\]|\\.)*)"|(\d+))\])?(?:\.|$)')

IndexKey = str | int | None
"""The key of an instance: text for `for_each`, a number for `count`, None for neither."""


class ModuleStep(Struct, frozen=True):
    """One call on the path to a module."""

    name: str
    key: IndexKey = None


class TerraformInstance(Struct, frozen=True):
    """One instance of a resource."""

    type: str
    name: str
    provider: str
    """Namespace and type of the provider, as in `openai/openai`."""
    attributes: Mapping[str, Any]
    key: IndexKey = None
    module: tuple[ModuleStep, ...] = ()
    schema_version: int = 0
    is_tainted: bool = False
    is_deposed: bool = False

    @property
    def address(self) -> str:
        """The address in Terraform: `module.team["a"].openai_project.p[0]`."""
        return self.resource_address + _bracket(self.key)

    @property
    def resource_address(self) -> str:
        """The address of the resource, without the key of the instance."""
        steps = [f"module.{step.name}{_bracket(step.key)}" for step in self.module]
        return ".".join((*steps, self.type, self.name))

    @property
    def configuration_address(self) -> str:
        """The address without any key, as in the configuration and in `removed` blocks."""
        steps = [f"module.{step.name}" for step in self.module]
        return ".".join((*steps, self.type, self.name))


class TerraformState(Struct, frozen=True):
    """The contents of a state: the resources of all providers."""

    instances: tuple[TerraformInstance, ...]
    data: tuple[TerraformInstance, ...] = ()
    """The results of data sources, which name objects that Terraform does not manage."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    configured: Mapping[str, frozenset[str]] | None = None
    """The attributes that the configuration sets, by configuration address; None if unknown."""


def parse_state(content: bytes, name: str) -> TerraformState:
    """Read a state; `name` is what messages call the file.

    Raises UsageError for anything but a state of version 4 and the output of `show -json`.
    """
    document = _document(content, name)
    if "encrypted_data" in document:
        raise UsageError(
            f"{name} is a state that OpenTofu encrypted",
            hint="Run `tofu state pull` where the key is configured, and pass its output.",
        )
    if "format_version" in document:
        return _shown_state(document, name)
    version = document.get("version")
    if "serial" not in document and "resources" not in document and "modules" not in document:
        raise _not_a_state(name)
    if version != STATE_VERSION:
        raise UsageError(
            f"{name} is a Terraform state of version {version}, and only version "
            f"{STATE_VERSION} is supported",
            hint="Run `terraform apply -refresh-only` with Terraform 0.13 or later, which writes "
            "the state in the newer version, and pass the result of `terraform state pull`.",
        )
    return _stored_state(document, name)


def _document(content: bytes, name: str) -> Mapping[str, Any]:
    if content.startswith(b"PK\x03\x04"):  # a saved plan is a ZIP archive
        raise UsageError(
            f"{name} is a saved Terraform plan",
            hint="Pass the output of `terraform show -json FILE` instead.",
        )
    if not content.strip():
        raise UsageError(f"{name} is empty", hint=PULL_HINT)
    try:
        # PowerShell writes a byte order mark into the file of a redirected output.
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _not_a_state(name) from None
    if not isinstance(document, dict):
        raise _not_a_state(name)
    return document


def _not_a_state(name: str) -> UsageError:
    return UsageError(f"{name} is not a Terraform state", hint=PULL_HINT)


def _bracket(key: IndexKey) -> str:
    if key is None:
        return ""
    quoted = json.dumps(key, ensure_ascii=False)
    # Addresses quote texts as the configuration does, where these begin a template.
    return f"[{quoted.replace('${', '$${').replace('%{', '%%{')}]"


def _damaged(name: str, problem: str) -> UsageError:
    return UsageError(f"{name} is damaged: {problem}", hint=PULL_HINT)


# --- the file of a state


def _stored_state(document: Mapping[str, Any], name: str) -> TerraformState:
    managed: list[TerraformInstance] = []
    data: list[TerraformInstance] = []
    for resource in _list_of_maps(document.get("resources"), "resources", name):
        module = _module_path(str(resource.get("module") or ""), name)
        target = managed if resource.get("mode") == "managed" else data
        target.extend(_stored_instances(resource, module, name))
    return TerraformState(
        instances=tuple(managed),
        data=tuple(data),
        outputs=_output_values(_map(document.get("outputs"))),
    )


def _stored_instances(
    resource: Mapping[str, Any], module: tuple[ModuleStep, ...], name: str
) -> Iterator[TerraformInstance]:
    type_, label = resource.get("type"), resource.get("name")
    if not isinstance(type_, str) or not isinstance(label, str):
        raise _damaged(name, "a resource has no type or no name")
    provider = _provider_name(str(resource.get("provider") or ""))
    place = f"the instances of {type_}.{label}"
    for stored in _list_of_maps(resource.get("instances"), place, name):
        yield TerraformInstance(
            type=type_,
            name=label,
            provider=provider,
            attributes=_map(stored.get("attributes")),
            key=_index_key(stored.get("index_key")),
            module=module,
            schema_version=_number(stored.get("schema_version")),
            is_tainted=stored.get("status") == "tainted",
            is_deposed=bool(stored.get("deposed")),
        )


def _provider_name(text: str) -> str:
    """`openai/openai` of `provider["registry.terraform.io/openai/openai"].alias`."""
    match = _PROVIDER.search(text)
    source = match[1] if match else text.removeprefix("provider.")
    # Without the host, because OpenTofu and mirrors have another one.
    return "/".join(source.split("/")[-2:])


def _module_path(text: str, name: str) -> tuple[ModuleStep, ...]:
    steps: list[ModuleStep] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise _damaged(name, f'"{text}" is no address of a module')
        label, quoted, number = match.groups()
        key: IndexKey = None
        if number is not None:
            key = int(number)
        elif quoted is not None:
            # The inverse of `_bracket`.
            key = str(json.loads(f'"{quoted}"')).replace("$${", "${").replace("%%{", "%{")
        steps.append(ModuleStep(label, key))
        position = match.end()
    return tuple(steps)


# --- the output of `show -json`


def _shown_state(document: Mapping[str, Any], name: str) -> TerraformState:
    # A plan has the state that it was made from, and the configuration.
    prior = document.get("prior_state")
    shown = prior if isinstance(prior, dict) else document
    values = shown.get("values")
    if "values" not in shown and "planned_values" in document:
        raise UsageError(
            f"{name} is a plan without a state: nothing was applied yet",
            hint=PULL_HINT,
        )
    values = _map(values)
    managed: list[TerraformInstance] = []
    data: list[TerraformInstance] = []
    for resource, module in _shown_resources(values.get("root_module"), name):
        target = managed if resource.get("mode") == "managed" else data
        target.append(_shown_instance(resource, module, name))
    configured = None
    if isinstance(document.get("configuration"), dict):
        root = document["configuration"].get("root_module")
        configured = dict(_configured(_map(root), ""))
    return TerraformState(
        instances=tuple(managed),
        data=tuple(data),
        outputs=_output_values(_map(values.get("outputs"))),
        configured=configured,
    )


def _shown_resources(
    module: Any, name: str
) -> Iterator[tuple[Mapping[str, Any], tuple[ModuleStep, ...]]]:
    if not isinstance(module, dict):
        return
    path = _module_path(str(module.get("address") or ""), name)
    for resource in _list_of_maps(module.get("resources"), "resources", name):
        yield resource, path
    for child in _list_of_maps(module.get("child_modules"), "child_modules", name):
        yield from _shown_resources(child, name)


def _shown_instance(
    resource: Mapping[str, Any], module: tuple[ModuleStep, ...], name: str
) -> TerraformInstance:
    type_, label = resource.get("type"), resource.get("name")
    if not isinstance(type_, str) or not isinstance(label, str):
        raise _damaged(name, "a resource has no type or no name")
    source = str(resource.get("provider_name") or "")
    return TerraformInstance(
        type=type_,
        name=label,
        provider="/".join(source.split("/")[-2:]),
        attributes=_map(resource.get("values")),
        key=_index_key(resource.get("index")),
        module=module,
        schema_version=_number(resource.get("schema_version")),
        is_tainted=resource.get("tainted") is True,
        is_deposed=bool(resource.get("deposed_key")),
    )


def _configured(module: Mapping[str, Any], path: str) -> Iterator[tuple[str, frozenset[str]]]:
    resources = module.get("resources")
    if not isinstance(resources, list):
        resources = []
    for resource in map(_map, resources):
        if resource.get("mode") == "managed":
            address = f"{path}{resource.get('type')}.{resource.get('name')}"
            yield address, frozenset(_set_attributes(resource.get("expressions")))
    for label, call in _map(module.get("module_calls")).items():
        called = _map(_map(call).get("module"))
        yield from _configured(called, f"{path}module.{label}.")


def _set_attributes(expressions: Any) -> Iterator[str]:
    for name, expression in _map(expressions).items():
        # An attribute that is set to null is not set.
        is_null = _map(expression).get("constant_value", 0) is None
        if not is_null:
            yield str(name)


# --- values


def _list_of_maps(value: Any, subject: str, name: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise _damaged(name, f"{subject} is not a list of objects")
    return value


def _map(value: Any) -> Mapping[str, Any]:
    """A map, or an empty one for a missing or edited value."""
    return value if isinstance(value, dict) else {}


def _index_key(value: Any) -> IndexKey:
    # JSON has one type of number, and some tools write 0 as 0.0.
    if isinstance(value, float):
        return int(value)
    return value if isinstance(value, str | int) else None


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _output_values(outputs: Mapping[str, Any]) -> dict[str, Any]:
    values = {}
    for name, output in outputs.items():
        values[name] = output.get("value") if isinstance(output, dict) else output
    return values
