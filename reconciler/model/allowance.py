"""Allow lists of the places that keys may be delivered to and that secrets may be read from.

Manifests of a pull request name paths, so the user who runs the program bounds them.
`RECONCILER_ALLOW_SINKS` and `--allow-sinks` hold globs such as `vault:secret/search/**`: `*` stands
for any text within one part of a path, `**` for any number of parts. Without globs, every place is
allowed that the credentials of a sink can write to.

Reading has the opposite default. Credentials often open more than a stack needs, and a pull request
could have any of it sent to the API. So nothing may be read unless `RECONCILER_ALLOW_SOURCES` or
`--allow-sources` names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from reconciler.errors import SinkError

VARIABLE = "RECONCILER_ALLOW_SINKS"
OPTION = "--allow-sinks"
SOURCES_VARIABLE = "RECONCILER_ALLOW_SOURCES"
SOURCES_OPTION = "--allow-sources"

_PARTS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
_PART = re.compile(r"\*\*|\*|\?")


def allowed_places(
    option: Sequence[str], env: Mapping[str, str], variable: str = VARIABLE
) -> tuple[str, ...]:
    """The globs of the option and of the variable, which separates them by commas or spaces."""
    return tuple(dict.fromkeys((*option, *re.split(r"[\s,]+", env.get(variable, "").strip(" ,")))))


class Allowance:
    """The places that keys may be delivered to; without globs, all."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._globs = tuple(glob for glob in globs if glob)
        self._expressions = list(map(_compiled, self._globs))

    def objection(self, place: str) -> str:
        """Why a place is not allowed; empty if it is."""
        if not self._globs or _any_matches(self._expressions, place):
            return ""
        return f'no key may be delivered to "{place}": allowed are {", ".join(self._globs)}'

    def require(self, place: str) -> None:
        """Raise SinkError if a place is not allowed."""
        if objection := self.objection(place):
            raise SinkError(
                objection,
                hint=f"choose an allowed place; who runs reconciler sets {VARIABLE} or {OPTION}",
            )


class SourceAllowance:
    """The places that secrets may be read from; without globs, none."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._expressions = [_compiled(glob) for glob in globs if glob]

    def allows(self, place: str) -> bool:
        """Whether secrets may be read from a place."""
        return _any_matches(self._expressions, place)


def how_to_allow_source(place: str) -> str:
    """The option and the variable that let manifests name a source."""
    return f"Run with {SOURCES_OPTION} '{place}', or add it to {SOURCES_VARIABLE}."


def _any_matches(expressions: Iterable[re.Pattern[str]], place: str) -> bool:
    return any(expression.fullmatch(place) for expression in expressions)


def _compiled(glob: str) -> re.Pattern[str]:
    return re.compile("".join(_expression(glob)))


def _expression(glob: str) -> Iterator[str]:
    end = 0
    for wildcard in _PART.finditer(glob):
        yield re.escape(glob[end : wildcard.start()])
        yield _PARTS[wildcard[0]]
        end = wildcard.end()
    yield re.escape(glob[end:])
