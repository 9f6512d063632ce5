"""Automations: schedules that begin sessions of agents, or wake one that is there (beta)."""

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
                    "An existing environment. It goes with no template and no other setting.",
                    default=None,
                ),
                Property("environment_template_id", Text(min_length=1), "The template it begins with."),
                Property("container_size", Text(choices=("small", "medium", "large")), "How large it is."),
                Property("files", FILES, "Files in place of those of the template.", default=None),
                Property("packages", PACKAGES, "Packages in place of those of the template.", default=None),
                Property("network", NETWORK, "What can be reached, at most what the template allows.", default=None),
                Property("skills", SKILLS, "Skills in place of those of the template.", default=None),
                Property("plugins", PLUGINS, "Plugins in place of those of the template.", default=None),
                Property(
                    "capability_directories", DIRECTORIES, "Folders in place of those of the template.", default=None
                ),
                Property("desktop", DESKTOP, "A desktop with a browser.", default=None),
                Property("env", ENV, "Variables, each a text or a secret.", default=None, hidden=True),
                Property("setup_commands", COMMANDS, "What is run first.", default=None, hidden=True),
            )
        ),
        "self_hosted": Object(
            (
                Property("workspace_directory", Text(pattern=r"^/\S*$"), "The folder of the project.", required=True),
                Property("capability_directories", DIRECTORIES, "Folders with more abilities.", default=[]),
            )
        ),
    }
)
_CONTENT = Tagged(
    {
        "input_text": Object((Property("text", Text(min_length=1, multiline=True), "What is said.", required=True),)),
        "input_image": Object((Property("image_url", Text(min_length=1), "The address of an image.", required=True),)),
    }
)
_MESSAGE = Object(
    (
        Property("type", Text(choices=("message",)), "What sort of item it is.", default="message"),
        Property("role", Text(choices=("user",)), "Who says it.", required=True),
        Property("content", ListOf(_CONTENT, min_items=1), "What is said.", required=True),
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
                Property("agent_id", Text(min_length=1), "The agent; either this or `agent`.", default=None),
                Property("agent", _AGENT, "An agent of its own; either this or `agent_id`.", default=None),
                Property("environment", _ENVIRONMENT, "Where it works.", required=True),
                Property("input", ListOf(_MESSAGE), "What every session begins with.", required=True),
                Property("metadata", metadata(), "Pairs that every session has.", default={}),
                Property("vault_ids", ListOf(Text(min_length=1), unordered=True), "Vaults that it has.", default=[]),
            ),
            exactly_one=_EITHER,
        ),
        "existing_session": Object(
            (
                Property("session_id", Text(min_length=1), "The session that is woken.", required=True),
                Property("instructions", Text(min_length=1, multiline=True), "What it is told.", required=True),
            )
        ),
    },
    fixed=True,
)


def _without_nulls(spec: Spec) -> Spec:
    """The spec without the nulls that answers show in a target and that no request may contain."""
    target = spec.get("target")
    if not isinstance(target, Mapping):
        return spec
    kept = {name: value for name, value in target.items() if name not in _EITHER or value is not None}
    environment = kept.get("environment")
    if isinstance(environment, Mapping) and environment.get("environment_id", "") is None:
        kept["environment"] = {name: value for name, value in environment.items() if name != "environment_id"}
    return {**spec, "target": kept}


KIND = Kind(
    name="Automation",
    doc="A schedule that begins sessions of an agent, or wakes one that is there (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents/automations",
    natural_key=("name",),
    mark="metadata",
    beta="agents=v1",
    destroys="nothing begins by itself any more; sessions go on",
    fill_defaults=_without_nulls,
    shapes=(
        Shape(("expression", "timezone"), when=("type", "periodic")),
        Shape(("run_at",), when=("type", "once")),
    ),
    fields=(
        Field(
            "type",
            Text(choices=("periodic", "once")),
            "Whether it comes again.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "name", Text(min_length=1), "The name people see. Left out, that of the resource.", defaults_to_name=True
        ),
        Field(
            "expression",
            Text(pattern=r"^[0-9A-Za-z*,/-]+( [0-9A-Za-z*,/-]+){4}$"),
            "When, as the five fields of cron (type: periodic).",
        ),
        Field("timezone", Text(min_length=1), "The IANA time zone of the expression (type: periodic)."),
        Field("run_at", Integer(minimum=1), "When, in unix seconds, and not before now (type: once)."),
        Field("target", _TARGET, "What happens then. Another type takes another automation.", required=True),
        Field(
            "status",
            Text(choices=("active", "paused"), aliases={"completed": "active"}),
            "Whether it happens; one that has happened and does not come again counts as active.",
            default="active",
            reset="active",
            losses=(LossRule(When.CHANGES, Lost.ACCESS, "pauses it: nothing begins by itself", to="paused"),),
            action_calls={"active": "POST {collection}/{id}/resume", "paused": "POST {collection}/{id}/pause"},
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, reset={}),
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
