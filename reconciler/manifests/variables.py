"""Variables and the process's environment, as expressions read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.manifests.load import load_documents, parse_flow, read_text
from reconciler.manifests.paths import shown
from reconciler.manifests.problems import Problem, Problems
from reconciler.model.diagnostic import Place, nearest
from reconciler.model.values import Unknown

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "map": (dict,),
}
_DECLARES = {"default", "description", "type"}


class Variables(Struct):
    """The variables that a stack declares: their values, and where those that have none were declared."""

    values: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, Place] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    missing_are_noted: bool = False

    def declare(self, name: str, declaration: Any, place: Place) -> None:
        """Take in one entry of the stack's `variables`: a declaration or a bare default; raises Problem."""
        declares = isinstance(declaration, dict) and _DECLARES.issuperset(declaration)
        entry = declaration if declares else {} if declaration is None else {"default": declaration}
        if "type" in entry:
            self.types[name] = entry["type"]
        elif isinstance(entry.get("default"), str):
            self.types[name] = ""  # a text is kept as text on the command line, whatever it looks like
        self.missing[name] = place
        if "default" in entry:
            self.put(name, entry["default"])

    def put(self, name: str, value: Any) -> None:
        """Give a declared variable a value; raises Problem if its type is another."""
        self._require_declared(name)
        self.missing.pop(name, None)
        wanted = self.types.get(name)
        if wanted:
            fits = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
            if not fits:
                self.values[name] = Unknown(name)
                raise Problem("Wrong type", f'The variable "{name}" must be of type {wanted}.')
        self.values[name] = value

    def put_text(self, name: str, text: str) -> None:
        """Give a variable a value from the command line; raises Problem."""
        self._require_declared(name)
        keeps_text = self.types.get(name) in ("", "string")
        self.put(name, text if keeps_text else parse_flow(text))

    def __call__(self, name: str) -> Any:
        """The value of a variable; raises Problem."""
        if name in self.values:
            return self.values[name]
        if name in self.missing and self.missing_are_noted:
            return Unknown(name)
        if name in self.missing:
            raise Problem("Variable without a value", _how_to_set(name))
        raise Problem("Unknown variable", self._not_declared(name))

    def _require_declared(self, name: str) -> None:
        if name not in self.values and name not in self.missing:
            raise Problem("Unknown variable", self._not_declared(name))

    def _not_declared(self, name: str) -> str:
        guess = nearest(name, [*self.values, *self.missing]) or " Add it to spec.variables in reconciler.yaml."
        return f'No variable "{name}" is declared.{guess}'

    def note_missing(self, problems: Problems) -> None:
        """Note every variable that still has no value, once and not again wherever it is used."""
        self.missing_are_noted = True
        for name, place in self.missing.items():
            problems.add("Variable without a value", _how_to_set(name), place=place)


def _how_to_set(name: str) -> str:
    return f'"{name}" has no default: give it a value with --var {name}=VALUE, --var-file or an environment.'


def put_from_command_line(
    variables: Variables, files: Sequence[Path], texts: Mapping[str, str], root: Path, problems: Problems
) -> None:
    """Apply `--var-file`, in order, and then `--var`."""
    for path in files:
        _put_from_file(variables, path, shown(path, root), problems)
    for name, text in texts.items():
        try:
            variables.put_text(name, text)
        except Problem as problem:
            problems.add(problem.summary, f"--var {name}: {problem.detail}")


def _put_from_file(variables: Variables, path: Path, name: str, problems: Problems) -> None:
    text = read_text(path, name, problems)
    documents = load_documents(text, name, problems) if text is not None else []
    for document in documents:
        if not isinstance(document.value, dict):
            problems.add("Not a map of variables", "Write NAME: VALUE, one a line.", place=document.place)
            continue
        for key, value in document.value.items():
            try:
                variables.put(key, value)
            except Problem as problem:
                problems.take(problem, place=document.place_of((key,), key=True))


class Environment:
    """The environment variables that `${env.NAME}` may read. `allowed` of None means any.

    Those that are `withheld` were noted already, so they are as good as unknown wherever they are read.
    """

    def __init__(self, env: Mapping[str, str], allowed: Iterable[str] | None, withheld: Iterable[str] = ()) -> None:
        self._env = env
        self._withheld = frozenset(withheld)
        self._allowed = None if allowed is None else frozenset(allowed)

    def __call__(self, name: str) -> str | Unknown:
        """The value of an environment variable; raises Problem."""
        if self._allowed is not None and name not in self._allowed:
            guess = nearest(name, self._allowed)
            listed = f'A stack lists what manifests may read: add "{name}" to spec.env in reconciler.yaml.'
            detail = f'"${{env.{name}}}" may not be read here.{guess} {listed}'
            raise Problem("Environment variable not allowed", detail)
        if name not in self._env:
            raise Problem("Environment variable not set", f'"{name}" is not set in this process.')
        if "\ufffd" in self._env[name]:
            raise Problem("Environment variable not readable", f'"{name}" contains bytes that are not UTF-8.')
        return Unknown(name) if name in self._withheld else self._env[name]
