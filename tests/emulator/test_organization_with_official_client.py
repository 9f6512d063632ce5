"""The unchanged official client, through the life of objects of the organization other than projects."""

from __future__ import annotations

import openai
import pytest

from reconciler.emulator import Emulator
from tests.whole_examples import PEM

CHANNEL = {"type": "email", "recipients": ["ada@example.com"]}


def test_a_role_is_made_given_to_a_user_and_deleted(client: openai.OpenAI) -> None:
    organization = client.admin.organization
    [cleo] = organization.users.list(emails=["cleo@example.com"])
    role = organization.roles.create(role_name="Reader", permissions=["api.groups.read"])
    changed = organization.roles.update(role.id, description="Looks things up")
    organization.users.roles.create(cleo.id, role_id=role.id)
    with pytest.raises(openai.BadRequestError):
        organization.roles.delete(role.id)
    [given] = organization.users.roles.list(cleo.id)
    assert (changed.name, changed.description, given.id) == ("Reader", "Looks things up", role.id)
    assert organization.users.roles.retrieve(role.id, user_id=cleo.id).name == "Reader"
    assert organization.users.roles.delete(role.id, user_id=cleo.id).deleted
    assert organization.roles.delete(role.id).deleted
    assert [one.name for one in organization.roles.list() if not one.predefined_role] == []


