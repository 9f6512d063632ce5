"""Query parameters, including lists (`emails[]=a&emails[]=b`) and maps (`effective_at[gte]=1`)."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from reconciler.emulator.errors import bad_request


class Query:
    """The decoded query string of one request."""

    def __init__(self, raw: str) -> None:
        self._pairs = parse_qsl(raw, keep_blank_values=True)

    def without(self, *names: str) -> Query:
        """Return a copy without some parameters."""
        copy = Query("")
        copy._pairs = [(key, value) for key, value in self._pairs if key not in names]
        return copy

    def get(self, name: str) -> str | None:
        """Return the last value of this parameter."""
        return next((value for key, value in reversed(self._pairs) if key == name), None)

    def all(self, name: str) -> list[str]:
        """Return all values of a list parameter, sent with or without brackets."""
        return [value for key, value in self._pairs if key in (name, f"{name}[]")]

    def boolean(self, name: str, *, default: bool = False) -> bool:
        sent = self.get(name)
        if sent is None:
            return default
        if sent.lower() not in ("true", "false"):
            raise bad_request(
                f"Invalid type for '{name}': expected a boolean, but got '{sent}' instead.",
                param=name,
                code="invalid_type",
            )
        return sent.lower() == "true"

    def integer(self, name: str) -> int | None:
        sent = self.get(name)
        if sent is None or sent == "":
            return None
        if not re.fullmatch(r"-?[0-9]{1,18}", sent):
            raise bad_request(
                f"Invalid type for '{name}': expected an integer, but got '{sent}' instead.",
                param=name,
                code="invalid_type",
            )
        return int(sent)

    def as_dict(self) -> dict[str, str]:
        """Return the parameters for the recorder; repeated ones are joined by commas."""
        result: dict[str, str] = {}
        for key, value in self._pairs:
            result[key] = f"{result[key]},{value}" if key in result else value
        return result
