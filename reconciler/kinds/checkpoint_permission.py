"""Checkpoint permissions: one resource for each fine-tuned checkpoint and project that may use it.

The create call takes a list of projects and returns a page; a declared object is one project in
that list.
"""

from __future__ import annotations

from reconciler.model.calls import Calls
from reconciler.model.kind import Field, Kind, Mutability, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="CheckpointPermission",
    doc="Allows a project to use a checkpoint of a fine-tuned model that another project trained.",
    scope=ScopeType.ORGANIZATION,
    collection="/fine_tuning/checkpoints/{checkpoint}/permissions",
    natural_key=("checkpoint", "project_id"),
    # Checkpoints have no list: their names come from the jobs that trained the model.
    parent_sources={"checkpoint": ("FineTuningJob.fine_tuned_model",)},
    calls=Calls(in_list_as="project_ids"),
    unique=True,
    # There is no call for one permission; the list of the checkpoint has them all.
    readable_singly=False,
    destroys="the project can no longer use the checkpoint",
    audit_events=("checkpoint.permission.", "project."),
    fields=(
        Field(
            "checkpoint",
            # The id becomes a path segment, so it must not contain a slash.
            Text(min_length=1, pattern=r"^[^/\s]+$"),
            "The model name of the checkpoint: `ft:BASE:ORGANIZATION:SUFFIX:ID:ckpt-step-N`.",
            required=True,
            mutability=Mutability.REPLACES,
        ),
        Field(
            "project_id",
            Text(min_length=1),
            "The project that may use the checkpoint.",
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
