"""Variables and environment variables, as expressions read them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.manifests.closed import LEAK
from reconciler.manifests.load import load_documents, parse_flow, read_text
from reconciler.manifests.paths import shown
from reconciler.manifests.problems import Absent, Problems, ValueProblem
from reconciler.manifests.shapes import credential_below
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.values import Unknown

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "map": (dict,),
}
_DECLARES = {"default", "description", "type"}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

OPEN_PREFIX = "RECONCILER_VAR_"
"""The prefix of environment variables that manifests can always read."""

ALLOW_VARIABLE = "RECONCILER_ALLOW_ENV"
"""The environment variable that lists others which manifests may read, separated by commas or
blanks."""

MAY_NOT_READ = "Manifests must not read credentials"


def declared_entry(declaration: Any) -> Mapping[str, Any]:
    """A declaration as `{default, description, type}`; a bare value is the default."""
    if isinstance(declaration, dict) and _DECLARES.issuperset(declaration):
        return declaration
    return {} if declaration is None else {"default": declaration}


def fits_type(value: Any, type: str) -> bool:
    """Whether a value has one of the types that a declaration can name."""
    if isinstance(value, bool) and type != "boolean":
        return False
    return isinstance(value, _TYPES[type])


class Variables(Struct):
    """The variables that a stack declares: their values, and the locations of those without a
    value."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, SourceLocation] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    missing_are_noted: bool = False
    given: dict[str, Any] = field(default_factory=dict)
    """Values from the command line or from the saved plan that is being applied."""
    harmless: set[str] = field(default_factory=set)
    """The names of variables that were searched for credentials."""

    def declare(self, name: str, declaration: Any, location: SourceLocation) -> None:
        """Add one entry of the stack's `variables`: a declaration or a bare default. Raises
        Problem."""
        entry = declared_entry(declaration)
        if "type" in entry:
            self.types[name] = entry["type"]
        elif isinstance(entry.get("default"), str | None):
            # Without another type, a value from the command line stays a text: a commit such as
            # 1234567e8 would otherwise become a number.
            self.types[name] = ""
        self.missing[name] = location
        if "default" in entry:
            self.put(name, entry["default"])

    def put(self, name: str, value: Any) -> None:
        """Set a declared variable. Raises Problem if the type differs."""
        self._require_declared(name)
        self.missing.pop(name, None)
        self.harmless.discard(name)
        wanted = self.types.get(name)
        if wanted and not fits_type(value, wanted):
            # Unknown, so that no use of the variable reports the same problem again.
            self.values[name] = Unknown(name)
            raise ValueProblem("Wrong type", f'The variable "{name}" must be of type {wanted}.')
        self.values[name] = value

    def put_text(self, name: str, text: str) -> None:
        """Set a variable from command line text. Raises Problem."""
        self._require_declared(name)
        keeps_text = self.types.get(name) in ("", "string")
        self.give(name, text if keeps_text else parse_flow(text))

    def give(self, name: str, value: Any) -> None:
        """Set a variable from outside the stack file. Raises Problem."""
        self.put(name, value)
        self.given[name] = value

    def __call__(self, name: str) -> Any:
        """The value of a variable. Raises Problem."""
        if name in self.values:
            self._require_harmless(name)
            return self.values[name]
        if name in self.missing and self.missing_are_noted:
            return Unknown(name)
        if name in self.missing:
            raise ValueProblem("Variable without a value", _how_to_set(name))
        raise ValueProblem("Unknown variable", self._not_declared(name))

    def _require_harmless(self, name: str) -> None:
        # Once per value, since every use of a large map would search all of it again.
        if name not in self.harmless:
            require_no_credential(name, self.values[name])
            self.harmless.add(name)

    def _require_declared(self, name: str) -> None:
        if name not in self.values and name not in self.missing:
            raise ValueProblem("Unknown variable", self._not_declared(name))

    def _not_declared(self, name: str) -> str:
        guess = nearest(name, [*self.values, *self.missing])
        hint = guess or " Add it to spec.variables in reconciler.yaml."
        return f'No variable "{name}" is declared.{hint}'

    def note_missing(self, problems: Problems) -> None:
        """Report every variable without a value, once instead of at each use."""
        self.missing_are_noted = True
        for name, location in self.missing.items():
            problems.add("Variable without a value", _how_to_set(name), place=location)


def require_no_credential(name: str, value: Any) -> None:
    """Raise Problem if the value of a variable contains a credential."""
    if credential := credential_below(value):
        detail = f'The variable "{name}" contains what looks like {credential}: manifests must not contain secrets.'
        raise ValueProblem(LEAK, detail)


