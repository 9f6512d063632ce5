"""Environment templates: the initial contents of an agent's hosted environment (beta).

The API does not return variables, setup commands or file contents, so those are compared with the
last applied values.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Readable, ScopeType
from reconciler.model.types import (
    Boolean,
    Either,
    ListOf,
    MapOf,
    Object,
    Property,
    SecretValueType,
    Tagged,
    Text,
)

_BASE64 = Text(
    pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$"
)
_IN_WORKSPACE = Text(pattern=r"^/workspace/\S+$")
_DOMAIN = Text(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def _packages(name: str, whose: str) -> Property:
    return Property(
        name,
        ListOf(Text(min_length=1), unordered=True),
        f"{whose} packages to install.",
        default=[],
    )


def _archive(what: str) -> Object:
    source = Object(
        (
            Property(
                "type", Text(choices=("base64",)), "The encoding of the archive.", required=True
            ),
            Property(
                "media_type",
                Text(choices=("application/zip",)),
                "The media type of the archive.",
                required=True,
            ),
            Property("data", _BASE64, "The base64-encoded archive.", required=True),
        )
    )
    return Object(
        (
            Property("name", Text(min_length=1), f"The name of the {what}.", required=True),
            Property(
                "description", Text(min_length=1), f"A description of the {what}.", required=True
            ),
            Property("source", source, "The archive.", required=True, hidden=True),
        )
    )


INLINE_SKILL = _archive("skill")
FILES = ListOf(
    Tagged(
        {
            "file_id": Object(
                (
                    Property(
                        "file_id", Text(min_length=1), "The id of an uploaded file.", required=True
                    ),
                    Property(
                        "path",
                        _IN_WORKSPACE,
                        "The path in the environment, below /workspace.",
                        required=True,
                    ),
                )
            ),
            "inline": Object(
                (
                    Property(
                        "data",
                        _BASE64,
                        "The base64-encoded content; must not contain secrets.",
                        required=True,
                        hidden=True,
                    ),
                    Property(
                        "path",
                        _IN_WORKSPACE,
                        "The path in the environment, below /workspace.",
                        required=True,
                    ),
                )
            ),
        }
    )
)
PACKAGES = Object(
    (_packages("npm", "npm"), _packages("python", "Python"), _packages("system", "System"))
)
NETWORK = Object(
    (
        Property(
            "access",
            Text(choices=("enabled", "disabled", "restricted")),
            "The level of network access.",
            required=True,
        ),
        Property(
            "allowed_domains",
            ListOf(_DOMAIN, unordered=True),
            "The only domains that can be reached.",
            default=[],
        ),
        Property(
            "blocked_domains",
            ListOf(_DOMAIN, unordered=True),
            "Domains that cannot be reached.",
            default=[],
            hidden=True,
        ),
    )
)
SKILLS = ListOf(
    Tagged(
        {
            "skill_reference": Object(
                (
                    Property("skill_id", Text(min_length=1), "The skill id.", required=True),
                    Property(
                        "version",
                        Text(pattern=r"^([1-9][0-9]*|latest)$"),
                        "A version number or `latest`.",
                    ),
                )
            ),
            "inline": INLINE_SKILL,
        }
    )
)
PLUGINS = ListOf(Tagged({"inline": _archive("plugin")}))
DIRECTORIES = ListOf(Text(pattern=r"^/\S+$"))
DESKTOP = Object(
    (
        Property(
            "enabled",
            Boolean(),
            "Whether the environment has a desktop.",
            required=True,
            default=False,
        ),
    )
)
ENV = MapOf(Either(Text(), SecretValueType(multiline=True)))
COMMANDS = ListOf(
    Object(
        (
            Property(
                "command", Text(min_length=1, multiline=True), "The shell command.", required=True
            ),
            Property(
                "cwd",
                Text(pattern=r"^/\S*$"),
                "The working directory; /workspace if omitted.",
                default=None,
            ),
        )
    )
)

REACHES = ("disabled", "restricted", "enabled")
"""Network access levels, from the least to the most."""

_RESTRICTED = ("network.access", "restricted")

KIND = Kind(
    name="EnvironmentTemplate",
    doc="A template for agents' hosted environments: files, packages, network, variables (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents/environments/templates",
    # Templates have no metadata for a mark.
    natural_key=("name",),
    beta="agents=v1",
    destroys="no session can start from it",
    fields=(
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        # An update keeps the fields that it was not sent, so a removed field is sent empty.
        Field("files", FILES, "Files to place below /workspace.", default=[], reset=[]),
        Field("packages", PACKAGES, "Packages to install.", default={}, reset={}),
        Field(
            "network",
            NETWORK,
            "Network access after setup.",
            losses=(
                LossRule(
                    When.RISES,
                    Lost.LIMIT,
                    "opens the network from {before} to {after}",
                    ("access",),
                    REACHES,
                ),
                LossRule(
                    When.FALLS,
                    Lost.ACCESS,
                    "closes the network from {before} to {after}",
                    ("access",),
                    REACHES,
                ),
                LossRule(
                    When.GAINS,
                    Lost.LIMIT,
                    "allows access to {items}",
                    ("allowed_domains",),
                    given=_RESTRICTED,
                ),
                LossRule(
                    When.LOSES,
                    Lost.ACCESS,
                    "blocks access to {items}",
                    ("allowed_domains",),
                    given=_RESTRICTED,
                ),
                # In a list of blocked domains, fewer entries permit more domains.
                LossRule(When.LOSES, Lost.LIMIT, "allows access to {items}", ("blocked_domains",)),
                LossRule(When.GAINS, Lost.ACCESS, "blocks access to {items}", ("blocked_domains",)),
            ),
        ),
        Field("skills", SKILLS, "Skills to make available to the agent.", default=[], reset=[]),
        Field("plugins", PLUGINS, "Plugins to install.", default=[], reset=[]),
        Field(
            "capability_directories",
            DIRECTORIES,
            "Folders with additional capabilities.",
            default=[],
            reset=[],
        ),
        Field(
            "desktop",
            DESKTOP,
            "A desktop with a browser.",
            default={"enabled": False},
            nullable=True,
        ),
        Field(
            "env",
            ENV,
            "Environment variables, each a string or a secret: `{from_env: RECONCILER_SECRET_…}` "
            "or `{from_file: secrets/…}`.",
            default={},
            reset={},
            # Write-only at the API, because variables and commands can contain secrets.
            readable=Readable.NEVER,
        ),
        Field(
            "setup_commands",
            COMMANDS,
            "Commands to run, in order, before the agent starts.",
            default=[],
            reset=[],
            readable=Readable.NEVER,
        ),
    ),
    example="""\
kind: EnvironmentTemplate
metadata:
  name: python
spec:
  packages: {python: [httpx]}
  network: {access: restricted, allowed_domains: [pypi.org]}
  env:
    LOG_LEVEL: info
    INDEX_TOKEN: {from_file: secrets/index.token}
  setup_commands:
    - command: mkdir -p /workspace/reports
""",
)
