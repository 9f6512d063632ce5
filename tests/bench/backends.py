"""Measures shared states: the same apply on each backend, and reading a large state.

All servers run on this machine. The object store answers each write after 30 ms, and the API each call after 100 ms, as
they would over a network.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.state import StateStore
from reconciler.state.encryption import NoEncryption
from reconciler.state.remote.objects.storage import ObjectStorage
from reconciler.state.remote.opening import open_log
from reconciler.state.remote.postgres.storage import PostgresStorage
from reconciler.state.remote.storage import LogStorage
from tests.bench import workloads
from tests.bench.results import Figure, Results
from tests.bench.stage import Stage
from tests.servers.http_proxy import delayed, http_proxy
from tests.servers.object_stores import BUCKET, REGION, secret_of, start_s3
from tests.servers.postgres import PostgresServer

CREATES = 1_000
RECORDS = 10_000
PUT_MS, CALL_MS = 30, 100
PAIRS = 2


def backends(folder: Path, results: Results) -> None:
    """Apply and read with each backend, against the local state."""
    server = PostgresServer()
    try:
        server.initialize()
        server.start()
        _postgres(folder, results, server)
    finally:
        server.remove()
    _object_store(folder, results, start_s3())


def _postgres(folder: Path, results: Results, server: PostgresServer) -> None:
    url = server.create_database().url()
    pairs = [
        (
            _apply(folder / f"local-{turn}", {}, latency_ms=0),
            _apply(folder / f"postgres-{turn}", {"RECONCILER_BACKEND": url}, latency_ms=0),
        )
        for turn in range(PAIRS)
    ]
    local, shared = (min(pair[side] for pair in pairs) for side in (0, 1))
    note = f"{shared:.2f} s against {local:.2f} s"
    name = f"apply, {CREATES:,} creates: wall with Postgres against the local state"
    results.add(Figure(name, shared / local, "×", 1.1, note))

    def new_storage() -> LogStorage:
        return PostgresStorage(url, stack="large", environment="prod")

    seconds = _reading_seconds(new_storage)
    results.add(Figure(f"state of {RECORDS:,} records, read from Postgres", seconds, "s", 0.3))


def _object_store(folder: Path, results: Results, endpoint: str) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": "admin",
        "AWS_SECRET_ACCESS_KEY": secret_of("admin"),
        "AWS_REGION": REGION,
    }
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    with http_proxy(endpoint) as proxy:
        proxy.fault("write", delayed(PUT_MS / 1000), times=1_000_000)
        variables = {**env, "AWS_ENDPOINT_URL": proxy.endpoint, "RECONCILER_BACKEND": url}
        local = _apply(folder / "slow-local", {}, latency_ms=CALL_MS)
        before = proxy.operations().count("write")
        shared = _apply(folder / "slow-shared", variables, latency_ms=CALL_MS)
        writes = proxy.operations().count("write") - before
    note = f"{shared:.1f} s against {local:.1f} s; {PUT_MS} ms a write, {CALL_MS} ms a call"
    about = f"apply, {CREATES:,} creates"
    results.add(
        Figure(
            f"{about}: wall with an object store against the local state",
            shared / local,
            "×",
            1.3,
            note,
        ),
        Figure(f"{about}: writes to the object store a change", writes / CREATES, "puts", 0.4),
    )

    def new_storage() -> LogStorage:
        place = {**env, "AWS_ENDPOINT_URL": endpoint}
        return ObjectStorage(url, stack="large", environment="prod", env=place)

    seconds = _reading_seconds(new_storage)
    name = f"state of {RECORDS:,} records, read from an object store"
    results.add(Figure(name, seconds, "s", 0.6))


def _apply(folder: Path, variables: Mapping[str, str], *, latency_ms: int) -> float:
    """The wall time of a first apply, in seconds."""
    with Stage(folder) as stage:
        stage.write(workloads.assistants(CREATES))
        stage.write({"reconciler.yaml": _stack(folder.name)})
        stage.variables.update(variables)
        stage.latency(latency_ms)
        return stage.apply().wall_seconds


def _stack(name: str) -> str:
    """The stack of the workload under a name of its own, so that states do not meet."""
    return workloads.STACK.replace("{name: bench}", f"{{name: {name}}}")


def _reading_seconds(new_storage: Callable[[], LogStorage]) -> float:
    """The least of five readings of a state with many records."""
    with _open(new_storage) as store, store.lock(command="import", on_takeover=lambda _: None):
        for number in range(RECORDS):
            address = Address("Assistant", f"assistant-{number:05}", "main")
            name = {"name": f"Assistant {number}", "model": "gpt-4.1"}
            store.put(Record(address, f"asst_{number:05}", "proj_1", applied=name, answered=name))
    return min(_read_once(new_storage) for _ in range(5))


def _read_once(new_storage: Callable[[], LogStorage]) -> float:
    began = time.perf_counter()
    with _open(new_storage) as store:
        records = len(store.records())
    seconds = time.perf_counter() - began
    if records != RECORDS:
        raise RuntimeError(f"{records} records were read, and {RECORDS} written")
    return seconds


def _open(new_storage: Callable[[], LogStorage]) -> StateStore:
    return open_log(
        new_storage(),
        NoEncryption(),
        stack="large",
        environment="prod",
        lease_seconds=30.0,
        clock=time.time,
    )
