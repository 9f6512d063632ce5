"""The provider `mkdev-me/openai`.

Its ids are composed with colons, and its rate limits have ids of its own making.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.terraform.mapping import (
    Draft,
    Lookup,
    NotCarriedOver,
    Take,
    TerraformProvider,
    TypeMapping,
    as_list,
    last_part,
    present_parts,
    short_role,
    text_of,
)
from reconciler.terraform.shared import (
    GROUP,
    GROUP_MEMBER,
    PROJECT,
    ROLE_TAKES,
    assignment,
    invite,
    invited_projects,
    role_assignments,
    user,
)
from reconciler.terraform.state import TerraformInstance

_LIMITS = {
    "max_requests_per_1_minute": "max_requests_per_minute",
    "max_tokens_per_1_minute": "max_tokens_per_minute",
    "max_images_per_1_minute": "max_images_per_minute",
    "max_audio_megabytes_per_1_minute": "max_audio_megabytes_per_1_minute",
    "max_requests_per_1_day": "max_requests_per_1_day",
    "batch_1_day_max_input_tokens": "batch_1_day_max_input_tokens",
}
_MEMBER, _OWNER = "role-api-project-member", "role-api-project-owner"


def _rate_limit(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """The limits that the configuration sets; only those are stored."""
    model = text_of(instance, "model")
    declared, zeros = {}, []
    for name, attribute in _LIMITS.items():
        value = instance.attributes.get(attribute)
        if not isinstance(value, int | float) or lookup.sets(instance, attribute) is False:
            continue
        # Older versions store 0 for an unset limit, and 0 would switch the model off.
        if value == 0 and not lookup.sets(instance, attribute):
            zeros.append(name)
            continue
        declared[name] = int(value)
    comments = {}
    if zeros:
        comments[""] = (
            "Terraform stores 0 also for a limit that is not set, so a 0 is not declared: it would "
            f"switch the model off.\nStored as 0: {', '.join(zeros)}"
        )
    yield Draft(
        "RateLimit",
        {"model": model, **declared},
        own_id=f"rl-{model}",
        project_id=text_of(instance, "project_id"),
        comments=comments,
    )


def _service_account(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    own_id = instance.attributes.get("service_account_id") or last_part(text_of(instance, "id"))
    table = TypeMapping(("ServiceAccount",), (Take("name"),), own_id="", in_project=True)
    yield table.draft(instance, lookup, own_id=own_id)


def _role(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A role of the organization or, with a composed id, of a project."""
    if instance.attributes.get("predefined_role") is True:
        raise NotCarriedOver("it is a predefined role, which nobody can change")
    takes = (Take("role_name", "name"), *ROLE_TAKES)
    table = TypeMapping(("Role",), takes, own_id="")
    yield table.draft(
        instance,
        lookup,
        own_id=last_part(text_of(instance, "id")),
        project_id=instance.attributes.get("project_id"),
    )


