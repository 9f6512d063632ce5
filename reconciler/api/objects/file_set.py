"""The handler of file sets: keeps a vector store in step with folders and uploaded files.

The order of the steps keeps searches complete and loses track of no file. New content is attached
and indexed before the old content is removed. An obsolete file is deleted before it is detached: if
the process dies in between, the store has a member without a file, which the next run sees and
removes. In the opposite order, nothing would remember the file. Deleting a file also detaches it,
after an unknown delay; after many deletes, one list of the members shows which are left to detach.
Uploads are journalled one by one, so that the next run continues where a dead run stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.objects.attaching import Attaching
from reconciler.api.objects.change_context import (
    ChangeContext,
    FieldHandler,
    FieldWrite,
    create_once,
    side_by_side,
)
from reconciler.api.objects.members import (
    Moves,
    digest_of,
    live_set,
    members_in,
    moves,
    seen_set,
    tags,
)
from reconciler.api.objects.orphaned_uploads import REATTACH, UPLOAD, OrphanedUploads
from reconciler.api.objects.refusals import is_about_the_file
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.scoped_client import ScopedClient, new_id_of
from reconciler.api.objects.store_content import (
    PAGE_FILES,
    StoreContent,
    delete_file,
    read_members,
)
from reconciler.api.objects.uploads import Uploader
from reconciler.errors import AmbiguousError, ApiError, NotFoundError
from reconciler.model.consistency import CreationWindow
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import ExpectedValue
from reconciler.model.resource import LiveObject
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, Member, value_at

PURPOSE = "assistants"


class FileSetHandler(FieldHandler):
    """The handler of `FileSetType` fields. Its values are `FileSet`s.

    `index_seconds` limits the wait for indexing, `settle_seconds` the search for an upload whose
    answer was lost. `parallelism` is the number of calls at a time, `batch_files` the number of
    files to attach with one call.
    """

    def __init__(
        self,
        uploader: Uploader,
        reservations: InProcessReservations,
        *,
        index_seconds: float,
        settle_seconds: float,
        parallelism: int,
        batch_files: int,
    ) -> None:
        self.uploader = uploader
        self.reservations = reservations
        self.index_seconds = index_seconds
        self.settle_seconds = settle_seconds
        self.parallelism = parallelism
        self.batch_files = batch_files

    # --- reading

    def read_route(self, kind: Kind) -> tuple[str, str]:
        """The list of the members."""
        return "GET", f"{kind.collection}/{{id}}/files"

    def read(self, client: ScopedClient, live: LiveObject) -> FileSet:
        """The members of the store."""
        return read_members(client, live)

    def read_before_write(
        self, field: Field, client: ScopedClient, live: LiveObject, expected: ExpectedValue
    ) -> FileSet:
        """The members, right before a change.

        If the change touches few of very many members, and the store still has as many as the plan
        saw, only those are read, one by one.
        """
        seen = seen_set(expected.seen, expected.applied)
        # The store itself has just been read, so its count costs no call.
        total = value_at(live.attributes, ("file_counts", "total"))
        if not isinstance(field.type, FileSetType) or expected.after is None or seen is None:
            return self.read(client, live)
        # Somebody has added or removed members, and only the list tells which.
        if total != len(seen.members):
            return self.read(client, live)
        planned = moves(seen, expected.after, field.type)
        changed_ids = {m.file_id for m in (*planned.again, *planned.retag, *planned.remove)}
        # A page of the list shows a hundred members, so single reads pay only for fewer than pages.
        if len(changed_ids) * PAGE_FILES >= len(seen.members):
            return self.read(client, live)
        changed = [member for member in seen.members if member.file_id in changed_ids]
        current = {member.file_id: member for member in self._read_members(client, live, changed)}
        # A member is gone, and another may have come in its place, which the count does not show.
        if len(current) < len(changed):
            return self.read(client, live)
        return FileSet(tuple(current.get(member.file_id, member) for member in seen.members))

    def _read_members(
        self, client: ScopedClient, live: LiveObject, members: Sequence[Member]
    ) -> tuple[Member, ...]:
        """The live values of some members, one call each; members that are gone are left out."""
        path = f"{live.kind.collection}/{{id}}/files/{{file}}"

        def read(member: Member) -> dict[str, Any] | None:
            ids = {"id": live.id, "file": str(member.file_id)}
            try:
                return client.request("GET", path, ids=ids)
            except NotFoundError:
                return None

        answers = side_by_side(read, members, workers=self.parallelism)
        return live_set(answer for answer in answers if answer is not None).members

    # --- writing

    def after_create(self, field_write: FieldWrite, live: LiveObject) -> FileSet | None:
        """Fill the new store."""
        if field_write.value is None:
            return None
        # Another store may have refused a file; this one has not yet.
        members = (replace(member, refused="") for member in field_write.value.members)
        value = FileSet(tuple(members))
        return self._sync(replace(field_write, value=value), live, FileSet(()))

    def write(self, field_write: FieldWrite, live: LiveObject) -> FileSet | None:
        """Change the store to the value; None leaves its content alone."""
        if field_write.value is None:
            return None
        # The members that the precondition has just read, if it did.
        before = live.own_calls.get(field_write.field.name)
        if before is None:
            before = self.read(field_write.context.client, live)
        return self._sync(field_write, live, self._with_unlisted(field_write, live, before))

    def _with_unlisted(self, field_write: FieldWrite, live: LiveObject, before: FileSet) -> FileSet:
        """The members, with recorded ones that the list lacks. Lists lag: read each singly."""
        recorded = field_write.context.applied.get(field_write.field.name)
        listed_ids = {member.file_id for member in before.members} | {None}
        desired_keys = {member.key for member in field_write.value.members}
        unlisted = [
            member
            for member in members_in(recorded)
            if member.key in desired_keys and member.file_id not in listed_ids
        ]
        # A member that is attached already must not be attached, or even uploaded, once more.
        members = self._read_members(field_write.context.client, live, unlisted)
        return FileSet((*before.members, *members))

    def _sync(self, field_write: FieldWrite, live: LiveObject, before: FileSet) -> FileSet:
        if not isinstance(field_write.field.type, FileSetType):
            raise TypeError(f"{field_write.field.name} is no file set")
        orphans = self._orphans(field_write.context, before.members)
        plan = moves(before, field_write.value, field_write.field.type)
        store = StoreContent(field_write.context, live)
        sync = _FileSetSync(self, field_write.context, store, orphans)
        return sync.run(plan, field_write.value)

    # --- removal

    def before_delete(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Delete the files that we uploaded: once the store is gone, nothing lists them."""
        context = field_write.context
        members = self.read(context.client, live).members
        # Files that are declared by their id belong to somebody else, and stay.
        uploaded = [member for member in members if member.content]
        side_by_side(
            lambda member: delete_file(context, member), uploaded, workers=self.parallelism
        )
        _delete_unused(context, self._orphans(context, members))

    def delete_leftovers(self, field_write: FieldWrite, live: LiveObject) -> None:
        """Delete what earlier runs uploaded for the store and never attached."""
        context = field_write.context
        steps = context.steps
        # The members take a call for each hundred, so they are read only after such a run.
        if any(steps.finished(name) or steps.unfinished(name) for name in (UPLOAD, REATTACH)):
            members = self.read(context.client, live).members
            _delete_unused(context, self._orphans(context, members))

    def _orphans(self, context: ChangeContext, members: Iterable[Member]) -> OrphanedUploads:
        # What the store has is no orphan.
        known = frozenset(str(member.file_id) for member in members)
        return OrphanedUploads(context, self.reservations, known, PURPOSE, self.settle_seconds)


