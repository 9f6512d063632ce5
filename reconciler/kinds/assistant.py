"""Assistants: a model with instructions and tools, called through threads and runs.

The live platform retired assistants; reconciler still supports servers that have the endpoints.
Every field can be changed in place, an update replaces lists as a whole, and null resets a field to
its default.
"""

from __future__ import annotations

from reconciler.kinds.parts import (
    EFFORTS,
    EMPTY_PARAMETERS,
    JSON_SCHEMA_FORMAT,
    NAME_64,
    RANKING,
    metadata,
)
from reconciler.model.kind import Field, Kind, Readable, Retirement, ScopeType
from reconciler.model.types import (
    Boolean,
    Either,
    Integer,
    Json,
    ListOf,
    Number,
    Object,
    Property,
    Tagged,
    Text,
)

FUNCTION = Object(
    (
        Property("name", NAME_64, "The name that the model calls.", required=True),
        # Answers contain an empty description and `strict: false` even if neither was sent.
        Property("description", Text(), "When and how to call the function.", default=""),
        Property("parameters", Json(empty=EMPTY_PARAMETERS), "The arguments, as a JSON Schema."),
        Property(
            "strict", Boolean(), "Whether arguments must match the schema exactly.", default=False
        ),
    )
)

FILE_SEARCH = Object(
    (
        Property("max_num_results", Integer(1, 50), "The maximum number of results per search."),
        Property(
            "ranking_options",
            RANKING,
            "Ranking settings.",
            # Answers fill in the ranking options, and add `hybrid_search: null` even to complete
            # ones.
            default={"ranker": "default_2024_08_21", "score_threshold": 0},
        ),
    )
)

TOOL = Tagged(
    {
        "code_interpreter": Object(()),
        "file_search": Object(
            (
                Property(
                    "file_search",
                    FILE_SEARCH,
                    "File search settings.",
                    default={
                        "ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0}
                    },
                ),
            )
        ),
        "function": Object((Property("function", FUNCTION, "The function.", required=True),)),
    }
)

TOOL_RESOURCES = Object(
    (
        Property(
            "code_interpreter",
            Object(
                (
                    Property(
                        "file_ids",
                        ListOf(Text(), max_items=20, unordered=True),
                        "File ids.",
                        default=[],
                    ),
                )
            ),
            # The tool alone makes this part appear in answers, with an empty list.
            "Files for the code interpreter.",
            default={"file_ids": []},
        ),
        Property(
            "file_search",
            Object(
                (
                    Property(
                        "vector_store_ids",
                        ListOf(Text(), max_items=1),
                        "The vector store id; at most one.",
                        default=[],
                    ),
                )
            ),
            "The vector store for file search.",
            default={"vector_store_ids": []},
        ),
    )
)

KIND = Kind(
    name="Assistant",
    doc="A model with instructions, tools, and the files that the tools use.",
    scope=ScopeType.PROJECT_KEY,
    collection="/assistants",
    natural_key=("name",),
    # Names are not unique: several assistants can share one.
    mark="metadata",
    beta="assistants=v2",
    retirement=Retirement(
        since="2026-08-26",
        successor="Agent",
        sentence="The live platform retired assistants on 2026-08-26. Use kind Agent there; kind "
        "Assistant works only on servers that still have the /assistants endpoints.",
    ),
    fields=(
        Field("model", Text(min_length=1), "The model id.", required=True),
        Field("name", Text(max_length=256), "The display name.", default=None, nullable=True),
        Field(
            "description",
            Text(max_length=512),
            "A description of the assistant.",
            default=None,
            nullable=True,
        ),
        Field(
            "instructions",
            Text(max_length=256_000, multiline=True),
            "The system instructions.",
            default=None,
            nullable=True,
        ),
        Field(
            "tools",
            ListOf(TOOL, max_items=128),
            "The tools that the assistant may call. An update replaces the whole list.",
            default=[],
            # `model` and `tools` are the fields that reject null: an empty list clears the tools.
            reset=[],
        ),
        Field(
            "tool_resources",
            TOOL_RESOURCES,
            "The files and vector stores that the tools use.",
            default={},
            nullable=True,
            # An update keeps the parts that it was not sent.
            merged=True,
        ),
        Field(
            "metadata",
            metadata(),
            "Up to 16 key-value pairs; reconciler uses one for its ownership mark.",
            default={},
            nullable=True,
        ),
        # Sent as an integer, it comes back as a float; `Number` compares 1 and 1.0 as equal.
        Field("temperature", Number(0, 2), "Sampling temperature.", default=1, nullable=True),
        Field("top_p", Number(0, 1), "Nucleus sampling probability.", default=1, nullable=True),
        Field(
            "response_format",
            Either(
                # The default "auto" is not the same as `{type: text}`.
                Text(choices=("auto",)),
                Tagged(
                    {
                        "text": Object(()),
                        "json_object": Object(()),
                        "json_schema": Object(
                            (
                                Property(
                                    "json_schema", JSON_SCHEMA_FORMAT, "The schema.", required=True
                                ),
                            )
                        ),
                    }
                ),
            ),
            "The output format.",
            default="auto",
            nullable=True,
        ),
        Field(
            "reasoning_effort",
            Text(choices=EFFORTS),
            "How much reasoning a reasoning model does. Some servers do not return it; on those, "
            "drift cannot be detected.",
            default=None,
            nullable=True,
            # Answers before 2025 lack the field, and the published description does not have it.
            readable=Readable.SOMETIMES,
        ),
    ),
    example="""\
kind: Assistant
metadata:
  name: support-bot
spec:
  name: Support bot
  model: gpt-5.4
  instructions: Answer politely and briefly.
  tools: [{type: code_interpreter}]
""",
)