def _how_to_set(name: str) -> str:
    return f'"{name}" has no default: give it a value with --var {name}=VALUE, --var-file or an environment.'


def put_saved(variables: Variables, saved: Mapping[str, Any]) -> None:
    """Apply the values of a saved plan. Values from the command line take precedence."""
    for name, value in saved.items():
        # A variable that was removed, or has another type now, changes the manifests, so the digest
        # shows that the plan is stale.
        with suppress(ValueProblem):
            variables.give(name, value)


def put_from_command_line(
    variables: Variables,
    files: Sequence[Path],
    texts: Mapping[str, str],
    root: Path,
    problems: Problems,
) -> None:
    """Apply `--var-file` in order, then `--var`."""
    for path in files:
        _put_from_file(variables, path, shown(path, root), problems)
    for name, text in texts.items():
        try:
            variables.put_text(name, text)
        except ValueProblem as problem:
            problems.add(problem.summary, f"--var {name}: {problem.detail}")


def _put_from_file(variables: Variables, path: Path, name: str, problems: Problems) -> None:
    text = read_text(path, name, problems)
    if text is None:
        return
    for document in load_documents(text, name, problems):
        if not isinstance(document.value, dict):
            problems.add(
                "Invalid variable file", "Write one NAME: VALUE per line.", place=document.place
            )
            continue
        for key, value in document.value.items():
            try:
                variables.give(key, value)
            except ValueProblem as problem:
                problems.take(problem, place=document.location_of((key,), key=True))


class AllowedVariables(Struct, frozen=True):
    """The environment variables that the caller allows manifests to read."""

    names: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name.startswith(OPEN_PREFIX) or name in self.names


def allowance(names: Iterable[str], env: Mapping[str, str], problems: Problems) -> AllowedVariables:
    """The names given with --allow-env and RECONCILER_ALLOW_ENV. Reports malformed names."""
    listed = env.get(ALLOW_VARIABLE, "").replace(",", " ").split()
    allowed: set[str] = set()
    for source, given in (("--allow-env", names), (ALLOW_VARIABLE, listed)):
        for name in given:
            allowed.add(name)
            # A pattern would allow variables that its author does not expect.
            if not _VARIABLE.fullmatch(name):
                detail = f'{source}: "{name}" is not the name of an environment variable. Use exact names, not patterns.'
                problems.add("Not a name", detail)
    return AllowedVariables(frozenset(allowed))


def how_to_allow(name: str) -> str:
    """The command or setting that lets manifests read a variable."""
    return (
        f"Run with --allow-env {name}, or add {name} to the environment variable {ALLOW_VARIABLE}."
    )


class Environment:
    """The environment variables that `${env.NAME}` may read.

    The caller decides with `allowed`, and the stack's list, if any, restricts that further.
    `secret` describes a value that must not be read, or returns an empty string. Variables in
    `noted` were reported already, and evaluate to an unknown.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        allowed: AllowedVariables,
        listed: Iterable[str] | None = None,
        *,
        noted: Iterable[str] = (),
        secret: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._env = env
        self.read: dict[str, str] = {}
        """The values that were read, by the name of their variable."""
        self._allowed = allowed
        self._listed = None if listed is None else frozenset(listed)
        self._noted = frozenset(noted)
        self._secret = secret

    def __call__(self, name: str) -> str | Unknown:
        """The value of an environment variable. Raises Problem."""
        if name in self._noted:
            return Unknown(name)
        if name not in self._allowed or (self._listed is not None and name not in self._listed):
            raise ValueProblem("Environment variable not allowed", self._not_allowed(name))
        if name not in self._env:
            raise Absent("Environment variable not set", f'"{name}" is not set.')
        # The replacement character of undecodable bytes, which must not become part of a value.
        if "\ufffd" in self._env[name]:
            raise ValueProblem(
                "Environment variable not readable", f'"{name}" contains bytes that are not UTF-8.'
            )
        if description := self._secret(name):
            raise ValueProblem(MAY_NOT_READ, f'"{name}" holds {description}.')
        self.read[name] = self._env[name]
        return self._env[name]

    def _not_allowed(self, name: str) -> str:
        parts = [f'"${{env.{name}}}" must not be read here.']
        if self._listed is not None and name not in self._listed:
            guess = nearest(name, self._listed).strip()
            if guess:
                parts.append(guess)
            parts.append(
                f'Add "{name}" to spec.env in reconciler.yaml, the list of variables that manifests may read.'
            )
        if name not in self._allowed:
            parts.append(
                f"Manifests may read only the variables that the caller allows. {how_to_allow(name)}"
            )
        return " ".join(parts)
