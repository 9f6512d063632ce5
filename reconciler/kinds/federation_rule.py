"""Federation rules: which tokens of an identity provider map to which service account."""

from __future__ import annotations

from reconciler.kinds.workload_identity_provider import DESCRIPTION, ENABLED
from reconciler.model.destruction import EVERYTHING, LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import ListOf, MapOf, Object, Property, Scalar, Tagged, Text


def _fixed(name: str, doc: str) -> Field:
    return Field(name, Text(min_length=1), doc, required=True, mutability=Mutability.REPLACES)


KIND = Kind(
    name="FederationRule",
    doc="A rule that maps tokens of a WorkloadIdentityProvider to a service account.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/workload_identity_providers/{workload_identity_provider_id}/federation_rules",
    natural_key=("workload_identity_provider_id", "name"),
    parent_sources={"workload_identity_provider_id": ("WorkloadIdentityProvider",)},
    destroys="matching tokens are no longer accepted",
    # A rule can end together with its provider, service account or project. The log reports that
    # under their event types.
    audit_events=(
        "workload_identity_provider_mapping.",
        "workload_identity_provider.",
        "service_account.",
        "project.",
    ),
    fields=(
        _fixed("workload_identity_provider_id", "The provider whose tokens the rule applies to."),
        _fixed("project_id", "The project of the service account."),
        _fixed("service_account_id", "The service account that a matching token authenticates as."),
        Field(
            "attribute_matchers",
            MapOf(Scalar()),
            "The attributes and values that a token must have.",
            required=True,
            losses=(
                # A token must have every pair, so more pairs accept fewer tokens.
                LossRule(When.GAINS, Lost.ACCESS, "stops accepting tokens without {items}"),
                LossRule(When.LOSES, Lost.LIMIT, "accepts tokens without {items}"),
            ),
        ),
        Field(
            "name",
            Text(),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        DESCRIPTION,
        ENABLED,
        Field(
            "permissions",
            Tagged(
                {
                    "service_account_default": Object(()),
                    "restricted": Object(
                        (
                            Property(
                                "scopes",
                                ListOf(Text(min_length=1), unordered=True),
                                "The scopes.",
                                required=True,
                            ),
                        )
                    ),
                },
                default={"type": "service_account_default"},
            ),
            "What a token may do: everything that the service account may, or only the listed `scopes`.",
            default={"type": "service_account_default"},
            losses=(
                LossRule(
                    When.LOSES,
                    Lost.ACCESS,
                    "removes {items} from its tokens",
                    ("scopes",),
                    unset=EVERYTHING,
                ),
                LossRule(
                    When.GAINS,
                    Lost.LIMIT,
                    "grants {items} to its tokens",
                    ("scopes",),
                    unset=EVERYTHING,
                ),
            ),
            # An update keeps the fields that it was not sent, so removal sends the default.
            reset={"type": "service_account_default"},
        ),
    ),
    example="""\
kind: FederationRule
metadata:
  name: deploy
spec:
  workload_identity_provider_id: ${WorkloadIdentityProvider/github}
  project_id: ${Project/search}
  service_account_id: ${ServiceAccount/search/indexer}
  attribute_matchers:
    repository: acme/shop
    ref: refs/heads/main
""",
)
