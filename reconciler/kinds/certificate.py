"""Certificates for mutual TLS. An uploaded certificate has no effect until it is activated."""

from __future__ import annotations

from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="Certificate",
    doc="A certificate for mutual TLS, uploaded to the organization. Activate it with a CertificateActivation.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/certificates",
    # Certificates have no metadata for a mark.
    natural_key=("name",),
    audit_events=("certificate.",),
    fields=(
        Field(
            "name",
            Text(),
            "The display name; need not be unique. Defaults to the resource's name.",
            defaults_to_name=True,
        ),
        Field(
            "certificate",
            Text(min_length=1, multiline=True, fold=str.strip),
            "The certificate in PEM format.",
            required=True,
            # Lists show no content; a read of one certificate shows it only with
            # `include[]=content`.
            readable=Readable.NEVER,
            # The modify call accepts only the name.
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: Certificate
metadata:
  name: gateway
spec:
  certificate: ${file:certificates/gateway.pem}
""",
)
