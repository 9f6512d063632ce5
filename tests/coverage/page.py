"""`docs/coverage.md`: every endpoint with its role, who uses it, and the test that exercises it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.coverage.endpoints import Endpoint, all_endpoints
from tests.coverage.users import NO_USE, users_of
from tests.coverage.witnesses import witnesses

FILE = Path(__file__).parent.parent.parent / "docs" / "coverage.md"

_HEAD = """\
# Coverage

Every endpoint of the API: what it is to this program, who uses it, and a test that exercises it and fails if it ever
stops doing so. `make coverage` writes this page from the declarations of the kinds and from what the tests reach.

| Role | What that means |
|---|---|
| managed | The object is declared: listed, made, read, changed, removed. |
| sub-resource | A part of a declared object, or an object inside one. |
| job | Work that is started and ends by itself. |
| check | A call whose answer can be judged. |
| data | Something to read. |
| mechanism | A step on the way to something else. |
"""
_NO_USER = "served by the emulator; nothing of ours calls it"
_NOTHING = "not covered"


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def is_covered(endpoint: Endpoint) -> bool:
    """Whether an endpoint has somebody who uses it, and a test."""
    return bool(users_of(endpoint)) and endpoint.call in witnesses()


def _lines() -> Iterator[str]:
    yield _HEAD
    for since, title in (
        ("published", "The published description"),
        ("newer", "What has come since"),
    ):
        some = [endpoint for endpoint in all_endpoints() if endpoint.since == since]
        used = sum(map(is_covered, some))
        served = sum(not users_of(endpoint) and endpoint.call in witnesses() for endpoint in some)
        yield f"## {title}"
        yield ""
        yield f"Of {len(some)} endpoints, {used} are used, and {served} more are served by the emulator."
        yield ""
        for group in dict.fromkeys(endpoint.group for endpoint in some):
            yield from _table(group, [endpoint for endpoint in some if endpoint.group == group])


def _table(group: str, endpoints: Sequence[Endpoint]) -> Iterator[str]:
    yield f"### {group}"
    yield ""
    yield "| Endpoint | Role | Used by | Test |"
    yield "|---|---|---|---|"
    for endpoint in endpoints:
        test = witnesses().get(endpoint.call)
        why = f": {NO_USE[endpoint.call]}" if endpoint.call in NO_USE else ""
        users = "; ".join(users_of(endpoint)) or (_NO_USER + why if test else _NOTHING)
        yield f"| `{endpoint.call}` | {endpoint.role} | {users} | {_link(test) if test else ''} |"
    yield ""


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.replace('_', ' ').replace('[', ' (').replace(']', ')')}](../{path})"
