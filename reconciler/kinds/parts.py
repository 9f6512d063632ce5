"""Shapes that several kinds share: metadata, attributes, chunking, functions, response formats."""

from __future__ import annotations

from reconciler.model.job import OWN_PAIRS
from reconciler.model.kind import Field, Mutability, Readable
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


def short_role_id(id: str) -> str:
    """The id of a predefined role without the scope that the API lists behind it; other ids unchanged."""
    short, separator, _ = id.partition("__api-")
    return short if separator and short.startswith("role-api-") else id


ROLE_ID = Text(min_length=1, fold=short_role_id)
"""A role's id. Predefined ones are listed as `role-api-project-member__api-project__ID`; the first part is enough."""


def metadata(*, reserved: int = 0) -> MapOf:
    """Up to 16 pairs of text: keys to 64 characters, values to 512; `reserved` pairs are ours."""
    return MapOf(Text(max_length=512), max_items=16 - reserved, max_key=64)


def job_metadata() -> Field:
    """The metadata of a job, which can only be set when it is started, with room for what we need to find it again."""
    return Field(
        "metadata",
        metadata(reserved=OWN_PAIRS),
        "Up to 14 pairs, set when the job is started; two more are ours. A change of them starts nothing.",
        default={},
        mutability=Mutability.FIXED,
    )


WAITING = (
    Field(
        "wait",
        Boolean(),
        "Whether an apply waits for the end of the job, showing how far it is. What refers to a result of the job "
        "needs that, or an apply after the end.",
        default=False,
        readable=Readable.NEVER,
        client_only=True,
    ),
    Field(
        "timeout_minutes",
        Integer(1),
        "How long it waits. The job goes on afterwards, and the next apply waits for the same one.",
        default=60,
        readable=Readable.NEVER,
        client_only=True,
    ),
)
"""What we are to do about the end of a job."""


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
        Property(
            "hybrid_search",
            Object(
                (
                    Property("embedding_weight", Number(0), "The weight of meaning.", required=True),
                    Property("text_weight", Number(0), "The weight of words.", required=True),
                )
            ),
            "How much meaning and words count, where both are searched.",
            default=None,
        ),
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