class _FileSetSync(Struct, frozen=True):
    """One change of one store."""

    handler: FileSetHandler
    context: ChangeContext
    store: StoreContent
    orphans: OrphanedUploads

    def run(self, plan: Moves, after: FileSet) -> FileSet:
        """Carry out the moves in the order that the module explains."""
        # Uploads come first: a file that the API refuses, such as an empty one, is known before the
        # store changes.
        added = self._upload([member for member in plan.add if member.content])
        added += [member for member in plan.add if not member.content]
        self._for_each(self._change_attributes, plan.retag)
        # The chunking of a member cannot be modified: the file is detached and attached again.
        self._for_each(self._detach_to_reattach, plan.again)
        # Wait for the indexing before old members are removed: searches find either the old or the
        # new content.
        attaching = Attaching(
            self.store,
            batch_files=self.handler.batch_files,
            index_seconds=self.handler.index_seconds,
            settle_seconds=self.handler.settle_seconds,
            detached=frozenset(member.key for member in plan.again),
        )
        attaching.attach_and_index([*added, *plan.again])
        # The old members leave after the new ones are indexed, so that a search finds one version.
        self._remove(plan.remove, kept=len(after.members))
        _delete_unused(self.context, self.orphans)
        self.context.notes.extend(self.orphans.remarks())
        return _result(after, [*added, *plan.again, *plan.retag], self.store.refused)

    def _for_each(self, function: Callable[[Member], None], members: Sequence[Member]) -> None:
        side_by_side(function, members, workers=self.handler.parallelism)

    # --- uploading

    def _upload(self, members: list[Member]) -> list[Member]:
        """The members with the ids of their uploads, without those that the API refused."""
        lost: list[tuple[Member, CreationWindow, AmbiguousError]] = []
        http = self.context.client.http

        def upload(member: Member) -> Member | None:
            # Between files, because an interrupted run must not upload the rest of a large folder.
            http.waits.check_stopped()
            began = http.server_clock()
            try:
                # Files that a dead run uploaded are used instead of being uploaded again.
                id = self.orphans.left_by_earlier_run(member.upload) or self._send(member)
                return replace(member, file_id=id)
            except AmbiguousError as error:
                lost.append((member, CreationWindow(error.sent_at or began), error))
                return None
            except ApiError as error:
                if not is_about_the_file(error):
                    raise
                self.store.refuse(member, "at upload", error)
                return None

        uploads = side_by_side(upload, members, workers=self.handler.parallelism)
        uploaded = [member for member in uploads if member is not None]
        # Lost answers are resolved last, when the ids of all other uploads are reserved: so no two
        # members can take the same file.
        for member, window, error in lost:
            uploaded.append(self._upload_again(member, window, error))
        return uploaded

    def _upload_again(self, member: Member, window: CreationWindow, lost: AmbiguousError) -> Member:
        """The member with the id of its upload, whose first answer was lost."""
        windows = [window]

        def search(error: AmbiguousError) -> str | None:
            # The request may have waited long for its rate limit after the attempt began.
            if error.sent_at is not None:
                windows[-1] = CreationWindow(error.sent_at)
            return self.orphans.find(member.upload, windows)

        def create() -> str:
            windows.append(CreationWindow(self.context.client.http.server_clock()))
            return self._send(member)

        return replace(member, file_id=create_once(create, search, lost=lost))

    def _send(self, member: Member) -> str:
        local = member.upload
        content = {"path": local.path, "sha256": local.sha256}
        step_context = self.context.steps.step(UPLOAD, **content, size=local.size)
        with step_context as step, self.orphans.creating(local):
            answer = self.handler.uploader.upload(
                self.context.client.plain,
                local,
                filename=local.path.rpartition("/")[2],
                purpose=PURPOSE,
            )
            id = new_id_of(answer, subject="POST /files")
            # Two uploads cannot have one id. The answer belongs to another request.
            if not self.orphans.reserve(id):
                raise AmbiguousError(f"POST /files: the answer has the id of another upload, {id}.")
            step.done(id, **content)
        return id

    # --- changing and removing

    def _change_attributes(self, member: Member) -> None:
        with self.context.steps.step(f"annotate {member.key}") as step:
            body = {"attributes": tags(member)}
            self.store.write(
                "POST", f"{self.store.files_path}/{{file}}", member, json=body, repeatable=True
            )
            step.done(str(member.file_id))

    def _detach_to_reattach(self, member: Member) -> None:
        # Journalled with its content: if this run dies before it attaches the file again, the next
        # one finds it as an orphan and uploads nothing.
        content = {"path": member.key, "sha256": digest_of(member)}
        with self.context.steps.step(REATTACH, file_id=member.file_id, **content) as step:
            self._detach(member)
            step.done(str(member.file_id), **content)

    def _remove(self, members: Sequence[Member], *, kept: int) -> None:
        """Delete the files that we uploaded, and detach the other members; `kept` members stay."""
        uploaded = [member for member in members if member.content]
        self._for_each(self._delete, uploaded)
        list_pages = kept // PAGE_FILES + 1
        if len(uploaded) > list_pages:
            # Deleting a file detaches it, after a delay that the API does not specify. Members that
            # are still listed must be detached; one list takes fewer calls than a detach for each.
            attached = {member.file_id for member in self.store.members()}
            members = [m for m in members if not m.content or m.file_id in attached]
        self._for_each(self._detach_removed, members)

    def _delete(self, member: Member) -> None:
        self.context.client.http.waits.check_stopped()
        delete_file(self.context, member)

    def _detach_removed(self, member: Member) -> None:
        self.context.client.http.waits.check_stopped()
        name = f"detach {member.key}"
        with self.context.steps.step(name, file_id=member.file_id) as step:
            self._detach(member)
            step.done(str(member.file_id))

    def _detach(self, member: Member) -> None:
        with suppress(NotFoundError):  # the deletion of the file has detached it
            self.store.write("DELETE", f"{self.store.files_path}/{{file}}", member)


def _result(after: FileSet, written: list[Member], refused: Mapping[str, str]) -> FileSet:
    """The desired members with the ids of their files, or with the reason of the refusal."""
    ids = {member.key: member.file_id for member in written if member.key not in refused}
    members = []
    for member in after.members:
        # The refusal is recorded, so that the next plan does not try the same content again.
        if member.key in refused and member.content:
            members.append(replace(member, file_id=None, refused=refused[member.key]))
        else:
            members.append(replace(member, file_id=ids.get(member.key, member.file_id)))
    return FileSet(tuple(members))


def _delete_unused(context: ChangeContext, orphans: OrphanedUploads) -> None:
    for path, id in orphans.unused():
        delete_file(context, Member(path, content=None, file_id=id))
