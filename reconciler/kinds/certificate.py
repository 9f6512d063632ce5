"""Certificates: who may connect with mutual TLS. Uploading one changes nothing until it is activated somewhere."""

from __future__ import annotations

from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="Certificate",
    doc="A certificate for mutual TLS, known to the organization; a CertificateActivation puts it to use.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/certificates",
    natural_key=("name",),
    audit_events=("certificate.",),
    fields=(
        Field(
            "name",
            Text(),
            "The name people see, not unique at the API. Left out, that of the resource.",
            defaults_to_name=True,
        ),
        Field(
            "certificate",
            Text(min_length=1, multiline=True, fold=str.strip),
            "The certificate, as PEM text.",
            required=True,
            readable=Readable.NEVER,
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
