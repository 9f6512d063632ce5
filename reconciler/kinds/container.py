"""Containers: sandboxes for the code interpreter and the shell tool.

A container cannot be changed, and it expires when idle. Do not use a declared container as storage:
once it has expired, the next apply creates a new, empty one.
"""

from __future__ import annotations

from reconciler.kinds.environment_template import INLINE_SKILL
from reconciler.model.kind import Field, Kind, Mutability, Readable, ScopeType, TerminalState
from reconciler.model.types import (
    Integer,
    ListOf,
    Object,
    Property,
    SecretValueType,
    Tagged,
    Text,
    Type,
)


def _field(name: str, type: Type, doc: str, **rest: object) -> Field:
    return Field(name, type, doc, mutability=Mutability.REPLACES, **rest)  # type: ignore[arg-type]


_SKILL = Tagged(
    {
        "skill_reference": Object(
            (
                Property(
                    "skill_id", Text(min_length=1, max_length=64), "The skill id.", required=True
                ),
                Property("version", Text(), "The version of the skill; the latest if omitted."),
            )
        ),
        "inline": INLINE_SKILL,
    }
)
_DOMAIN_SECRET = Object(
    (
        Property(
            "domain",
            Text(min_length=1),
            "The allowed domain whose requests carry the secret.",
            required=True,
        ),
        Property(
            "name",
            Text(min_length=1),
            "The name by which code in the container refers to it.",
            required=True,
        ),
        Property("value", SecretValueType(), "The secret.", required=True),
    )
)

KIND = Kind(
    name="Container",
    doc="A sandbox for code, with files and skills. It expires when idle; the next apply creates it again.",
    scope=ScopeType.PROJECT_KEY,
    collection="/containers",
    # Containers have no metadata for a mark, so an adoption has only the name.
    natural_key=("name",),
    # An expired container can stay in the list, but its files are lost.
    terminal_states={("status", "expired"): TerminalState.GONE},
    destroys="files and state in the container are lost",
    fields=(
        _field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        _field(
            "expires_after",
            Object(
                (
                    Property(
                        "anchor",
                        Text(choices=("last_active_at",)),
                        "The event that starts the timer.",
                        required=True,
                    ),
                    Property("minutes", Integer(1), "Minutes of inactivity.", required=True),
                )
            ),
            "When an idle container expires.",
        ),
        _field(
            "memory_limit",
            Text(choices=("1g", "4g", "16g", "64g")),
            "The memory limit.",
            default="1g",
        ),
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
                                "The hosts that the container can connect to.",
                                required=True,
                            ),
                            Property(
                                "domain_secrets",
                                ListOf(_DOMAIN_SECRET, min_items=1),
                                "Secrets to add to requests to allowed domains, each as "
                                "`{from_env: RECONCILER_SECRET_…}` or `{from_file: secrets/…}`.",
                                hidden=True,
                            ),
                        )
                    ),
                }
            ),
            "Network access: none, or an allowlist of hosts.",
        ),
        # Answers contain neither the files nor the skills that were sent.
        _field(
            "file_ids",
            ListOf(Text(min_length=1), unordered=True),
            "Uploaded files to copy into the container.",
            default=[],
            readable=Readable.NEVER,
        ),
        _field(
            "skills",
            ListOf(_SKILL),
            "Skills to install, by id or as an archive.",
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
