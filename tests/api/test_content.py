"""No answer takes more memory than its bound, however it is compressed."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterator

import httpx
import pytest

from reconciler.api.keys import Key
from reconciler.api.transport.client import Client
from reconciler.api.transport.content import MAX_ANSWER_BYTES, MAX_DOWNLOAD_BYTES
from reconciler.api.transport.request import Request
from reconciler.api.transport.retry import RetryPolicy
from reconciler.errors import AmbiguousError, AnswerError
from reconciler.model.secret import Secret
from tests.api.conftest import Clock

KEY = Key(Secret("sk-project-0000000000001234"), "OPENAI_API_KEY")
LIST = b'{"object": "list", "data": []}'


def raw_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKED = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "bare deflate": ("deflate", raw_deflate),
    "nothing": ("identity", bytes),
}


class Wire(httpx.SyncByteStream):
    """Bytes as they come from a connection."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), 65_536):
            yield self._content[start : start + 65_536]


def answering(content: bytes, encoding: str, clock: Clock, status: int = 200) -> Client:
    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        return httpx.Response(status, headers=headers, stream=Wire(content))

    options = {"clock": clock, "sleep": clock.sleep, "policy": RetryPolicy(attempts=2)}
    return Client("https://api.example/v1", transport=httpx.MockTransport(answer), **options)


def bomb(size: int) -> bytes:
    return b'{"object": "list", "data": ["' + b"a" * size + b'"]}'


@pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED)
def test_an_answer_is_read_in_every_encoding_that_is_asked_for(
    encoding: str, pack: object, clock: Clock
) -> None:
    assert callable(pack)
    client = answering(pack(LIST), encoding, clock)
    assert client.request("GET", "/files", key=KEY) == {"object": "list", "data": []}


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize(("encoding", "pack"), PACKED.values(), ids=PACKED)
def test_an_answer_over_the_bound_is_an_error_that_says_so(
    encoding: str, pack: object, status: int, clock: Clock
) -> None:
    assert callable(pack)
    client = answering(pack(bomb(MAX_ANSWER_BYTES)), encoding, clock, status)
    with pytest.raises(AnswerError, match="is larger than 32 MB"):
        client.request("GET", "/files", key=KEY)


def test_an_answer_over_the_bound_takes_no_memory_beyond_it(clock: Clock) -> None:
    client = answering(gzip.compress(bomb(8 * MAX_ANSWER_BYTES)), "gzip", clock)
    tracemalloc.start()
    with pytest.raises(AnswerError):
        client.request("GET", "/files", key=KEY)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * MAX_ANSWER_BYTES


def test_a_download_may_be_larger_and_has_its_own_bound(clock: Clock) -> None:
    download = Request("GET", "/skills", KEY, is_download=True)
    size = MAX_ANSWER_BYTES + 1
    assert len(answering(bytes(size), "identity", clock).exchange(download).content) == size
    with pytest.raises(AnswerError, match="is larger than 64 MB"):
        answering(bytes(MAX_DOWNLOAD_BYTES + 1), "identity", clock).exchange(download)


def test_a_create_with_an_answer_over_the_bound_has_an_open_outcome(clock: Clock) -> None:
    client = answering(gzip.compress(bomb(MAX_ANSWER_BYTES)), "gzip", clock)
    with pytest.raises(AmbiguousError, match="Whether the change was made is unknown"):
        client.request("POST", "/files", key=KEY)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str, clock: Clock) -> None:
    with pytest.raises(AnswerError, match="has an encoding that was not requested"):
        answering(LIST, encoding, clock).request("GET", "/files", key=KEY)


@pytest.mark.parametrize(
    "content",
    [gzip.compress(LIST)[:-12], b"no gzip at all", b"\x1f\x8b" + bytes(30)],
    ids=["cut", "none", "damaged"],
)
def test_a_damaged_encoding_is_an_answer_that_was_cut_short(content: bytes, clock: Clock) -> None:
    with pytest.raises(AnswerError, match="was cut short"):
        answering(content, "gzip", clock).request("GET", "/files", key=KEY)
