"""The origin of the runs of this process, for the history and the lock."""

from __future__ import annotations

import os
import socket

from reconciler.model.run_origin import RunOrigin


def current_origin() -> RunOrigin:
    """Where this process was started, from its account, its machine and its environment."""
    from reconciler.model.ci import run_origin

    return run_origin(os.environ, user=_user(), host=socket.gethostname())


def _user() -> str:
    import getpass  # imported late: only runs that are recorded need the name

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return f"uid {os.getuid()}"
