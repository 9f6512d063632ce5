"""Attaches files to a vector store in batches, and leaves out the ones that it refuses.

The API refuses a whole batch for one file that it cannot read, and does not always name the file.
"""

from __future__ import annotations

from msgspec import Struct, field

from reconciler.api.objects.change_context import CREATE_ATTEMPTS
from reconciler.api.objects.indexing import Indexing, IndexingWatch
from reconciler.api.objects.members import attachment
from reconciler.api.objects.refusals import refused_members
from reconciler.api.objects.scoped_client import new_id_of
from reconciler.api.objects.store_content import StoreContent
from reconciler.errors import AmbiguousError, ApiError
from reconciler.model.values import Member

_MAX_REFUSED_FILES = 20
"""How many files are tried one by one in a store that has accepted none so far."""


class Attaching(Struct, frozen=True):
    """Attaches the new members of one change. `batch_files` is the number of files in one call.

    `index_seconds` limits the wait for indexing. A file that was just attached may be unknown for
    `settle_seconds`.
    """

    store: StoreContent
    batch_files: int
    index_seconds: float
    settle_seconds: float
    detached: frozenset[str]
    """The keys of members that were detached in order to be attached with other options."""
    refused_alone: list[str] = field(default_factory=list)
    """The keys of members that were refused when they were attached singly."""
    attached_ids: list[str] = field(default_factory=list)
    """The ids of the files and batches that the store accepted."""

    def attach_and_index(self, members: list[Member]) -> None:
        """Attach members, and wait until they are indexed or the time is up."""
        watches = self._attach(members)
        if not watches:
            return
        names = {str(member.file_id): member.key for member in members}
        context = self.store.context
        indexing = Indexing(context.client, names, self.index_seconds, self.settle_seconds)
        failures, remarks = indexing.wait(watches)
        context.refused.extend(failures)
        context.notes.extend(remarks)

    def _attach(self, members: list[Member], *, attempt: int = 1) -> list[IndexingWatch]:
        watches: list[IndexingWatch] = []
        for start in range(0, len(members), self.batch_files):
            batch = members[start : start + self.batch_files]
            try:
                watches.append(self._attach_batch(batch))
            except AmbiguousError:
                # The API may have attached all of the batch, some of it, or nothing.
                if attempt >= CREATE_ATTEMPTS:
                    raise
                watches += self._attach_missing(batch, attempt=attempt + 1)
            except ApiError as error:
                watches += self._attach_without_refused(batch, error, attempt=attempt)
        return watches

    def _attach_without_refused(
        self, batch: list[Member], error: ApiError, *, attempt: int
    ) -> list[IndexingWatch]:
        """After the API refused a whole batch: find the members at fault, and attach the others.

        The error may name files. If it does not, the batch is halved down to single members.
        """
        culprits = refused_members(batch, error)
        # The store had a detached member before, so its new options are at fault. To leave it out
        # would remove it from the store.
        if culprits is None or any(member.key in self.detached for member in culprits):
            raise error
        if len(batch) == 1 and not culprits:
            if batch[0].key in self.detached:
                raise error
            self.refused_alone.append(batch[0].key)
            # A store that accepts none of so many files is itself at fault.
            if len(self.refused_alone) >= _MAX_REFUSED_FILES and not self.attached_ids:
                raise error
            culprits = batch
        for member in culprits:
            self.store.refuse(member, "when it was attached", error)
        rest = [member for member in batch if member.key not in self.store.refused]
        if culprits:
            return self._attach(rest, attempt=attempt)
        # Halving finds one bad file among n with about 2 log n calls.
        middle = len(rest) // 2
        first_half = self._attach(rest[:middle], attempt=attempt)
        return first_half + self._attach(rest[middle:], attempt=attempt)

    def _attach_missing(self, batch: list[Member], *, attempt: int) -> list[IndexingWatch]:
        """After a lost answer: attach what the store lacks, and watch the store as a whole."""
        # Some of the batch may be attached already, which only the list tells.
        present = {member.file_id for member in self.store.members()}
        missing = [member for member in batch if member.file_id not in present]
        watches = self._attach(missing, attempt=attempt)
        store = f"{self.store.collection}/{{id}}"
        return [*watches, IndexingWatch(store, {"id": self.store.live.id}, self.store.files_path)]

    def _attach_batch(self, batch: list[Member]) -> IndexingWatch:
        ids = {"id": self.store.live.id}
        with self.store.context.steps.step("attach", files=len(batch)) as step:
            # The file itself shows why it failed. A batch of one would take another list for that.
            if len(batch) == 1:
                answer = self.store.write("POST", self.store.files_path, json=attachment(batch[0]))
                id = new_id_of(answer, subject=f"POST {self.store.files_path}")
                ids["file"] = str(batch[0].file_id)
                watch = IndexingWatch(f"{self.store.files_path}/{{file}}", ids)
            else:
                path = f"{self.store.collection}/{{id}}/file_batches"
                files = [attachment(member) for member in batch]
                answer = self.store.write("POST", path, json={"files": files})
                id = ids["batch"] = new_id_of(answer, subject=f"POST {path}")
                watch = IndexingWatch(f"{path}/{{batch}}", ids, f"{path}/{{batch}}/files")
            step.done(id)
        self.attached_ids.append(id)
        return watch