def test_a_predefined_role_is_given_to_a_group_of_a_project(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    organization, project = client.admin.organization, emulator.project_id
    group = organization.groups.create(name="Support")
    grants = organization.projects.groups.roles
    made = grants.create(group.id, project_id=project, role_id="role-api-project-viewer")
    assert made.role.id == f"role-api-project-viewer__api-project__{project}"
    assert [one.id for one in grants.list(group.id, project_id=project)] == [made.role.id]
    assert grants.delete("role-api-project-viewer", project_id=project, group_id=group.id).deleted
    assert list(grants.list(group.id, project_id=project)) == []


def test_somebody_is_invited_once_and_the_invite_is_taken_back(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    invites = client.admin.organization.invites
    made = invites.create(email="fay@example.com", role="reader")
    assert (made.status, [project.id for project in made.projects or ()]) == (
        "pending",
        [emulator.project_id],
    )
    with pytest.raises(openai.BadRequestError):
        invites.create(email="FAY@example.com", role="reader")
    assert [one.id for one in invites.list()] == [made.id]
    assert invites.delete(made.id).deleted


def test_a_spend_alert_is_replaced_as_a_whole_and_deleted(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    alerts, project = client.admin.organization.projects.spend_alerts, emulator.project_id
    channel = {**CHANNEL, "subject_prefix": "Money"}
    made = alerts.create(
        project,
        currency="USD",
        interval="month",
        threshold_amount=1,
        notification_channel=channel,  # type: ignore[arg-type]
    )
    changed = alerts.update(
        made.id,
        project_id=project,
        currency="USD",
        interval="month",
        threshold_amount=2,
        notification_channel=CHANNEL,  # type: ignore[arg-type]
    )
    assert (changed.threshold_amount, changed.notification_channel.subject_prefix) == (2, None)
    assert alerts.delete(made.id, project_id=project).deleted
    assert list(alerts.list(project)) == []


def test_data_retention_is_read_under_another_name(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    retention = client.admin.organization.projects.data_retention
    assert retention.retrieve(emulator.project_id).type == "organization_default"
    retention.update(emulator.project_id, retention_type="none")
    assert retention.retrieve(emulator.project_id).type == "none"
    with pytest.raises(openai.BadRequestError):
        client.admin.organization.data_retention.update(retention_type="none")  # type: ignore[arg-type]


def test_an_admin_key_opens_the_organization_until_it_is_deleted(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    keys = client.admin.organization.admin_api_keys
    made = keys.create(name="nightly", expires_in_seconds=60)
    assert keys.retrieve(made.id).redacted_value.endswith(made.value[-4:])
    with openai.OpenAI(
        base_url=emulator.base_url, api_key="none", admin_api_key=made.value, max_retries=0
    ) as theirs:
        assert [one.name for one in theirs.admin.organization.admin_api_keys.list()][1:] == [
            "nightly"
        ]
        assert keys.delete(made.id).deleted
        with pytest.raises(openai.AuthenticationError):
            list(theirs.admin.organization.admin_api_keys.list())


def test_a_certificate_is_uploaded_activated_and_deleted(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    organization, project = client.admin.organization, emulator.project_id
    made = organization.certificates.create(certificate=PEM, name="gateway")
    assert (
        organization.certificates.retrieve(made.id, include=["content"]).certificate_details.content
        == PEM
    )
    assert [
        one.active
        for one in organization.projects.certificates.activate(project, certificate_ids=[made.id])
    ] == [True]
    assert [one.active for one in organization.certificates.list()] == [False]
    with pytest.raises(openai.BadRequestError):
        organization.certificates.delete(made.id)
    organization.projects.certificates.deactivate(project, certificate_ids=[made.id])
    assert organization.certificates.delete(made.id).id == made.id


def test_an_external_key_is_registered_used_and_removed(client: openai.OpenAI) -> None:
    organization = client.admin.organization
    made = organization.external_keys.create(
        type="azure", name="Vault", tenant_id="t", vault_uri="https://vault", key_name="k"
    )
    project = organization.projects.create(name="Search", external_key_id=made.id)
    assert organization.external_keys.retrieve(made.id).api_project_ids == [project.id]
    with pytest.raises(openai.BadRequestError):
        organization.external_keys.delete(made.id)
    organization.projects.update(project.id, external_key_id=None)
    organization.external_keys.delete(made.id)
    assert list(organization.external_keys.list()) == []


def test_an_identity_provider_and_its_rules_are_made_changed_and_deleted(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    organization, project = client.admin.organization, emulator.project_id
    account = organization.projects.service_accounts.create(project, name="deploy")
    providers = organization.workload_identity_providers
    made = providers.create(type="oidc", name="CI", issuer="https://ci.example.com", audience="api")
    assert (made.enabled, made.verification.type) == (True, "discovery")
    rule = providers.federation_rules.create(
        made.id,
        project_id=project,
        service_account_id=account.id,
        attribute_matchers={"ref": "main"},
    )
    changed = providers.federation_rules.update(
        rule.id, workload_identity_provider_id=made.id, enabled=False
    )
    assert (changed.enabled, changed.permissions.type) == (False, "service_account_default")
    assert providers.update(made.id, description="Builds").description == "Builds"
    assert providers.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        list(providers.federation_rules.list(made.id))


def test_projects_are_permitted_to_use_a_checkpoint(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    # The client sends the ordinary key here, although the API wants the admin key.
    permissions = client.with_options(
        api_key=emulator.admin_key
    ).fine_tuning.checkpoints.permissions
    checkpoint, other = (
        "ft:gpt-4.1:acme::a:ckpt-step-1",
        client.admin.organization.projects.create(name="Search"),
    )
    made = permissions.create(checkpoint, project_ids=[emulator.project_id, other.id]).data
    again = permissions.create(checkpoint, project_ids=[other.id]).data
    assert [one.project_id for one in made] == [emulator.project_id, other.id]
    assert [one.id for one in again] == [made[1].id]
    assert [one.id for one in permissions.list(checkpoint, order="ascending", limit=1)] == [
        one.id for one in made
    ]
    assert [one.id for one in permissions.list(checkpoint, project_id=other.id)] == [made[1].id]
    assert permissions.delete(made[0].id, fine_tuned_model_checkpoint=checkpoint).deleted
    assert [one.id for one in permissions.list(checkpoint)] == [made[1].id]
    events = [
        entry.type for entry in client.admin.organization.audit_logs.list(resource_ids=[made[0].id])
    ]
    assert events == ["checkpoint.permission.deleted", "checkpoint.permission.created"]


def test_what_is_no_checkpoint_is_not_found_and_one_bad_project_refuses_all(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    permissions = client.with_options(
        api_key=emulator.admin_key
    ).fine_tuning.checkpoints.permissions
    with pytest.raises(openai.NotFoundError):
        permissions.create("gpt-4.1", project_ids=[emulator.project_id])
    with pytest.raises(openai.NotFoundError):
        permissions.create("ft:gpt-4.1:acme::a", project_ids=[emulator.project_id, "proj_x"])
    assert list(permissions.list("ft:gpt-4.1:acme::a")) == []


def test_what_is_given_to_a_group_or_a_user_can_be_read_singly(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    organization, project, role = (
        client.admin.organization,
        emulator.project_id,
        "role-api-project-viewer",
    )
    [cleo] = organization.users.list(emails=["cleo@example.com"])
    group = organization.groups.create(name="Support")
    organization.groups.users.create(group.id, user_id=cleo.id)
    organization.groups.roles.create(group.id, role_id="role-api-organization-reader")
    organization.projects.groups.roles.create(group.id, project_id=project, role_id=role)
    organization.projects.users.roles.create(cleo.id, project_id=project, role_id=role)
    found = [
        organization.groups.roles.retrieve("role-api-organization-reader", group_id=group.id),
        organization.projects.groups.roles.retrieve(role, project_id=project, group_id=group.id),
        organization.projects.users.roles.retrieve(role, project_id=project, user_id=cleo.id),
    ]
    assert organization.groups.users.retrieve(cleo.id, group_id=group.id).id == cleo.id
    assert [one.id.partition("__")[0] for one in found] == [
        "role-api-organization-reader",
        role,
        role,
    ]
