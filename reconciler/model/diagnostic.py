"""Diagnostics: problems for the user, with a source location and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from reconciler.model.address import Address

_FEW = 3


class Severity(StrEnum):
    """Errors stop a run before the first API call; warnings stop nothing."""

    ERROR = "error"
    WARNING = "warning"


class SourceLocation(Struct, frozen=True, order=True, omit_defaults=True):
    """A position in a file: the path as the user would type it, line and column from 1."""

    file: str
    line: int
    column: int
    caller: str = ""
    """In a module, the document that declared it; the same line can be read several times."""

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}:{self.column}"
        return f"{position} ({self.caller})" if self.caller else position


class Diagnostic(Struct, frozen=True):
    """One problem. `summary` is a headline without a full stop; `detail` says what is wrong and
    what to do."""

    summary: str
    detail: str = ""
    address: Address | None = None
    location: SourceLocation | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        # `FILE:LINE:COLUMN: error: …` is the form of compilers, which editors and CI systems link.
        text = f"{self.severity}: "
        if self.location:
            text = f"{self.location}: {text}"
        if self.address:
            text += f"{self.address}: "
        text += self.summary
        return f"{text}: {self.detail}" if self.detail else text


def nearest_few(word: str, known: Iterable[str]) -> str:
    """As `nearest`, with up to three candidates: those spelled alike, then those with a part alike."""
    import difflib

    folded = {candidate.casefold(): candidate for candidate in known}
    typed = word.casefold()
    spelled_alike = difflib.get_close_matches(typed, folded, n=_FEW, cutoff=0.55)
    with_same_part = [name for name in folded if typed and (typed in name or name in typed)]
    names = [f'"{folded[name]}"' for name in dict.fromkeys([*spelled_alike, *with_same_part])]
    if not names:
        return ""
    *others, last = names[:_FEW]
    if others:
        return f" Did you mean {', '.join(others)} or {last}?"
    return f" Did you mean {last}?"


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean "x"?' for the closest candidate; an empty string if none is close."""
    import difflib  # only where something is misspelt

    candidates = list(known)
    matches = difflib.get_close_matches(word, candidates, n=1, cutoff=0.6)
    if matches:
        return f' Did you mean "{matches[0]}"?'
    # `difflib` counts each capital and each separator as a difference: `MAX-TOKENS` is not close to
    # `max_tokens`.
    folded = {candidate.casefold().replace("_", ""): candidate for candidate in candidates}
    match = folded.get(word.casefold().replace("_", "").replace("-", ""))
    return f' Did you mean "{match}"?' if match else ""
