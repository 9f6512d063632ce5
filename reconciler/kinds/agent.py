"""Agents: reusable agents in a project, the successor of assistants (beta).

Every field can be changed in place, and the API documents what null and omission mean for each. An
update replaces metadata as a whole.
"""

from __future__ import annotations

from reconciler.kinds.parts import EFFORTS, EMPTY_PARAMETERS, NAME_64, metadata
from reconciler.model.kind import Field, Kind, Readable, ScopeType
from reconciler.model.types import (
    Boolean,
    Integer,
    Json,
    ListOf,
    MapOf,
    Object,
    Property,
    Tagged,
    Text,
)

FUNCTION = Object(
    (
        Property("name", NAME_64, "The name that the model calls.", required=True),
        Property("description", Text(), "When and how to call the function.", required=True),
        Property(
            "parameters",
            Json(empty=EMPTY_PARAMETERS),
            "The arguments, as a JSON Schema.",
            required=True,
        ),
        Property(
            "defer_loading",
            Boolean(),
            "Whether the model finds the function through tool search instead of loading it up front.",
            default=False,
        ),
        Property(
            "async",
            Boolean(),
            "Whether the agent continues without waiting for the result.",
            default=False,
        ),
    )
)

LOCATION = Object(
    (
        Property("city", Text(), "The city."),
        Property("country", Text(max_length=2), "The two-letter ISO 3166 country code."),
        Property("region", Text(), "The region or state."),
        Property("timezone", Text(), "The IANA time zone."),
    )
)

TRANSPORT = Tagged(
    {
        "http": Object(
            (
                Property(
                    "server_url", Text(pattern="^https?://"), "The server's URL.", required=True
                ),
                Property(
                    "headers",
                    MapOf(Text()),
                    "Headers to send; must not contain secrets.",
                    default={},
                ),
            )
        ),
        "stdio": Object(
            (
                Property(
                    "command",
                    Text(min_length=1),
                    "The program to run as the server.",
                    required=True,
                ),
                Property("cwd", Text(min_length=1), "The working directory.", required=True),
                Property("args", ListOf(Text()), "Command-line arguments.", default=[]),
                Property(
                    "env_vars",
                    ListOf(Text()),
                    "Names of environment variables that the program inherits.",
                    default=[],
                ),
            )
        ),
    }
)

TOOL = Tagged(
    {
        "function": FUNCTION,
        "tool_search": Object(()),
        "programmatic_tool_calling": Object(
            (Property("enabled", Boolean(), "Whether generated code may call tools.", default=True),)
        ),
        "mcp": Object(
            (
                Property("server_label", Text(min_length=1), "The label of the server in calls.", required=True),
                Property("transport", TRANSPORT, "How to connect to the server.", required=True),
                Property(
                    "allowed_tools",
                    ListOf(Text(), unordered=True),
                    "The tools that the agent may call; all of them if omitted.",
                    default=None,
                    # An empty list allows no tool at all; an omitted list allows every tool.
                    keeps_empty=True,
                ),
                Property(
                    "connection_origin",
                    Text(choices=("service", "environment")),
                    "Where connections to the server originate.",
                    default="service",
                ),
                Property("credential_id", Text(), "A credential in a vault.", default=None),
                Property("request_metadata", Json(empty={}), "Metadata to send with requests to the server."),
                Property("required", Boolean(), "Whether to wait for the server before the first turn.", default=False),
            )
        ),
        "web_search": Object(
            (
                Property(
                    "allowed_domains", ListOf(Text(), unordered=True), "The domains to search; all domains if omitted.",
                    default=None, keeps_empty=True,
                ),
                Property(
                    "context_size", Text(choices=("low", "medium", "high")), "How much context a search returns.",
                    default="medium",
                ),
                Property("location", LOCATION, "The approximate location to search from.", default=None),
                Property(
                    "mode",
                    Text(choices=("disabled", "cached", "live")),
                    "Whether search is off, uses cached results, or queries the live web.",
                    default="live",
                ),
            )
        ),
        "computer_use": Object(
            (Property("include_screenshots", Boolean(), "Whether outputs include screenshots.", default=False),)
        ),
        "automations": Object(()),
    }
)  # fmt: skip

