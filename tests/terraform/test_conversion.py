"""From instances to resources: names, references, and what is left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.export.files import FileLayout, files_of
from reconciler.export.resource import ExportedResource
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.values import encode
from reconciler.terraform.addressing import ExistingResources
from reconciler.terraform.conversion import Conversion, convert
from reconciler.terraform.documents import documents_of
from reconciler.terraform.providers import PROVIDERS
from reconciler.terraform.secrets import key_values
from reconciler.terraform.state import parse_state
from tests.terraform.states import JIANYUAN, MKDEV, OPENAI, keyed, resource, state

KEY = "sk-svcacct-0123456789abcdefghij"
FRONTIER = {
    "max_requests_per_1_minute": 10_000,
    "max_tokens_per_1_minute": 2_000_000,
    "max_images_per_1_minute": None,
    "max_audio_megabytes_per_1_minute": None,
    "max_requests_per_1_day": None,
    "batch_1_day_max_input_tokens": 200_000_000,
}


NOTHING = ExistingResources()


def converted(
    *resources: dict[str, Any], known: ExistingResources = NOTHING, **more: Any
) -> Conversion:
    content = json.dumps(state(*resources, **more)).encode()
    return convert(parse_state(content, "it.tfstate"), KINDS, known)


def project(name: str = "p", id: str = "proj_1", **more: Any) -> dict[str, Any]:
    attributes = {"id": id, "name": "Search", "status": "active", **more}
    return resource(OPENAI, "openai_project", name, attributes)


def names(conversion: Conversion) -> list[str]:
    return [str(resource.address) for resource in conversion.resources]


def resource_at(conversion: Conversion, address: str) -> ExportedResource:
    by_address = {str(resource.address): resource for resource in conversion.resources}
    return by_address[address]


def spec(conversion: Conversion, address: str) -> Any:
    return encode(resource_at(conversion, address).spec)


def comment(conversion: Conversion, address: str) -> str:
    return resource_at(conversion, address).comments.get("", "")


def ids(conversion: Conversion) -> dict[str, str]:
    return {str(resource.address): resource.id for resource in conversion.resources}


def reasons(conversion: Conversion) -> dict[str, str]:
    return {entry.instance.address: entry.reason for entry in conversion.left_out}


# --- the tables


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_kind_in_a_table_exists(provider: str) -> None:
    named = {kind for mapping in PROVIDERS[provider].types.values() for kind in mapping.kinds}
    assert named <= KINDS.keys()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_field_in_a_table_exists(provider: str) -> None:
    unknown = [
        (type, take.field)
        for type, mapping in PROVIDERS[provider].types.items()
        for take in mapping.takes
        if take.field not in KINDS[mapping.kinds[0]].by_name
    ]
    assert unknown == []


# --- names


def test_a_name_is_that_of_the_resource_with_its_key() -> None:
    accounts = [
        keyed(key, id=f"svc_acct_{key}", name="x", project_id="proj_1") for key in ("Añb", "c d")
    ]
    made = converted(project(), resource(OPENAI, "openai_project_service_account", "sa", *accounts))
    assert names(made) == ["Project/p", "ServiceAccount/p/sa-anb", "ServiceAccount/p/sa-c-d"]


def test_the_key_of_the_only_instance_of_a_count_is_left_out() -> None:
    made = converted(resource(OPENAI, "openai_group", "g", keyed(0, id="group_1", name="Support")))
    assert names(made) == ["Group/g"]


def test_names_that_say_nothing_give_way_to_key_and_module() -> None:
    made = converted(
        resource(OPENAI, "openai_group", "this", keyed("ops", id="group_1", name="Ops")),
        resource(OPENAI, "openai_group", "this", {"id": "group_2", "name": "B"}, module="module.b"),
    )
    assert names(made) == ["Group/b", "Group/ops"]


def test_the_same_name_in_two_modules_takes_the_module_along() -> None:
    made = converted(
        *(
            resource(OPENAI, "openai_group", "g", {"id": f"group_{key}", "name": "G"},
                     module=f'module.team["{key}"]')
            for key in ("a", "b")
        )
    )  # fmt: skip
    assert names(made) == ["Group/g-team-a", "Group/g-team-b"]


def test_names_do_not_depend_on_the_order_of_the_state() -> None:
    groups = [
        resource(OPENAI, "openai_group", name, {"id": f"group_{number}", "name": "G"})
        for number, name in enumerate(("a_b", "a-b", "A.b"))
    ]
    assert ids(converted(*groups)) == ids(converted(*reversed(groups)))


def test_an_object_that_two_resources_manage_is_declared_once() -> None:
    made = converted(project("a"), project("b"))
    assert names(made) == ["Project/a"]
    assert "openai_project.b and openai_project.a are the same object" in made.notes[0]


def test_an_object_keeps_the_address_that_it_is_bound_to() -> None:
    bound = {("Group", None, "group_1"): Address("Group", "operators")}
    made = converted(
        resource(OPENAI, "openai_group", "g", {"id": "group_1", "name": "Ops"}),
        known=ExistingResources(bound=bound),
    )
    assert names(made) == ["Group/operators"]


# --- references and projects


def test_ids_of_the_same_state_become_references() -> None:
    made = converted(
        resource(OPENAI, "openai_group", "g", {"id": "group_1", "name": "G"}),
        resource(OPENAI, "openai_group_user", "m", {"group_id": "group_1", "user_id": "user-1"}),
    )
    assert spec(made, "GroupMember/m") == {
        "group_id": {"$reconciler": "reference", "address": "Group/g", "path": []},
        "user_id": "user-1",
    }
    assert ids(made)["GroupMember/m"] == "group_1/user-1"


def test_a_user_of_the_same_state_becomes_a_reference() -> None:
    ada = {"id": "user-1", "user_id": "user-1", "email": "ada@example.com", "role": "owner"}
    made = converted(
        resource(OPENAI, "openai_organization_user", "ada", ada),
        resource(OPENAI, "openai_user_role", "r", {"user_id": "user-1", "role_id": "role_1"}),
    )
    user_id = spec(made, "RoleAssignment/r")["user_id"]
    assert user_id == {"$reconciler": "reference", "address": "User/ada", "path": []}


def test_a_user_outside_the_state_is_explained_by_the_address() -> None:
    members = {"user_id": "user-1", "email": "ada@example.com", "role": "member"}
    made = converted(
        project(), resource(OPENAI, "openai_project_user", "u", {**members, "project_id": "proj_1"})
    )
    assert "  # ada@example.com\n  user_id: user-1\n" in files(made)


def test_a_project_outside_the_state_is_named_for_the_stack() -> None:
    made = converted(
        resource(OPENAI, "openai_project_service_account", "sa",
                 {"id": "svc_acct_1", "name": "x", "project_id": "proj_9"}),
        resource(OPENAI, "openai_project", "d", {"id": "proj_9", "name": "Legacy Ä"}, mode="data"),
    )  # fmt: skip
    assert made.projects == {"legacy-ae": "proj_9"}
    assert names(made) == ["ServiceAccount/legacy-ae/sa"]


def test_a_project_that_the_stack_names_keeps_that_name() -> None:
    made = converted(
        resource(OPENAI, "openai_project_service_account", "sa",
                 {"id": "svc_acct_1", "name": "x", "project_id": "proj_9"}),
        known=ExistingResources(projects={"old": "proj_9"}),
    )  # fmt: skip
    assert (made.projects, names(made)) == ({}, ["ServiceAccount/old/sa"])


def test_a_project_that_the_stack_does_not_manage_is_left_to_terraform() -> None:
    made = converted(
        project(),
        resource(OPENAI, "openai_project_service_account", "sa",
                 {"id": "svc_acct_1", "name": "x", "project_id": "proj_1"}),
        known=ExistingResources(projects={"old": "proj_1"}),
    )  # fmt: skip
    assert names(made) == ["ServiceAccount/old/sa"]
    assert "`projects` in the stack file names it" in reasons(made)["openai_project.p"]


def test_a_role_assignment_has_the_short_id_of_a_predefined_role() -> None:
    long = "role-api-project-viewer__api-project__proj_1"
    made = converted(
        project(),
        resource(OPENAI, "openai_project_user_role", "r",
                 {"project_id": "proj_1", "user_id": "user-1", "role_id": long}),
    )  # fmt: skip
    assert ids(made)["RoleAssignment/p/r"] == "user_id=user-1/role-api-project-viewer"
    assert spec(made, "RoleAssignment/p/r")["role_id"] == "role-api-project-viewer"


def test_the_organization_in_the_id_of_a_role_is_noticed() -> None:
    made = converted(
        resource(OPENAI, "openai_user_role", "r",
                 {"user_id": "user-1",
                  "role_id": "role-api-organization-owner__api-organization__org-acme"}),
    )  # fmt: skip
    assert made.organizations == {"org-acme"}


# --- what is left out


def test_other_providers_are_counted() -> None:
    made = converted(
        resource("hashicorp/random", "random_pet", "a", keyed(0), keyed(1)),
        resource("hashicorp/aws", "aws_s3_bucket", "b", {"id": "x"}),
    )
    assert made.other_providers == {"hashicorp/aws": 1, "hashicorp/random": 2}
    assert made.resources == ()


def test_types_are_looked_up_by_provider() -> None:
    attributes = {"id": "role_1", "name": "Reader", "permissions": []}
    made = converted(
        resource(JIANYUAN, "openai_organization_role", "a", attributes),
        resource(OPENAI, "openai_organization_role", "b", attributes),
    )
    assert names(made) == ["Role/a"]
    assert "openai_organization_role.b" in reasons(made)


LEFT_OUT: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "an archived project": (
        OPENAI, "openai_project", {"id": "proj_1", "name": "x", "status": "archived"}, "archived"),
    "an expired invitation": (
        JIANYUAN, "openai_invite",
        {"id": "invite-1", "email": "a@example.com", "role": "reader", "status": "expired"},
        "expired"),
    "a user without an address": (
        JIANYUAN, "openai_user_role", {"user_id": "user-1", "role": "owner"}, "e-mail"),
    "a file": (MKDEV, "openai_file", {"id": "file-1", "file": "a.md", "purpose": "batch"}, "a.md"),
    "a call": (MKDEV, "openai_chat_completion", {"id": "chatcmpl-1"}, "one call"),
    "a group without a role": (
        MKDEV, "openai_project_group",
        {"id": "proj_1:group_1", "project_id": "proj_1", "group_id": "group_1", "role_ids": []},
        "no role"),
    "a predefined role": (
        MKDEV, "openai_organization_role",
        {"id": "role_1", "name": "owner", "permissions": [], "predefined_role": True},
        "predefined"),
    "an attachment alone": (
        MKDEV, "openai_vector_store_file",
        {"id": "file-1", "vector_store_id": "vs_1", "file_id": "file-1"}, "vector store"),
    "a private key": (
        OPENAI, "openai_certificate",
        {"id": "cert_1", "certificate": "-----BEGIN PRIVATE KEY-----"}, "private key"),
    "a key in a name": (OPENAI, "openai_group", {"id": "group_1", "name": KEY}, "API key"),
    "an instance without an id": (OPENAI, "openai_group", {"name": "x"}, "no id of it"),
}  # fmt: skip


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_cannot_be_declared_is_listed_with_a_reason(what: str) -> None:
    provider, type, attributes, reason = LEFT_OUT[what]
    made = converted(resource(provider, type, "it", attributes))
    assert made.resources == ()
    assert reason in reasons(made)[f"{type}.it"]


def test_what_lies_in_an_archived_project_is_left_out_with_it() -> None:
    made = converted(
        project(status="archived"),
        resource(OPENAI, "openai_project_service_account", "sa",
                 {"id": "svc_acct_1", "name": "x", "project_id": "proj_1"}),
    )  # fmt: skip
    assert reasons(made)["openai_project_service_account.sa"] == "its project is archived"


def test_a_deposed_object_is_left_out_and_its_successor_is_not() -> None:
    old = {"deposed": "ab12cd34", "attributes": {"id": "group_0", "name": "G"}}
    made = converted(resource(OPENAI, "openai_group", "g", {"id": "group_1", "name": "G"}, old))
    assert ids(made) == {"Group/g": "group_1"}
    assert "deposed" in reasons(made)["openai_group.g"]


def test_a_tainted_object_is_kept_and_mentioned() -> None:
    tainted = {"status": "tainted", "attributes": {"id": "group_1", "name": "G"}}
    made = converted(resource(OPENAI, "openai_group", "g", tainted))
    assert names(made) == ["Group/g"]
    assert "openai_group.g is tainted" in made.notes[0]


def test_an_address_from_a_data_source_declares_a_user() -> None:
    made = converted(
        resource(JIANYUAN, "openai_user_role", "u", {"user_id": "user-1", "role": "owner"}),
        resource(JIANYUAN, "openai_users", "all",
                 {"users": [{"id": "user-1", "email": "ada@example.com"}]}, mode="data"),
    )  # fmt: skip
    assert spec(made, "User/u") == {"email": "ada@example.com", "role": "owner"}


def test_the_region_of_a_project_is_mentioned_and_not_declared() -> None:
    made = converted(project(geography="EU"))
    assert spec(made, "Project/p") == {"name": "Search"}
    assert "geography: EU" in comment(made, "Project/p")


def test_an_empty_description_is_not_declared() -> None:
    made = converted(
        resource(MKDEV, "openai_organization_role", "r",
                 {"id": "role_1", "name": "R", "permissions": [], "description": ""}),
    )  # fmt: skip
    assert spec(made, "Role/r") == {"role_name": "R", "permissions": []}


def test_invited_projects_of_no_block_are_not_declared() -> None:
    invite = {"id": "invite-1", "invite_id": "invite-1", "email": "a@example.com", "role": "reader"}
    made = converted(resource(MKDEV, "openai_invite", "i", {**invite, "projects": []}))
    assert "projects" not in spec(made, "Invite/i")


# --- rate limits


def rate_limit(provider: str = OPENAI, **limits: Any) -> dict[str, Any]:
    attributes = {
        "project_id": "proj_1", "rate_limit_id": "rl-gpt-4.1", **FRONTIER, **limits
    }  # fmt: skip
    if provider == OPENAI:
        attributes |= {"id": "rl-gpt-4.1", "model": "gpt-4.1"}
    return resource(provider, "openai_project_rate_limit", "r", attributes)


def limits_of(provider: str, *requests: int) -> list[dict[str, Any]]:
    """The limits of one model in as many projects."""
    resources = []
    for number, value in enumerate(requests, start=1):
        id = f"proj_{number}"
        made = resource(OPENAI, "openai_project", f"p{number}", {"id": id, "name": f"P{number}"})
        limit = rate_limit(provider, max_requests_per_1_minute=value, project_id=id)
        resources += [made, {**limit, "name": f"r{number}"}]
    return resources


@pytest.mark.parametrize("provider", [OPENAI, JIANYUAN])
def test_values_that_most_projects_have_are_not_declared(provider: str) -> None:
    made = converted(*limits_of(provider, 10_000, 10_000, 50))
    assert spec(made, "RateLimit/p3/r3")["max_requests_per_1_minute"] == 50
    assert "max_requests_per_1_minute" not in spec(made, "RateLimit/p1/r1")
    assert "Not declared: max_requests_per_1_minute: 10000" in comment(made, "RateLimit/p1/r1")


def test_values_that_are_the_same_everywhere_are_declared() -> None:
    made = converted(*limits_of(OPENAI, 50, 50, 50))
    assert all(
        spec(made, f"RateLimit/p{number}/r{number}")["max_requests_per_1_minute"] == 50
        for number in (1, 2, 3)
    )


def test_all_limits_of_a_single_project_are_declared() -> None:
    made = converted(project(), rate_limit())
    assert len(spec(made, "RateLimit/p/r")) == 4
    assert "Remove those" in comment(made, "RateLimit/p/r")


def test_a_zero_of_the_older_provider_is_not_declared() -> None:
    attributes = {
        "id": "rl-gpt-4.1-f_proj_1", "model": "gpt-4.1", "project_id": "proj_1",
        "max_requests_per_minute": 40, "max_tokens_per_minute": 0,
    }  # fmt: skip
    made = converted(project(), resource(MKDEV, "openai_rate_limit", "r", attributes))
    assert spec(made, "RateLimit/p/r") == {"model": "gpt-4.1", "max_requests_per_1_minute": 40}
    assert ids(made)["RateLimit/p/r"] == "rl-gpt-4.1"


def test_a_configuration_decides_which_limits_are_declared() -> None:
    values = {**FRONTIER, "project_id": "proj_1", "rate_limit_id": "rl-o9", "model": "o9"}
    source = "registry.terraform.io/openai/openai"
    common = {"mode": "managed", "type": "openai_project_rate_limit", "name": "r"}
    plan = {
        "format_version": "1.2",
        "prior_state": {
            "format_version": "1.0",
            "values": {"root_module": {"resources": [
                {**common, "provider_name": source, "values": values}]}},
        },
        "configuration": {"root_module": {"resources": [
            {**common, "expressions": {"max_tokens_per_1_minute": {"constant_value": 2_000_000}}}]}},
    }  # fmt: skip
    parsed = parse_state(json.dumps(plan).encode(), "plan.json")
    made = convert(parsed, KINDS, ExistingResources(projects={"p": "proj_1"}))
    assert spec(made, "RateLimit/p/r") == {"model": "o9", "max_tokens_per_1_minute": 2_000_000}
    assert comment(made, "RateLimit/p/r") == ""


# --- several resources from one


def test_further_roles_of_a_member_become_role_assignments() -> None:
    attributes = {
        "id": "proj_1:user-1", "project_id": "proj_1", "user_id": "user-1",
        "role_ids": ["role-api-project-member__api-project__proj_1", "role_9", "role_1"],
    }  # fmt: skip
    role = {"id": "proj_1:role_1", "project_id": "proj_1", "name": "Runner", "permissions": []}
    made = converted(
        project(),
        resource(MKDEV, "openai_project_user", "u", attributes),
        resource(MKDEV, "openai_project_role", "runner", role),
    )
    assert names(made) == [
        "Project/p",
        "ProjectUser/p/u",
        "Role/p/runner",
        "RoleAssignment/p/u-role_9",
        "RoleAssignment/p/u-runner",
    ]


@pytest.mark.parametrize("roles", [["owner"], ["member", "owner"]], ids=",".join)
def test_an_owner_is_declared_by_role_assignments_alone(roles: list[str]) -> None:
    attributes = {
        "id": "proj_1:user-1", "project_id": "proj_1", "user_id": "user-1",
        "role_ids": [f"role-api-project-{role}__api-project__proj_1" for role in roles],
    }  # fmt: skip
    made = converted(project(), resource(MKDEV, "openai_project_user", "u", attributes))
    assert names(made) == ["Project/p", *(f"RoleAssignment/p/u-{role}" for role in roles)]


def test_the_older_schema_of_a_member_has_a_role() -> None:
    attributes = {
        "id": "proj_1:user-1", "project_id": "proj_1", "user_id": "user-1", "role": "owner"
    }  # fmt: skip
    made = converted(project(), resource(MKDEV, "openai_project_user", "u", attributes))
    assert spec(made, "ProjectUser/p/u") == {"user_id": "user-1", "role": "owner"}


# --- keys


def account(**more: Any) -> dict[str, Any]:
    attributes = {"id": "svc_acct_1", "name": "x", "project_id": "proj_1", **more}
    return resource(JIANYUAN, "openai_project_service_account", "sa", attributes)


def test_keys_in_clear_text_are_listed_and_not_copied() -> None:
    made = converted(project(), account(api_key=KEY, api_key_id="key_1"))
    (key,) = made.keys
    assert (key.place, key.key_id, key.address) == (
        "openai_project_service_account.sa.api_key",
        "key_1",
        "ServiceAccount/p/sa",
    )
    assert KEY not in repr(made.resources)


def test_keys_in_outputs_and_other_resources_are_listed() -> None:
    made = converted(
        resource("hashicorp/aws", "aws_ssm_parameter", "k", {"value": f"key={KEY}"}),
        outputs={"ci": {"value": {"keys": [KEY]}, "type": "string", "sensitive": True}},
    )
    assert [key.place for key in made.keys] == ["aws_ssm_parameter.k.value", "output.ci"]


def test_the_redactor_learns_keys_of_any_shape() -> None:
    content = json.dumps(state(account(api_key="an-odd-key-0123"), account(api_key=f"x {KEY}")))
    secrets = key_values(parse_state(content.encode(), "it.tfstate"))
    assert {"an-odd-key-0123", KEY} <= {secret.reveal() for secret in secrets}


def test_a_key_that_was_never_stored_is_not_listed() -> None:
    assert converted(project(), account(api_key=None, api_key_id=None)).keys == ()


# --- documents


def files(conversion: Conversion) -> str:
    """All manifests in one text."""
    written = files_of(documents_of(conversion, KINDS), layout=FileLayout.FLAT)
    return written["manifests.yaml"]


def account_of(key: str, **more: Any) -> dict[str, Any]:
    return keyed(key, id=f"svc_acct_{key}", name=f"x-{key}", project_id="proj_1", **more)


def test_values_that_are_made_of_the_key_use_it() -> None:
    accounts = [account_of("a"), account_of("b")]
    made = converted(project(), resource(OPENAI, "openai_project_service_account", "sa", *accounts))
    text = files(made)
    assert 'metadata: {name: "sa-${each.key}", project: p}' in text
    assert "for_each: [a, b]" in text
    assert 'spec: {name: "x-${each.key}"}' in text


def test_values_that_differ_stand_under_their_keys() -> None:
    users = [
        keyed(key, project_id="proj_1", user_id=f"user-{number}", role="member", email="a@b.c")
        for number, key in enumerate("ab")
    ]
    text = files(converted(project(), resource(OPENAI, "openai_project_user", "u", *users)))
    assert "for_each: {a: {user_id: user-0}, b: {user_id: user-1}}" in text
    assert 'spec: {user_id: "${each.value.user_id}", role: member}' in text


def test_a_dollar_in_a_value_stays_a_dollar() -> None:
    groups = [keyed(key, id=f"group_{key}", name=f"${{x}} {key}") for key in "ab"]
    text = files(converted(resource(OPENAI, "openai_group", "g", *groups)))
    assert 'name: "$${x} ${each.key}"' in text


def test_instances_with_other_fields_stay_apart() -> None:
    groups = [
        keyed("a", id="role_a", role_name="A", permissions=[], description="x"),
        keyed("b", id="role_b", role_name="B", permissions=[], description=None),
    ]
    text = files(converted(resource(OPENAI, "openai_role", "r", *groups)))
    assert "for_each" not in text
    assert text.count("kind: Role\n") == 2


def test_instances_that_refer_to_different_objects_stay_apart() -> None:
    made = converted(
        resource(OPENAI, "openai_group", "g", *(keyed(k, id=f"group_{k}", name=k) for k in "ab")),
        resource(OPENAI, "openai_group_user", "m",
                 *(keyed(k, group_id=f"group_{k}", user_id="user-1") for k in "ab")),
    )  # fmt: skip
    text = files(made)
    assert "${Group/g-a}" in text
    assert "${Group/g-b}" in text


def test_keys_that_cannot_be_names_keep_their_instances_apart() -> None:
    groups = [keyed(key, id=f"group_{key[0]}", name=key) for key in ("A b", "C d")]
    text = files(converted(resource(OPENAI, "openai_group", "g", *groups)))
    assert "name: g-a-b" in text
    assert "for_each" not in text


def test_the_keys_of_a_for_each_are_listed_above_it() -> None:
    accounts = [account_of(key, api_key=f"{KEY}{key}", api_key_id=f"key_{key}") for key in "ab"]
    made = converted(
        project(), resource(JIANYUAN, "openai_project_service_account", "sa", *accounts)
    )
    text = files(made)
    assert "#   a: The old key: key_a\n#   b: The old key: key_b\n" in text
    assert KEY not in text


def test_a_role_that_a_user_has_through_a_group_is_not_declared_for_the_user() -> None:
    made = converted(
        project(),
        resource(MKDEV, "openai_group", "g", {"id": "group_1", "name": "G"}),
        resource(MKDEV, "openai_group_user", "m", {"group_id": "group_1", "user_id": "user-1"}),
        resource(MKDEV, "openai_project_group", "pg",
                 {"project_id": "proj_1", "group_id": "group_1", "role_ids": ["role_1"]}),
        resource(MKDEV, "openai_project_user", "u",
                 {"project_id": "proj_1", "user_id": "user-1", "role_ids": ["role_1", "role_2"]}),
    )  # fmt: skip
    assert [name for name in names(made) if "Assignment" in name] == ["RoleAssignment/p/u-role_2"]
    assert "openai_project_user.u has the role role_1 through a group" in made.notes[0]


def test_a_whole_number_with_a_point_is_a_whole_number() -> None:
    attributes = {"threshold_amount": 50000.0, "currency": "USD", "interval": "month"}
    made = converted(resource(OPENAI, "openai_organization_spend_limit", "l", attributes))
    assert repr(spec(made, "SpendLimit/l")["threshold_amount"]) == "50000"


def test_attributes_of_other_types_are_left_out_with_a_reason() -> None:
    broken = {"id": {"a": [1]}, "name": {"a": [1]}, "project_id": {"a": [1]}}
    made = converted(project(), resource(OPENAI, "openai_project_service_account", "sa", broken))
    assert names(made) == ["Project/p"]
    [left] = made.left_out
    assert "other types than those that this version knows" in left.reason
