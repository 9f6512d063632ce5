"""Keys handed to commands: on standard input, without a shell, and never on a screen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import MASK, Redactor, Secret
from reconciler.secrets import SinkSet, digests
from reconciler.secrets.commands import run_program

INDEXER = Address.parse("ServiceAccount/search/indexer")
TOKEN = "0" * 32
KEY = Secret("a-key-of-no-known-shape")
ADMIN = Secret("the-admin-key-in-use")


@pytest.fixture
def sinks(tmp_path: Path) -> SinkSet:
    return SinkSet(tmp_path, Redactor([ADMIN]), withheld=[ADMIN])


def python(code: str, *arguments: str) -> Mapping[str, Any]:
    return {"command": [sys.executable, "-c", code, *arguments]}


def test_the_key_comes_on_standard_input_without_a_newline(sinks: SinkSet, tmp_path: Path) -> None:
    sinks.put(
        python("import sys; open('out', 'w').write(sys.stdin.read())"),
        KEY,
        address=INDEXER,
        token=TOKEN,
    )
    assert (tmp_path / "out").read_text() == KEY.reveal()


def test_the_key_is_neither_an_argument_nor_in_the_environment(
    sinks: SinkSet, tmp_path: Path
) -> None:
    code = "import os, sys; open('out', 'w').write(repr(sys.argv) + repr(os.environ))"
    sinks.put(python(code), KEY, address=INDEXER, token=TOKEN)
    assert KEY.reveal() not in (tmp_path / "out").read_text()


def test_a_command_gets_the_credentials_of_its_service_and_none_of_the_api(
    sinks: SinkSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("MY_OWN_NAME_FOR_IT", ADMIN.reveal())
    monkeypatch.setenv("DOPPLER_TOKEN", "the-token-of-the-service")
    sinks.put(
        python("import os; open('out', 'w').write('\\n'.join(os.environ))"),
        KEY,
        address=INDEXER,
        token=TOKEN,
    )
    names = (tmp_path / "out").read_text().splitlines()
    assert ("DOPPLER_TOKEN" in names, "OPENAI_API_KEY" in names, "MY_OWN_NAME_FOR_IT" in names) == (
        True,
        False,
        False,
    )


def test_no_shell_reads_the_arguments(sinks: SinkSet, tmp_path: Path) -> None:
    sinks.put(
        python("import sys; open('out', 'w').write(sys.argv[1])", "$(id) && *"),
        KEY,
        address=INDEXER,
        token=TOKEN,
    )
    assert (tmp_path / "out").read_text() == "$(id) && *"


def test_the_receipt_is_the_command(sinks: SinkSet) -> None:
    target = python("pass")
    receipt = sinks.put(target, KEY, address=INDEXER, token=TOKEN)
    assert (receipt["sink"], receipt["command"]) == ("command", target["command"])
    assert digests.matches(KEY.reveal().encode() + b"\n", receipt["digest"])


def test_a_failure_shows_the_last_lines_of_output_redacted(sinks: SinkSet) -> None:
    code = (
        "import sys; key = sys.stdin.read().strip(); print('x\\n' * 10, 'denied', file=sys.stderr); "
        "sys.exit(f'bad {key}' if key else 0)"
    )
    with pytest.raises(SinkError, match="exit code 1") as caught:
        sinks.put(python(code), KEY, address=INDEXER, token=TOKEN)
    message = str(caught.value)
    assert "ServiceAccount/search/indexer" in message
    assert f"denied / bad {MASK}" in message
    assert KEY.reveal() not in message
    assert message.count("x /") < 5


def test_a_program_that_was_killed_is_a_failure(sinks: SinkSet) -> None:
    with pytest.raises(SinkError, match="ended by SIGKILL"):
        sinks.put(python("import os; os.kill(os.getpid(), 9)"), KEY, address=INDEXER, token=TOKEN)


def test_a_program_that_does_not_read_its_input_may_still_succeed(sinks: SinkSet) -> None:
    sinks.put(python("pass"), Secret("k" * 1_000_000), address=INDEXER, token=TOKEN)


def test_a_program_that_takes_too_long_is_a_failure(tmp_path: Path) -> None:
    limits: list[float] = []

    def run_out_of_time(
        command: Sequence[str], *, timeout: float, **_: Any
    ) -> subprocess.CompletedProcess[bytes]:
        limits.append(timeout)
        raise subprocess.TimeoutExpired(
            command, timeout, output=b"waiting for " + KEY.reveal().encode()
        )

    with pytest.raises(SinkError, match=f"within 60 seconds; it said: waiting for {MASK}"):
        SinkSet(tmp_path, Redactor(), run=run_out_of_time).put(
            python("pass"), KEY, address=INDEXER, token=TOKEN
        )
    assert limits == [60.0]


def test_a_time_out_ends_the_program_and_its_children(tmp_path: Path) -> None:
    # The child holds the pipes; were it not ended too, the wait for their end would last as long as it sleeps.
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    command = python(code)["command"]
    with pytest.raises(subprocess.TimeoutExpired):
        run_program(command, input=b"", cwd=tmp_path, env={}, timeout=0.5)


@pytest.mark.parametrize(
    "name", ["no-such-program-anywhere", "./no-such-program", "/no/such/program"]
)
def test_a_program_that_does_not_exist_is_refused(sinks: SinkSet, name: str) -> None:
    for act in (
        lambda: sinks.check({"command": [name]}, address=INDEXER),
        lambda: sinks.put({"command": [name]}, KEY, address=INDEXER, token=TOKEN),
    ):
        with pytest.raises(SinkError, match=f'there is no program "{name}"'):
            act()


def test_a_program_of_the_stack_is_looked_for_in_its_folder(sinks: SinkSet, tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "store"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\ncat > out\n")
    script.chmod(0o755)
    sinks.put({"command": ["./scripts/store"]}, KEY, address=INDEXER, token=TOKEN)
    assert (tmp_path / "out").read_text() == KEY.reveal()


def test_a_file_that_cannot_be_executed_is_refused(sinks: SinkSet, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    with pytest.raises(SinkError, match="no program"):
        sinks.check({"command": ["./script"]}, address=INDEXER)


def test_a_file_that_is_no_program_is_a_failure(sinks: SinkSet, tmp_path: Path) -> None:
    (tmp_path / "script").write_bytes(b"\x00\x01")
    (tmp_path / "script").chmod(0o755)
    with pytest.raises(SinkError, match="cannot be run"):
        sinks.put({"command": ["./script"]}, KEY, address=INDEXER, token=TOKEN)


def test_checking_runs_nothing(sinks: SinkSet, tmp_path: Path) -> None:
    sinks.check(python("open('out', 'w')"), address=INDEXER)
    assert list(tmp_path.iterdir()) == []


def test_there_is_nothing_to_withdraw_from_a_command(sinks: SinkSet) -> None:
    target = python("raise SystemExit(1)")
    sinks.withdraw(target, {"sink": "command", "command": target["command"]}, address=INDEXER)


class Replaced(Exception):
    """Raised by `permit` in this test: another run has replaced this one."""


def test_a_run_that_was_replaced_hands_over_no_key(tmp_path: Path) -> None:
    def permit() -> None:
        raise Replaced

    sinks = SinkSet(tmp_path, Redactor(), run=partial(run_program, permit=permit))
    with pytest.raises(Replaced):
        sinks.put(
            python("import sys; key = sys.stdin.read(); open('out', 'w').write(key)"),
            KEY,
            address=INDEXER,
            token=TOKEN,
        )
    assert not (tmp_path / "out").exists()
