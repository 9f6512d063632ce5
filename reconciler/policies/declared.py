"""A declared policy, compiled once for all resources."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct, field

from reconciler.cel import Program, compile_expression
from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.policy import PolicySeverity
from reconciler.model.rule import Rule
from reconciler.rules.policy import VARIABLES

REMOVING = frozenset({"delete", "forget"})
"""The actions after which there is no resource to judge, unless a policy asks for them."""


class Exception_(Struct, frozen=True):  # noqa: N801 - not an error
    """A resource that may break a policy until the end of a day (UTC)."""

    address: str
    reason: str
    owner: str
    until: date
    location: SourceLocation | None = None

    def covers(self, address: Address) -> bool:
        """Whether the exception names a resource, expired or not."""
        return fnmatchcase(str(address), self.address)

    def days_left(self, now: datetime) -> int:
        """The days that it is still in force; negative once it has expired."""
        return (self.until - now.astimezone(UTC).date()).days

    def __str__(self) -> str:
        return f"{self.reason} (exception until {self.until}, owner: {self.owner})"


class Match(Struct, frozen=True):
    """The resources that a policy applies to. Empty means all."""

    kinds: frozenset[str] = frozenset()
    actions: frozenset[str] = frozenset()
    projects: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    def fits(self, project: str | None, action: str | None) -> bool:
        """Whether a resource of a matching kind is matched.

        An action of None is not known, and fits only a policy without actions.
        """
        if self.projects and not _fits(project, self.projects):
            return False
        if self.actions:
            return action in self.actions
        return action not in REMOVING

    def fits_environment(self, environment: str) -> bool:
        """Whether the policy applies to an environment at all."""
        return not self.environments or _fits(environment, self.environments)


def _fits(name: str | None, patterns: tuple[str, ...]) -> bool:
    return name is not None and any(fnmatchcase(name, pattern) for pattern in patterns)


class Test(Struct, frozen=True):
    """An example, and the outcome that the policy must have for it."""

    name: str
    given: Mapping[str, Any]
    expect: str
    message: str = ""
    location: SourceLocation | None = None


class Policy(Struct, frozen=True):
    """A policy, ready to be evaluated."""

    name: str
    address: Address
    severity: PolicySeverity
    on: str
    rule: Program
    message: Program | None
    match: Match
    description: str = ""
    exceptions: tuple[Exception_, ...] = ()
    tests: tuple[Test, ...] = ()
    location: SourceLocation | None = None
    locations: Mapping[str, SourceLocation] = field(default_factory=dict)
    is_trusted: bool = False

    @property
    def judges_plan(self) -> bool:
        """Whether it judges planned resources."""
        return self.on in ("plan", "both")

    @property
    def judges_live(self) -> bool:
        """Whether it judges live objects."""
        return self.on in ("live", "both")


def policy_of(rule: Rule, *, is_trusted: bool = False) -> Policy:
    """The policy that a rule of kind `Policy` declares. The rule must have passed validation."""
    spec, places = rule.spec, rule.locations
    match = spec.get("match") or {}
    message = spec.get("message")
    exceptions, tests = [], []
    for index, given in enumerate(spec.get("exceptions") or ()):
        exceptions.append(_exception(given, places.get(f"exceptions[{index}]")))
    for index, given in enumerate(spec.get("tests") or ()):
        tests.append(_test(index, given, places.get(f"tests[{index}]")))
    return Policy(
        name=rule.address.name,
        address=rule.address,
        severity=PolicySeverity(spec.get("severity", PolicySeverity.MANDATORY)),
        on=spec.get("on", "plan"),
        rule=compile_expression(spec["rule"], VARIABLES),
        message=compile_expression(message, VARIABLES) if message else None,
        match=Match(
            frozenset(match.get("kinds") or ()),
            frozenset(match.get("actions") or ()),
            tuple(match.get("projects") or ()),
            tuple(match.get("environments") or ()),
        ),
        description=" ".join(spec.get("description", "").split()),
        exceptions=tuple(exceptions),
        tests=tuple(tests),
        location=rule.location,
        locations=places,
        is_trusted=is_trusted,
    )


def _exception(given: Mapping[str, Any], location: SourceLocation | None) -> Exception_:
    until = date.fromisoformat(given["until"])
    return Exception_(given["address"], given["reason"], given["owner"], until, location)


def _test(index: int, given: Mapping[str, Any], location: SourceLocation | None) -> Test:
    name = given.get("name") or f"test {index + 1}"
    return Test(name, given["given"], given["expect"], given.get("message", ""), location)
