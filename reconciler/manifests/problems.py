"""Collects problems, so that one run reports all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from reconciler.errors import ConfigurationError
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.paths import Trail
from reconciler.model.secret import Redactor, Secret

_NOWHERE = SourceLocation("", 0, 0)


class ValueProblem(Exception):
    """A problem with one value. The caller that knows the value's source location turns it into a
    diagnostic."""

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class Absent(ValueProblem):
    """A value does not exist. In an expression, `??` may provide a default for it."""


Report = Callable[[ValueProblem, Trail], None]
"""Receives a problem, and the path of the value that it is about."""


class Problems:
    """Collects diagnostics. The same problem at the same location counts once, however many
    resources share the location."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, SourceLocation | None], Diagnostic] = {}

    def add(
        self,
        summary: str,
        detail: str = "",
        *,
        place: SourceLocation | None = None,
        address: Address | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add an error."""
        self._found.setdefault(
            (summary, detail, place), Diagnostic(summary, detail, address, place, severity)
        )

    def warn(
        self,
        summary: str,
        detail: str = "",
        *,
        place: SourceLocation | None = None,
        address: Address | None = None,
    ) -> None:
        """Add a warning."""
        self.add(summary, detail, place=place, address=address, severity=Severity.WARNING)

    def take(
        self, problem: ValueProblem, *, place: SourceLocation | None, address: Address | None = None
    ) -> None:
        """Add a `ValueProblem` raised by code that did not know the location."""
        self.add(problem.summary, problem.detail, place=place, address=address)

    def reporter(self, location_of: Callable[[Trail], SourceLocation | None]) -> Report:
        """A `Report` that adds problems at the location of their path."""

        def report(problem: ValueProblem, trail: Trail) -> None:
            self.take(problem, place=location_of(trail))

        return report

    @property
    def count(self) -> int:
        """The number of diagnostics so far, warnings included."""
        return len(self._found)

    @property
    def errors(self) -> int:
        """The number of errors so far."""
        severities = [diagnostic.severity for diagnostic in self._found.values()]
        return severities.count(Severity.ERROR)

    def in_reading_order(self, secrets: Iterable[Secret] = ()) -> tuple[Diagnostic, ...]:
        """All diagnostics by file, line and column, with secrets masked."""
        redact = Redactor(secrets)
        # Masked before sorting, so that not even the order depends on a secret.
        masked = [_masked(diagnostic, redact) for diagnostic in self._found.values()]
        masked.sort(key=lambda diagnostic: (diagnostic.location or _NOWHERE, diagnostic.summary))
        return tuple(masked)

    def raise_errors(self, secrets: Iterable[Secret] = ()) -> tuple[Diagnostic, ...]:
        """Raise ConfigurationError with all diagnostics if there are errors; else return the
        warnings."""
        diagnostics = self.in_reading_order(secrets)
        if self.errors:
            raise ConfigurationError(diagnostics)
        return diagnostics


def _masked(diagnostic: Diagnostic, redact: Redactor) -> Diagnostic:
    """A diagnostic without secrets."""
    # An address with a secret is dropped, because a masked one would name another resource.
    address = None
    if diagnostic.address and redact(str(diagnostic.address)) == str(diagnostic.address):
        address = diagnostic.address
    location = None
    if diagnostic.location:
        location = replace(diagnostic.location, file=redact(diagnostic.location.file))
    return Diagnostic(
        redact(diagnostic.summary),
        redact(diagnostic.detail),
        address,
        location,
        diagnostic.severity,
    )
