"""Answers that the stacks of a fleet share: an equal GET is sent once for all of them.

A stack gets an answer that another one has read only where a plan reads (`Reuse`), and only as long
as the answer is as good as one of its own. These are the invariants:

1. **Only requests that ask for it are answered from here.** `Request.reuse` is `NEVER` unless the
   planning reader or the reader of the audit log sets it. Whatever decides a write therefore always
   reaches the server: reads before and after writes, polls, searches, and the list before a create.
2. **Equal means equal in everything that can change an answer**: server, key, organization, project,
   beta header, path and query.
3. **A fresh read (`Reuse.REFRESH`) is sent, and its answer replaces the kept one.** Of two answers,
   the one whose request was sent later stays.
4. **A write drops the answers that it may have made stale**, when it ends and regardless of its
   outcome: no later read gets an answer whose request was sent before its end. A write inside a
   project leaves only the answers about other projects, and any other write of an organization leaves
   none of it.
5. **Lists lag behind writes**, so an answer that was read shortly after a write is kept no longer
   than the lag can last.
6. **A stack's own state is older than the answers it gets**: an answer that was read before the last
   write in its state, or shortly after, is not used for it (`SharedReader.refuse_before`).
7. **No stack waits for a reader that has ended.** A read that begins while an equal one is under way
   waits for its answer. If the first reader is stopped, or has lost its lease, its budget or its key,
   one of the waiting ones reads. A refusal of the API is the answer of all that wait for it, and of
   no later read.
8. **No two stacks hold the same object in memory.** The bytes are kept, and each stack parses them,
   with the secrets that its own redactor knows masked. So no stack can change the answer of another.
9. **The age of an answer counts from when its request was sent** (`SharedReader.oldest_at`), by
   whichever stack. No answer is used longer than `max_age_seconds`.
10. **Each stack checks the answers that it gets**: a stack that expects another organization refuses
    them, and a stack that is stopped or has lost its lease gets none.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.transport.in_flight import InFlight
from reconciler.api.transport.organization import HEADER as ORGANIZATION_HEADER
from reconciler.api.transport.organization import OrganizationCheck
from reconciler.api.transport.request import Request, Reuse
from reconciler.api.transport.responses import Response, parsed
from reconciler.api.transport.shared_creates import SharedCreates
from reconciler.errors import AmbiguousError, ApiError, AuthenticationError
from reconciler.model.consistency import LATE_SECONDS, SETTLE_SECONDS, SHARED_SECONDS, ServerClock
from reconciler.model.secret import Redactor

KEPT_BYTES = 32 * 1024 * 1024
"""The most bytes of answers to keep. The answers used least recently are dropped first."""

_CHECK_SECONDS = 0.2
_SET_SECONDS = 0.5
"""How far two clocks differ after a request if one of them was set meanwhile."""
_KEPT_HEADERS = (ORGANIZATION_HEADER, "openai-project", "x-request-id", "date")
_ORGANIZATION = ""
"""Stands for the project of objects of the whole organization."""

Send = Callable[[Request], Response]


class ReadingClient(Protocol):
    """The part of a client that shared answers use."""

    @property
    def organization(self) -> OrganizationCheck: ...

    @property
    def server_clock(self) -> ServerClock: ...

    @property
    def redactor(self) -> Redactor: ...

    @property
    def in_flight(self) -> InFlight: ...

    def check_may_send(self) -> None:
        """Raise if the run was stopped or replaced, or uses keys of another organization."""


class _Part(Struct, frozen=True):
    """The part of an organization that a request concerns."""

    organization: str
    """Empty while it is unknown."""
    project: str | None
    """None if it is unknown."""
    is_admin: bool

    def may_change(self, other: _Part) -> bool:
        """Whether a write here may change what is read there."""
        if self.organization and other.organization and self.organization != other.organization:
            return False
        if self.is_admin and self.project == _ORGANIZATION:
            return True
        if other.is_admin and not self.is_admin:
            return False  # a project's key changes nothing that the admin API shows
        if None in (self.project, other.project) or other.project == _ORGANIZATION:
            return True
        return self.project == other.project


class _Write(Struct, eq=False):
    part: _Part
    writer: SharedReader
    ended_at: float = math.inf
    """Infinite while it is under way."""
    effect_at: float = math.inf
    """When it has taken effect, if it has any."""


class _LastWrites(Struct, frozen=True):
    """The last write, and the last one of any other writer."""

    last: _Write
    other: _Write | None

    @classmethod
    def after(cls, write: _Write, known: _LastWrites | None) -> _LastWrites:
        if known is None:
            return cls(write, None)
        if known.last.writer is write.writer:
            return cls(write, known.other)
        return cls(write, known.last)

    def of_others(self, reader: SharedReader) -> float:
        if self.last.writer is not reader:
            return self.last.ended_at
        if self.other is None:
            return -math.inf
        return self.other.ended_at


class _Answer(Struct, frozen=True):
    """An answer as it was received. `sent_at` and `received_at` are unix seconds of this machine."""

    content: bytes
    headers: Mapping[str, str]
    part: _Part
    began_at: float
    sent_at: float
    received_at: float
    expires_at: float = math.inf
    """By the monotonic clock, like `began_at`."""


class _Reading:
    """A request under way, for all stacks that wait for its answer."""

    def __init__(
        self, request: Request, part: _Part, *, began_at: float, began_on_machine: float
    ) -> None:
        self.request = request
        self.part = part
        self.began_at = began_at
        self.began_on_machine = began_on_machine
        self.wrote_at = -math.inf
        """When the last write ended that may have changed the answer, by the monotonic clock."""
        self.is_done = threading.Event()
        self.answer: _Answer | None = None
        self.error: ApiError | None = None

    def error_for(self, request: Request) -> ApiError | None:
        """The refusal, if it answers that request as well: its own error, for another thread."""
        if self.error is None or not self._has_tried_enough_for(request):
            return None
        is_of_one_source = self.request.key.source == request.key.source
        if isinstance(self.error, AuthenticationError) and not is_of_one_source:
            return None  # the message names where the key comes from
        return copy.copy(self.error)

    def _has_tried_enough_for(self, request: Request) -> bool:
        # A reader that may retry for minutes is not content with a failure after one attempt.
        attempts = self.request.attempts
        return attempts is None or (request.attempts is not None and request.attempts <= attempts)


class SharedReads:
    """The answers of all stacks of a fleet. Safe to use from threads.

    `clock` is in seconds and monotonic, `machine_clock` in unix seconds. `settle_seconds` is how
    long lists may lack what was written.
    """

    def __init__(
        self,
        *,
        max_age_seconds: float = SHARED_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        kept_bytes: int = KEPT_BYTES,
        clock: Callable[[], float] = time.monotonic,
        machine_clock: Callable[[], float] = time.time,
    ) -> None:
        self.max_age_seconds = max_age_seconds
        self.settle_seconds = settle_seconds
        self.clock = clock
        self.machine_clock = machine_clock
        self.creates = SharedCreates(kept_seconds=max_age_seconds, clock=clock)
        self._kept_bytes = kept_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._bytes = 0
        self._of_project: dict[str | None, set[Hashable]] = defaultdict(set)
        self._readings: dict[Hashable, _Reading] = {}
        self._under_way: list[_Write] = []
        self._recent: deque[_Write] = deque()
        self._last_writes: dict[str, _LastWrites] = {}

    # --- reading

    def find(self, key: Hashable, reader: SharedReader) -> _Answer | None:
        """The kept answer for a reader."""
        with self._lock:
            return self._usable(key, reader)

    def is_known(self, key: Hashable, reader: SharedReader) -> bool:
        """Whether a reader would get an answer that is kept, or under way."""
        with self._lock:
            return self._usable(key, reader) is not None or key in self._readings

    def join(
        self, key: Hashable, request: Request, reader: SharedReader, organization: str
    ) -> tuple[_Answer | _Reading, float | None]:
        """The kept answer or the request under way; else a new one, which the caller has to send.

        For a request under way, the second value is the end of the last write that its answer has
        to be younger than. A request may wait long for its rate limit, so only its answer shows
        whether it is. None for a new request.
        """
        with self._lock:
            if request.reuse is Reuse.ALLOWED:
                answer = self._usable(key, reader)
                if answer is not None:
                    return answer, 0.0
                if key in self._readings:
                    known = self._readings[key]
                    return known, known.wrote_at
            # Equal reads that begin from now on wait for this one.
            reading = self._readings[key] = _Reading(
                request,
                _part(request, organization),
                began_at=self.clock(),
                began_on_machine=self.machine_clock(),
            )
            return reading, None

    def _usable(self, key: Hashable, reader: SharedReader) -> _Answer | None:
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.expires_at <= self.clock():
            self._drop(key)
            return None
        if not reader.accepts(answer.sent_at):
            return None
        self._answers.move_to_end(key)
        return answer

    def end(self, key: Hashable, reading: _Reading) -> None:
        """Keep the answer of a request that has ended, if it has one, and wake those that wait."""
        with self._lock:
            # A fresh read may have taken its place.
            if self._readings.get(key) is reading:
                del self._readings[key]
            answer = reading.answer
            # A write that ended since may have changed the answer.
            if answer is not None and answer.began_at > reading.wrote_at:
                self._keep(key, answer)
        reading.is_done.set()

    def _keep(self, key: Hashable, answer: _Answer) -> None:
        known = self._answers.get(key)
        if known is not None and known.began_at > answer.began_at:
            return
        self._drop(key)
        expires_at = self._expiry(answer)
        if expires_at <= self.clock():
            return
        self._answers[key] = replace(answer, expires_at=expires_at)
        self._of_project[answer.part.project].add(key)
        self._bytes += len(answer.content)
        # Answers that were used least recently stand first.
        while self._bytes > self._kept_bytes:
            self._drop(next(iter(self._answers)))

    def _expiry(self, answer: _Answer) -> float:
        """When an answer expires: at its maximum age, or when the lag of a write ends."""
        expires_at = answer.began_at + self.max_age_seconds
        for write in self._recent:
            settled_at = write.effect_at + self.settle_seconds
            if settled_at > answer.began_at and write.part.may_change(answer.part):
                expires_at = min(expires_at, settled_at)
        return expires_at

    def _drop(self, key: Hashable) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._bytes -= len(answer.content)
            self._of_project[answer.part.project].discard(key)

    def sent_moment(self, reading: _Reading, sent_at: float) -> float:
        """When a request was sent at a time of this machine, by the monotonic clock."""
        now, machine_now = self.clock(), self.machine_clock()
        elapsed = now - reading.began_at
        # The machine's clock was set since, so only the beginning is certain.
        if abs(machine_now - reading.began_on_machine - elapsed) > _SET_SECONDS:
            return reading.began_at
        return min(max(now - (machine_now - sent_at), reading.began_at), now)

    # --- writing

    @contextmanager
    def writing(self, request: Request, writer: SharedReader, organization: str) -> Iterator[None]:
        """Surround a write. At its end, what it may have changed is dropped."""
        write = _Write(_part(request, organization), writer)
        with self._lock:
            self._under_way.append(write)
        late_seconds = 0.0
        try:
            yield
        except AmbiguousError:
            # The API may still execute it a moment after it was given up.
            late_seconds = LATE_SECONDS
            raise
        finally:
            with self._lock:
                self._under_way.remove(write)
                write.ended_at = self.clock()
                write.effect_at = write.ended_at + late_seconds
                self._end(write)

    def _end(self, write: _Write) -> None:
        settled_at = write.ended_at - self.settle_seconds
        while self._recent and self._recent[0].effect_at <= settled_at:
            self._recent.popleft()
        self._recent.append(write)
        # Kept without a limit of time, as there are few organizations and two writes of each.
        organization = write.part.organization
        self._last_writes[organization] = _LastWrites.after(
            write, self._last_writes.get(organization)
        )
        # An answer about another project cannot have changed, so only these are looked through.
        projects: set[str | None] = {_ORGANIZATION, None, write.part.project}
        if write.part.project in (_ORGANIZATION, None):
            projects = set(self._of_project)
        for project in projects:
            for key in list(self._of_project.get(project, ())):
                if write.part.may_change(self._answers[key].part):
                    self._drop(key)
        for reading in self._readings.values():
            if write.part.may_change(reading.part):
                reading.wrote_at = write.ended_at

    def others_wrote_at(self, reader: SharedReader, organization: str) -> float:
        """When the last write of another stack ended that may concern an organization, by `clock`.

        Infinite while one is under way, and minus infinity if there was none.
        """

        def concerns(other: str) -> bool:
            return not organization or not other or other == organization

        with self._lock:
            for write in self._under_way:
                if write.writer is not reader and concerns(write.part.organization):
                    return math.inf
            last = [known for name, known in self._last_writes.items() if concerns(name)]
        return max((known.of_others(reader) for known in last), default=-math.inf)


class SharedReader:
    """One stack's part in the shared answers. Safe to use from threads.

    `server` is the API's address, and `organization` the one that the client names in its requests.
    """

    def __init__(
        self, shared: SharedReads, server: str, organization: str, server_clock: ServerClock
    ) -> None:
        self.creates = shared.creates
        self.answers = 0
        """How many answers came from other stacks."""
        self.oldest_at = math.inf
        """When the oldest of them was requested, by the monotonic clock."""
        self._shared = shared
        self._place = (server, organization)
        self._server_clock = server_clock
        self._not_before = -math.inf
        self._lock = threading.Lock()

    def refuse_before(self, written_at: float) -> None:
        """Use no answer that may lack a write of that time, in unix seconds of the server."""
        self._not_before = max(self._not_before, written_at + self._shared.settle_seconds)

    def accepts(self, sent_at: float) -> bool:
        """Whether to use the answer to a request that was sent at a time of this machine."""
        return self._server_clock.at(sent_at) >= self._not_before

    def is_outdated(self, since: float, organization: str) -> bool:
        """Whether another stack has written to the organization since a time of the monotonic clock."""
        return self._shared.others_wrote_at(self, organization) >= since

    def exchange(self, request: Request, send: Send, client: ReadingClient) -> Response:
        """The answer to a request: another stack's where that is allowed, else what `send` gets."""
        if request.method != "GET":
            with self._shared.writing(request, self, client.organization.seen):
                return send(request)
        if request.reuse is Reuse.NEVER or request.is_download or request.accepts_errors:
            return send(request)
        return self._read(request, send, client)

    def is_known(self, request: Request) -> bool:
        """Whether another stack has read the answer to a request, or is reading it."""
        return self._shared.is_known(self._key(request), self)

    def kept(self, request: Request, client: ReadingClient) -> Response | None:
        """The answer to a request if another stack has read it. Sends and awaits nothing."""
        answer = self._shared.find(self._key(request), self)
        if answer is None:
            return None
        return self._handed_out(answer, request, client)

    def _read(self, request: Request, send: Send, client: ReadingClient) -> Response:
        key = self._key(request)
        while True:
            known, wrote_at = self._shared.join(key, request, self, client.organization.seen)
            if isinstance(known, _Answer):
                return self._handed_out(known, request, client)
            if wrote_at is None:
                return self._send(key, known, send)
            self._await(known, client)
            answer = known.answer
            if answer is not None:
                # This may be the first answer that shows the server's time, by which its age is
                # measured.
                _learn_time(client, answer)
                if answer.began_at > wrote_at and self.accepts(answer.sent_at):
                    return self._handed_out(answer, request, client)
                continue
            # The reader has ended without an answer for us. The next one that asks becomes the reader.
            error = known.error_for(request)
            if error is not None:
                _count_answered(client, request)
                raise error from known.error

    def _send(self, key: Hashable, reading: _Reading, send: Send) -> Response:
        try:
            response = send(reading.request)
            organization = response.headers.get(ORGANIZATION_HEADER, "").strip()
            reading.answer = _Answer(
                response.raw,
                {name: response.headers.get(name, "") for name in _KEPT_HEADERS},
                _part(reading.request, organization),
                self._shared.sent_moment(reading, response.sent_at),
                response.sent_at,
                self._shared.machine_clock(),
            )
            return response
        except ApiError as error:
            reading.error = error
            raise
        finally:
            self._shared.end(key, reading)

    def _await(self, reading: _Reading, client: ReadingClient) -> None:
        """Wait for the end of a request, unless this run ends first."""
        with client.in_flight.waiting():
            while not reading.is_done.wait(_CHECK_SECONDS):
                client.check_may_send()

    def _handed_out(self, answer: _Answer, request: Request, client: ReadingClient) -> Response:
        client.check_may_send()
        client.organization.check(answer.headers, is_write=False)
        _learn_time(client, answer)
        body = parsed(answer.content, client.redactor)
        with self._lock:
            self.answers += 1
            self.oldest_at = min(self.oldest_at, answer.began_at)
        _count_answered(client, request)
        return Response(body or {}, answer.headers, sent_at=answer.sent_at, raw=answer.content)

    def _key(self, request: Request) -> Hashable:
        query = tuple(sorted((name, str(value)) for name, value in request.query.items()))
        key = request.key
        credentials = (key.secret, key.is_admin, key.project_id, request.beta)
        return (self._place, credentials, request.target, query)


def _count_answered(client: ReadingClient, request: Request) -> None:
    client.in_flight.count_answered(request.route, is_expected=request.is_first_page)


def _learn_time(client: ReadingClient, answer: _Answer) -> None:
    date, sent_at, received_at = answer.headers["date"], answer.sent_at, answer.received_at
    client.server_clock.learn(date, sent_at=sent_at, received_at=received_at)


def _part(request: Request, organization: str) -> _Part:
    project = request.key.project_id
    # An admin key reaches all projects, so only the path shows which one a request concerns.
    if "{project}" in request.path and request.ids.get("project") is not None:
        project = request.ids["project"]
    elif request.key.is_admin:
        project = _ORGANIZATION
    return _Part(organization, project, request.key.is_admin)
