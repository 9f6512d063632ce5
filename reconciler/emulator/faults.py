"""Faults: failures between client and server, on request.

A fault is one line of text, so that it fits in a shell command, a test or an HTTP body. It says
which requests it hits, what happens to them, whether the server handles the request first, and how
often. The choice between `when=before` and `when=after` matters most: with `after`, the object
exists although the client saw an error.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Literal

FAULT_HELP = """\
A fault is a comma-separated list of key=value:

  on=METHOD:GLOB   which requests: a method or *, and a glob on the path below /v1; * matches any characters.
                   Default *:* (every request)
  do=ACTION        what happens (required):
                     error:STATUS     that status, with a JSON error envelope
                     html:STATUS      that status, with the HTML page of a proxy
                     reset            the connection is closed without an answer
                     truncate         half of the body, then closed; content-length announces the whole
                     hang:MS          MS milliseconds of silence, then the answer
                     not-json         status 200 with a body of plain text
                     empty            status 200 with an empty JSON object
                     no-id            the answer, with null for every id of the object
                     error-body       status 200 with a JSON error envelope
                     retry-after:S    429 with a Retry-After header of S seconds
                     quota            429 with code insufficient_quota
                     repeat-cursor    a list that never ends, always with the same cursor
  when=before      the server never sees the request (default); when=after: it does the work and then fails.
                   truncate, no-id and repeat-cursor need the real answer, so they are always "after"
  times=N          number of matching requests to affect; default 1, 0 for all
  skip=N           number of matching requests to let pass first; default 0
  then=N           number of requests right after it that are also lost, on any route; default 0

Example: on=POST:/vector_stores*,do=error:503,when=after,times=2
"""

# Actions, and the kind of argument each takes.
_ACTIONS: dict[str, Literal["status", "number", "none"]] = {
    "error": "status",
    "html": "status",
    "reset": "none",
    "truncate": "none",
    "hang": "number",
    "not-json": "none",
    "empty": "none",
    "no-id": "none",
    "error-body": "none",
    "retry-after": "number",
    "quota": "none",
    "repeat-cursor": "none",
}
_NEEDS_ANSWER = frozenset({"truncate", "no-id", "repeat-cursor"})
_KEYS = ("on", "do", "when", "times", "skip", "then")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: which requests it hits, what happens, before or after handling, and how often."""

    action: str
    argument: int = 0
    method: str = "*"
    path: str = "*"
    when: Literal["before", "after"] = "before"
    times: int = 1
    skip: int = 0
    then: int = 0

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Parse a fault from its one-line form; see `FAULT_HELP` for the grammar.

        `on=METHOD:GLOB,do=ACTION[:ARGUMENT],when=before|after,times=N,skip=N,then=N`; only `do` is
        required. Raises ValueError, which names the wrong part and what is expected.
        """
        parts = _split(spec)
        action, argument = _parse_action(parts.get("do"), spec)
        method, path = _parse_target(parts.get("on", "*:*"))
        return cls(
            action=action,
            argument=argument,
            method=method,
            path=path,
            when="after" if action in _NEEDS_ANSWER else _parse_when(parts.get("when", "before")),
            times=_parse_number("times", parts.get("times", "1")),
            skip=_parse_number("skip", parts.get("skip", "0")),
            then=_parse_number("then", parts.get("then", "0")),
        )

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault applies to a request to this path below /v1."""
        if self.method not in ("*", method):
            return False
        pattern = ".*".join(re.escape(piece) for piece in self.path.split("*"))
        return re.fullmatch(pattern, path, re.DOTALL) is not None

    def __str__(self) -> str:
        takes_argument = _ACTIONS[self.action] != "none"
        action = f"{self.action}:{self.argument}" if takes_argument else self.action
        then = f",then={self.then}" if self.then else ""
        return f"on={self.method}:{self.path},do={action},when={self.when},times={self.times},skip={self.skip}{then}"


def _split(spec: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in spec.split(","):
        key, equals, value = piece.strip().partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(
                f"fault {spec!r}: {piece!r} is not one of {', '.join(f'{k}=…' for k in _KEYS)}"
            )
        if key in parts:
            raise ValueError(f"fault {spec!r}: {key}= appears twice")
        parts[key] = value.strip()
    return parts


def _parse_action(text: str | None, spec: str) -> tuple[str, int]:
    if text is None:
        raise ValueError(f"fault {spec!r}: do= is missing; it is one of {', '.join(_ACTIONS)}")
    name, colon, argument = text.partition(":")
    if name not in _ACTIONS:
        raise ValueError(f"fault: unknown action {name!r}; it is one of {', '.join(_ACTIONS)}")
    takes = _ACTIONS[name]
    if takes == "none":
        if colon:
            raise ValueError(f"fault: {name} takes no argument, but got {argument!r}")
        return name, 0
    if not argument.isascii() or not argument.isdigit():
        raise ValueError(
            f"fault: {name} needs a whole number, as in {name}:{503 if takes == 'status' else 2}"
        )
    if takes == "status" and not 400 <= int(argument) <= 599:
        raise ValueError(f"fault: {name}:{argument} is not an error status (400 to 599)")
    return name, int(argument)


def _parse_target(text: str) -> tuple[str, str]:
    method, colon, path = text.partition(":")
    if not colon or not method or not path:
        raise ValueError(f"fault: on={text} must be METHOD:GLOB, as in on=POST:/vector_stores*")
    if method != "*" and not method.isalpha():
        raise ValueError(f"fault: {method!r} is not an HTTP method; use one, or * for all")
    if not path.startswith(("/", "*")):
        raise ValueError(f"fault: the glob {path!r} must start with / or *")
    return method.upper(), path


def _parse_when(text: str) -> Literal["before", "after"]:
    if text == "before":
        return "before"
    if text == "after":
        return "after"
    raise ValueError(f"fault: when={text} must be before or after")


def _parse_number(key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"fault: {key}={text} must be a whole number of at least 0")
    return int(text)


_LOST = Fault(action="reset")
"""What happens to the requests right after a fault that asks for it."""


class FaultBox:
    """The active faults, with how often each has matched."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._lock = threading.Lock()
        self._armed: list[tuple[Fault, list[int]]] = []
        self._lost_next = 0
        self.replace(faults)

    def replace(self, faults: tuple[Fault, ...]) -> None:
        with self._lock:
            self._armed = [(fault, [0]) for fault in faults]
            self._lost_next = 0

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._armed.append((fault, [0]))

    def armed(self) -> tuple[Fault, ...]:
        with self._lock:
            return tuple(fault for fault, _ in self._armed)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request.

        A fault counts only matches that reach it: an earlier fault that hits the request hides it.
        """
        with self._lock:
            if self._lost_next:
                self._lost_next -= 1
                return _LOST
            for fault, count in self._armed:
                if not fault.matches(method, path):
                    continue
                count[0] += 1
                if count[0] > fault.skip and (
                    fault.times == 0 or count[0] <= fault.skip + fault.times
                ):
                    self._lost_next = fault.then
                    return fault
            return None
