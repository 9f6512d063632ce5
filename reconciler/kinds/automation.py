"""Automations: schedules that start agent sessions or wake an existing one (beta)."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.kinds.agent import KIND as AGENT
from reconciler.kinds.environment_template import (
    COMMANDS,
    DESKTOP,
    DIRECTORIES,
    ENV,
    FILES,
    NETWORK,
    PACKAGES,
    PLUGINS,
    SKILLS,
)
from reconciler.kinds.parts import metadata
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import Field, Kind, Mutability, ScopeType, Shape
from reconciler.model.types import Integer, ListOf, Object, Property, Tagged, Text
from reconciler.model.values import Spec

_ENVIRONMENT = Tagged(
    {
        "none": Object(()),
        "openai_hosted": Object(
            (
                Property(
                    "environment_id",
                    Text(min_length=1),
                    "An existing environment. Cannot be combined with a template or any other setting.",
                    default=None,
                ),
                Property(
                    "environment_template_id", Text(min_length=1), "The template to start from."
                ),
                Property(
                    "container_size",
                    Text(choices=("small", "medium", "large")),
                    "The container size.",
                ),
                Property("files", FILES, "Files that replace those of the template.", default=None),
                Property(
                    "packages",
                    PACKAGES,
                    "Packages that replace those of the template.",
                    default=None,
                ),
                Property(
                    "network",
                    NETWORK,
                    "Network access; cannot exceed what the template allows.",
                    default=None,
                ),
                Property(
                    "skills", SKILLS, "Skills that replace those of the template.", default=None
                ),
                Property(
                    "plugins", PLUGINS, "Plugins that replace those of the template.", default=None
                ),
                Property(
                    "capability_directories",
                    DIRECTORIES,
                    "Folders that replace those of the template.",
                    default=None,
                ),
                Property("desktop", DESKTOP, "A desktop with a browser.", default=None),
                Property(
                    "env",
                    ENV,
                    "Environment variables, each a string or a secret.",
                    default=None,
                    # Write-only at the API, because values can be secrets.
                    hidden=True,
                ),
                Property("setup_commands", COMMANDS, "Setup commands.", default=None, hidden=True),
            )
        ),
        "self_hosted": Object(
            (
                Property(
                    "workspace_directory",
                    Text(pattern=r"^/\S*$"),
                    "The project's folder.",
                    required=True,
                ),
                Property(
                    "capability_directories",
                    DIRECTORIES,
                    "Folders with additional capabilities.",
                    default=[],
                ),
            )
        ),
    }
)
_CONTENT = Tagged(
    {
        "input_text": Object(
            (Property("text", Text(min_length=1, multiline=True), "The text.", required=True),)
        ),
        "input_image": Object(
            (Property("image_url", Text(min_length=1), "The URL of the image.", required=True),)
        ),
    }
)
_MESSAGE = Object(
    (
        Property("type", Text(choices=("message",)), "The type of item.", default="message"),
        Property("role", Text(choices=("user",)), "The author of the message.", required=True),
        Property(
            "content", ListOf(_CONTENT, min_items=1), "The content of the message.", required=True
        ),
    )
)
_AGENT = Object(
    tuple(
        Property(item.name, item.type, item.doc, item.required, item.default)
        for item in AGENT.fields
        if item.name not in ("name", "metadata")
    )
)
_EITHER = ("agent", "agent_id")
_TARGET = Tagged(
    {
        "new_session": Object(
            (
                Property(
                    "agent_id",
                    Text(min_length=1),
                    "The id of an agent. Set either this or `agent`.",
                    default=None,
                ),
                Property(
                    "agent", _AGENT, "An inline agent. Set either this or `agent_id`.", default=None
                ),
                Property(
                    "environment",
                    _ENVIRONMENT,
                    "The environment that the session runs in.",
                    required=True,
                ),
                Property(
                    "input",
                    ListOf(_MESSAGE),
                    "The input that every session starts with.",
                    required=True,
                ),
                Property("metadata", metadata(), "Metadata for every session.", default={}),
                Property(
                    "vault_ids",
                    ListOf(Text(min_length=1), unordered=True),
                    "Vaults that the session can use.",
                    default=[],
                ),
            ),
            exactly_one=_EITHER,
        ),
        "existing_session": Object(
            (
                Property("session_id", Text(min_length=1), "The session to wake.", required=True),
                Property(
                    "instructions",
                    Text(min_length=1, multiline=True),
                    "The instructions to give it.",
                    required=True,
                ),
            )
        ),
    },
    fixed=True,
)


def _without_nulls(spec: Spec) -> Spec:
    """The spec without the nulls that responses contain in a target and that requests must not
    contain.
    """
    target = spec.get("target")
    if not isinstance(target, Mapping):
        return spec
    kept = {
        name: value for name, value in target.items() if name not in _EITHER or value is not None
    }
    environment = kept.get("environment")
    if isinstance(environment, Mapping) and environment.get("environment_id", "") is None:
        kept["environment"] = {
            name: value for name, value in environment.items() if name != "environment_id"
        }
    return {**spec, "target": kept}


KIND = Kind(
    name="Automation",
    doc="A schedule that starts agent sessions or wakes an existing one (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents/automations",
    natural_key=("name",),
    mark="metadata",
    beta="agents=v1",
    destroys="no more scheduled sessions start; running sessions continue",
    fill_defaults=_without_nulls,
    shapes=(
        Shape(("expression", "timezone"), when=("type", "periodic")),
        Shape(("run_at",), when=("type", "once")),
    ),
    fields=(
        Field(
            "type",
            Text(choices=("periodic", "once")),
            "Whether the automation runs repeatedly or once.",
            required=True,
            # The modify call has no `type`: a schedule stays periodic or single.
            mutability=Mutability.REPLACES,
        ),
        Field(
            "name",
            Text(min_length=1),
            "The display name; defaults to the resource's name.",
            defaults_to_name=True,
        ),
        Field(
            "expression",
            Text(pattern=r"^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$"),
            "The schedule as a five-field cron expression (type: periodic).",
        ),
        Field(
            "timezone",
            Text(min_length=1),
            "The IANA time zone of the cron expression (type: periodic).",
        ),
        Field(
            "run_at",
            Integer(minimum=1),
            "When to run, as a Unix timestamp in the future (type: once).",
        ),
        Field(
            "target",
            _TARGET,
            "What the automation starts. Changing its type replaces the automation.",
            required=True,
        ),
        Field(
            "status",
            # A one-time automation reads back as `completed` after its run, which is no change of
            # the manifest.
            Text(choices=("active", "paused"), aliases={"completed": "active"}),
            "Whether the automation is active or paused. A completed one-time automation counts as active.",
            default="active",
            reset="active",
            losses=(
                LossRule(
                    When.CHANGES,
                    Lost.ACCESS,
                    "pauses the automation: no scheduled sessions start",
                    to="paused",
                ),
            ),
            # The modify call has no status: only these two calls change it.
            action_calls={
                "active": "POST {collection}/{id}/resume",
                "paused": "POST {collection}/{id}/pause",
            },
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            # An update replaces all metadata and keeps omitted metadata, so removal sends an empty
            # map.
            reset={},
        ),
    ),
    example="""\
kind: Automation
metadata:
  name: weekly-notes
spec:
  type: periodic
  expression: 0 8 * * 1
  timezone: Europe/Berlin
  target:
    type: new_session
    agent_id: ${Agent/release-notes}
    environment: {type: openai_hosted, environment_template_id: "${EnvironmentTemplate/python}"}
    input:
      - role: user
        content: [{type: input_text, text: Write the notes of last week.}]
    vault_ids: ["${Vault/tools}"]
  status: paused
""",
)
