"""CRC-32C, with which Google Cloud notices damaged secrets. The standard library has only CRC-32."""

from __future__ import annotations

from functools import cache

_POLYNOMIAL = 0x82F63B78
"""The polynomial of Castagnoli, bits reversed."""


def crc32c(content: bytes) -> int:
    """The checksum of some bytes. Slow: for secrets, not for files."""
    checksum = 0xFFFFFFFF
    table = _table()
    for byte in content:
        checksum = (checksum >> 8) ^ table[(checksum ^ byte) & 0xFF]
    return checksum ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    return tuple(map(_entry, range(256)))


def _entry(index: int) -> int:
    for _ in range(8):
        is_odd = index & 1
        index >>= 1
        if is_odd:
            index ^= _POLYNOMIAL
    return index