TEXT_FORMAT = Tagged(
    {
        "text": Object(()),
        "json_schema": Object(
            (
                Property(
                    "schema",
                    Json(empty={}),
                    "The JSON Schema that the output must follow.",
                    required=True,
                ),
            )
        ),
    },
    default={"type": "text"},
)

KIND = Kind(
    name="Agent",
    doc="A reusable agent; the successor of assistants (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents",
    natural_key=("name",),
    mark="metadata",
    beta="agents=v1",
    fields=(
        Field("model", Text(min_length=1), "The model id.", required=True),
        Field("name", Text(), "The display name.", default=None, nullable=True),
        Field(
            "instructions",
            Text(multiline=True),
            "Instructions to append to the agent's built-in ones.",
            default=None,
            nullable=True,
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            nullable=True,
        ),
        Field(
            "tools",
            ListOf(TOOL),
            "The tools that the agent may call, at most 3 MiB of JSON. An update replaces the whole list.",
            default=[],
            # Null clears the list, unlike the `tools` of an assistant.
            nullable=True,
        ),
        Field(
            "reasoning",
            Object(
                (
                    Property(
                        "effort",
                        Text(choices=EFFORTS),
                        "How much reasoning the model does; the model decides if omitted.",
                    ),
                    Property(
                        "summary",
                        Text(choices=("concise", "detailed", "auto")),
                        "The level of detail of the reasoning summary; none if omitted.",
                        default=None,
                    ),
                )
            ),
            "Reasoning settings.",
            default={},
            nullable=True,
        ),
        Field(
            "text",
            Object(
                (
                    Property("format", TEXT_FORMAT, "The output format.", default={"type": "text"}),
                    Property(
                        "verbosity",
                        Text(choices=("low", "medium", "high")),
                        "How verbose the output is.",
                        default="medium",
                    ),
                )
            ),
            "Text output settings.",
            default={"format": {"type": "text"}, "verbosity": "medium"},
            nullable=True,
        ),
        Field(
            "service_tier",
            Text(choices=("auto", "default", "flex", "priority", "fast", "ultrafast")),
            "The service tier for the agent's requests.",
            default="auto",
            nullable=True,
        ),
        Field(
            "multi_agent",
            Object(
                (
                    Property(
                        "enabled",
                        Boolean(),
                        "Whether the agent may start subagents.",
                        required=True,
                        default=False,
                    ),
                    Property(
                        "max_concurrent_subagents",
                        Integer(minimum=1),
                        "The maximum number of subagents that run at the same time.",
                        default=6,
                    ),
                )
            ),
            "Subagent settings.",
            default={"enabled": False, "max_concurrent_subagents": 6},
            nullable=True,
        ),
        Field(
            "compaction",
            Object(
                (
                    Property(
                        "async",
                        Boolean(),
                        "Whether to compact context in the background.",
                        default=False,
                    ),
                )
            ),
            "Context compaction settings.",
            default={"async": False},
            nullable=True,
            # Some answers lack it, so its absence is not a change.
            readable=Readable.SOMETIMES,
        ),
        Field(
            "experimental",
            Object(
                (
                    Property(
                        "time_awareness",
                        Boolean(),
                        "Whether the agent receives the current time.",
                        default=False,
                    ),
                )
            ),
            "Experimental features. The API merges updates by key.",
            default={"time_awareness": False},
            # An update keeps the keys that it was not sent, so turning a feature off takes its key.
            reset={"time_awareness": False},
            merged=True,
            readable=Readable.SOMETIMES,
        ),
    ),
    example="""\
kind: Agent
metadata:
  name: release-notes
spec:
  name: Release notes
  model: gpt-5.4
  instructions: Turn merged pull requests into release notes.
""",
)
