"""What is read as a Terraform state, and what is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.errors import UsageError
from reconciler.terraform.state import TerraformState, parse_state
from tests.terraform.states import keyed, resource, state

PROJECT = {"id": "proj_1", "name": "Search"}


def parse(document: Any) -> TerraformState:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_state(content, "it.tfstate")


def addresses(document: Any) -> list[str]:
    return [instance.address for instance in parse(document).instances]


REFUSED: dict[str, tuple[Any, str]] = {
    "encrypted": (
        {"serial": 1, "lineage": "x", "meta": {}, "encrypted_data": "abc=", "encryption_version": "v0"},
        "it.tfstate is a state that OpenTofu encrypted",
    ),
    "version 3": (
        {"version": 3, "serial": 1, "lineage": "x", "modules": []},
        "it.tfstate is a Terraform state of version 3, and only version 4 is supported",
    ),
    "a later version": ({"version": 5, "serial": 1, "resources": []}, "of version 5"),
    "other JSON": ({"hello": "world"}, "it.tfstate is not a Terraform state"),
    "a list": ([], "it.tfstate is not a Terraform state"),
    "text": (b"# openai_project.p:\nresource {}", "it.tfstate is not a Terraform state"),
    "nothing": (b" \n", "it.tfstate is empty"),
    "a saved plan": (b"PK\x03\x04\x14\x00", "it.tfstate is a saved Terraform plan"),
    "a plan without a state": (
        {"format_version": "1.2", "planned_values": {}, "configuration": {}},
        "it.tfstate is a plan without a state",
    ),
    "resources that are no list": ({"version": 4, "serial": 1, "resources": {}}, "is damaged"),
    "a module that is none": (
        state(resource("openai/openai", "openai_project", "p", PROJECT, module="x.y")),
        '"x.y" is no address of a module',
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_state_is_refused_with_a_sentence(what: str) -> None:
    document, sentence = REFUSED[what]
    with pytest.raises(UsageError) as refused:
        parse(document)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.hint


def test_a_refused_state_is_not_quoted() -> None:
    with pytest.raises(UsageError) as refused:
        parse(b'{"api_key": "sk-admin-0123456789abcdef0123", ')
    assert "sk-admin" not in str(refused.value) + refused.value.hint


def test_instances_have_the_addresses_that_terraform_gives_them() -> None:
    document = state(
        resource("openai/openai", "openai_project", "p", keyed("a b", **PROJECT), keyed(0)),
        resource("openai/openai", "openai_project", "q", PROJECT, module='module.t["x.y"].module.u[1]'),
    )  # fmt: skip
    assert addresses(document) == [
        'openai_project.p["a b"]',
        "openai_project.p[0]",
        'module.t["x.y"].module.u[1].openai_project.q',
    ]


def test_keys_are_quoted_as_in_a_configuration() -> None:
    module = r'module.t["a$${b}\"%%{c"]'
    document = state(resource("openai/openai", "openai_group", "g", keyed("${x}"), module=module))
    (instance,) = parse(document).instances
    assert instance.module[0].key == 'a${b}"%{c'
    assert instance.address == module + '.openai_group.g["$${x}"]'


def test_the_configuration_address_has_no_keys() -> None:
    document = state(
        resource("openai/openai", "openai_project", "q", keyed("k"), module='module.t["]."]')
    )
    (instance,) = parse(document).instances
    assert instance.configuration_address == "module.t.openai_project.q"


@pytest.mark.parametrize(
    "provider",
    [
        'provider["registry.terraform.io/openai/openai"]',
        'provider["registry.opentofu.org/openai/openai"].second',
        'module.x.provider["registry.terraform.io/openai/openai"]',
        'module.x.provider["mirror.example.com/openai/openai"].second',
    ],
)
def test_a_provider_is_known_by_namespace_and_type_alone(provider: str) -> None:
    document = state({**resource("", "openai_project", "p", PROJECT), "provider": provider})
    assert [instance.provider for instance in parse(document).instances] == ["openai/openai"]


def test_data_sources_are_no_resources() -> None:
    document = state(resource("openai/openai", "openai_project", "p", PROJECT, mode="data"))
    assert parse(document).instances == ()
    assert [instance.address for instance in parse(document).data] == ["openai_project.p"]


def shown(module: dict[str, Any]) -> dict[str, Any]:
    return {"format_version": "1.0", "terraform_version": "1.9", "values": {"root_module": module}}


def test_the_output_of_show_json_says_the_same_as_the_state() -> None:
    stored = state(
        resource("jianyuan/openai", "openai_project", "p", keyed("a", **PROJECT)),
        resource("jianyuan/openai", "openai_group", "g", {"id": "group_1"}, module='module.m["k"]'),
    )
    source = "registry.opentofu.org/jianyuan/openai"
    printed = shown(
        {
            "resources": [
                {"address": 'openai_project.p["a"]', "mode": "managed", "type": "openai_project",
                 "name": "p", "index": "a", "provider_name": source, "schema_version": 0,
                 "values": PROJECT, "sensitive_values": {}},
            ],
            "child_modules": [
                {"address": 'module.m["k"]', "resources": [
                    {"mode": "managed", "type": "openai_group", "name": "g",
                     "provider_name": source, "schema_version": 0, "values": {"id": "group_1"}},
                ]},
            ],
        }
    )  # fmt: skip
    assert parse(printed).instances == parse(stored).instances


def test_show_json_of_an_empty_state_has_no_instances() -> None:
    assert parse({"format_version": "1.0"}).instances == ()


def test_a_shown_plan_says_which_attributes_the_configuration_sets() -> None:
    inner = {
        "resources": [
            {"mode": "managed", "type": "openai_project_rate_limit", "name": "r",
             "expressions": {"project_id": {"references": ["x"]}, "max_requests_per_1_day": {},
                             "max_tokens_per_1_minute": {"constant_value": None}}},
        ]
    }  # fmt: skip
    plan = {
        "format_version": "1.2",
        "prior_state": shown({}),
        "configuration": {"root_module": {"module_calls": {"m": {"module": inner}}}},
    }
    assert parse(plan).configured == {
        "module.m.openai_project_rate_limit.r": {"project_id", "max_requests_per_1_day"}
    }


def test_a_state_with_a_byte_order_mark_is_read() -> None:
    assert parse(b"\xef\xbb\xbf" + json.dumps(state()).encode()).instances == ()
