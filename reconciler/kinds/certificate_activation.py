"""Certificate activations: one resource for each certificate and scope in which it is active."""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="CertificateActivation",
    doc="Activates a certificate for the organization or, with metadata.project, for one project.",
    scope=ScopeType.EITHER,
    collection="/organization/certificates",
    natural_key=("certificate_id",),
    calls=Calls(
        create="POST {collection}/activate",
        delete="POST {collection}/deactivate",
        also_at=("/organization/projects/{project}/certificates",),
        # Both calls take a list of ids and are idempotent, so repeating one after a lost answer is
        # safe.
        in_list_as="certificate_ids",
        # The list has every uploaded certificate. Reads of one certificate lack `active`, so they
        # cannot tell.
        listed=lambda item: item["active"] is True if "active" in item else None,
    ),
    unique=True,
    readable_singly=False,
    destroys="the certificate is no longer accepted there",
    audit_events=("certificates.", "certificate."),
    fields=(
        Field(
            "certificate_id",
            Text(min_length=1),
            "The certificate.",
            required=True,
            mutability=Mutability.REPLACES,
            response_key="id",
        ),
    ),
    example="""\
kind: CertificateActivation
metadata:
  name: gateway
spec:
  certificate_id: ${Certificate/gateway}
""",
)
