"""Diagnostics: problems for the user, each with a place to look at and a way out."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from reconciler.model.address import Address


class Severity(StrEnum):
    """Errors stop a run before anything is called; warnings do not stop anything."""

    ERROR = "error"
    WARNING = "warning"


class SourceLocation(Struct, frozen=True, order=True):
    """Where something was written: file as the user would type it, line and column from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Diagnostic(Struct, frozen=True):
    """One problem. `summary` is a headline without a full stop; `detail` is what is wrong and what to do."""

    summary: str
    detail: str = ""
    address: Address | None = None
    location: SourceLocation | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.location}: " if self.location else ""
        whose = f"{self.address}: " if self.address else ""
        return f"{where}{self.severity}: {whose}{self.summary}" + (
            f": {self.detail}" if self.detail else ""
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the closest known word, or an empty string where none is close."""
    import difflib  # only where something is misspelt

    candidates = list(known)
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if not matches:
        folded = {candidate.casefold().replace("_", ""): candidate for candidate in candidates}
        match = folded.get(word.casefold().replace("_", "").replace("-", ""))
        matches = [match] if match else []
    return f' Did you mean "{matches[0]}"?' if matches else ""
