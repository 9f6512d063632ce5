"""The carrier of file sets: a vector store kept in step with folders and uploaded files.

The order protects what is searched and what would be forgotten. New content is attached and indexed before the old is
removed. A file that leaves is deleted before it is detached: dying in between leaves a member without a file, which the
next run sees and removes, and never a file that nobody remembers. Deleting detaches as well, and nobody says how soon:
where many leave, a look at the store tells which are left to detach. Uploads are journalled one by one, so a run that
died halfway goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.api.objects.changes import (
    DOUBTFUL_ATTEMPTS,
    ChangeContext,
    FieldHandler,
    FieldWrite,
    side_by_side,
)
from reconciler.api.objects.indexing import Indexing, IndexingWatch
from reconciler.api.objects.members import Moves, attachment, live_set, moves, seen_set, tags
from reconciler.api.objects.orphaned_uploads import REATTACH, UPLOAD, OrphanedUploads
from reconciler.api.objects.refusals import is_about_the_file, refused_members
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.scoped import ScopedClient, new_id_of
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import AmbiguousError, ApiError, NotFoundError
from reconciler.model.consistency import SETTLE_SECONDS, Window
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import ExpectedValue
from reconciler.model.resource import LiveObject
from reconciler.model.types import FileSetType
from reconciler.model.values import FileSet, Member, value_at

PURPOSE = "assistants"
_PAGE = 100
_MOST_FRUITLESS = 20
"""How many files are tried one by one in a store that has taken none so far."""
_WRITES_PER_MINUTE = 300
"""What a store takes in a minute, single files and batches alike."""


class FileSetHandler(FieldHandler):
    """The carrier of `FileSetType` fields. Its values are `FileSet`s.

    `index_seconds` bounds the wait for indexing, `settle_seconds` the search for an upload whose answer was lost;
    `parallelism` counts calls at a time, `batch_files` files to attach with one call.
    """

    def __init__(
        self,
        uploader: Uploader,
        claims: InProcessReservations,
        *,
        index_seconds: float = 600.0,
        settle_seconds: float = SETTLE_SECONDS,
        parallelism: int = 4,
        batch_files: int = 2000,
    ) -> None:
        self.uploader = uploader
        self.claims = claims
        self.index_seconds = index_seconds
        self.settle_seconds = settle_seconds
        self.parallelism = parallelism
        self.batch_files = batch_files

    def created(self, task: FieldWrite, live: LiveObject) -> FileSet | None:
        """Fill the new store."""
        if task.value is None:
            return None
        # What another store refused is tried in this one.
        members = tuple(
            replace(member, refused="") if member.refused else member
            for member in task.value.members
        )
        return self._sync(replace(task, value=FileSet(members)), live, FileSet(()))

    def reads(self, kind: Kind) -> tuple[str, str]:
        """The list of the members."""
        return "GET", f"{kind.collection}/{{id}}/files"

    def read(self, reach: ScopedClient, live: LiveObject) -> FileSet:
        """The members of the store."""
        listed = reach.list(
            f"{live.kind.collection}/{{id}}/files", ids={"id": live.id}, query={"limit": _PAGE}
        )
        return live_set(listed)

    def read_before_write(
        self, field: Field, reach: ScopedClient, live: LiveObject, expected: ExpectedValue
    ) -> FileSet:
        """The members: one by one where the change touches few of very many, and the store still counts as many."""
        seen, after = seen_set(expected.seen, expected.applied), expected.after
        counted = value_at(live.attributes, ("file_counts", "total"))
        if (
            not isinstance(field.type, FileSetType)
            or after is None
            or seen is None
            or counted != len(seen.members)
        ):
            return self.read(reach, live)
        planned = moves(seen, after, field.type)
        touched = {member.file_id for member in (*planned.again, *planned.retag, *planned.remove)}
        if len(touched) * _PAGE >= len(seen.members):
            return self.read(reach, live)
        due = [member for member in seen.members if member.file_id in touched]
        now = {member.file_id: member for member in self._members(reach, live, due)}
        if len(now) < len(due):
            return self.read(reach, live)
        return FileSet(tuple(now.get(member.file_id, member) for member in seen.members))

    def _members(
        self, reach: ScopedClient, live: LiveObject, wanted: Sequence[Member]
    ) -> tuple[Member, ...]:
        """Members as they are now, each asked for by itself; those that are gone are left out."""

        def ask(member: Member) -> list[dict[str, Any]]:
            ids = {"id": live.id, "file": str(member.file_id)}
            try:
                return [
                    reach.request("GET", f"{live.kind.collection}/{{id}}/files/{{file}}", ids=ids)
                ]
            except NotFoundError:
                return []

        found = side_by_side(ask, wanted, workers=self.parallelism)
        return live_set(item for items in found for item in items).members

    def write(self, task: FieldWrite, live: LiveObject) -> FileSet | None:
        """Make the store hold the value; None leaves its content alone."""
        if task.value is None:
            return None
        before = live.own_calls.get(task.field.name)
        before = before if before is not None else self.read(task.context.client, live)
        return self._sync(task, live, self._with_unlisted(task, live, before))

    def _with_unlisted(self, task: FieldWrite, live: LiveObject, before: FileSet) -> FileSet:
        """The members, with those that we attached and that the list lacks: asked for one by one, since lists lag."""
        recorded = task.context.record.applied.get(task.field.name) if task.context.record else None
        members = recorded.members if isinstance(recorded, FileSet) else ()
        seen, wanted = (
            {member.file_id for member in before.members},
            {member.key for member in task.value.members},
        )
        lacking = [
            member
            for member in members
            if member.key in wanted and member.file_id not in {*seen, None}
        ]
        return FileSet((*before.members, *self._members(task.context.client, live, lacking)))

    def removing(self, task: FieldWrite, live: LiveObject) -> None:
        """Delete the files that we uploaded into the store: afterwards nothing would tell which they were."""
        members = self.read(task.context.client, live).members
        ours = [member for member in members if member.content]
        side_by_side(
            lambda member: _delete_file(task.context, member), ours, workers=self.parallelism
        )
        _delete_unused(task.context, self._strays(task.context, members))

    def delete_leftovers(self, task: FieldWrite, live: LiveObject) -> None:
        """Delete what earlier runs uploaded for the store and did not live to attach."""
        if any(
            task.context.steps.finished(name) or task.context.steps.unfinished(name)
            for name in (UPLOAD, REATTACH)
        ):
            members = self.read(task.context.client, live).members
            _delete_unused(task.context, self._strays(task.context, members))

    def _strays(self, work: ChangeContext, members: Iterable[Member]) -> OrphanedUploads:
        known = frozenset(str(member.file_id) for member in members)
        return OrphanedUploads(work, self.claims, known, PURPOSE, self.settle_seconds)

    def _sync(self, task: FieldWrite, live: LiveObject, before: FileSet) -> FileSet:
        if not isinstance(task.field.type, FileSetType):
            raise TypeError(f"{task.field.name} is no file set")
        strays = self._strays(task.context, before.members)
        return _FileSetSync(self, task.context, live, strays).run(
            moves(before, task.value, task.field.type), task.value
        )


class _FileSetSync(Struct, frozen=True):
    """One synchronisation of one store."""

    folder: FileSetHandler
    work: ChangeContext
    live: LiveObject
    strays: OrphanedUploads
    refused: dict[str, str] = field(default_factory=dict)
    """What the API said about members that it refused, by key. Filled from several threads."""
    refused_alone: list[str] = field(default_factory=list)
    """The keys of members that were refused when they were attached singly."""
    once_attached: set[str] = field(default_factory=set)
    """The keys of members that were detached to be attached otherwise."""
    batches: list[str] = field(default_factory=list)
    """The ids of what the store took."""

    @property
    def files_path(self) -> str:
        return f"{self.live.kind.collection}/{{id}}/files"

    def run(self, plan: Moves, after: FileSet) -> FileSet:
        added = self._upload([member for member in plan.add if member.content], self.strays)
        added += [member for member in plan.add if not member.content]
        self._each(self._retag, plan.retag)
        self.once_attached.update(member.key for member in plan.again)
        self._each(self._detach_to_attach_again, plan.again)
        watches = self._attach([*added, *plan.again])
        if watches:
            names = {str(member.file_id): member.key for member in (*added, *plan.again)}
            indexing = Indexing(
                self.work.client, names, self.folder.index_seconds, self.folder.settle_seconds
            )
            failed, remarks = indexing.wait(watches)
            self.work.refused.extend(failed)
            self.work.notes.extend(remarks)
        self._remove(plan.remove, kept=len(after.members))
        _delete_unused(self.work, self.strays)
        self.work.notes.extend(self.strays.remarks())
        return self._outcome(after, [*added, *plan.again, *plan.retag])

    def _outcome(self, after: FileSet, written: list[Member]) -> FileSet:
        ids = {member.key: member.file_id for member in written if member.key not in self.refused}
        return FileSet(tuple(self._as_written(item, ids) for item in after.members))

    def _as_written(self, member: Member, ids: Mapping[str, Any]) -> Member:
        if member.key in self.refused and member.content:
            return replace(member, file_id=None, refused=self.refused[member.key])
        return replace(member, file_id=ids.get(member.key, member.file_id))

    def _refuse(self, member: Member, when: str, error: ApiError) -> None:
        """Leave a member out, and delete what was uploaded for it."""
        self.refused[member.key] = f"{when}: {error}"
        self.work.refused.append(f"{member.key} was refused {when}: {error}")
        if member.content and member.file_id is not None:
            _delete_file(self.work, member)

    def _each(self, do: Callable[[Member], None], members: Sequence[Member]) -> None:
        side_by_side(do, members, workers=self.folder.parallelism)

    # Uploading

    def _upload(self, members: list[Member], strays: OrphanedUploads) -> list[Member]:
        doubtful: list[tuple[Member, Window]] = []

        def upload(member: Member) -> Member | None:
            self.work.client.client.check_stopped()
            began = self.work.client.client.server_clock()
            try:
                return self._uploaded(member, strays)
            except AmbiguousError as error:
                doubtful.append((member, Window(error.sent_at or began)))
                return None
            except ApiError as error:
                if not is_about_the_file(error):
                    raise
                self._refuse(member, "at upload", error)
                return None

        done = [
            made for made in side_by_side(upload, members, workers=self.folder.parallelism) if made
        ]
        # Looked into once all the others are known, so that no two members can claim the same file.
        return done + [self._settled(member, window, strays) for member, window in doubtful]

    def _uploaded(self, member: Member, strays: OrphanedUploads) -> Member:
        local = member.upload
        left = strays.left_by_earlier_run(local)
        return replace(member, file_id=left or self._send(member, strays))

    def _settled(self, member: Member, window: Window, strays: OrphanedUploads) -> Member:
        """The member with the id of its upload, whose first answer was lost: found, or sent again."""
        windows = [window]
        while True:
            found = strays.find(member.upload, windows)
            began = self.work.client.client.server_clock()
            try:
                return replace(member, file_id=found or self._send(member, strays))
            except AmbiguousError as error:
                if len(windows) + 1 == DOUBTFUL_ATTEMPTS:
                    raise
                windows.append(Window(error.sent_at or began))

    def _send(self, member: Member, strays: OrphanedUploads) -> str:
        local = member.upload
        upload = self.work.steps.step(UPLOAD, path=local.path, sha256=local.sha256, size=local.size)
        with upload as step, strays.making(local):
            filename = local.path.rpartition("/")[2]
            reach = self.work.client.plain
            made = self.folder.uploader.upload(reach, local, filename=filename, purpose=PURPOSE)
            id = new_id_of(made, what="POST /files")
            if not strays.claim(id):
                raise AmbiguousError(f"POST /files: the answer has the id of another upload, {id}.")
            step.done(id, path=local.path, sha256=local.sha256)
        return id

    # Attaching

    def _attach(self, members: list[Member], *, attempt: int = 1) -> list[IndexingWatch]:
        watches: list[IndexingWatch] = []
        for start in range(0, len(members), self.folder.batch_files):
            batch = members[start : start + self.folder.batch_files]
            try:
                watches.append(self._attach_batch(batch))
            except AmbiguousError:
                if attempt >= DOUBTFUL_ATTEMPTS:
                    raise
                watches += self._attach_missing(batch, attempt=attempt + 1)
            except ApiError as error:
                watches += self._attach_apart(batch, error, attempt=attempt)
        return watches

    def _attach_apart(
        self, batch: list[Member], error: ApiError, *, attempt: int
    ) -> list[IndexingWatch]:
        """Find the members for which the API refused a whole batch, and attach the others.

        Members that the refusal names are set aside; without a name, halves are tried until single members are left.
        """
        culprits = refused_members(batch, error)
        if culprits is None or any(member.key in self.once_attached for member in culprits):
            raise error
        if len(batch) == 1 and batch[0].key in self.once_attached:
            raise error  # the store had the file, so the refusal is about how it is to be attached
        if len(batch) == 1 and not culprits:
            self.refused_alone.append(batch[0].key)
            if len(self.refused_alone) >= _MOST_FRUITLESS and not self.batches:
                raise error  # the store takes nothing at all, so the fault is not the files'
            culprits = batch
        for member in culprits:
            self._refuse(member, "when it was attached", error)
        rest = [member for member in batch if member.key not in self.refused]
        if culprits:
            return self._attach(rest, attempt=attempt) if rest else []
        middle = len(rest) // 2
        return [
            *self._attach(rest[:middle], attempt=attempt),
            *self._attach(rest[middle:], attempt=attempt),
        ]

    def _attach_missing(self, batch: list[Member], *, attempt: int) -> list[IndexingWatch]:
        """After an answer was lost: attach what is not there, and wait for all by way of the store."""
        present = {
            member.file_id for member in self.folder.read(self.work.client, self.live).members
        }
        watches = self._attach(
            [member for member in batch if member.file_id not in present], attempt=attempt
        )
        return [
            *watches,
            IndexingWatch(
                f"{self.live.kind.collection}/{{id}}", {"id": self.live.id}, self.files_path
            ),
        ]

    def _attach_batch(self, batch: list[Member]) -> IndexingWatch:
        ids = {"id": self.live.id}
        bodies = [attachment(member) for member in batch]
        with self.work.steps.step("attach", files=len(batch)) as step:
            if len(bodies) == 1:
                made = self._write("POST", self.files_path, json=bodies[0])
                id = new_id_of(made, what=f"POST {self.files_path}")
                watch = IndexingWatch(
                    f"{self.files_path}/{{file}}", {**ids, "file": str(batch[0].file_id)}
                )
            else:
                path = f"{self.live.kind.collection}/{{id}}/file_batches"
                made = self._write("POST", path, json={"files": bodies})
                one = f"{path}/{{batch}}"
                id = new_id_of(made, what=f"POST {path}")
                watch = IndexingWatch(one, {**ids, "batch": id}, f"{one}/files")
            step.done(id)
        self.batches.append(id)
        return watch

    # Changing and removing

    def _retag(self, member: Member) -> None:
        with self.work.steps.step(f"annotate {member.key}") as step:
            body = {"attributes": tags(member)}
            self._write("POST", f"{self.files_path}/{{file}}", member, json=body, repeatable=True)
            step.done(str(member.file_id))

    def _detach_to_attach_again(self, member: Member) -> None:
        known = {"path": member.key, "sha256": member.content.sha256 if member.content else None}
        with self.work.steps.step(REATTACH, file_id=member.file_id, **known) as step:
            self._detach(member)
            step.done(str(member.file_id), **known)

    def _remove(self, members: Sequence[Member], *, kept: int) -> None:
        """Delete the files that we uploaded, and detach what that leaves; `kept` members stay."""
        ours = [member for member in members if member.content]
        self._each(self._delete, ours)
        if len(ours) > kept // _PAGE + 1:  # than a look has pages
            attached = {
                member.file_id for member in self.folder.read(self.work.client, self.live).members
            }
            members = [
                member for member in members if not member.content or member.file_id in attached
            ]
        self._each(self._detach_left, members)

    def _delete(self, member: Member) -> None:
        self.work.client.client.check_stopped()
        _delete_file(self.work, member)

    def _detach_left(self, member: Member) -> None:
        self.work.client.client.check_stopped()
        with self.work.steps.step(f"detach {member.key}", file_id=member.file_id) as step:
            self._detach(member)
            step.done(str(member.file_id))

    def _detach(self, member: Member) -> None:
        try:
            self._write("DELETE", f"{self.files_path}/{{file}}", member)
        except NotFoundError:
            return

    def _write(
        self, method: str, path: str, member: Member | None = None, **rest: Any
    ) -> dict[str, Any]:
        """A call that changes the content of the store; all of these share a limit."""
        ids = {"id": self.live.id, **({"file": str(member.file_id)} if member else {})}
        pace = RateLimitKey(
            self.work.client.key.is_admin,
            "writes to",
            f"{self.live.kind.collection}/{self.live.id}",
            _WRITES_PER_MINUTE,
        )
        return self.work.client.request(method, path, ids=ids, shared_limit=pace, **rest)


def _delete_unused(work: ChangeContext, strays: OrphanedUploads) -> None:
    for path, id in strays.unused():
        _delete_file(work, Member(path, content=None, file_id=id))


def _delete_file(work: ChangeContext, member: Member) -> None:
    with work.steps.step(f"delete file {member.key}", file_id=member.file_id) as step:
        try:
            work.client.plain.request("DELETE", "/files/{file}", ids={"file": str(member.file_id)})
        except NotFoundError:
            step.done(str(member.file_id))
            return
        step.done(str(member.file_id))
