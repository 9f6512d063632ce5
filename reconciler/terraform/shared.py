"""Mappings that the tables of several providers share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.terraform.limits import LIMITS
from reconciler.terraform.mapping import (
    Draft,
    Lookup,
    NotCarriedOver,
    Take,
    TypeMapping,
    as_list,
    short_role,
    text_of,
    unless_empty,
    value_at,
)
from reconciler.terraform.state import TerraformInstance

ARCHIVED = "the project is archived: it cannot be used, changed or restored"
INVITE_IS_OVER = "the invitation has expired, and keeping it would send another e-mail"
CURRENCY = (Take("threshold_amount", change=int), Take("currency"), Take("interval"))
ROLE_TAKES = (Take("permissions", change=as_list), Take("description", change=unless_empty))


def project(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A project. Its region is left out: the attribute has other values than the API's field."""
    if instance.attributes.get("status") == "archived":
        raise NotCarriedOver(ARCHIVED)
    table = TypeMapping(("Project",), (Take("name"), Take("external_key_id")))
    comments = {}
    geography = instance.attributes.get("geography")
    if geography:
        comments[""] = (
            "A project keeps its region, so what Terraform set is not declared.\n"
            f"geography: {geography}"
        )
    yield table.draft(instance, lookup, comments=comments)


PROJECT = TypeMapping(
    ("Project",), convert=project, note="`geography` becomes a comment; a project keeps its region"
)


def rate_limit(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """Limits of a provider that stores the API's values of all limits."""
    model = model_of(instance)
    stored = dict(stored_limits(instance))
    unknown = lookup.configured is None
    declared, left_out = dict(stored), {}
    for name, value in stored.items():
        is_set = lookup.sets(instance, name)
        if is_set is False or (is_set is None and lookup.usual_limits(model, name, value)):
            left_out[name] = declared.pop(name)
    comments = {}
    if unknown and not declared:
        # At least one limit was set, and the state does not show which.
        declared, left_out = dict(stored), {}
    if unknown and left_out:
        listed = ", ".join(f"{name}: {value}" for name, value in left_out.items())
        comments[""] = (
            "The state does not say which limits Terraform set. Those that look like the "
            f"organization's own are not declared.\nNot declared: {listed}"
        )
    elif unknown and len(declared) > 1:
        comments[""] = (
            "The state does not say which limits Terraform set. Remove those that it did not."
        )
    yield Draft(
        "RateLimit",
        {"model": model, **declared},
        own_id=f"rl-{model}",
        project_id=text_of(instance, "project_id"),
        comments=comments,
    )


def model_of(instance: TerraformInstance) -> str:
    """The model of a rate limit; one provider stores it only inside the id of the limit."""
    model = instance.attributes.get("model")
    if isinstance(model, str) and model:
        return model
    return text_of(instance, "rate_limit_id").removeprefix("rl-")


def stored_limits(instance: TerraformInstance) -> Iterator[tuple[str, int]]:
    """The limits that an instance holds, by the API's names."""
    for name in LIMITS:
        value = instance.attributes.get(name)
        if isinstance(value, int | float):
            yield name, int(value)


RATE_LIMIT = TypeMapping(
    ("RateLimit",),
    convert=rate_limit,
    note="only the limits that Terraform set; see [rate limits](#rate-limits)",
)


def assignment(principal: str, *, in_project: bool) -> TypeMapping:
    """A role of a user or a group."""
    return TypeMapping(
        ("RoleAssignment",),
        (Take(principal), Take("role_id", change=short_role)),
        own_id="",
        in_project=in_project,
    )


GROUP = TypeMapping(("Group",), (Take("name"),))
GROUP_MEMBER = TypeMapping(("GroupMember",), (Take("group_id"), Take("user_id")), own_id="")


def spend_limit(*, in_project: bool) -> TypeMapping:
    """The spend limit of the organization or a project."""
    return TypeMapping(("SpendLimit",), CURRENCY, own_id="", in_project=in_project)


def data_retention(*, in_project: bool) -> TypeMapping:
    """The data retention of the organization or a project."""
    takes = (Take("retention_type", "type"),)
    return TypeMapping(("DataRetention",), takes, own_id="", in_project=in_project)


MODEL_PERMISSIONS = TypeMapping(
    ("ModelPermissions",),
    (Take("mode"), Take("model_ids", change=sorted)),
    own_id="",
    in_project=True,
)


def invite(takes: Iterable[Take], own_id: str = "id") -> TypeMapping:
    """An invitation, unless it has expired."""
    table = TypeMapping(("Invite",), (Take("email"), Take("role"), *takes), own_id=own_id)

    def convert(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
        if instance.attributes.get("status") == "expired":
            raise NotCarriedOver(INVITE_IS_OVER)
        yield table.draft(instance, lookup)

    return TypeMapping(
        ("Invite",), convert=convert, note="an expired invitation is not carried over"
    )


def invited_projects(value: Any) -> list[dict[str, Any]]:
    """The projects of an invitation."""
    entries = [entry for entry in as_list(value) if isinstance(entry, dict)]
    return [{"id": entry.get("id"), "role": entry.get("role")} for entry in entries]


def user(*takes: Take) -> TypeMapping:
    """A member of the organization, whose e-mail address may stand elsewhere in the state."""
    table = TypeMapping(("User",), takes, own_id="")

    def convert(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
        user_id = value_at(instance.attributes, "user_id") or text_of(instance, "id")
        email = instance.attributes.get("email") or lookup.emails.get(user_id)
        if not email:
            raise NotCarriedOver(
                f"the state has no e-mail address of the user {user_id}, by which a User is "
                "declared: add a data source that reads the organization's users, or declare it "
                "by hand"
            )
        draft = table.draft(instance, lookup, own_id=user_id)
        yield Draft(draft.kind, {"email": email, **draft.spec}, own_id=user_id)

    return TypeMapping(
        ("User",), convert=convert, note="needs the user's e-mail address somewhere in the state"
    )


def role_assignments(
    instance: TerraformInstance, role_ids: Iterable[str], principal: str
) -> Iterator[Draft]:
    """A role assignment in a project for each role of a list."""
    for role_id in map(short_role, role_ids):
        yield Draft(
            "RoleAssignment",
            {principal: text_of(instance, principal), "role_id": role_id},
            project_id=text_of(instance, "project_id"),
            suffix=role_id.removeprefix("role-api-project-"),
        )
