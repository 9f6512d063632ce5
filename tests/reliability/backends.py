"""Where the state of a trial is kept: beside the manifests, encrypted there, or in a shared backend behind a proxy.

Whatever is kept elsewhere can be saved and brought back, so that a trial begins where the one before it began, and so
that an older copy of a state can be restored, as from a backup.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from reconciler.state import StateStore
from reconciler.state.encryption import AgeCipher, Cipher, NoEncryption
from reconciler.state.remote.embedded import EmbeddedStorage
from reconciler.state.remote.objects.storage import ObjectStorage
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.postgres.storage import PostgresStorage
from reconciler.state.remote.segments import SegmentLog
from reconciler.state.remote.storage import LogStorage
from tests.reliability.scenarios import Files
from tests.servers.object_stores import BUCKET, Place, admin_store
from tests.servers.postgres import Database
from tests.servers.proxy import Proxy

LEASE_SECONDS = 1.0
"""The shortest lease that there is: it is what a run waits for after the death of another."""
STACK, ENVIRONMENT = "shop", "default"


class Backend(Protocol):
    """Where states are kept."""

    @property
    def name(self) -> str:
        """What it is called in the names of tests."""

    @property
    def is_shared(self) -> bool:
        """Whether a dead holder is noticed by its lease alone."""

    def variables(self) -> Mapping[str, str]:
        """What makes a run use it."""

    def adapt(self, files: Files) -> Files:
        """The files of a stack whose state is here."""

    def open(self, folder: Path) -> StateStore:
        """The state of the stack in a folder, for reading."""

    def contents(self, folder: Path) -> Sequence[bytes]:
        """Everything that is stored, in the clear."""

    def save(self) -> Any:
        """A copy of what is stored outside of the folder."""

    def restore(self, copy: Any) -> None:
        """Replace what is stored outside of the folder."""


class LocalBackend:
    """A file beside the manifests."""

    name = "local"
    is_shared = False

    def variables(self) -> Mapping[str, str]:
        return {}

    def adapt(self, files: Files) -> Files:
        return files

    def open(self, folder: Path) -> StateStore:
        return StateStore.open_for_reading(
            folder / ".reconciler", stack=STACK, environment=ENVIRONMENT
        )

    def contents(self, folder: Path) -> Sequence[bytes]:
        return [path.read_bytes() for path in sorted((folder / ".reconciler").glob("*.db*"))]

    def save(self) -> Any:
        return None

    def restore(self, copy: Any) -> None:
        assert copy is None


LOCAL = LocalBackend()


@dataclass
class EncryptedBackend:
    """An encrypted file beside the manifests."""

    identity: Path
    """A file with an age identity."""
    recipient: str
    name: str = "encrypted"
    is_shared: bool = False

    @classmethod
    def new(cls, folder: Path) -> EncryptedBackend:
        """With an identity of its own."""
        from pyrage import x25519

        key = x25519.Identity.generate()
        path = folder / "identity.txt"
        path.write_text(f"{key}\n", encoding="utf-8")
        path.chmod(0o600)
        return cls(path, str(key.to_public()))

    def variables(self) -> Mapping[str, str]:
        return {"RECONCILER_AGE_IDENTITY": str(self.identity)}

    def adapt(self, files: Files) -> Files:
        encryption = f"  encryption: {{age: {{recipients: [{self.recipient}]}}}}\n"
        return {
            **files,
            "reconciler.yaml": files["reconciler.yaml"].rstrip("\n") + f"\n{encryption}",
        }

    def open(self, folder: Path) -> StateStore:
        return _open(self._storage(folder), self._cipher())

    def contents(self, folder: Path) -> Sequence[bytes]:
        return _contents(self._storage(folder), self._cipher())

    def save(self) -> Any:
        return None

    def restore(self, copy: Any) -> None:
        assert copy is None

    def _storage(self, folder: Path) -> LogStorage:
        return EmbeddedStorage(folder / ".reconciler" / f"{STACK}.{ENVIRONMENT}.log.db")

    def _cipher(self) -> Cipher:
        return AgeCipher([self.recipient], identity=self.identity, learn=lambda _: None)


@dataclass
class PostgresBackend:
    """A database; runs reach it through the proxy, which may have PgBouncer behind it."""

    database: Database
    proxy: Proxy
    name: str = "postgres"
    is_shared: bool = True
    lease_seconds: float = LEASE_SECONDS
    write_marker: bytes = b"INSERT INTO reconciler.segments"
    """What every write of the log has in it on the wire."""

    def variables(self) -> Mapping[str, str]:
        url = self.database.url(port=self.proxy.port)
        return {"RECONCILER_BACKEND": url, "RECONCILER_LEASE_SECONDS": str(self.lease_seconds)}

    def adapt(self, files: Files) -> Files:
        return files

    def open(self, folder: Path) -> StateStore:
        return _open(self._storage(), NoEncryption())

    def contents(self, folder: Path) -> Sequence[bytes]:
        return _contents(self._storage(), NoEncryption())

    def save(self) -> Any:
        return {
            table: self.database.execute(f"SELECT * FROM reconciler.{table}") for table in _TABLES
        }

    def restore(self, copy: Any) -> None:
        import psycopg

        with psycopg.connect(self.database.url()) as connection:
            connection.execute("DELETE FROM reconciler.states")
            for table, rows in copy.items():
                for row in rows:
                    places = ", ".join(["%s"] * len(row))
                    connection.execute(
                        f"INSERT INTO reconciler.{table} OVERRIDING SYSTEM VALUE VALUES ({places})",
                        row,
                    )

    def _storage(self) -> LogStorage:
        return PostgresStorage(self.database.url(), stack=STACK, environment=ENVIRONMENT)


@dataclass
class BucketBackend:
    """A prefix of a bucket, reached through the proxy. What is restored gets a prefix of its own."""

    place: Place
    proxy: Proxy
    name: str = "s3"
    is_shared: bool = True
    lease_seconds: float = LEASE_SECONDS
    prefixes: Iterator[int] = field(default_factory=itertools.count)
    prefix: int = field(init=False)

    def __post_init__(self) -> None:
        self.prefix = next(self.prefixes)

    @property
    def write_marker(self) -> bytes:
        """What every write of the log has in it on the wire."""
        return f"PUT {self._path}/{STACK}/{ENVIRONMENT}/log/".encode()

    def variables(self) -> Mapping[str, str]:
        endpoint = urlsplit(self.place.endpoint)
        there = endpoint._replace(netloc=f"127.0.0.1:{self.proxy.port}").geturl()
        return {
            **self.place.through(there).env,
            "RECONCILER_BACKEND": self._url,
            "RECONCILER_LEASE_SECONDS": str(self.lease_seconds),
        }

    def adapt(self, files: Files) -> Files:
        return files

    def open(self, folder: Path) -> StateStore:
        return _open(self._storage(), NoEncryption())

    def contents(self, folder: Path) -> Sequence[bytes]:
        return _contents(self._storage(), NoEncryption())

    def save(self) -> Any:
        import obstore

        store, prefix = admin_store(self.place), self._prefix
        listed = obstore.list(store, prefix).collect()
        return {
            meta["path"].removeprefix(prefix): obstore.get(store, meta["path"]).bytes().to_bytes()
            for meta in listed
        }

    def restore(self, copy: Any) -> None:
        import obstore

        self.prefix = next(self.prefixes)
        for name, body in copy.items():
            obstore.put(admin_store(self.place), f"{self._prefix}{name}", body)

    @property
    def _url(self) -> str:
        return f"{self.place.url}/{self.prefix}"

    @property
    def _prefix(self) -> str:
        """The beginning of the names of all objects."""
        return self._url.partition(f"//{BUCKET}/")[2]

    @property
    def _path(self) -> str:
        return f"{urlsplit(self.place.endpoint).path}/{BUCKET}/{self._prefix}"

    def _storage(self) -> LogStorage:
        return ObjectStorage(self._url, stack=STACK, environment=ENVIRONMENT, env=self.place.env)


SharedBackend = PostgresBackend | BucketBackend

_TABLES = ("states", "segments", "snapshots")


def _open(storage: LogStorage, cipher: Cipher) -> StateStore:
    return open_log(
        storage,
        cipher,
        stack=STACK,
        environment=ENVIRONMENT,
        lease_seconds=LEASE_SECONDS,
        clock=time.time,
    )


def _contents(storage: LogStorage, cipher: Cipher) -> Sequence[bytes]:
    """The newest snapshot and the segments behind it, decoded."""
    with closing(storage):
        log = SegmentLog(storage, cipher, name=f"{STACK}/{ENVIRONMENT}")
        return [log.load() or b"", *(repr(segment.changes).encode() for segment in log.follow())]
