"""Hosted tools: which of the API's built-in tools a project may use.

Every project has the five switches and they cannot be deleted. The first write records the previous
values, and removing the declaration restores them.
"""

from __future__ import annotations

from reconciler.model.calls import singleton
from reconciler.model.destruction import LossRule, Lost, When
from reconciler.model.kind import OVERWRITTEN, Field, Kind, Removal, ScopeType
from reconciler.model.types import Boolean, Object, Property

_SWITCH = Object(
    (Property("enabled", Boolean(), "Whether the project may use the tool.", required=True),)
)


def _tool(name: str, what: str) -> Field:
    return Field(
        name,
        _SWITCH,
        f"Whether the project may use {what}.",
        # Null leaves a switch as it is, so a removed switch is sent with its earlier value.
        reset=OVERWRITTEN,
        losses=(
            LossRule(
                When.FALLS, Lost.ACCESS, f"stops the project from using {what}", at=("enabled",)
            ),
            LossRule(When.RISES, Lost.LIMIT, f"lets the project use {what}", at=("enabled",)),
        ),
    )


KIND = Kind(
    name="HostedTools",
    doc="The hosted tools that a project may use. Only the tools listed here are managed.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/hosted_tool_permissions",
    natural_key=(),
    calls=singleton(),
    always_exists=True,
    removal=Removal.RESTORE,
    # No event type reports this setting alone, so every plan reads it.
    own_audit_events=("project.updated",),
    fields=(
        _tool("file_search", "file search"),
        _tool("web_search", "web search"),
        _tool("image_generation", "image generation"),
        _tool("mcp", "remote MCP servers"),
        _tool("code_interpreter", "the code interpreter"),
    ),
    example="""\
kind: HostedTools
metadata:
  name: search
  project: search
spec:
  web_search: {enabled: false}
  mcp: {enabled: false}
""",
)
