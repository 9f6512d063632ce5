"""The provider over HTTP. The engine knows it only by the protocols of `model.provider`.

`HttpReader` and `HttpWriter` derive all calls from the declaration of a kind: the path of its
collection, the key, the fields of a body, the meaning of a delete. Fields that have calls of their
own are left to `FieldHandlers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.api.keys import KeyRing
from reconciler.api.objects.collection import Reveal
from reconciler.api.objects.field_handlers import BATCH_FILES, FieldHandlers, FileSetLimits
from reconciler.api.objects.reader import HttpReader
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.retirement import Retirements
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.scopes import Scopes
from reconciler.api.objects.uploads import MEBIBYTE, Uploader
from reconciler.api.objects.writer import HttpWriter
from reconciler.api.transport.client import Client
from reconciler.model.calls import ListKey
from reconciler.model.consistency import SETTLE_SECONDS
from reconciler.model.provider import Sinks
from reconciler.model.resource import Record


class HttpProvider(HttpReader, HttpWriter):
    """Both halves of a provider with the parts that they share. Safe to use from threads.

    `project_ids` maps project names of the configuration to ids. `default_project` is the id to
    send along with the default key, if one is configured. `settle_seconds` is how long something
    just written may be missing from answers, `index_seconds` the longest wait for indexing. Files
    above `whole_bytes` are uploaded in parts of `part_bytes`. `parallelism` is the number of calls
    at a time within one change, `batch_files` that of files to attach with one call. `reveal` reads
    the secrets in bodies. `recorded` are the records of the state. `pages` is described at
    `HttpReader`.
    """

    def __init__(
        self,
        client: Client,
        keys: KeyRing,
        sinks: Sinks,
        root: Path,
        project_ids: Mapping[str, str],
        *,
        default_project: str | None = None,
        settle_seconds: float = SETTLE_SECONDS,
        index_seconds: float = 600.0,
        parallelism: int = 4,
        batch_files: int = BATCH_FILES,
        whole_bytes: int = 512 * MEBIBYTE,
        part_bytes: int = 64 * MEBIBYTE,
        reveal: Reveal | None = None,
        recorded: Iterable[Record] = (),
        pages: Mapping[ListKey, int] | None = None,
    ) -> None:
        scopes = Scopes(client, keys, project_ids, default_project=default_project, reveal=reveal)
        retirements = Retirements()
        reservations = InProcessReservations()
        uploader = Uploader(root, whole_bytes=whole_bytes, part_bytes=part_bytes)
        handlers = FieldHandlers(
            sinks,
            keys,
            uploader,
            reservations,
            recorded,
            settle_seconds=settle_seconds,
            file_sets=FileSetLimits(index_seconds, parallelism, batch_files),
        )
        HttpReader.__init__(self, scopes, handlers, retirements, pages or {})
        HttpWriter.__init__(
            self,
            scopes,
            handlers,
            retirements,
            reservations,
            uploader,
            settle_seconds=settle_seconds,
        )

    def client_for_project(self, project: str | None) -> ScopedClient:
        """The client for the data of a project, None for that of the default key.

        Raises CredentialError.
        """
        return self._scopes.project_client(project)
