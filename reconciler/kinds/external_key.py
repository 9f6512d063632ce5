"""External keys: keys of a cloud's key management that data is encrypted with. Nothing about one can be changed."""

from __future__ import annotations

from reconciler.model.kind import Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Text

_AWS = {
    "kms_arn": "The ARN of the key.",
    "role_arn": "The ARN of the role that may use it.",
    "external_id": "The external id that the role's trust policy asks for.",
}
_GCP = {
    "kms_project_id": "The id of the cloud project that has the key.",
    "kms_key_location": "The location of the key ring.",
    "kms_key_ring_name": "The name of the key ring.",
    "kms_key_name": "The name of the key.",
    "audience": "The audience of the tokens that are exchanged.",
    "workload_identity_project_number": "The number of the cloud project that has the workload identity pool.",
    "workload_identity_pool_id": "The id of the workload identity pool.",
    "workload_identity_provider_id": "The id of the pool's provider.",
}
_AZURE = {
    "tenant_id": "The id of the tenant.",
    "vault_uri": "The address of the vault.",
    "key_name": "The name of the key.",
}
_OCI = {
    "region": "The region of the vault.",
    "vault_ocid": "The OCID of the vault.",
    "key_ocid": "The OCID of the key.",
}
_VERSIONS = {
    "kms_key_version": "The version of the key, for gcp.",
    "key_version": "The version of the key, for azure.",
    "key_version_ocid": "The OCID of the key's version, for oci.",
}


def _fields(docs: dict[str, str]) -> tuple[Field, ...]:
    return tuple(Field(name, Text(min_length=1), doc, mutability=Mutability.REPLACES) for name, doc in docs.items())


KIND = Kind(
    name="ExternalKey",
    doc="A customer-managed encryption key in AWS, Google Cloud, Azure or Oracle Cloud, for projects to refer to.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/external_keys",
    natural_key=("name",),
    audit_events=("external_key.",),
    destroys="what is encrypted with it cannot be read any more",
    shapes=(
        Shape(tuple(_AWS), when=("type", "aws")),
        Shape(tuple(_GCP), ("kms_key_version",), when=("type", "gcp")),
        Shape(tuple(_AZURE), ("key_version",), when=("type", "azure")),
        Shape(tuple(_OCI), ("key_version_ocid",), when=("type", "oci")),
    ),
    fields=(
        Field("type", Text(choices=("aws", "gcp", "azure", "oci")), "Whose key management it is.", required=True,
              mutability=Mutability.REPLACES),
        Field("name", Text(min_length=1), "The name people see.", required=True, mutability=Mutability.REPLACES),
        Field("purpose", Text(choices=("ekm", "psp_decryption")), "What the key is for.",
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
