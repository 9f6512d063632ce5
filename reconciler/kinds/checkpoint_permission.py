"""Checkpoint permissions: which project may use a checkpoint of a fine-tuned model, one resource a pair.

The API takes a list of projects and answers with a page; one declared object is one project of that list.
"""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="CheckpointPermission",
    doc="That a project may use a checkpoint of a fine-tuned model which another project trained.",
    scope=ScopeType.ORGANIZATION,
    collection="/fine_tuning/checkpoints/{checkpoint}/permissions",
    natural_key=("checkpoint", "project_id"),
    calls=Calls(in_list_as="project_ids"),
    unique=True,
    readable_singly=False,
    destroys="the project cannot use the checkpoint any more",
    audit_events=("checkpoint.permission.", "project."),
    fields=(
        Field(
            "checkpoint",
            # An id is a part of a path, where a slash would begin another one.
            Text(min_length=1, pattern=r"^[^/\s]+$"),
            "The checkpoint, by the name of the model that it is: `ft:BASE:ORGANIZATION:SUFFIX:ID:ckpt-step-N`.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "project_id",
            Text(min_length=1),
            "The project that may use it.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
    ),
    example="""\
kind: CheckpointPermission
metadata:
  name: search-triage
spec:
  checkpoint: ft:gpt-4.1-mini-2025-04-14:acme:triage:Abc123:ckpt-step-100
  project_id: ${Project/search}
""",
)
