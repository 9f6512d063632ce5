"""The log of a state in real servers, with proxies that misbehave in front of them."""

from __future__ import annotations

import itertools
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.errors import StateError
from reconciler.state.remote.objects.storage import ObjectStorage
from reconciler.state.remote.storage import FencedError, StoredBody, Tail, UnreachableError
from tests.servers import http_proxy as faults
from tests.servers.http_proxy import Answer, Fault, Forward, HttpProxy, Request, http_proxy
from tests.servers.object_stores import Place, ignoring_conditions, keys, secret_of

Opener = Callable[..., ObjectStorage]
Proxied = Callable[[str], HttpProxy]


@pytest.fixture(params=["s3", "azure"])
def place(request: pytest.FixtureRequest) -> Place:
    """The same test against both servers."""
    place: Place = request.getfixturevalue(f"{request.param}_place")
    return place


@pytest.fixture
def proxied() -> Iterator[Callable[[str], HttpProxy]]:
    """Puts a proxy in front of a server."""
    with ExitStack() as running:
        yield lambda endpoint: running.enter_context(http_proxy(endpoint))


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens the log of a state at a place."""
    with ExitStack() as closing:

        def open_storage(
            place: Place, *, stack: str = "acme", environment: str = "prod", seconds: float = 14.5
        ) -> ObjectStorage:
            storage = ObjectStorage(
                place.url, stack=stack, environment=environment, env=place.env, seconds=seconds
            )
            closing.callback(storage.close)
            return storage

        yield open_storage


@pytest.fixture
def storage(opened: Opener, place: Place) -> ObjectStorage:
    return opened(place)


@pytest.fixture
def proxy(proxied: Proxied, place: Place) -> HttpProxy:
    """A proxy in front of the server of `place`."""
    return proxied(place.endpoint)


@pytest.fixture
def behind(opened: Opener, place: Place, proxy: HttpProxy) -> ObjectStorage:
    """The same log as `storage`, through the proxy."""
    return opened(place.through(proxy.endpoint))


def body(number: int, text: str = "segment") -> StoredBody:
    return StoredBody(number, f"{text} {number}".encode())


def append(storage: ObjectStorage, *numbers: int) -> None:
    for number in numbers:
        storage.append(body(number), epoch=1)


def numbers(tail: Tail) -> list[int]:
    return [segment.number for segment in tail.segments]


class TestAppending:
    def test_what_is_appended_is_read_in_order(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2, 3)
        assert list(storage.tail(0).segments) == [body(1), body(2), body(3)]

    def test_a_tail_starts_after_its_number(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2, 3)
        assert numbers(storage.tail(2)) == [3]

    def test_a_taken_number_fences(self, storage: ObjectStorage) -> None:
        append(storage, 1)
        with pytest.raises(FencedError, match="Another run has written segment 1 of"):
            storage.append(body(1, "other"), epoch=1)
        assert list(storage.tail(0).segments) == [body(1)]

    def test_the_same_segment_again_is_our_own(self, storage: ObjectStorage) -> None:
        append(storage, 1, 1)
        assert numbers(storage.tail(0)) == [1]

    def test_of_many_writers_of_a_number_one_wins(self, opened: Opener, place: Place) -> None:
        storages = [opened(place) for _ in range(8)]

        def attempt(racer: int) -> bool:
            try:
                storages[racer].append(body(1, f"racer {racer}"), epoch=1)
            except FencedError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(attempt, range(8)))
        winner = outcomes.index(True)
        assert outcomes.count(True) == 1
        assert list(storages[0].tail(0).segments) == [body(1, f"racer {winner}")]

    def test_a_lost_answer_is_a_success(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.lose_answer)
        append(behind, 1)
        assert numbers(storage.tail(0)) == [1]

    def test_a_request_that_was_cut_is_sent_again(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.cut)
        append(behind, 1)
        assert numbers(storage.tail(0)) == [1]

    def test_a_lost_answer_of_a_refused_write_still_fences(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        append(storage, 1)
        proxy.fault("write", faults.lose_answer)
        with pytest.raises(FencedError):
            behind.append(body(1, "other"), epoch=1)

    def test_a_request_delivered_twice_is_a_success(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.duplicate)
        append(behind, 1)
        assert numbers(behind.tail(0)) == [1]

    @pytest.mark.parametrize(
        ("status", "code"),
        [(503, "SlowDown"), (500, "InternalError"), (429, "TooMany"), (400, "RequestTimeout")],
    )
    def test_an_overloaded_server_is_asked_again(
        self, behind: ObjectStorage, proxy: HttpProxy, status: int, code: str
    ) -> None:
        proxy.fault("write", faults.answering(status, code))
        append(behind, 1)
        assert numbers(behind.tail(0)) == [1]

    def test_an_overloaded_server_is_unreachable_in_the_end(
        self, opened: Opener, place: Place, proxy: HttpProxy
    ) -> None:
        behind = opened(place.through(proxy.endpoint), seconds=2)
        proxy.fault("write", faults.answering(503, "SlowDown"), times=100)
        with pytest.raises(UnreachableError, match=r"answered HTTP 503.* to write objects"):
            append(behind, 1)


class TestConflicts:
    """AWS answers 409 where conditional writes of a name overlap, whether it is taken or not."""

    CONFLICT = staticmethod(faults.answering(409, "ConditionalRequestConflict"))

    @pytest.fixture
    def place(self, s3_place: Place) -> Place:
        return s3_place

    def test_a_conflict_over_a_free_number_is_tried_again(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", self.CONFLICT)
        append(behind, 1)
        assert numbers(behind.tail(0)) == [1]

    def test_a_conflict_over_a_taken_number_fences(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        append(storage, 1)
        proxy.fault("write", self.CONFLICT)
        with pytest.raises(FencedError):
            behind.append(body(1, "other"), epoch=1)

    def test_a_conflict_with_our_own_lost_write_is_a_success(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        append(storage, 1)
        proxy.fault("write", self.CONFLICT)
        append(behind, 1)
        assert proxy.operations() == ["write", "read"]

    def test_a_container_that_is_being_deleted_is_no_conflict(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.answering(409, "ContainerBeingDeleted"))
        with pytest.raises(StateError, match="does not exist"):
            append(behind, 1)

    def test_a_conflict_that_never_ends_can_be_tried_later(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", self.CONFLICT, times=100)
        with pytest.raises(UnreachableError, match="conflicting write of segment 1"):
            append(behind, 1)

    def test_a_number_that_was_taken_and_trimmed_fences(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.answering(412, "PreconditionFailed"))
        with pytest.raises(FencedError):
            append(behind, 1)


class TestClaims:
    def test_a_claim_is_a_segment(self, storage: ObjectStorage) -> None:
        storage.claim(body(1, "claim"), epoch=1, seen=Tail())
        assert list(storage.tail(0).segments) == [body(1, "claim")]

    def test_the_second_claim_of_a_slot_is_fenced(self, opened: Opener, place: Place) -> None:
        first, second = opened(place), opened(place)
        first.claim(body(1, "first"), epoch=1, seen=Tail())
        with pytest.raises(FencedError):
            second.claim(body(1, "second"), epoch=1, seen=Tail())

    def test_a_claim_fences_the_holder_before_it(self, opened: Opener, place: Place) -> None:
        zombie, successor = opened(place), opened(place)
        zombie.claim(body(1, "zombie"), epoch=1, seen=Tail())
        successor.claim(body(2, "successor"), epoch=2, seen=successor.tail(0))
        with pytest.raises(FencedError):
            zombie.append(body(2), epoch=1)

    def test_a_claim_whose_answer_was_lost_succeeds(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.lose_answer)
        behind.claim(body(1), epoch=1, seen=Tail())
        assert numbers(behind.tail(0)) == [1]

    def test_a_server_that_ignores_conditions_is_refused(
        self, behind: ObjectStorage, proxy: HttpProxy, place: Place
    ) -> None:
        proxy.fault("write", ignoring_conditions(place), times=2)
        with pytest.raises(StateError, match="replaces objects that must not be replaced") as info:
            behind.claim(body(1), epoch=1, seen=Tail())
        assert "reconciler state check" in info.value.hint

    def test_only_segments_are_signs_of_life(self, storage: ObjectStorage) -> None:
        assert storage.renew(epoch=1) is False


class TestTails:
    def test_a_new_log_is_empty(self, storage: ObjectStorage) -> None:
        assert storage.tail(0) == Tail(segments=[])

    def test_the_last_segment_dates_the_last_sign_of_life(self, storage: ObjectStorage) -> None:
        before = storage.now()
        append(storage, 1)
        signed_at = storage.tail(0).signed_at
        assert signed_at is not None
        assert before <= signed_at <= storage.now()

    def test_the_last_known_segment_dates_an_empty_tail(self, storage: ObjectStorage) -> None:
        append(storage, 1)
        assert storage.tail(1) == Tail(segments=[], signed_at=storage.tail(0).signed_at)

    def test_an_empty_tail_after_an_absent_segment_has_no_date(
        self, storage: ObjectStorage
    ) -> None:
        assert storage.tail(7).signed_at is None

    @pytest.mark.parametrize("hidden", ["0000[3-5]$", "0000[1-5]$", "0000[24]$", "00001$"])
    def test_a_listing_that_lags_behind_hides_no_segment(
        self, opened: Opener, s3_place: Place, proxied: Proxied, hidden: str
    ) -> None:
        proxy = proxied(s3_place.endpoint)
        behind = opened(s3_place.through(proxy.endpoint))
        append(behind, 1, 2, 3, 4, 5)
        proxy.fault("list", faults.hiding(hidden))
        assert numbers(behind.tail(0)) == [1, 2, 3, 4, 5]

    def test_a_segment_trimmed_during_the_reading_leaves_a_gap(
        self, opened: Opener, s3_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(s3_place.endpoint)
        behind, other = opened(s3_place.through(proxy.endpoint)), opened(s3_place)
        append(other, 1, 2, 3)

        def trimmed_after(request: Request, forward: Forward) -> Answer:
            answer = forward(request)
            other.trim(2, keep=())
            return answer

        proxy.fault("list", trimmed_after)
        assert numbers(behind.tail(1)) in ([3], [2, 3])
        assert numbers(behind.tail(1)) == [3]

    def test_segments_appended_during_the_reading_leave_no_gap(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        first_was_absent = threading.Event()

        def answered(request: Request, forward: Forward) -> Answer:
            answer = forward(request)
            first_was_absent.set()
            return answer

        def appended_before(request: Request, forward: Forward) -> Answer:
            first_was_absent.wait()
            append(storage, 1, 2)
            return forward(request)

        proxy.fault("read", answered)
        proxy.fault("list", appended_before)
        assert numbers(behind.tail(0)) == [1, 2]

    def test_more_segments_than_a_page_of_a_listing_are_read(
        self, opened: Opener, s3_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(s3_place.endpoint)
        behind = opened(s3_place.through(proxy.endpoint))
        append(behind, *range(1, 31))
        proxy.fault("list", _in_pages_of(7), times=100)
        assert numbers(behind.tail(3)) == list(range(4, 31))
        assert proxy.operations().count("list") == 4

    def test_a_lost_answer_to_a_read_is_asked_for_again(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        append(storage, 1, 2, 3)
        proxy.fault("read", faults.lose_answer, times=2)
        proxy.fault("list", faults.lose_answer)
        assert numbers(behind.tail(0)) == [1, 2, 3]


def _in_pages_of(size: int) -> Fault:
    """Cuts the answer to a listing into pages, because the size of a page is signed."""
    entries: list[str] = []

    def fault(request: Request, forward: Forward) -> Answer:
        answer = forward(request)
        token = parse_qs(urlsplit(request.target).query).get("continuation-token")
        if token is None:
            entries[:] = re.findall("<Contents>.*?</Contents>", answer.body.decode(), re.DOTALL)
        start = int(token[0]) if token else 0
        page = "".join(entries[start : start + size])
        if start + size < len(entries):
            page += f"<NextContinuationToken>{start + size}</NextContinuationToken>"
        truncated = str(start + size < len(entries)).lower()
        document = (
            f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{page}</ListBucketResult>"
        )
        return Answer(200, document.encode())

    return fault


class TestClock:
    def test_the_time_is_that_of_the_store(
        self, opened: Opener, s3_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(s3_place.endpoint)

        def long_ago(request: Request, forward: Forward) -> Answer:
            answer = forward(request)
            headers = {k: v for k, v in answer.headers.items() if k.lower() != "last-modified"}
            headers["Last-Modified"] = "Thu, 01 Jan 1970 00:16:40 GMT"
            return Answer(answer.status, answer.body, headers)

        proxy.fault("read", long_ago)
        assert opened(s3_place.through(proxy.endpoint)).now() == 1000.0

    def test_asking_for_the_time_leaves_nothing_behind(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        behind.now()
        assert proxy.operations() == ["write", "read", "delete"]


class TestSnapshots:
    def test_a_new_log_has_no_snapshot(self, storage: ObjectStorage) -> None:
        assert storage.snapshot() is None

    def test_the_newest_snapshot_is_read(self, storage: ObjectStorage) -> None:
        storage.put_snapshot(body(9, "snapshot"))
        storage.put_snapshot(body(10, "snapshot"))
        assert storage.snapshot() == body(10, "snapshot")

    def test_a_snapshot_of_the_same_number_is_replaced(self, storage: ObjectStorage) -> None:
        storage.put_snapshot(body(9, "first"))
        storage.put_snapshot(body(9, "second"))
        assert storage.snapshot() == body(9, "second")

    def test_a_large_snapshot_is_kept_whole(self, storage: ObjectStorage) -> None:
        large = StoredBody(9, bytes(range(256)) * 24_000)
        storage.put_snapshot(large)
        assert storage.snapshot() == large

    def test_a_snapshot_trimmed_during_the_reading_gives_way_to_the_newer(
        self, behind: ObjectStorage, storage: ObjectStorage, proxy: HttpProxy
    ) -> None:
        storage.put_snapshot(body(5, "snapshot"))

        def trimmed_after(request: Request, forward: Forward) -> Answer:
            answer = forward(request)
            storage.put_snapshot(body(9, "snapshot"))
            storage.trim(9, keep=())
            return answer

        proxy.fault("list", trimmed_after)
        assert behind.snapshot() == body(9, "snapshot")


class TestTrimming:
    def test_segments_up_to_the_number_are_removed(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2, 3, 4, 5)
        storage.trim(3, keep=())
        assert numbers(storage.tail(3)) == [4, 5]
        assert numbers(storage.tail(0)) == [4, 5]

    def test_segments_to_keep_stay(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2, 3, 4, 5)
        storage.trim(4, keep={1, 3})
        assert numbers(storage.tail(0)) == [1, 3, 5]

    def test_a_kept_claim_still_fences(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2, 3)
        storage.trim(2, keep={2})
        with pytest.raises(FencedError):
            storage.append(body(2, "zombie"), epoch=1)

    def test_the_last_segment_stays_as_the_sign_of_life(self, storage: ObjectStorage) -> None:
        append(storage, 1, 2)
        storage.trim(2, keep=())
        assert numbers(storage.tail(0)) == [2]

    def test_snapshots_below_the_number_are_removed(self, storage: ObjectStorage) -> None:
        storage.put_snapshot(body(1, "snapshot"))
        storage.put_snapshot(body(2, "snapshot"))
        storage.put_snapshot(body(3, "snapshot"))
        storage.trim(2, keep=())
        # Removing the newest by hand uncovers the one before it.
        assert storage.snapshot() == body(3, "snapshot")
        storage.trim(100, keep=())
        assert storage.snapshot() == body(3, "snapshot")

    def test_more_than_a_batch_is_removed(self, opened: Opener, s3_place: Place) -> None:
        storage = opened(s3_place)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: append(storage, number), range(1, 302)))
        storage.trim(300, keep={7})
        assert numbers(storage.tail(0)) == [7, 301]

    def test_two_runs_may_trim_at_once(self, opened: Opener, place: Place) -> None:
        storages = [opened(place), opened(place)]
        append(storages[0], *range(1, 21))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda storage: storage.trim(19, keep=()), storages))
        assert numbers(storages[0].tail(0)) == [20]


NAMES = [
    "prod",
    "Prod",
    "a/b",
    "a!2Fb",
    "a b",
    "ü",
    "..",
    ".",
    "",
    "a%2Fb",
    "a\nb",
    "日本",
    "log",
    "a.",
]


class TestNames:
    def test_states_of_different_names_share_nothing(self, opened: Opener, place: Place) -> None:
        for index, (stack, environment) in enumerate(itertools.product(NAMES, ["x", "a/b", ""])):
            append(opened(place, stack=stack, environment=environment), index + 1)
        for index, (stack, environment) in enumerate(itertools.product(NAMES, ["x", "a/b", ""])):
            tail = opened(place, stack=stack, environment=environment).tail(index)
            assert list(tail.segments) == [body(index + 1)]

    def test_a_state_below_another_is_not_read_with_it(self, opened: Opener, place: Place) -> None:
        below = Place(f"{place.url}/a", place.env, place.endpoint, place.endpoint_variable)
        inner = opened(below, stack="b", environment="snapshot")
        inner.put_snapshot(body(9, "snapshot"))
        assert opened(place, stack="a", environment="b").snapshot() is None

    def test_the_address_names_the_state(self, opened: Opener, place: Place) -> None:
        storage = opened(place, stack="acme", environment="eu/prod")
        assert storage.address == f"{place.url}/acme/eu!2Fprod"


ATTEMPTS: dict[str, Callable[[ObjectStorage], object]] = {
    "list": lambda storage: storage.tail(0),
    "read": lambda storage: storage.tail(0),
    "write": lambda storage: storage.append(body(9), epoch=1),
    "delete": lambda storage: storage.trim(2, keep=()),
}
OPERATIONS = list(ATTEMPTS)


def _refused(storage: ObjectStorage, operation: str) -> StateError:
    with pytest.raises(StateError) as info:
        ATTEMPTS[operation](storage)
    return info.value


class TestErrors:
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_missing_permission_is_named(
        self,
        behind: ObjectStorage,
        storage: ObjectStorage,
        proxy: HttpProxy,
        place: Place,
        operation: str,
    ) -> None:
        append(storage, 1, 2, 3)
        proxy.fault(operation, faults.answering(403, "AccessDenied"), times=100)
        error = _refused(behind, operation)
        assert str(error) == f"No permission to {operation} objects in {place.url}."
        assert error.hint.startswith("Grant ")
        assert not isinstance(error, UnreachableError)

    @pytest.mark.parametrize(
        ("key", "operation", "permission"),
        [
            ("no-list", "list", "s3:ListBucket"),
            ("no-read", "read", "s3:GetObject"),
            ("no-write", "write", "s3:PutObject"),
            ("no-write", "delete", "s3:DeleteObject"),
        ],
    )
    def test_a_permission_missing_at_a_real_server_is_named(
        self, opened: Opener, s3_place: Place, key: str, operation: str, permission: str
    ) -> None:
        append(opened(s3_place), 1, 2, 3)
        limited = s3_place.with_env(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=secret_of(key))
        error = _refused(opened(limited), operation)
        assert str(error) == f"No permission to {operation} objects in {s3_place.url}."
        assert permission in error.hint

    def test_a_missing_bucket_is_named(self, opened: Opener, place: Place) -> None:
        absent = Place(f"{place.url[:5]}no-such-bucket/x", place.env, place.endpoint, "")
        error = _refused(opened(absent), "list")
        assert "no-such-bucket of" in str(error)
        assert "does not exist" in str(error)
        assert not isinstance(error, UnreachableError)

    @pytest.mark.parametrize("code", ["NoSuchBucket", "ContainerNotFound"])
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_bucket_removed_meanwhile_is_named(
        self,
        behind: ObjectStorage,
        storage: ObjectStorage,
        proxy: HttpProxy,
        operation: str,
        code: str,
    ) -> None:
        append(storage, 1, 2, 3)
        proxy.fault(operation, faults.answering(404, code), times=100)
        assert "does not exist" in str(_refused(behind, operation))

    def test_a_wrong_secret_is_reported_without_it(self, opened: Opener, s3_place: Place) -> None:
        wrong = s3_place.with_env(AWS_SECRET_ACCESS_KEY="swordfish")
        error = _refused(opened(wrong), "write")
        assert (
            str(error) == f"{s3_place.url} does not accept the credentials (SignatureDoesNotMatch)."
        )

    def test_an_unknown_account_of_azure_is_reported(
        self, opened: Opener, azure_place: Place
    ) -> None:
        wrong = azure_place.with_env(AZURE_STORAGE_ACCOUNT_KEY="c3dvcmRmaXNo")
        error = _refused(opened(wrong), "list")
        assert str(error).startswith(f"{azure_place.url} does not accept the credentials (")

    def test_a_wrong_region_is_named_with_the_right_one(
        self, opened: Opener, s3_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(s3_place.endpoint)
        document = (
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>"
        )
        proxy.fault("write", lambda request, forward: Answer(400, document))
        error = _refused(opened(s3_place.through(proxy.endpoint)), "write")
        assert str(error).endswith("is not in the region us-east-1: it is in eu-central-1.")
        assert error.hint == "Set AWS_REGION to eu-central-1."

    def test_a_redirect_to_another_region_is_a_wrong_region(
        self, opened: Opener, s3_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(s3_place.endpoint)
        proxy.fault("write", faults.answering(301, "PermanentRedirect"))
        error = _refused(opened(s3_place.through(proxy.endpoint)), "write")
        assert "is not in the region us-east-1" in str(error)

    def test_a_server_without_conditional_writes_is_named(
        self, behind: ObjectStorage, proxy: HttpProxy
    ) -> None:
        proxy.fault("write", faults.answering(501, "NotImplemented"), times=100)
        error = _refused(behind, "write")
        assert "does not implement conditional writes" in str(error)
        assert not isinstance(error, UnreachableError)

    def test_a_server_that_refuses_connections_is_unreachable(
        self, opened: Opener, place: Place
    ) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
            error = _refused(opened(place.through(endpoint)), "write")
        assert isinstance(error, UnreachableError)
        assert str(error) == f"{place.url} cannot be reached at {endpoint}."

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_a_silent_server_is_given_up(
        self,
        opened: Opener,
        storage: ObjectStorage,
        place: Place,
        proxy: HttpProxy,
        operation: str,
    ) -> None:
        append(storage, 1, 2, 3)
        behind = opened(place.through(proxy.endpoint), seconds=0.5)
        proxy.fault(operation, proxy.silence, times=100)
        error = _refused(behind, operation)
        assert isinstance(error, UnreachableError)
        assert "did not answer in time" in str(error)

    @pytest.mark.parametrize("operation", OPERATIONS)
    @pytest.mark.parametrize("status", [400, 403, 409, 503])
    def test_nothing_a_server_says_about_credentials_is_repeated(
        self, opened: Opener, place: Place, proxied: Proxied, operation: str, status: int
    ) -> None:
        append(opened(place), 1, 2, 3)
        proxy = proxied(place.endpoint)
        document = b"<Error><Code>Denied</Code><StringToSign>swordfish</StringToSign></Error>"
        proxy.fault(operation, lambda request, forward: Answer(status, document), times=100)
        error = _refused(opened(place.through(proxy.endpoint), seconds=1), operation)
        assert "swordfish" not in "".join(traceback.format_exception(error)) + error.hint

    def test_a_missing_library_is_named_with_its_extra(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "obstore", None)
        with pytest.raises(StateError) as info:
            ObjectStorage("s3://bucket", stack="a", environment="b", env={"HOME": "/nonexistent"})
        assert info.value.hint == "Install reconciler with its extra `object-store`."


def unsent(url: str, **env: str) -> ObjectStorage:
    return ObjectStorage(url, stack="acme", environment="prod", env={"HOME": "/nonexistent", **env})


class TestSettings:
    @pytest.mark.parametrize(
        "url",
        [
            "s3://",
            "s3:bucket",
            "ftp://bucket/x",
            "s3://key:swordfish@bucket/x",
            "s3://swordfish@bucket/x",
            "s3://bucket/x?secret=swordfish",
            "s3://bucket/x#swordfish",
            "s3://b/x",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://bucket/a b",
            "s3://bucket/ü",
            "s3://buc ket/x",
            "s3://bucket:99/x",
            "s3://bucket\n/x",
        ],
    )
    def test_a_malformed_address_is_refused_without_its_secrets(self, url: str) -> None:
        with pytest.raises(StateError) as info:
            unsent(url)
        assert "swordfish" not in f"{info.value} {info.value.hint}"
        assert info.value.hint

    @pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://bucket/a/b/"])
    def test_a_prefix_may_be_absent_or_end_in_a_slash(self, url: str) -> None:
        assert unsent(url).address == f"{url.rstrip('/')}/acme/prod"

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("AWS_ACCESS_KEY_ID", "swordfish\n"),
            ("AWS_SECRET_ACCESS_KEY", "swordfish\u00e9"),
            ("AWS_SESSION_TOKEN", "swordfish\r"),
            ("AWS_REGION", "eu west"),
            ("AWS_ENDPOINT_URL", "no url"),
            ("AWS_ENDPOINT_URL", "https://key:swordfish@host"),
            ("AWS_ENDPOINT_URL", "https://host:port"),
            ("AWS_ENDPOINT_URL", "https://host:99999"),
            ("AWS_ENDPOINT_URL", "https://host name"),
            ("AWS_ENDPOINT_URL", "https://host/<x>"),
            ("AWS_STS_ENDPOINT", "sts.example"),
            ("AWS_ENDPOINT_URL_S3", "ftp://host"),
        ],
    )
    def test_a_malformed_variable_is_named_without_its_value(
        self, variable: str, value: str
    ) -> None:
        with pytest.raises(StateError, match=variable) as info:
            unsent("s3://bucket/x", **{variable: value})
        assert "swordfish" not in f"{info.value} {info.value.hint}"

    def test_a_malformed_key_of_azure_is_not_quoted(self) -> None:
        with pytest.raises(StateError) as info:
            unsent(
                "az://container/x",
                AZURE_STORAGE_ACCOUNT_NAME="account",
                AZURE_STORAGE_ACCOUNT_KEY="swordfish!",
            ).tail(0)
        assert "swordfish" not in "".join(traceback.format_exception(info.value))

    def test_azure_needs_an_account(self) -> None:
        with pytest.raises(StateError) as info:
            unsent("az://container/x")
        assert info.value.hint == "Set AZURE_STORAGE_ACCOUNT_NAME."

    def test_plain_http_is_refused_beyond_this_machine(self) -> None:
        with pytest.raises(StateError, match="AWS_ENDPOINT_URL is an http address"):
            unsent("s3://bucket/x", AWS_ENDPOINT_URL="http://store.example:9000")

    def test_plain_http_can_be_allowed(self) -> None:
        storage = unsent(
            "s3://bucket/x", AWS_ENDPOINT_URL="http://store.example:9000", AWS_ALLOW_HTTP="true"
        )
        assert storage.address == "s3://bucket/x/acme/prod"

    def test_switching_conditions_off_by_the_environment_has_no_effect(
        self, opened: Opener, s3_place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
        storage = opened(s3_place.with_env(AWS_CONDITIONAL_PUT="disabled"))
        append(storage, 1)
        with pytest.raises(FencedError):
            storage.append(body(1, "other"), epoch=1)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("AWS_ENDPOINT_URL_S3", ""),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_SESSION_TOKEN", "another"),
            ("AWS_SKIP_SIGNATURE", ""),
            ("AZURE_STORAGE_TOKEN", ""),
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
        ],
    )
    def test_variables_of_the_process_that_were_not_given_do_not_count(
        self,
        opened: Opener,
        place: Place,
        monkeypatch: pytest.MonkeyPatch,
        variable: str,
        value: str,
    ) -> None:
        monkeypatch.setenv(variable, value)
        storage = opened(place)
        append(storage, 1)
        assert numbers(storage.tail(0)) == [1]
        assert os.environ[variable] == value

    def test_keys_come_from_a_profile(
        self, opened: Opener, s3_place: Place, tmp_path: Path
    ) -> None:
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws" / "credentials").write_text(
            f"[team]\naws_access_key_id = admin\naws_secret_access_key = {secret_of('admin')}\n"
        )
        env = {"HOME": str(tmp_path), "AWS_PROFILE": "team", "AWS_ENDPOINT_URL": s3_place.endpoint}
        storage = opened(Place(s3_place.url, env, s3_place.endpoint, ""))
        append(storage, 1)
        assert numbers(storage.tail(0)) == [1]

    def test_variables_win_over_a_profile(
        self, opened: Opener, s3_place: Place, tmp_path: Path
    ) -> None:
        (tmp_path / "credentials").write_text(
            "[default]\naws_access_key_id = other\naws_secret_access_key = other\n"
            "aws_session_token = other\n"
        )
        credentials = str(tmp_path / "credentials")
        storage = opened(s3_place.with_env(AWS_SHARED_CREDENTIALS_FILE=credentials))
        append(storage, 1)
        assert numbers(storage.tail(0)) == [1]

    def test_a_profile_without_keys_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(StateError, match="'sso' contains no access key") as info:
            unsent("s3://bucket/x", AWS_PROFILE="sso", HOME=str(tmp_path))
        assert "aws configure export-credentials --profile sso" in info.value.hint

    def test_a_malformed_profile_is_not_quoted(self, tmp_path: Path) -> None:
        (tmp_path / "credentials").write_text("swordfish\n")
        with pytest.raises(StateError, match="malformed") as info:
            unsent("s3://bucket/x", AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"))
        assert "swordfish" not in "".join(traceback.format_exception(info.value))

    def test_azure_takes_a_connection_string(self, opened: Opener, azure_place: Place) -> None:
        env = azure_place.env
        text = ";".join(
            [
                "DefaultEndpointsProtocol=http",
                f"AccountName={env['AZURE_STORAGE_ACCOUNT_NAME']}",
                f"AccountKey={env['AZURE_STORAGE_ACCOUNT_KEY']}",
                f"BlobEndpoint={azure_place.endpoint}",
            ]
        )
        connected = Place(
            azure_place.url, {"AZURE_STORAGE_CONNECTION_STRING": text}, azure_place.endpoint, ""
        )
        storage = opened(connected)
        append(storage, 1)
        assert numbers(storage.tail(0)) == [1]


class TestProbe:
    def test_a_store_that_honours_conditions_passes(self, storage: ObjectStorage) -> None:
        findings = list(storage.probe())
        assert [finding for finding in findings if not finding.holds] == []
        assert len(findings) == 5

    def test_a_store_that_ignores_conditions_fails(
        self, behind: ObjectStorage, proxy: HttpProxy, place: Place
    ) -> None:
        proxy.fault("write", ignoring_conditions(place), times=1000)
        failed = {finding.claim: finding.detail for finding in behind.probe() if not finding.holds}
        assert failed["Existing objects are not overwritten"] == (
            "a second write of a name succeeded, but should have been refused"
        )
        assert (
            "of 8 writes of one name succeeded" in failed["A segment number can be taken only once"]
        )

    def test_a_store_whose_listings_lag_behind_is_found_out(
        self, opened: Opener, azure_place: Place, proxied: Proxied
    ) -> None:
        proxy = proxied(azure_place.endpoint)
        proxy.fault("list", faults.hiding("fresh-2$"), times=3)
        findings = opened(azure_place.through(proxy.endpoint)).probe()
        failed = [finding.claim for finding in findings if not finding.holds]
        assert failed == ["New objects can be listed and read immediately"]

    def test_a_probe_that_is_given_up_leaves_nothing_behind(
        self, storage: ObjectStorage, place: Place
    ) -> None:
        findings = storage.probe()
        next(findings)
        assert keys(place) != []
        findings.close()
        assert keys(place) == []
