"""External storage: a customer-managed bucket in which a project stores its data. It cannot be
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Object, Property, Tagged, Text
from reconciler.model.values import Spec


def _text(name: str, doc: str) -> Property:
    return Property(name, Text(min_length=1), doc, required=True)


_BUCKET = _text("bucket", "The name of the bucket.")
_PROVIDER = Tagged(
    {
        "aws": Object((_BUCKET, _text("role_arn", "The ARN of the role that may use the bucket."))),
        "azure": Object(
            (
                _text("tenant_id", "The id of the tenant."),
                _text("subscription_id", "The id of the subscription."),
                _text("resource_group", "The resource group of the storage account."),
                _text("account_name", "The name of the storage account."),
                _text("container", "The name of the container."),
            )
        ),
        "gcp": Object(
            (
                _BUCKET,
                _text(
                    "workload_identity_project_number",
                    "The number of the project that contains the workload identity pool.",
                ),
                _text("workload_identity_pool_id", "The id of the workload identity pool."),
                _text("workload_identity_provider_id", "The id of the provider in the pool."),
            )
        ),
        "oci": Object(
            (
                _BUCKET,
                _text("region", "The region of the bucket."),
                _text("tenancy_ocid", "The OCID of the tenancy."),
            )
        ),
    }
)


def _identify(spec: Spec) -> Spec:
    provider: Any = spec.get("provider")
    parts = provider if isinstance(provider, Mapping) else {}
    named = [
        parts[name]
        for name in ("type", "bucket", "account_name", "container")
        if parts.get(name) is not None
    ]
    is_known = len(named) > 1 and all(isinstance(part, str) for part in named)
    return {"project_id": spec.get("project_id"), "place": " ".join(named) if is_known else None}


_FOUND_OUT = {
    "aws": ("account_id", "external_id", "region"),
    "azure": ("region",),
    "gcp": ("audience", "region"),
}
"""What answers add to a provider, by its type."""


def _as_sent(spec: Spec) -> Spec:
    provider: Any = spec.get("provider")
    if not isinstance(provider, Mapping):
        return spec
    added = _FOUND_OUT.get(str(provider.get("type")), ())
    sent = {name: value for name, value in provider.items() if name not in added}
    return {**spec, "provider": sent} if len(sent) < len(provider) else spec


KIND = Kind(
    name="ExternalStorage",
    doc="A customer-managed bucket in AWS, Azure, Google Cloud or Oracle Cloud in which a project stores its data.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/external_storage",
    natural_key=("project_id", "provider"),
    audit_events=("external_storage.", "project."),
    destroys="the project no longer stores its data there; with no external storage left, default "
    "retention applies again",
    # Natural keys consist of texts, so the location of the storage stands for its provider.
    identify=_identify,
    from_answer=_as_sent,
    fields=(
        Field(
            "project_id",
            Text(min_length=1),
            "The project that uses the storage.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "provider",
            _PROVIDER,
            "The cloud provider and the location of the storage.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: ExternalStorage
metadata:
  name: archive
spec:
  project_id: ${Project/search}
  provider:
    type: aws
    bucket: acme-openai
    role_arn: arn:aws:iam::111122223333:role/openai-storage
""",
)
