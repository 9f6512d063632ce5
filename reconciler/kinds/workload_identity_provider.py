"""Workload identity providers: token issuers that replace keys, according to their federation
rules.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Boolean, Json, ListOf, Object, Property, Tagged, Text

_ACCEPTED = "stops accepting tokens for {before}"
ENABLED = Field(
    "enabled",
    Boolean(),
    "Whether it is in effect.",
    default=True,
    # An update keeps the fields that it was not sent, so removal sends the default.
    reset=True,
    losses=(LossRule(When.FALLS, Lost.ACCESS, "stops accepting its tokens"),),
)
DESCRIPTION = Field("description", Text(), "A description.", default=None, nullable=True)

_VERIFICATION = Tagged(
    {
        "discovery": Object(
            (
                Property(
                    "discovery_url",
                    Text(),
                    "The URL of the discovery document; null means the standard location below the issuer.",
                    required=True,
                    default=None,
                ),
            )
        ),
        "uploaded_jwks": Object(
            (Property("jwks", Json(), "The issuer's JSON Web Key Set.", required=True),)
        ),
    },
    default={"type": "discovery"},
)

KIND = Kind(
    name="WorkloadIdentityProvider",
    doc="An OIDC issuer whose tokens can authenticate as service accounts, so that no key has to be stored.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/workload_identity_providers",
    natural_key=("name",),
    audit_events=("workload_identity_provider.",),
    destroys="its federation rules are deleted, and its tokens are no longer accepted",
    fields=(
        Field(
            "type",
            Text(choices=("oidc",)),
            "The protocol.",
            required=True,
            # The modify call accepts every field but this one.
            mutability=Mutability.REPLACES,
        ),
        Field("name", Text(min_length=1), "The display name.", required=True),
        Field(
            "issuer",
            Text(min_length=1),
            "The issuer claim of its tokens.",
            required=True,
            losses=(LossRule(When.CHANGES, Lost.ACCESS, _ACCEPTED),),
        ),
        Field(
            "audience",
            Text(min_length=1),
            "The audience that tokens must have.",
            required=True,
            losses=(LossRule(When.CHANGES, Lost.ACCESS, _ACCEPTED),),
        ),
        DESCRIPTION,
        ENABLED,
        Field(
            "attribute_transformations",
            ListOf(
                Object(
                    (
                        Property(
                            "attribute",
                            Text(min_length=1),
                            "The name of the attribute, for use in federation rules.",
                            required=True,
                        ),
                        Property(
                            "expression",
                            Text(min_length=1),
                            "The expression that computes the attribute from a token's claims.",
                            required=True,
                        ),
                    )
                )
            ),
            "Attributes computed from a token's claims.",
            default=[],
            reset=[],
            losses=(
                LossRule(
                    When.CHANGES, Lost.ACCESS, "changes the attributes that federation rules match"
                ),
            ),
        ),
        Field(
            "verification",
            _VERIFICATION,
            "The source of the keys that verify tokens.",
            losses=(
                LossRule(
                    When.CHANGES,
                    Lost.ACCESS,
                    "stops accepting tokens signed with the previous keys",
                ),
            ),
            default={"type": "discovery"},
            # An update keeps the parts that it was not sent, so the URL is sent as null.
            reset={"type": "discovery", "discovery_url": None},
        ),
    ),
    example="""\
kind: WorkloadIdentityProvider
metadata:
  name: github
spec:
  type: oidc
  name: GitHub Actions
  issuer: https://token.actions.githubusercontent.com
  audience: https://api.openai.com/v1
""",
)
