"""The body of a response, decompressed up to a limit.

A megabyte of gzip can hold a gigabyte of text. So decompression stops at the limit, and only
encodings whose decoder can stop are accepted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import httpx

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""A page of a list of a hundred objects with the longest texts that the API takes is smaller."""

MAX_DOWNLOAD_BYTES = 64 * 1024 * 1024
"""Downloads are archives of at most 50 MB."""

ENCODINGS = "gzip, deflate"
# 32 recognizes the header of gzip and that of zlib.
_DECODED = {
    "gzip": zlib.MAX_WBITS | 32,
    "x-gzip": zlib.MAX_WBITS | 32,
    "deflate": zlib.MAX_WBITS | 32,
}
_STEP_BYTES = 256 * 1024


class Unusable(Exception):
    """A response whose body is refused; the text says why."""


def content_of(response: httpx.Response, *, most: int, at_each: Callable[[], None]) -> bytes:
    """The decoded body of a streamed response. `at_each` is called after each piece.

    Raises Unusable where the body has more than `most` bytes or an encoding that was not requested,
    and httpx.DecodingError where the encoding is damaged.
    """
    content = bytearray()
    for piece in _pieces(response):
        content += piece
        if len(content) > most:
            raise Unusable(f"is larger than {most // (1024 * 1024)} MB")
        at_each()
    return bytes(content)


def _pieces(response: httpx.Response) -> Iterator[bytes]:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    # A transport that answers from memory has decoded it already.
    if response.is_stream_consumed:
        yield response.content
    elif encoding in ("", "identity"):
        yield from response.iter_raw()
    elif encoding in _DECODED:
        yield from _decompressed(response, _DECODED[encoding])
    else:
        raise Unusable("has an encoding that was not requested")


def _decompressed(response: httpx.Response, bits: int) -> Iterator[bytes]:
    decoder, is_first = zlib.decompressobj(bits), True
    for chunk in response.iter_raw():
        rest = chunk
        # A chunk may decompress to more than all memory, so each step is limited.
        while rest and not decoder.eof:
            try:
                yield decoder.decompress(rest, _STEP_BYTES)
            except zlib.error as error:
                if not is_first:
                    raise httpx.DecodingError(
                        f"the answer cannot be decompressed: {error}"
                    ) from error
                # Some servers mean the bare format by "deflate".
                decoder, is_first = zlib.decompressobj(-zlib.MAX_WBITS), False
                continue
            is_first = False
            rest = decoder.unconsumed_tail
    if not decoder.eof:
        yield decoder.flush()
        if not is_first and not decoder.eof:
            raise httpx.DecodingError("the answer ended in the middle of its encoding")
