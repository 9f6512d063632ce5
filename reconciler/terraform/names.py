"""Names for resources, from their names and keys in Terraform."""

from __future__ import annotations

from reconciler.export.naming import slug
from reconciler.terraform.state import TerraformInstance

_SAY_NOTHING = frozenset({"this", "main", "default", "self", "it", "resource", "all"})
"""Names of resources that only their key or their module explains."""


def label_of(instance: TerraformInstance, *, is_only: bool) -> str:
    """The label of an instance. The key of the only instance of a `count` says nothing."""
    key = "" if instance.key is None else str(instance.key)
    if is_only and instance.key == 0:  # `count = 1`, often as a switch
        key = ""
    name = instance.name
    if name in _SAY_NOTHING:
        name = key or _last_module(instance) or name
        key = ""
    return f"{name}-{key}" if key else name


def module_label(instance: TerraformInstance) -> str:
    """The path of the module, for instances whose names are the same."""
    parts = []
    for step in instance.module:
        parts.append(step.name)
        if step.key is not None:
            parts.append(str(step.key))
    return "-".join(parts)


def project_label(name: str | None, id: str) -> str:
    """A name for a project that Terraform does not manage."""
    return slug(name or "") or slug(id.removeprefix("proj_"))


def _last_module(instance: TerraformInstance) -> str:
    if not instance.module:
        return ""
    step = instance.module[-1]
    return step.name if step.key is None else str(step.key)
