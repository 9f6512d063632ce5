"""The address of a bucket and a prefix in it, and the quoting of names in keys.

Every part of a key is checked or quoted here, because the library panics on characters that no URL
may contain.
"""

from __future__ import annotations

import re

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.address import split_rest

SCHEMES = {"s3": "bucket", "az": "container", "gs": "bucket"}
"""The schemes, and the noun of each provider for a bucket."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_PREFIX_PART = re.compile(r"[A-Za-z0-9._=!+@-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]|^\.|\.$")
_HINT = (
    "Write s3://BUCKET/PREFIX, az://CONTAINER/PREFIX or gs://BUCKET/PREFIX."
    " Credentials, region and endpoint come from the environment."
)


class BucketAddress(Struct, frozen=True):
    """A bucket, or a container of Azure, and the prefix of all keys, without outer slashes."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")

    @property
    def noun(self) -> str:
        return SCHEMES[self.scheme]

    def key(self, *parts: str) -> str:
        return "/".join(part for part in (self.prefix, *parts) if part)


def parse_address(url: str) -> BucketAddress:
    """Read an address such as s3://bucket/prefix.

    Raises StateError, which never quotes credentials that the address contains.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise StateError("The address of the state is not that of an object store.", hint=_HINT)
    if "@" in rest.split("/")[0]:
        raise StateError("The address of the state must not contain credentials.", hint=_HINT)
    if not url.isprintable():
        raise StateError("The address of the state contains unprintable characters.", hint=_HINT)
    if "?" in rest or "#" in rest:
        raise StateError("The address of the state must not contain options.", hint=_HINT)
    bucket, path, _ = split_rest(rest)
    address = BucketAddress(scheme, bucket, path.strip("/"))
    if not _BUCKET.fullmatch(address.bucket):
        raise StateError(f"{address.bucket!r} is not a valid name of a {address.noun}.", hint=_HINT)
    for part in address.prefix.split("/") if address.prefix else ():
        if not _PREFIX_PART.fullmatch(part) or part in {".", ".."}:
            raise StateError(
                f"The prefix {address.prefix!r} of the state's address contains {part!r}.",
                hint="Use letters, digits and . _ = ! + @ - between single slashes.",
            )
    return address


def quoted(name: str) -> str:
    """A name as one part of a key: `prod/eu` is `prod!2Feu`. Different names have different keys."""
    # An empty part would disappear from the key.
    if not name:
        return "!"
    # No percent signs: the library would encode them once more, and some servers decode them.
    return _UNSAFE.sub(_escape, name)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"!{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
