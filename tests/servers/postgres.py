"""A real PostgreSQL, and a PgBouncer in transaction mode in front of it, for tests.

    def test_something(database: Database) -> None:
        PostgresStorage(database.url(), …)            # directly
    def test_pooled(database: Database, pgbouncer: PgBouncer) -> None:
        PostgresStorage(database.url(port=pgbouncer.port), …)

Both start once per process of pytest, when a test first asks for them, and die at its end. Each
test has a database of its own. Where the software is missing, tests are skipped, unless
RECONCILER_REQUIRE_SERVERS is set, as in CI: then they fail.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest

START_SECONDS = 60
HOST = "127.0.0.1"
OWNER = "owner"
PASSWORD = "s3cret-pa%ss@word"
"""What the owner logs in with. No message may contain it."""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def skip_or_fail(reason: str) -> None:
    """Skip the test, or fail it where servers are required."""
    if os.environ.get("RECONCILER_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, package: str) -> Path:
    """An installed program, also outside of PATH, where Debian keeps those of PostgreSQL."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is not None:
        return Path(found)
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not versions:
        skip_or_fail(f"{name} is not installed: apt-get install {package}")
    return versions[-1]


def user() -> pwd.struct_passwd | None:
    """Whom servers that refuse to run as root run as; None if we are not root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


@dataclass
class Server:
    """A process in a folder of its own, listening on a port of 127.0.0.1."""

    port: int = field(default_factory=free_port)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="server-")))
    process: subprocess.Popen[bytes] | None = None
    stop_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def spawn(self, *command: str | Path) -> subprocess.Popen[bytes]:
        """Start a command as an unprivileged user; its output goes to `log`.

        Where Linux can do it, the command is stopped with us, even if we are killed.
        """
        account = user()
        if shutil.which("setpriv"):
            command = (
                "setpriv",
                "--pdeathsig",
                self.stop_signal.name.removeprefix("SIG"),
                *command,
            )
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else (),
            )

    def wait_until_it_answers(self) -> None:
        """Wait until a client can log in."""
        import psycopg

        deadline = time.monotonic() + START_SECONDS
        url = Database(self.port, "postgres").url()
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop at once, as in a crash; safe to call twice."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self.process.wait(START_SECONDS)
            self.process = None

    def remove(self) -> None:
        """Stop, and delete what is in the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class PostgresServer(Server):
    """PostgreSQL without fsync."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGQUIT
    """An immediate shutdown: the postmaster takes its children along."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def initialize(self) -> None:
        """Make the data folder."""
        password = self.folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        password.chmod(0o644)
        process = self.spawn(
            program("initdb", "postgresql"),
            *("-D", self.folder / "data", "-U", OWNER, f"--pwfile={password}", "-E", "UTF8"),
            *("--locale=C", "--no-sync", "--auth-host=scram-sha-256", "--auth-local=trust"),
        )
        if process.wait(START_SECONDS) != 0:
            raise AssertionError((self.folder / "log").read_text())

    def start(self) -> None:
        """Start with the data of before, and wait until it answers."""
        settings = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "400",
            "shared_buffers": "32MB",
        }
        words = [f"--{name}={value}" for name, value in settings.items()]
        self.process = self.spawn(
            program("postgres", "postgresql"), "-D", self.folder / "data", *words
        )
        self.wait_until_it_answers()

    def restart(self) -> None:
        """Stop as in a crash, and start again."""
        self.stop()
        self.start()

    def create_database(self) -> Database:
        """An empty database, owned by the owner."""
        database = Database(self.port, f"test_{next(self.numbers)}")
        Database(self.port, "postgres").execute(f"CREATE DATABASE {database.name}")
        return database


@dataclass
class PgBouncer(Server):
    """PgBouncer in transaction mode, which knows the owner alone."""

    def start(self, server: PostgresServer) -> None:
        """Start in front of a server, and wait until it answers."""
        users = self.folder / "users.txt"
        users.write_text(f'"{OWNER}" "{PASSWORD}"\n', encoding="utf-8")
        configuration = self.folder / "pgbouncer.ini"
        configuration.write_text(
            textwrap.dedent(f"""\
                [databases]
                * = host={HOST} port={server.port}
                [pgbouncer]
                listen_addr = {HOST}
                listen_port = {self.port}
                unix_socket_dir =
                auth_type = scram-sha-256
                auth_file = {users}
                pool_mode = transaction
                default_pool_size = 3
                max_client_conn = 200
                server_login_retry = 1
                server_idle_timeout = 1
            """),
            encoding="utf-8",
        )
        for file in (users, configuration):
            file.chmod(0o644)
        self.process = self.spawn(program("pgbouncer", "pgbouncer"), configuration)
        self.wait_until_it_answers()


@dataclass
class Database:
    """A database of a test."""

    port: int
    name: str

    def url(
        self, *, port: int = 0, user: str = OWNER, password: str = PASSWORD, **parameters: str
    ) -> str:
        """The address; `port` is that of a proxy or pooler in front of the server."""
        credentials = f"{user}:{quote(password, safe='')}"
        query = "?" + urlencode(parameters) if parameters else ""
        return f"postgresql://{credentials}@{HOST}:{port or self.port}/{self.name}{query}"

    def execute(self, *statements: str) -> list[Sequence[Any]]:
        """Run statements as the owner; gives the rows of the last."""
        import psycopg

        rows: list[Sequence[Any]] = []
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = list(cursor.fetchall()) if cursor.description else []
        return rows


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL."""
    program("postgres", "postgresql")
    server = PostgresServer()
    try:
        server.initialize()
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A running PgBouncer in front of it."""
    program("pgbouncer", "pgbouncer")
    server = PgBouncer()
    try:
        server.start(postgres_server)
        yield server
    finally:
        server.remove()


@pytest.fixture
def database(postgres_server: PostgresServer) -> Database:
    """An empty database on the running PostgreSQL."""
    return postgres_server.create_database()
