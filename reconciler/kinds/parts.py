"""Field types shared by several kinds: metadata, attributes, chunking, ranking, response formats."""

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

FILE_EXPIRY = Object(
    (
        Property(
            "anchor",
            Text(choices=("created_at",)),
            "The event that starts the timer.",
            required=True,
        ),
        Property(
            "seconds",
            Integer(3_600, 2_592_000),
            "Seconds until expiry: from one hour to 30 days.",
            required=True,
        ),
    )
)
"""When the API deletes a file by itself."""


# The suffix differs by scope, while manifests and calls use the short id.
def short_role_id(id: str) -> str:
    """Strip the scope that the API appends to the id of a predefined role; other ids are unchanged."""
    short, separator, _ = id.partition("__api-")
    return short if separator and short.startswith("role-api-") else id


ROLE_ID = Text(min_length=1, fold=short_role_id)
"""A role id. The API lists predefined roles as `role-api-project-member__api-project__ID`; the
first part identifies them.
"""


def metadata(*, reserved: int = 0) -> MapOf:
    """Up to 16 string pairs: keys of 64 characters, values of 512. reconciler uses `reserved` of
    them.
    """
    return MapOf(Text(max_length=512), max_items=16 - reserved, max_key=64)


def job_metadata() -> Field:
    """The metadata of a job, set when it starts, with room for the pairs that identify it later."""
    return Field(
        "metadata",
        metadata(reserved=OWN_PAIRS),
        "Up to 14 key-value pairs, set when the job starts; reconciler uses two more. Changing "
        "them does not start another job.",
        default={},
        mutability=Mutability.FIXED,
    )


WAITING = (
    Field(
        "wait",
        Boolean(),
        "Whether apply waits for the job to finish and shows its progress. Required for "
        "references to the job's results, unless apply runs again after the job has finished.",
        default=False,
        readable=Readable.NEVER,
        client_only=True,
    ),
    Field(
        "timeout_minutes",
        Integer(1),
        "How long apply waits. After a timeout the job continues, and the next apply waits for it again.",
        default=60,
        readable=Readable.NEVER,
        client_only=True,
    ),
)
"""Fields that control waiting for a job."""


# Servers before 2025 do not return attributes of files at all.
def attributes(*, reserved: int) -> MapOf:
    """Like metadata, but values may also be numbers and booleans. reconciler uses `reserved` pairs."""
    return MapOf(Scalar(max_length=512), max_items=16 - reserved, max_key=64)


STATIC_CHUNKING = Object(
    (
        Property(
            "max_chunk_size_tokens",
            Integer(100, 4096),
            "The maximum number of tokens per chunk.",
            required=True,
            default=800,
        ),
        Property(
            "chunk_overlap_tokens",
            Integer(0, 2048),
            "The number of tokens that adjacent chunks share; at most half a chunk.",
            required=True,
            default=400,
        ),
    )
)

CHUNKING = Tagged(
    {
        "auto": Object(()),
        "static": Object((Property("static", STATIC_CHUNKING, "The chunk sizes.", required=True),)),
    },
    default={
        "type": "static",
        "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
    },
    # The API stores the strategy that `auto` stands for.
    same_as={
        "auto": {
            "type": "static",
            "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
        }
    },
)

# What answers contain for a function without parameters.
EMPTY_PARAMETERS = {"type": "object", "properties": {}}

# Answers add `hybrid_search: null` to complete options.
RANKING = Object(
    (
        Property(
            "ranker",
            Text(
                choices=("auto", "default_2024_08_21"),
                open_choices=True,
                # Answers resolve the alias to the dated name.
                aliases={"auto": "default_2024_08_21"},
            ),
            "The ranker.",
            default="default_2024_08_21",
        ),
        Property(
            "score_threshold",
            Number(0, 1),
            "The minimum score of a result.",
            required=True,
            default=0,
        ),
        Property(
            "hybrid_search",
            Object(
                (
                    Property(
                        "embedding_weight",
                        Number(0),
                        "The weight of embedding (semantic) matches.",
                        required=True,
                    ),
                    Property(
                        "text_weight",
                        Number(0),
                        "The weight of text (keyword) matches.",
                        required=True,
                    ),
                )
            ),
            "The weights of semantic and keyword matches in hybrid search.",
            default=None,
        ),
    )
)

JSON_SCHEMA_FORMAT = Object(
    (
        Property("name", NAME_64, "The name of the format.", required=True),
        Property("description", Text(), "What the format is for.", default=""),
        Property("schema", Json(empty={}), "The JSON Schema that answers must follow."),
        Property(
            "strict", Boolean(), "Whether the model must match the schema exactly.", default=False
        ),
    )
)
