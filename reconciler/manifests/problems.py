"""A place to put problems while looking for more of them."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from reconciler.errors import ConfigurationError
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity, SourceLocation
from reconciler.model.secret import Redactor, Secret

_NOWHERE = SourceLocation("", 0, 0)


class Problem(Exception):
    """One thing wrong with one value. Whoever knows where the value was written turns it into a
    diagnostic.
    """

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class Problems:
    """Collects diagnostics. The same problem at the same place counts once, however often a loop
    runs into it.
    """

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
        """Note one problem."""
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
        """Note something that stops nothing."""
        self.add(summary, detail, place=place, address=address, severity=Severity.WARNING)

    def take(
        self, problem: Problem, *, place: SourceLocation | None, address: Address | None = None
    ) -> None:
        """Note a `Problem` that was raised by code which did not know the place."""
        self.add(problem.summary, problem.detail, place=place, address=address)

    @property
    def count(self) -> int:
        """How much was found so far, warnings included."""
        return len(self._found)

    @property
    def errors(self) -> int:
        """How much of what was found so far must stop the run."""
        return sum(1 for item in self._found.values() if item.severity is Severity.ERROR)

    def in_reading_order(self, secrets: Iterable[Secret] = ()) -> tuple[Diagnostic, ...]:
        """All that was found, by file, line and column, with every secret in it masked."""
        redact = Redactor(secrets)
        clean = [_masked(item, redact) for item in self._found.values()]
        return tuple(sorted(clean, key=lambda item: (item.location or _NOWHERE, item.summary)))

    def raise_errors(self, secrets: Iterable[Secret] = ()) -> tuple[Diagnostic, ...]:
        """Raise ConfigurationError with all that was found if any of it is an error; else give the
        warnings.
        """
        found = self.in_reading_order(secrets)
        if self.errors:
            raise ConfigurationError(found)
        return found


def _masked(item: Diagnostic, redact: Redactor) -> Diagnostic:
    """A diagnostic that anyone may read; an address with a secret in it is left out, since a part
    would mislead.
    """
    address = (
        item.address if item.address and redact(str(item.address)) == str(item.address) else None
    )
    place = replace(item.location, file=redact(item.location.file)) if item.location else None
    return Diagnostic(redact(item.summary), redact(item.detail), address, place, item.severity)
