"""Environment templates: what a hosted environment of an agent begins with (beta).

The API shows no variables, no setup commands and no contents, so those are compared with what was applied last.
"""

from __future__ import annotations

from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Readable, ScopeType
from reconciler.model.types import Boolean, Either, ListOf, MapOf, Object, Property, SecretValueType, Tagged, Text

_BASE64 = Text(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)$")
_IN_WORKSPACE = Text(pattern=r"^/workspace/\S+$")
_DOMAIN = Text(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def _packages(name: str, whose: str) -> Property:
    return Property(name, ListOf(Text(min_length=1), unordered=True), f"Packages of {whose}.", default=[])


def _archive(what: str) -> Object:
    source = Object(
        (
            Property("type", Text(choices=("base64",)), "How the archive is written.", required=True),
            Property("media_type", Text(choices=("application/zip",)), "What it is.", required=True),
            Property("data", _BASE64, "The archive in base64.", required=True),
        )
    )
    return Object(
        (
            Property("name", Text(min_length=1), f"The name that the {what} gives itself.", required=True),
            Property("description", Text(min_length=1), f"What the {what} says that it does.", required=True),
            Property("source", source, "The archive.", required=True, hidden=True),
        )
    )


INLINE_SKILL = _archive("skill")
FILES = ListOf(
    Tagged(
        {
            "file_id": Object(
                (
                    Property("file_id", Text(min_length=1), "An uploaded file.", required=True),
                    Property("path", _IN_WORKSPACE, "Where it goes.", required=True),
                )
            ),
            "inline": Object(
                (
                    Property("data", _BASE64, "The content in base64; no secret.", required=True, hidden=True),
                    Property("path", _IN_WORKSPACE, "Where it goes.", required=True),
                )
            ),
        }
    )
)
PACKAGES = Object((_packages("npm", "npm"), _packages("python", "Python"), _packages("system", "the system")))
NETWORK = Object(
    (
        Property("access", Text(choices=("enabled", "disabled", "restricted")), "What can be reached.", required=True),
        Property("allowed_domains", ListOf(_DOMAIN, unordered=True), "What alone can be reached.", default=[]),
        Property(
            "blocked_domains", ListOf(_DOMAIN, unordered=True), "What alone cannot be reached.", default=[], hidden=True
        ),
    )
)
SKILLS = ListOf(
    Tagged(
        {
            "skill_reference": Object(
                (
                    Property("skill_id", Text(min_length=1), "The skill.", required=True),
                    Property("version", Text(pattern=r"^([1-9][0-9]*|latest)$"), "A version, or latest."),
                )
            ),
            "inline": INLINE_SKILL,
        }
    )
)
PLUGINS = ListOf(Tagged({"inline": _archive("plugin")}))
DIRECTORIES = ListOf(Text(pattern=r"^/\S+$"))
DESKTOP = Object((Property("enabled", Boolean(), "Whether there is one.", required=True, default=False),))
ENV = MapOf(Either(Text(), SecretValueType(multiline=True)))
COMMANDS = ListOf(
    Object(
        (
            Property("command", Text(min_length=1, multiline=True), "What the shell runs.", required=True),
            Property("cwd", Text(pattern=r"^/\S*$"), "Where, if not in /workspace.", default=None),
        )
    )
)

REACHES = ("disabled", "restricted", "enabled")
"""What a network can reach, from the least to the most."""

_RESTRICTED = ("network.access", "restricted")

KIND = Kind(
    name="EnvironmentTemplate",
    doc="What hosted environments of agents begin with: files, packages, network, variables (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents/environments/templates",
    natural_key=("name",),
    beta="agents=v1",
    destroys="no session can begin with it any more",
    fields=(
        Field(
            "name", Text(min_length=1), "The name people see. Left out, that of the resource.", defaults_to_name=True
        ),
        Field("files", FILES, "Files that are there from the beginning, below /workspace.", default=[], reset=[]),
        Field("packages", PACKAGES, "Packages that are installed.", default={}, reset={}),
        Field(
            "network",
            NETWORK,
            "What can be reached once it is set up.",
            losses=(
                LossRule(When.RISES, Lost.LIMIT, "opens the network from {before} to {after}", ("access",), REACHES),
                LossRule(When.FALLS, Lost.ACCESS, "closes the network from {before} to {after}", ("access",), REACHES),
                LossRule(When.GAINS, Lost.LIMIT, "lets it reach {items}", ("allowed_domains",), given=_RESTRICTED),
                LossRule(
                    When.LOSES, Lost.ACCESS, "stops it from reaching {items}", ("allowed_domains",), given=_RESTRICTED
                ),
                LossRule(When.LOSES, Lost.LIMIT, "lets it reach {items}", ("blocked_domains",)),
                LossRule(When.GAINS, Lost.ACCESS, "stops it from reaching {items}", ("blocked_domains",)),
            ),
        ),
        Field("skills", SKILLS, "Skills that the agent has there.", default=[], reset=[]),
        Field("plugins", PLUGINS, "Plugins that are installed.", default=[], reset=[]),
        Field(
            "capability_directories", DIRECTORIES, "Folders with more of what the agent can do.", default=[], reset=[]
        ),
        Field("desktop", DESKTOP, "A desktop with a browser.", default={"enabled": False}, nullable=True),
        Field(
            "env",
            ENV,
            "Variables, each a text or a secret: `{from_env: RECONCILER_SECRET_…}` or `{from_file: secrets/…}`.",
            default={},
            reset={},
            readable=Readable.NEVER,
        ),
        Field(
            "setup_commands",
            COMMANDS,
            "What is run before the agent begins, in this order.",
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
