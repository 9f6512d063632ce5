"""Containers: the sandboxes that the code interpreter and the shell tool run in.

Nothing about a container can be changed, and one that is idle for too long is gone: a declared container is a place
kept warm, not a store. The next apply makes another.
"""

from __future__ import annotations

from reconciler.kinds.environment_template import INLINE_SKILL
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import Integer, ListOf, Object, Property, SecretValueType, Tagged, Text, Type


def _field(name: str, type: Type, doc: str, **rest: object) -> Field:
    return Field(name, type, doc, mutability=Mutability.REPLACES, **rest)  # type: ignore[arg-type]


_SKILL = Tagged(
    {
        "skill_reference": Object(
            (
                Property("skill_id", Text(min_length=1, max_length=64), "The skill.", required=True),
                Property("version", Text(), "Its version; left out, the latest."),
            )
        ),
        "inline": INLINE_SKILL,
    }
)
_DOMAIN_SECRET = Object(
    (
        Property("domain", Text(min_length=1), "The allowed domain whose requests get the secret.", required=True),
        Property("name", Text(min_length=1), "The name by which code in the container refers to it.", required=True),
        Property("value", SecretValueType(), "The secret.", required=True),
    )
)

KIND = Kind(
    name="Container",
    doc="A sandbox for code, with files and skills in it. It expires when it is not used, and is then made anew.",
    scope=ScopeType.PROJECT_KEY,
    collection="/containers",
    natural_key=("name",),
    terminal_states={("status", "expired"): TerminalState.GONE},
    destroys="what was computed in it is lost",
    fields=(
        _field(
            "name", Text(min_length=1), "The name people see. Left out, that of the resource.", defaults_to_name=True
        ),
        _field(
            "expires_after",
            Object(
                (
                    Property("anchor", Text(choices=("last_active_at",)), "From when the time counts.", required=True),
                    Property("minutes", Integer(1), "Minutes without use.", required=True),
                )
            ),
            "When the container expires.",
        ),
        _field("memory_limit", Text(choices=("1g", "4g", "16g", "64g")), "How much memory it has.", default="1g"),
        _field(
            "network_policy",
            Tagged(
                {
                    "disabled": Object(()),
                    "allowlist": Object(
                        (
                            Property(
                                "allowed_domains",
                                ListOf(Text(min_length=1), min_items=1, unordered=True),
                                "The hosts that can be reached.",
                                required=True,
                            ),
                            Property(
                                "domain_secrets",
                                ListOf(_DOMAIN_SECRET, min_items=1),
                                "Secrets that are put into requests to allowed domains, each as `{from_env: "
                                "RECONCILER_SECRET_…}` or `{from_file: secrets/…}`.",
                                hidden=True,
                            ),
                        )
                    ),
                }
            ),
            "What it can reach: nothing, or the hosts of a list.",
        ),
        _field(
            "file_ids",
            ListOf(Text(min_length=1), unordered=True),
            "Uploaded files that are copied into it.",
            default=[],
            readable=Readable.NEVER,
        ),
        _field(
            "skills",
            ListOf(_SKILL),
            "Skills that it starts with, by id or as an archive.",
            default=[],
            readable=Readable.NEVER,
        ),
    ),
    example="""\
kind: Container
metadata:
  name: sandbox
spec:
  memory_limit: 4g
  expires_after: {anchor: last_active_at, minutes: 20}
  network_policy: {type: allowlist, allowed_domains: [pypi.org]}
""",
)
