"""Workload identity providers: issuers whose tokens are taken in place of keys, as its federation rules say."""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Boolean, Json, ListOf, Object, Property, Tagged, Text

_ACCEPTED = "stops accepting the tokens that {before} was for"
ENABLED = Field(
    "enabled",
    Boolean(),
    "Whether it counts.",
    default=True,
    reset=True,
    losses=(LossRule(When.FALLS, Lost.ACCESS, "stops accepting its tokens"),),
)
DESCRIPTION = Field("description", Text(), "What it is for.", default=None, nullable=True)

_VERIFICATION = Tagged(
    {
        "discovery": Object(
            (
                Property(
                    "discovery_url",
                    Text(),
                    "Where the issuer describes itself; null is the usual place below the issuer.",
                    required=True,
                    default=None,
                ),
            )
        ),
        "uploaded_jwks": Object((Property("jwks", Json(), "The issuer's key set.", required=True),)),
    },
    default={"type": "discovery"},
)

KIND = Kind(
    name="WorkloadIdentityProvider",
    doc="An OIDC issuer whose tokens can stand for service accounts, so that no key has to be kept.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/workload_identity_providers",
    natural_key=("name",),
    audit_events=("workload_identity_provider.",),
    destroys="its federation rules go with it, and no token of it is taken any more",
    fields=(
        Field("type", Text(choices=("oidc",)), "The protocol.", required=True, mutability=Mutability.REPLACES),
        Field("name", Text(min_length=1), "The name people see.", required=True),
        Field(
            "issuer",
            Text(min_length=1),
            "The issuer, as its tokens name it.",
            required=True,
            losses=(LossRule(When.CHANGES, Lost.ACCESS, _ACCEPTED),),
        ),
        Field(
            "audience",
            Text(min_length=1),
            "The audience that tokens must be for.",
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
                        Property("attribute", Text(min_length=1), "The attribute that rules match.", required=True),
                        Property("expression", Text(min_length=1), "How a token's claims give it.", required=True),
                    )
                )
            ),
            "Attributes made from the claims of a token.",
            default=[],
            reset=[],
            losses=(LossRule(When.CHANGES, Lost.ACCESS, "stops matching the attributes that tokens had"),),
        ),
        Field(
            "verification",
            _VERIFICATION,
            "Where the keys come from that tokens are verified with.",
            losses=(LossRule(When.CHANGES, Lost.ACCESS, "stops accepting tokens signed with the former keys"),),
            default={"type": "discovery"},
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
