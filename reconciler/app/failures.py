"""Errors as diagnostics, for reports of single stacks and of fleets."""

from __future__ import annotations

from reconciler.errors import ApiError, ConfigurationError, GuardError, ReconcilerError
from reconciler.model.diagnostic import Diagnostic

BUG = "This is a mistake in reconciler. Run again with -vv for the details, and report it."


def problems_of(error: BaseException) -> tuple[Diagnostic, ...]:
    """An error as diagnostics, without the refusals of guards."""
    match error:
        case ConfigurationError():
            return error.diagnostics
        case GuardError():
            return ()
        case ReconcilerError():
            summary, *details = str(error).split("\n")
            details += [error.hint] if error.hint else []
            if isinstance(error, ApiError) and error.request_id:
                details.append(f"Request id: {error.request_id}")
            return (Diagnostic(summary, detail="\n".join(details)),)
        case OSError():
            return (Diagnostic(str(error)),)
    return (Diagnostic(f"unexpected {type(error).__name__}: {error}", detail=BUG),)


def sentences(*texts: str) -> str:
    """Texts one after the other, each with a full stop."""
    ended = [text if text.endswith((".", "!", "?", ":")) else f"{text}." for text in texts if text]
    return " ".join(f"{text[:1].upper()}{text[1:]}" for text in ended)


def translated(error: Exception) -> Exception:
    """An error of the operating system, described by its cause."""
    if isinstance(error, MemoryError):
        return ReconcilerError(
            "There is not enough memory.",
            hint="Raise the memory limit, or use --target.",
        )
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return ReconcilerError(
            "The system allows no further thread.",
            hint="Raise the limit of processes or memory (`ulimit -u`, `ulimit -v`), or lower --parallelism.",
        )
    return error
