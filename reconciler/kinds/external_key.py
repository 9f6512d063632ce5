"""External keys: encryption keys in a cloud provider's key management service. They cannot be
changed.
"""

from __future__ import annotations

from reconciler.model.kind import Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Text

_AWS = {
    "kms_arn": "The ARN of the key.",
    "role_arn": "The ARN of the role that may use the key.",
    "external_id": "The external id that the role's trust policy requires.",
}
_GCP = {
    "kms_project_id": "The id of the Google Cloud project that contains the key.",
    "kms_key_location": "The location of the key ring.",
    "kms_key_ring_name": "The name of the key ring.",
    "kms_key_name": "The name of the key.",
    "audience": "The audience of the exchanged tokens.",
    "workload_identity_project_number": "The number of the project that contains the workload identity pool.",
    "workload_identity_pool_id": "The id of the workload identity pool.",
    "workload_identity_provider_id": "The id of the provider in the pool.",
}
_AZURE = {
    "tenant_id": "The id of the tenant.",
    "vault_uri": "The URI of the vault.",
    "key_name": "The name of the key.",
}
_OCI = {
    "region": "The region of the vault.",
    "vault_ocid": "The OCID of the vault.",
    "key_ocid": "The OCID of the key.",
}
_VERSIONS = {
    "kms_key_version": "The version of the key (type: gcp).",
    "key_version": "The version of the key (type: azure).",
    "key_version_ocid": "The OCID of the key version (type: oci).",
}


def _fields(docs: dict[str, str]) -> tuple[Field, ...]:
    return tuple(
        Field(name, Text(min_length=1), doc, mutability=Mutability.REPLACES)
        for name, doc in docs.items()
    )


KIND = Kind(
    name="ExternalKey",
    doc=
        "A customer-managed encryption key in AWS, Google Cloud, Azure or Oracle Cloud that "
        "projects can use.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/external_keys",
    # There is no modify call for external keys, so a change of any field registers another key.
    natural_key=("name",),
    audit_events=("external_key.",),
    destroys="data encrypted with it can no longer be read",
    # The fields of all providers share one flat object, so their names tell the shapes apart.
    shapes=(
        Shape(tuple(_AWS), when=("type", "aws")),
        Shape(tuple(_GCP), ("kms_key_version",), when=("type", "gcp")),
        Shape(tuple(_AZURE), ("key_version",), when=("type", "azure")),
        Shape(tuple(_OCI), ("key_version_ocid",), when=("type", "oci")),
    ),
    fields=(
        Field("type", Text(choices=("aws", "gcp", "azure", "oci")), "The cloud provider.", required=True,
              mutability=Mutability.REPLACES),
        Field("name", Text(min_length=1), "The display name.", required=True, mutability=Mutability.REPLACES),
        Field("purpose", Text(choices=("ekm", "psp_decryption")), "The purpose of the key.",
              mutability=Mutability.REPLACES),
        *_fields(_AWS | _GCP | _AZURE | _OCI | _VERSIONS),
    ),
    example="""\
kind: ExternalKey
metadata:
  name: vault
spec:
  type: aws
  name: Vault
  kms_arn: arn:aws:kms:eu-central-1:111122223333:key/example
  role_arn: arn:aws:iam::111122223333:role/example
  external_id: example
""",
)  # fmt: skip
