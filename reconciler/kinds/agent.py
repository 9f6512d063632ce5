"""Agents: reusable agents of a project, the live successor of assistants (beta).

The best-behaved kind of the platform: every field can be changed in place, and what null and omission mean is written
down for each. Metadata is replaced as a whole.
"""

from __future__ import annotations

from reconciler.kinds.parts import EFFORTS, EMPTY_PARAMETERS, NAME_64, metadata
from reconciler.model.kind import Field, Kind, Readable, ScopeType
from reconciler.model.types import Boolean, Integer, Json, ListOf, MapOf, Object, Property, Tagged, Text

FUNCTION = Object(
    (
        Property("name", NAME_64, "The name the model calls.", required=True),
        Property("description", Text(), "When and how to call it.", required=True),
        Property("parameters", Json(empty=EMPTY_PARAMETERS), "The arguments, as JSON Schema.", required=True),
        Property("defer_loading", Boolean(), "Whether it is found through tool search.", default=False),
        Property("async", Boolean(), "Whether the agent goes on without waiting for the result.", default=False),
    )
)

LOCATION = Object(
    (
        Property("city", Text(), "The city."),
        Property("country", Text(max_length=2), "Two letters of ISO 3166."),
        Property("region", Text(), "The region or state."),
        Property("timezone", Text(), "The IANA time zone."),
    )
)

TRANSPORT = Tagged(
    {
        "http": Object(
            (
                Property("server_url", Text(pattern="^https?://"), "The server's address.", required=True),
                Property("headers", MapOf(Text()), "Headers to send; nothing secret.", default={}),
            )
        ),
        "stdio": Object(
            (
                Property("command", Text(min_length=1), "The program that is the server.", required=True),
                Property("cwd", Text(min_length=1), "The folder it starts in.", required=True),
                Property("args", ListOf(Text()), "Its arguments.", default=[]),
                Property("env_vars", ListOf(Text()), "Names of variables that it inherits.", default=[]),
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
                Property("server_label", Text(min_length=1), "The server's label in calls.", required=True),
                Property("transport", TRANSPORT, "How the server is reached.", required=True),
                Property(
                    "allowed_tools",
                    ListOf(Text(), unordered=True),
                    "The tools it may call; left out, all of them.",
                    default=None,
                    keeps_empty=True,
                ),
                Property(
                    "connection_origin", Text(choices=("service", "environment")), "Where connections start.",
                    default="service",
                ),
                Property("credential_id", Text(), "A credential of a vault.", default=None),
                Property("request_metadata", Json(empty={}), "Sent along with requests to the server."),
                Property("required", Boolean(), "Whether it must be up before the first turn.", default=False),
            )
        ),
        "web_search": Object(
            (
                Property(
                    "allowed_domains", ListOf(Text(), unordered=True), "The domains searched; left out, all.",
                    default=None, keeps_empty=True,
                ),
                Property(
                    "context_size", Text(choices=("low", "medium", "high")), "How much context comes back.",
                    default="medium",
                ),
                Property("location", LOCATION, "Where results should be near.", default=None),
                Property(
                    "mode", Text(choices=("disabled", "cached", "live")), "Where results come from.", default="live"
                ),
            )
        ),
        "computer_use": Object(
            (Property("include_screenshots", Boolean(), "Whether outputs hold screenshots.", default=False),)
        ),
        "automations": Object(()),
    }
)  # fmt: skip

TEXT_FORMAT = Tagged(
    {
        "text": Object(()),
        "json_schema": Object(
            (Property("schema", Json(empty={}), "The JSON Schema that its text follows.", required=True),)
        ),
    },
    default={"type": "text"},
)

KIND = Kind(
    name="Agent",
    doc="A reusable agent: the live successor of assistants (beta).",
    scope=ScopeType.PROJECT_KEY,
    collection="/agents",
    natural_key=("name",),
    mark="metadata",
    beta="agents=v1",
    fields=(
        Field("model", Text(min_length=1), "The model's id, kept as sent.", required=True),
        Field("name", Text(), "The name people see.", default=None, nullable=True),
        Field(
            "instructions",
            Text(multiline=True),
            "Instructions that are appended to the agent's own.",
            default=None,
            nullable=True,
        ),
        Field("metadata", metadata(), "Up to 16 pairs; one of them is our mark.", default={}, nullable=True),
        Field(
            "tools",
            ListOf(TOOL),
            "What it may call; replaced as a whole, at most 3 MiB of JSON.",
            default=[],
            nullable=True,
        ),
        Field(
            "reasoning",
            Object(
                (
                    Property("effort", Text(choices=EFFORTS), "How much the model thinks; left out, it chooses."),
                    Property(
                        "summary",
                        Text(choices=("concise", "detailed", "auto")),
                        "Whether and how answers sum up the reasoning.",
                        default=None,
                    ),
                )
            ),
            "How the model reasons.",
            default={},
            nullable=True,
        ),
        Field(
            "text",
            Object(
                (
                    Property("format", TEXT_FORMAT, "The form of its text.", default={"type": "text"}),
                    Property("verbosity", Text(choices=("low", "medium", "high")), "How much.", default="medium"),
                )
            ),
            "What its text looks like.",
            default={"format": {"type": "text"}, "verbosity": "medium"},
            nullable=True,
        ),
        Field(
            "service_tier",
            Text(choices=("auto", "default", "flex", "priority", "fast", "ultrafast")),
            "The service tier of its requests.",
            default="auto",
            nullable=True,
        ),
        Field(
            "multi_agent",
            Object(
                (
                    Property("enabled", Boolean(), "Whether it may start subagents.", required=True, default=False),
                    Property("max_concurrent_subagents", Integer(minimum=1), "How many at once.", default=6),
                )
            ),
            "Subagents.",
            default={"enabled": False, "max_concurrent_subagents": 6},
            nullable=True,
        ),
        Field(
            "compaction",
            Object((Property("async", Boolean(), "Whether context is compacted in the background.", default=False),)),
            "How context is compacted.",
            default={"async": False},
            nullable=True,
            readable=Readable.SOMETIMES,
        ),
        Field(
            "experimental",
            Object((Property("time_awareness", Boolean(), "Whether it is reminded of the time.", default=False),)),
            "Experimental features; the API merges them by key.",
            default={"time_awareness": False},
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
  model: gpt-5.1
  instructions: Turn merged pull requests into release notes.
""",
)