def _project_user(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A member of a project: version 0 of the schema has a role, version 1 a set of role ids.

    The provider adds the user as a member and then assigns the roles.
    """
    del lookup
    role = instance.attributes.get("role")
    role_ids = _role_ids(instance)
    if role is None and not role_ids:
        role = "member"
    names = {short_role(id) for id in role_ids}
    if role is None and _MEMBER in names and _OWNER not in names:
        role = "member"
        role_ids = [id for id in role_ids if short_role(id) != _MEMBER]
    if role is not None:
        user_id = text_of(instance, "user_id")
        yield Draft(
            "ProjectUser",
            {"user_id": user_id, "role": role},
            own_id=user_id,
            project_id=text_of(instance, "project_id"),
        )
    yield from role_assignments(instance, role_ids, "user_id")


def _project_group(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A group in a project: the first role came with the membership, the others were assigned."""
    del lookup
    role_ids = _role_ids(instance)
    if not role_ids:
        raise NotCarriedOver("the state has no role of it, and the API does not show it")
    yield Draft(
        "ProjectGroup",
        {"group_id": text_of(instance, "group_id"), "role": short_role(role_ids[0])},
        project_id=text_of(instance, "project_id"),
    )
    yield from role_assignments(instance, role_ids[1:], "group_id")


def _role_ids(instance: TerraformInstance) -> list[str]:
    value = instance.attributes.get("role_ids") or instance.attributes.get("role_id") or []
    return [id for id in as_list(value) if isinstance(id, str)]


def _vector_store(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A vector store. Its files are declared only if the state knows all of them."""
    takes = (Take("name"), Take("metadata", change=dict), Take("expires_after", change=_block))
    draft = TypeMapping(("VectorStore",), takes).draft(instance, lookup)
    chunking = _chunking(instance.attributes.get("chunking_strategy"))
    members: dict[str, dict[str, Any]] = {}
    for file_id in as_list(instance.attributes.get("file_ids") or []):
        members[file_id] = {"file_id": file_id, **chunking}
    # Attachments are resources of their own in Terraform, and part of the store here.
    for attached in lookup.store_files.get(str(draft.own_id), ()):
        strategy = _chunking(attached.get("chunking_strategy"))
        for file_id in as_list(attached.get("file_ids") or attached.get("file_id") or []):
            members[file_id] = {"file_id": file_id, **strategy}
    counts = instance.attributes.get("file_counts")
    total = counts.get("total") if isinstance(counts, Mapping) else None
    spec, comments = dict(draft.spec), {}
    # With one file missing from the list, an apply would detach that file.
    if members and total == len(members):
        spec["files"] = list(members.values())
    elif members or total:
        comments[""] = (
            "A list of files is complete, and the Terraform state does not name every file, so "
            "none is declared and the content stays as it is.\n"
            f"Files in the store: {total or 0}, in the state: {len(members)}"
        )
    yield Draft("VectorStore", spec, own_id=draft.own_id, comments=comments)


def _chunking(value: Any) -> dict[str, Any]:
    """The flat block of the provider as the API's object."""
    block = _block(value)
    if not block:
        return {}
    kind = block.pop("type", "auto")
    strategy: dict[str, Any] = {"type": kind}
    if kind == "static":
        strategy["static"] = block
    return {"chunking_strategy": strategy}


def _block(value: Any) -> dict[str, Any]:
    """The parts of a block that are set, with numbers as integers."""
    present = present_parts(value)
    for name, part in present.items():
        if isinstance(part, float):
            present[name] = int(part)
    return present


def _store_file(instance: TerraformInstance, lookup: Lookup) -> tuple[Draft, ...]:
    """An attachment: part of the store, and nothing without it."""
    if instance.attributes.get("vector_store_id") not in lookup.stores:
        raise NotCarriedOver("its vector store is not in the state, and files are declared there")
    return ()


def _file(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    """A file, if its content is in the stack's folder too."""
    path, size = instance.attributes.get("file"), instance.attributes.get("bytes")
    content = None
    if isinstance(path, str) and isinstance(size, int | float):
        content = lookup.find_file(path, int(size))
    if content is None:
        raise NotCarriedOver(
            f"a File needs its content, and the stack's folder does not have {path or 'its file'} "
            f"with {size or 0} bytes: put it there and import again, or declare the File by hand"
        )
    spec = {"path": content, "purpose": text_of(instance, "purpose")}
    filename = instance.attributes.get("filename")
    if filename and filename != content.rpartition("/")[2]:
        spec["filename"] = filename
    yield Draft(
        "File",
        spec,
        own_id=text_of(instance, "id"),
        project_id=instance.attributes.get("project_id"),
    )


def _batch(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    takes = (
        Take("input_file_id"),
        Take("endpoint"),
        Take("completion_window"),
        Take("metadata", change=dict),
    )
    draft = TypeMapping(("Batch",), takes).draft(instance, lookup)
    yield Draft("Batch", {"completion_window": "24h", **draft.spec}, own_id=draft.own_id)


def _fine_tuning_job(instance: TerraformInstance, lookup: Lookup) -> Iterator[Draft]:
    takes = (
        *map(Take, ("model", "training_file", "validation_file", "suffix")),
        Take("seed", change=int),
        Take("metadata", change=dict),
        Take("method", change=_method),
        Take("integrations", change=_integrations),
    )
    yield TypeMapping(("FineTuningJob",), takes).draft(instance, lookup)


def _method(value: Any) -> dict[str, Any]:
    method = _block(value)
    for name in ("supervised", "dpo"):
        settings = _block(method.get(name))
        hyperparameters = _block(settings.get("hyperparameters"))
        if hyperparameters:
            numbers = {key: _number(text) for key, text in hyperparameters.items()}
            method[name] = {"hyperparameters": numbers}
        else:
            method.pop(name, None)
    return method


def _number(value: Any) -> Any:
    """The provider stores numbers as text, because they may be `auto`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return int(number) if number.is_integer() else number


def _integrations(value: Any) -> list[dict[str, Any]]:
    entries = [_block(entry) for entry in as_list(value)]
    for entry in entries:
        if "wandb" in entry:
            entry["wandb"] = _block(entry["wandb"])
    return entries


def _nonempty_projects(value: Any) -> list[dict[str, Any]] | None:
    """Blocks are an empty list where there is none, and then the default project is meant."""
    return invited_projects(value) or None


_ONE_TIME = "it is the result of one call, not an object that exists"
_MEDIA = (
    "audio_transcription", "audio_translation", "speech_to_text", "text_to_speech", "image_generation", "image_edit",
    "image_variation", "embedding", "moderation",
)  # fmt: skip

PROVIDER = TerraformProvider(
    "mkdev-me/openai",
    {
        "openai_project": PROJECT,
        "openai_project_role": TypeMapping(("Role",), convert=_role),
        "openai_organization_role": TypeMapping(("Role",), convert=_role),
        "openai_rate_limit": TypeMapping(
            ("RateLimit",), convert=_rate_limit, note="a stored 0 is left out"
        ),
        "openai_project_service_account": TypeMapping(
            ("ServiceAccount",),
            convert=_service_account,
            keys=(("api_key_value", "api_key_id"),),
            note="its key is in the state in clear text: rotate it",
        ),
        "openai_project_user": TypeMapping(
            ("ProjectUser", "RoleAssignment"),
            convert=_project_user,
            note="one RoleAssignment for each further role",
        ),
        "openai_project_group": TypeMapping(
            ("ProjectGroup", "RoleAssignment"),
            convert=_project_group,
            note="one RoleAssignment for each further role",
        ),
        "openai_organization_user": user(Take("role")),
        "openai_organization_user_role": assignment("user_id", in_project=False),
        "openai_organization_group_role": assignment("group_id", in_project=False),
        "openai_group": GROUP,
        "openai_group_user": GROUP_MEMBER,
        "openai_invite": invite([Take("projects", change=_nonempty_projects)], own_id="invite_id"),
        "openai_admin_api_key": TypeMapping(
            ("AdminKey",),
            (Take("name"),),
            keys=(("api_key_value", "id"),),
            note="its key is in the state in clear text: rotate it",
        ),
        "openai_file": TypeMapping(
            ("File",), convert=_file, note="if the stack's folder has its content"
        ),
        "openai_vector_store": TypeMapping(
            ("VectorStore",), convert=_vector_store, note="with its files, if the state has all"
        ),
        "openai_vector_store_file": TypeMapping(
            (), convert=_store_file, note="part of the VectorStore"
        ),
        "openai_vector_store_file_batch": TypeMapping(
            (), convert=_store_file, note="part of the VectorStore"
        ),
        "openai_batch": TypeMapping(("Batch",), convert=_batch),
        "openai_fine_tuning_job": TypeMapping(("FineTuningJob",), convert=_fine_tuning_job),
    },
    {
        **{f"openai_{name}": _ONE_TIME for name in _MEDIA},
        "openai_chat_completion": _ONE_TIME,
        "openai_response": _ONE_TIME,
        "openai_model": "models exist by themselves",
    },
)
