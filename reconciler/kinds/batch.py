"""Batches: files of requests that the API processes within a day, at a lower price.

A batch is a job: it runs once per input file. Its results are files.
"""

from __future__ import annotations

from reconciler.kinds.parts import FILE_EXPIRY, WAITING, job_metadata
from reconciler.model.job import Job
from reconciler.model.kind import Field, Kind, Mutability, Readable, Removal, ScopeType
from reconciler.model.types import Text

ENDPOINTS = (
    "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
    "/v1/images/generations", "/v1/images/edits", "/v1/videos",
)  # fmt: skip

KIND = Kind(
    name="Batch",
    doc="A file of requests that the API processes once. Changing the file or the endpoint starts another batch.",
    scope=ScopeType.PROJECT_KEY,
    collection="/batches",
    # Two batches with the same file are two jobs. After an interrupted run, the digest of the
    # inputs in the metadata finds the batch.
    natural_key=(),
    mark="metadata",
    # The API deletes no batches: a running one is stopped, and a finished one is forgotten.
    removal=Removal.CANCEL,
    job=Job(
        succeeded=("completed",),
        # A cancellation cannot be withdrawn, so `cancelling` counts as ended.
        failed=("failed", "expired", "cancelling", "cancelled"),
        results=("output_file_id", "error_file_id", "request_counts", "usage", "model"),
        counts="request_counts",
        errors=(("errors", "data", "0", "message"),),
    ),
    fields=(
        Field(
            "input_file_id",
            Text(min_length=1),
            "The uploaded file of requests, with purpose `batch`. Files are compared by content: "
            "uploading the same requests again is not a change.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "endpoint",
            Text(choices=ENDPOINTS, open_choices=True),
            "The endpoint that every request in the file calls.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "completion_window",
            # Open, because the enums of the API grow without notice.
            Text(choices=("24h",), open_choices=True),
            "The time frame in which the API processes the batch.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "output_expires_after",
            FILE_EXPIRY,
            "When the output files expire.",
            mutability=Mutability.REPLACES,
            # Answers do not repeat it.
            readable=Readable.NEVER,
        ),
        job_metadata(),
        *WAITING,
    ),
    example="""\
kind: Batch
metadata:
  name: answers
spec:
  input_file_id: ${File/questions}
  endpoint: /v1/chat/completions
  completion_window: 24h
  metadata: {team: cx}
---
kind: File
metadata:
  name: questions
spec:
  path: data/questions.jsonl
  purpose: batch
""",
)
