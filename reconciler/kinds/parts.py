"""Shapes that several kinds share: metadata, attributes, chunking, functions, response formats."""

from __future__ import annotations

from reconciler.model.types import (
    Boolean,
    Integer,
    Json,
    MapOf,
    Number,
    Object,
    Property,
    Scalar,
    Tagged,
    Text,
)

NAME_64 = Text(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


ROLE_ID = Text(min_length=1, fold=lambda text: text.partition("__api-")[0])
"""A role's id. Predefined ones are listed as `role-api-project-member__api-project__ID`; the first part is enough."""


def metadata() -> MapOf:
    """Up to 16 pairs of text: keys to 64 characters, values to 512."""
    return MapOf(Text(max_length=512), max_items=16, max_key=64)


def attributes(*, reserved: int) -> MapOf:
    """As metadata, values also numbers and booleans; `reserved` pairs are ours."""
    return MapOf(Scalar(max_length=512), max_items=16 - reserved, max_key=64)


STATIC_CHUNKING = Object(
    (
        Property("max_chunk_size_tokens", Integer(100, 4096), "Tokens in a chunk.", required=True, default=800),
        Property(
            "chunk_overlap_tokens",
            Integer(0, 2048),
            "Tokens that neighbours share; at most half a chunk.",
            required=True,
            default=400,
        ),
    )
)

CHUNKING = Tagged(
    {
        "auto": Object(()),
        "static": Object((Property("static", STATIC_CHUNKING, "The sizes.", required=True),)),
    },
    default={"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}},
    same_as={"auto": {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}},
)

EMPTY_PARAMETERS = {"type": "object", "properties": {}}

RANKING = Object(
    (
        Property(
            "ranker",
            Text(choices=("auto", "default_2024_08_21"), open_choices=True, aliases={"auto": "default_2024_08_21"}),
            "Which ranker orders the results.",
            default="default_2024_08_21",
        ),
        Property("score_threshold", Number(0, 1), "Results below it are dropped.", required=True, default=0),
    )
)

JSON_SCHEMA_FORMAT = Object(
    (
        Property("name", NAME_64, "The name of the format.", required=True),
        Property("description", Text(), "What the format is for.", default=""),
        Property("schema", Json(empty={}), "The JSON Schema that answers follow."),
        Property("strict", Boolean(), "Whether the model must follow the schema exactly.", default=False),
    )
)
