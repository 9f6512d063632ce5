"""The content of a vector store: the calls that read and change it, and the members it refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from msgspec import Struct, field

from reconciler.api.objects.change_context import ChangeContext
from reconciler.api.objects.members import live_set
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import ApiError, NotFoundError
from reconciler.model.resource import LiveObject
from reconciler.model.values import FileSet, Member

PAGE_FILES = 100
"""The members on a page of the list."""

_WRITES_PER_MINUTE = 300
"""The limit of a store, for single files and batches alike."""


def read_members(client: ScopedClient, live: LiveObject) -> FileSet:
    """The members in the list of a store."""
    path = f"{live.kind.collection}/{{id}}/files"
    return live_set(client.list(path, ids={"id": live.id}, query={"limit": PAGE_FILES}))


class StoreContent(Struct, frozen=True):
    """The content of one store in a change. Safe to use from threads."""

    context: ChangeContext
    live: LiveObject
    refused: dict[str, str] = field(default_factory=dict)
    """Why the API refused members, by their key."""

    @property
    def collection(self) -> str:
        """The path of the collection of stores."""
        return self.live.kind.collection

    @property
    def files_path(self) -> str:
        """The path of the members."""
        return f"{self.collection}/{{id}}/files"

    def members(self) -> tuple[Member, ...]:
        """The members, from the list as it is now."""
        return read_members(self.context.client, self.live).members

    def refuse(self, member: Member, when: str, error: ApiError) -> None:
        """Leave a member out, and delete what was uploaded for it."""
        self.refused[member.key] = f"{when}: {error}"
        self.context.refused.append(f"{member.key} was refused {when}: {error}")
        if member.content and member.file_id is not None:
            delete_file(self.context, member)

    def write(
        self, method: str, path: str, member: Member | None = None, **rest: Any
    ) -> dict[str, Any]:
        """A call that changes the content of the store; all of these share a limit."""
        ids = {"id": self.live.id}
        if member is not None:
            ids["file"] = str(member.file_id)
        client = self.context.client
        # Single files and batches use up the same allowance of the store, whatever their route.
        store = f"{self.collection}/{self.live.id}"
        limit = RateLimitKey(client.key.is_admin, "writes to", store, _WRITES_PER_MINUTE)
        return client.request(method, path, ids=ids, shared_limit=limit, **rest)


def delete_file(context: ChangeContext, member: Member) -> None:
    """Delete an uploaded file, as a step of the journal. One that is gone is no error."""
    id = str(member.file_id)
    with context.steps.step(f"delete file {member.key}", file_id=member.file_id) as step:
        with suppress(NotFoundError):
            context.client.plain.request("DELETE", "/files/{file}", ids={"file": id})
        step.done(id)
