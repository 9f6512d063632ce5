"""A server with AWS's Secrets Manager and Parameter Store, for tests: moto, in a process."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from functools import cache

import pytest

REGION = "eu-west-1"
START_SECONDS = 60
ATTEMPTS = 3


@cache
def start_aws() -> str:
    """Start the server, which ends with this process; gives its endpoint."""
    for _ in range(ATTEMPTS):
        endpoint, process = _started()
        if _answers(endpoint, process):
            return endpoint
        _stop(process)  # another program may have taken the port
    return pytest.fail("moto's server did not start")


def _started() -> tuple[str, subprocess.Popen[bytes]]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    atexit.register(_stop, process)
    return f"http://127.0.0.1:{port}", process


def _answers(endpoint: str, process: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/data.json", timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()


def aws_env(endpoint: str) -> dict[str, str]:
    """The environment of a job with keys. No test reads the profile of whoever runs it."""
    return {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-the-secret-of-the-job",
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "HOME": "/nonexistent",
    }


@pytest.fixture(scope="session")
def aws_server() -> str:
    """The endpoint of a server of AWS."""
    return start_aws()
