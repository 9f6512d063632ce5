"""Reads the validity dates of a certificate.

Walks the DER structure down to the Validity field, since the standard library parses only
certificates of connections.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_SEQUENCE, _VERSION = 0x30, 0xA0
_FORMATS = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime and GeneralizedTime, by their tags."""


def validity(text: str) -> tuple[int, int]:
    """Start and end of validity of the first certificate, in unix seconds; raises ValueError."""
    block = _BLOCK.search(text)
    if block is None:
        raise ValueError("no certificate")
    try:
        der = base64.b64decode("".join(block[1].split()), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    body, _ = _element(_element(der, _SEQUENCE)[0], _SEQUENCE)
    if body[:1] == bytes([_VERSION]):
        body = _element(body)[1]
    for _ in ("serial number", "signature algorithm", "issuer"):
        body = _element(body)[1]
    dates = _element(body, _SEQUENCE)[0]
    valid_at, rest = _time(dates)
    return valid_at, _time(rest)[0]


def _element(data: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element, and the bytes after it."""
    if len(data) < 2 or (tag is not None and data[0] != tag):
        raise ValueError("not DER")
    start, length = 2, data[1]
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut short")
    return data[start : start + length], data[start + length :]


def _time(data: bytes) -> tuple[int, bytes]:
    content, rest = _element(data)
    if data[0] not in _FORMATS:
        raise ValueError("not a time")
    moment = datetime.strptime(content.decode("ascii"), _FORMATS[data[0]]).replace(tzinfo=UTC)
    if (
        data[0] == 0x17 and moment.year >= 2050
    ):  # RFC 5280, 4.1.2.5.1: years 50 to 99 are 19xx; Python switches at 69
        moment = moment.replace(year=moment.year - 100)
    return int(moment.timestamp()), rest
