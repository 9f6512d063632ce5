"""One request: what the callers of the client describe, and the HTTP message made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import IO, Any
from urllib.parse import quote, urlencode

import httpx
from msgspec import Struct, field

from reconciler.api.keys import Key
from reconciler.api.transport.pages import QueryParameters
from reconciler.api.transport.retry import FailedAttempt, FailureKind, Idempotency
from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import ApiError


class Reuse(Enum):
    """Whether a GET may be answered with what another stack of a fleet has read."""

    NEVER = "never"
    REFRESH = "refresh"
    """Send it, and give its answer to others."""
    ALLOWED = "allowed"


class Form(Struct, frozen=True):
    """A multipart form with a file.

    `stream` must be seekable: each attempt reads it from the beginning. `others` are further files,
    by name, each with its file name and stream. A field with several values is repeated.
    """

    name: str
    filename: str
    stream: IO[bytes]
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    others: Mapping[str, tuple[str, IO[bytes]]] = field(default_factory=dict)


class Request(Struct, frozen=True, dict=True):
    """One call. Raises ApiError for an id that would change the path."""

    method: str
    path: str
    """The route below the base URL. Each `{name}` in it is replaced by the quoted id."""
    key: Key
    ids: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    query: QueryParameters = field(default_factory=dict)
    form: Form | None = None
    beta: str | None = None
    """The value of the header `OpenAI-Beta`."""
    repeatable: bool | None = None
    """Whether sending the write twice has the same effect as once. Default: only for DELETE."""
    shared_limit: RateLimitKey | None = None
    """A rate limit that applies in addition to the limit of the route."""
    is_download: bool = False
    """Expect bytes instead of JSON."""
    accepts_errors: bool = False
    """Return final refusals and bodies that are not JSON as responses. Retries still apply."""
    after_stop: bool = False
    """Send the request even after the run was stopped, with its waits and retries, for cleanup."""
    attempts: int | None = None
    """The most attempts while the server fails, for requests that are optional."""
    reuse: Reuse = Reuse.NEVER
    """Only reads of a plan may take another stack's answer, see `shared_reads`."""

    def __post_init__(self) -> None:
        # Ids come from answers and from manifests. One with a slash would address another object.
        for name, value in self.ids.items():
            if value in ("", ".", "..") or "/" in value or not value.isprintable():
                call = f"{self.method} {self.path}"
                raise ApiError(f"{call}: {value!r} cannot be the id of a {name}.")

    def __repr__(self) -> str:
        return f"Request({self.method} {self.path})"  # the body may hold a secret

    @property
    def idempotency(self) -> Idempotency:
        """The effect of sending this twice; a POST creates something unless it is `repeatable`."""
        if self.method == "GET":
            return Idempotency.READ
        # The API has no PUT or PATCH: a POST creates or modifies, and only its caller knows which.
        if self.repeatable or (self.repeatable is None and self.method == "DELETE"):
            return Idempotency.REPEATABLE
        return Idempotency.ONCE

    def is_last_attempt(self, attempt: int, failure: FailedAttempt) -> bool:
        """Whether `attempts` are used up. Being rate limited does not count as a failure."""
        if self.attempts is None or failure.kind is FailureKind.THROTTLED:
            return False
        return attempt >= self.attempts

    @property
    def is_first_page(self) -> bool:
        """False for the second and later pages of a list."""
        return not ({"after", "page"} & self.query.keys())

    @cached_property
    def route(self) -> RateLimitKey:
        """The rate limit of its route."""
        return RateLimitKey(self.key.is_admin, self.method, self.path)

    @cached_property
    def target(self) -> str:
        """The path with the ids filled in."""
        ids = {name: quote(value, safe="") for name, value in self.ids.items()}
        return self.path.format_map(ids)

    def to_httpx(
        self, base_url: str, headers: Mapping[str, str], timeout: httpx.Timeout
    ) -> httpx.Request:
        """The HTTP message; `headers` are those that all requests have in common."""
        # Not `httpx.Client.build_request`: it merges the URL again each time, at a fifth of the
        # processor time of a call.
        all_headers = {**headers, "authorization": f"Bearer {self.key.secret.reveal()}"}
        if self.is_download:
            all_headers["accept"] = "application/binary"
        if self.beta:
            all_headers["openai-beta"] = self.beta
        # The API refuses a key of another project than the one named here.
        if self.key.project_id:
            all_headers["openai-project"] = self.key.project_id
        url = f"{base_url}{self.target}"
        if self.query:
            url += f"?{urlencode(self.query, doseq=True)}"
        data = files = None
        if self.form is not None:
            data = dict(self.form.fields)
            files = {self.form.name: (self.form.filename, self.form.stream), **self.form.others}
        return httpx.Request(
            self.method,
            url,
            headers=all_headers,
            json=self.json,
            data=data,
            files=files,
            extensions={"timeout": timeout.as_dict()},
        )
