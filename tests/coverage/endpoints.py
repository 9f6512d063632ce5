"""The endpoints of the API, from `endpoints.csv`: those of the published description, and what has come since."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "endpoints.csv"
_PATH_PARAMETER = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Endpoint:
    """One method of one path. `since` is "published" or "newer", `role` what it is to a declarative tool."""

    since: str
    group: str
    method: str
    path: str
    operation: str
    role: str

    @property
    def call(self) -> str:
        """The method and the path, with the names of its holes."""
        return f"{self.method} {self.path}"

    @property
    def form(self) -> str:
        """The call whatever its holes are called."""
        return form_of(self.call)


def form_of(call: str) -> str:
    """`GET /files/{id}` and `GET /files/{file_id}` are one: `GET /files/{}`."""
    return _PATH_PARAMETER.sub("{}", call)


@cache
def all_endpoints() -> tuple[Endpoint, ...]:
    """Every endpoint, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return tuple(Endpoint(**row) for row in csv.DictReader(lines))


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """The endpoint that a request went to: `/organization/certificates/activate` is no certificate's id."""
    found = _by_length().get((method, path.count("/")), ())
    return next((endpoint for pattern, endpoint in found if pattern.fullmatch(path)), None)


@cache
def _by_length() -> dict[tuple[str, int], list[tuple[re.Pattern[str], Endpoint]]]:
    found: dict[tuple[str, int], list[tuple[re.Pattern[str], Endpoint]]] = {}
    for endpoint in sorted(all_endpoints(), key=lambda one: one.path.count("{")):
        pattern = re.compile(_PATH_PARAMETER.sub("[^/]+", endpoint.path))
        found.setdefault((endpoint.method, endpoint.path.count("/")), []).append(
            (pattern, endpoint)
        )
    return found
