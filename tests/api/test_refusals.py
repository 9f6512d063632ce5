"""Refusals of single files are told from others, and the refused members are named."""

from __future__ import annotations

import pytest

from reconciler.api.objects.refusals import is_about_the_file, refused_members
from reconciler.errors import (
    AmbiguousError,
    ApiError,
    AuthenticationError,
    NotFoundError,
    ThrottledError,
)
from reconciler.model.values import LocalFile, Member

BATCH = [
    Member(name, LocalFile(name, "0" * 64, 1), f"file-{name[0]}")
    for name in ("a.md", "b.PNG", "c.png")
]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_final_refusal_is_about_the_file(status: int) -> None:
    assert is_about_the_file(ApiError("File is empty.", status=status))


@pytest.mark.parametrize(
    "error",
    [
        ApiError("boom", status=500),
        ApiError("expired", status=400, code="vector_store_expired"),
        ApiError("You exceeded your storage limit", status=400),
        ApiError("The server had an error while processing your request.", status=400),
        ApiError("Invalid value", status=400, param="files[0].chunking_strategy"),
        AuthenticationError("no", status=403),
        ThrottledError("slow down", status=429),
        AmbiguousError("lost", status=400),
        NotFoundError("No such store", status=404),
    ],
)
def test_every_other_failure_is_about_the_whole_change(error: ApiError) -> None:
    assert not is_about_the_file(error)


def test_the_refused_members_of_a_batch_are_those_with_the_named_extensions() -> None:
    error = ApiError(
        "Files with extensions [.png, .gif] are not supported for retrieval", status=400
    )
    assert refused_members(BATCH, error) == BATCH[1:]


def test_the_refused_member_of_a_batch_is_the_one_with_the_named_id() -> None:
    assert refused_members(BATCH, NotFoundError("No such File object: file-b", status=404)) == [
        BATCH[1]
    ]


def test_a_404_that_names_no_file_is_about_the_store() -> None:
    assert refused_members(BATCH, NotFoundError("Vector store not found", status=404)) is None


def test_a_refusal_without_a_name_names_no_member() -> None:
    assert refused_members(BATCH, ApiError("Something is wrong", status=400)) == []
