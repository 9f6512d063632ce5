"""Spans: the parts of a run and their times, for traces.

The rest of the program opens spans with `span`, and knows nothing of their export. While no run is
traced, that costs one read of a variable. The current span belongs to a thread; `carried` takes it
along to the threads of a pool.

Attributes hold words of this program and numbers, never an id, a query, a header or a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import ParamSpec, Protocol, Self, TypeVar

from msgspec import Struct

Attribute = str | bool | int | float
P = ParamSpec("P")
R = TypeVar("R")


class EndedSpan(Struct, frozen=True):
    """A part of a run that has ended."""

    name: str
    attributes: Mapping[str, Attribute]
    began_at: float
    """In unix seconds."""
    seconds: float
    failure: str = ""
    """A word of this program, not a message; empty for a success."""


class Span(Protocol):
    """A part of a run. Its `with` block makes it the current span of the thread."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def child(self, name: str, attributes: Mapping[str, Attribute]) -> Span:
        """A part of this part, which begins now."""

    def record(self, ended: EndedSpan) -> None:
        """Add a part that has ended."""

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""

    def fail(self, reason: str) -> None:
        """Mark the part as failed. `reason` is a word of this program, not a message."""


class _Untraced:
    """A span that is not exported."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def child(self, name: str, attributes: Mapping[str, Attribute]) -> Span:  # noqa: ARG002
        return self

    def record(self, ended: EndedSpan) -> None:
        pass

    def set(self, name: str, value: Attribute) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


UNTRACED: Span = _Untraced()
CURRENT: ContextVar[Span | None] = ContextVar("reconciler_span", default=None)
"""The current span of this thread; None while nothing is traced."""


BeginTrace = Callable[[str, Mapping[str, Attribute]], Span]
_begin_trace: BeginTrace | None = None


def begin_traces_with(begin: BeginTrace | None) -> None:
    """Let `root_span` begin traces from now on, in a process that never ends; None for no more."""
    global _begin_trace
    _begin_trace = begin


def span(name: str, attributes: Mapping[str, Attribute] = {}) -> Span:
    """Begin a part of the current span, as a context manager."""
    parent = CURRENT.get()
    return UNTRACED if parent is None else parent.child(name, attributes)


def root_span(name: str, attributes: Mapping[str, Attribute]) -> Span:
    """As `span`; without a current one, it may begin a trace of its own."""
    if CURRENT.get() is None and _begin_trace is not None:
        return _begin_trace(name, attributes)
    return span(name, attributes)


def carried(function: Callable[P, R]) -> Callable[P, R]:
    """The function, for another thread, with the current span of this one."""
    # Without a trace, a call costs nothing more.
    parent = CURRENT.get()
    # Most runs are not traced, and their calls should not pay for a wrapper.
    if parent is None:
        return function

    def run(*arguments: P.args, **named: P.kwargs) -> R:
        token = CURRENT.set(parent)
        try:
            return function(*arguments, **named)
        finally:
            CURRENT.reset(token)

    return run
