"""Facts from a whole state: addresses of users, names of projects, files of stores."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from reconciler.terraform.limits import usual_limits
from reconciler.terraform.mapping import FindFile, Lookup, NotCarriedOver
from reconciler.terraform.providers import PROVIDERS
from reconciler.terraform.shared import model_of, stored_limits
from reconciler.terraform.state import TerraformInstance, TerraformState

_ORGANIZATION = re.compile(r"__api-organization__(org-[A-Za-z0-9_-]+)")


def lookup_of(state: TerraformState, find_file: FindFile) -> Lookup:
    """The facts that mappings need beyond their instance."""
    limits: list[tuple[str, str, int]] = []
    files: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    stores = set()
    for instance in state.instances:
        if instance.provider not in PROVIDERS:
            continue
        if instance.type == "openai_project_rate_limit":
            limits += _limits_of(instance)
        if instance.type == "openai_vector_store":
            stores.add(str(instance.attributes.get("id")))
        if instance.type.startswith("openai_vector_store_file"):
            files[str(instance.attributes.get("vector_store_id"))].append(instance.attributes)
    return Lookup(
        emails=_emails(state),
        configured=state.configured,
        store_files=files,
        stores=frozenset(stores),
        find_file=find_file,
        usual_limits=usual_limits(limits),
    )


def _limits_of(instance: TerraformInstance) -> Iterator[tuple[str, str, int]]:
    try:
        model = model_of(instance)
    except NotCarriedOver:
        return
    for name, value in stored_limits(instance):
        yield model, name, value


def _emails(state: TerraformState) -> dict[str, str]:
    """The e-mail addresses of users by id, wherever a map has both."""
    emails: dict[str, str] = {}
    # Data sources often list the users whose ids resources name.
    for instance in (*state.instances, *state.data):
        if instance.provider not in PROVIDERS:
            continue
        for value in _maps_in(instance.attributes):
            email, user_id = value.get("email"), value.get("user_id") or value.get("id")
            # Invitations have an address and an id as well.
            if isinstance(email, str) and isinstance(user_id, str) and user_id.startswith("user"):
                emails[user_id] = email
    return emails


def _maps_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """The maps in a value, the outer ones first."""
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _maps_in(part)


def archived_projects(instances: Iterable[TerraformInstance]) -> Iterator[str]:
    """The ids of projects that are archived."""
    for instance in instances:
        is_project = instance.provider in PROVIDERS and instance.type == "openai_project"
        if is_project and instance.attributes.get("status") == "archived":
            yield str(instance.attributes.get("id"))


def names_of_projects(state: TerraformState) -> dict[str, str]:
    """Display names of projects that data sources have read."""
    names: dict[str, str] = {}
    for instance in state.data:
        is_about_projects = instance.type.startswith("openai_project")
        if instance.provider not in PROVIDERS or not is_about_projects:
            continue
        for value in _maps_in(instance.attributes):
            id, name = value.get("id") or value.get("project_id"), value.get("name")
            if isinstance(id, str) and id.startswith("proj_") and isinstance(name, str):
                names[id] = name
    return names


def organizations(state: TerraformState) -> Iterator[str]:
    """The organizations that ids in a state mention."""
    for instance in state.instances:
        if instance.provider not in PROVIDERS:
            continue
        own = instance.attributes.get("organization_id")
        if isinstance(own, str) and own.startswith("org-"):
            yield own
        for name in ("role_id", "role", "id"):
            value = instance.attributes.get(name)
            match = _ORGANIZATION.search(value) if isinstance(value, str) else None
            if match:
                yield match[1]
