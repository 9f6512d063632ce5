"""The identity of a process, and the proof that a process is dead.

A pid means nothing on another machine, after a restart, inside another container, or once it is
used again. So a process is identified by its machine, the boot of the machine, the pid namespace,
the pid, and its start time. It counts as dead only if all of that is certain.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from msgspec import Struct

_INITIAL_NAMESPACE = "pid:[4026531836]"


class Process(Struct, frozen=True):
    """The identity of a process. Texts are empty if the system does not provide them.

    `machine` is the installation's id, `boot` changes with every start of the system, `namespace`
    with every container, `started` is the process's start time in the system's own unit.
    """

    host: str
    pid: int
    machine: str = ""
    boot: str = ""
    namespace: str = ""
    started: str = ""

    @classmethod
    def current(cls) -> Process:
        """This process."""
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            machine=_read(Path("/etc/machine-id")),
            boot=_boot(),
            namespace=_namespace(),
            started=_started(os.getpid()) or "",
        )

    def proves_dead(self, other: Process) -> bool:
        """Whether `other` has certainly ended. Call it on the current process."""
        if self.host != other.host or not self.boot or not other.boot:
            return False
        # No process survives a restart of the machine.
        if self.boot != other.boot:
            return self._outlived_boot_of(other)
        # A pid of another container names another process here, or none.
        if self.namespace != other.namespace:
            return False
        started = _started(other.pid)
        if started is None:
            return True
        return bool(started and other.started) and started != other.started

    def _outlived_boot_of(self, other: Process) -> bool:
        # Two containers, or two machines from one image, can share a host name. Their boots differ
        # although both run. Outside of containers the id of the machine is decisive, because a
        # machine has one boot at a time.
        outside = self.namespace == other.namespace == _INITIAL_NAMESPACE
        return outside and bool(self.machine) and self.machine == other.machine


def _boot() -> str:
    if sys.platform == "darwin":
        return _ask("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
    return _read(Path("/proc/sys/kernel/random/boot_id"))


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """The start time of a process; None if it does not exist, empty if its start is not readable."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it exists and belongs to somebody else
    if sys.platform == "darwin":
        return _ask("/bin/ps", "-o", "lstart=", "-p", str(pid))
    # The second field is the name of the program in brackets, which may contain brackets and spaces.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) < 20:
        return ""
    # A zombie has ended. It exists until its parent reads its exit status.
    return None if fields[0] in "ZX" else fields[19]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _ask(*command: str) -> str:
    import subprocess  # imported late: only some systems have to be asked by a command

    try:
        return subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
