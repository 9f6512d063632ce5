"""Expressions: `${…}` in strings, and their evaluation.

A string that is a single expression takes the value with its type; inside other text, values become
text. Inserted values are never evaluated again, so a file or variable cannot inject an expression.
`${A ?? B}` is B where A is absent or null. B is a literal or another expression. A reference can
contain expressions for its names: `${VectorStore/${module.name}/handbook}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any

from msgspec import Struct

from reconciler.manifests.files import Files
from reconciler.manifests.problems import Absent, ValueProblem
from reconciler.manifests.room import Room
from reconciler.manifests.validate import shortened
from reconciler.model.address import NAME_PATTERN
from reconciler.model.diagnostic import nearest
from reconciler.model.paths import Trail
from reconciler.model.values import Reference, Template, Unknown

_INNER = re.compile(r"\$\{[^{}]*\}")
_TOKEN = re.compile(r"\$\$\{|\$\{((?:[^{}]|\$\{[^{}]*\}|\{\})*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_IS_NAME = re.compile(NAME_PATTERN)
_REFERENCE = re.compile(r"[A-Z][A-Za-z0-9]*/.+", re.DOTALL)
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "[]": [], "{}": {}}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?[0-9]{1,18}(\.[0-9]{1,18})?")
_LONGEST = 4_200  # the longest path that a system takes, and a little more
_FORMS = "${var.NAME}, ${env.NAME}, ${file:PATH}, ${Kind/name}, ${each.key}, ${each.value} or ${module.name}"
_DEFAULT_FORMS = 'Write a number, true, false, null, "text" or another expression after ??.'


class ExpressionSource(Enum):
    """The namespaces that an expression reads from."""

    VARIABLE = "var"
    ENVIRONMENT = "env"
    FILE = "file"
    EACH = "each"
    MODULE = "module"
    STACK = "stack"
    REFERENCE = "reference"


class Literal(Struct, frozen=True):
    """A value that is written in an expression, after `??`."""

    value: Any


class Expression(Struct, frozen=True):
    """One `${…}`: the source, the name, path or reference to read there, and the keys below it."""

    source: ExpressionSource
    name: str
    path: tuple[str, ...]
    text: str
    default: Expression | Literal | None = None
    """The default if the value is absent or null; None if the expression has no `??`."""
    parts: tuple[str | Expression, ...] = ()
    """The texts and expressions that make up `name`, for a reference that contains expressions."""


Lookup = Callable[[str], Any]
"""Maps a name to a value. Raises Problem."""


def no_stack(name: str) -> Any:
    """Stands for the outputs of other stacks if none can be read. Raises Problem."""
    detail = f'"${{stack.{name}.…}}" cannot be read here: only manifests and outputs can.'
    raise ValueProblem("No outputs of other stacks", detail)


class ModuleFacts(Struct, frozen=True):
    """The values of `${module.…}`: the module's name, and its folder relative to the stack's."""

    name: str
    path: str


class Context(Struct, frozen=True):
    """What expressions can read at one point. `each` is the pair of `for_each`. `reference` is None
    where references are not allowed, `module` outside of modules."""

    variable: Lookup
    environment: Lookup
    files: Files
    reference: Callable[[str], Any] | None = None
    each: tuple[str, Any] | None = None
    module: ModuleFacts | None = None
    stack: Lookup = no_stack
    """Maps the name of another stack to its outputs; returns an Unknown if none can be read."""


@lru_cache(maxsize=20_000)
def parse(text: str) -> tuple[str | Expression, ...]:
    """Split a string into literals and expressions; `$${` is a literal `${`. Raises Problem.

    Without any expression, the result is one literal.
    """
    # Cached, because a text in a document with for_each is parsed once per entry.
    parts: list[str | Expression] = []
    literal, at = "", 0
    for token in _TOKEN.finditer(text):
        literal += text[at : token.start()]
        at = token.end()
        if token[0] == "$${":
            literal += "${"
            continue
        if token[1] is None:
            raise ValueProblem("Unfinished expression", f"A ${{ has no closing }}. {_literally()}")
        if literal:
            parts.append(literal)
        parts.append(_expression(token[1].strip()))
        literal = ""
    literal += text[at:]
    if literal or not parts:
        parts.append(literal)
    return tuple(parts)


def _expression(text: str) -> Expression:
    if len(text) > _LONGEST:
        raise ValueProblem(
            "Expression too long", f"An expression may have at most {_LONGEST:,} characters."
        )
    # The first operand contains no quotes, so the first ?? outside of inner expressions is the
    # operator.
    at = _INNER.sub(lambda inner: " " * len(inner[0]), text).find("??")
    if at < 0:
        return _operand(text.strip(), text)
    first = text[:at].strip()
    expression = _operand(first, text)
    # A default is chosen now, and a reference has its value only after apply.
    if expression.source is ExpressionSource.REFERENCE:
        detail = f'"${{{text}}}": {first} is known only after apply, so ?? cannot decide.'
        raise ValueProblem("No default for a reference", detail)
    default = _default(text[at + 2 :].strip(), text)
    return Expression(expression.source, expression.name, expression.path, text, default)


def _operand(part: str, text: str) -> Expression:
    """An expression without `??`. `text` is the whole expression, for messages."""
    head, dot, rest = part.partition(".")
    if part.startswith("file:"):
        return Expression(ExpressionSource.FILE, part[5:].strip(), (), text)
    if _REFERENCE.fullmatch(part):
        parts = parse(part) if "${" in part else ()
        # One level: names are variables and entries, and a reference has no value yet.
        if any(isinstance(inner, Expression) and inner.parts for inner in parts):
            raise ValueProblem("Nested too deeply", f'"${{{text}}}" nests expressions twice.')
        return Expression(ExpressionSource.REFERENCE, part, (), text, None, parts)
    if "${" in part:
        detail = f'"${{{text}}}": only the names in a reference can be expressions, such as ${{File/${{each.key}}}}.'
        raise ValueProblem("Nested expression", detail)
    name, *path = rest.split(".")
    # The value of an environment variable is a text, which has nothing below it.
    has_fitting_path = all(path) if head == "var" else not path
    if head in ("var", "env") and _NAME.fullmatch(name) and has_fitting_path:
        return Expression(ExpressionSource(head), name, tuple(path), text)
    if head == "each" and all(path) and (name == "value" or (name == "key" and not path)):
        return Expression(ExpressionSource.EACH, name, tuple(path), text)
    if head == "module" and name in ("name", "path") and not path:
        return Expression(ExpressionSource.MODULE, name, (), text)
    if head == "stack" and dot:
        if not (_NAME.fullmatch(name) and path and all(path)):
            detail = f'"${{{text}}}": write ${{stack.NAME.OUTPUT}} for an output of another stack.'
            raise ValueProblem("Incomplete expression", detail)
        return Expression(ExpressionSource.STACK, name, tuple(path), text)
    raise ValueProblem(
        "Unknown expression", f'"${{{text}}}" is not one of {_FORMS}. {_literally()}'
    )


def _default(part: str, text: str) -> Expression | Literal:
    if part.startswith(('"', "'")):
        if len(part) < 2 or part[-1] != part[0] or part[0] in part[1:-1]:
            detail = f'"${{{text}}}": the text after ?? must end with the quote it begins with.'
            raise ValueProblem("Unfinished default", detail)
        return Literal(part[1:-1])
    if part in _WORDS:
        return Literal(_WORDS[part])
    if _NUMBER.fullmatch(part):
        return Literal(int(part) if _INTEGER.fullmatch(part) else float(part))
    try:
        return _expression(part)
    except ValueProblem as problem:
        if problem.summary != "Unknown expression":
            raise
        detail = f'"${{{text}}}": {part or "nothing"} is no default. {_DEFAULT_FORMS}'
        raise ValueProblem("Unknown default", detail) from None


def _literally() -> str:
    return "To write ${ literally, use $${."


class Evaluator:
    """Replaces the expressions in a value, and continues after problems.

    `report` is called with each problem and the path of its string. What cannot be evaluated
    becomes an `Unknown`, which later checks skip.
    """

    def __init__(
        self,
        context: Context,
        report: Callable[[ValueProblem, Trail], None],
        room: Room | None = None,
    ) -> None:
        """Inserted values count against `room`, if given. NoRoomError ends the evaluation."""
        self._context = context
        self._report = report
        self._room = room
        self._trail: list[str | int] = []

    def evaluate(self, value: Any, trail: Trail = ()) -> Any:
        """The value with expressions replaced. Parts without expressions are not copied."""
        self._trail = list(trail)
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            if "${" not in value:
                return value
            return self._text(value)
        if isinstance(value, dict):
            return self._map(value)
        if isinstance(value, list):
            return self._list(value)
        return value

    def _map(self, value: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] | None = None
        for key, element in value.items():
            if not isinstance(element, str | dict | list) or (
                isinstance(element, str) and "${" not in element
            ):
                continue
            self._trail.append(key)
            result = self._value(element)
            self._trail.pop()
            if result is not element:
                # Copied at the first change, because most maps have no expressions.
                if changed is None:
                    changed = dict(value)
                changed[key] = result
        return value if changed is None else changed

    def _list(self, value: list[Any]) -> list[Any]:
        items = []
        is_changed = False
        for index, element in enumerate(value):
            self._trail.append(index)
            item = self._value(element)
            self._trail.pop()
            items.append(item)
            is_changed = is_changed or item is not element
        # The same object if nothing changed, so that callers can tell by identity.
        return items if is_changed else value

    def _text(self, text: str) -> Any:
        try:
            value = evaluate_text(text, self._context)
        except ValueProblem as problem:
            self._report(problem, tuple(self._trail))
            return Unknown(text)
        if self._room is not None:
            self._room.take_value(value)
        return value


def evaluate_text(text: str, context: Context) -> Any:
    """The value of one string. Raises Problem."""
    parts = parse(text)
    if len(parts) == 1:
        return parts[0] if isinstance(parts[0], str) else _look_up(parts[0], context)
    joined: list[str | Reference] = []
    for part in parts:
        pieces: tuple[str | Reference, ...]
        if isinstance(part, str):
            pieces = (part,)
        else:
            value = _look_up(part, context)
            if isinstance(value, Unknown):
                return Unknown(text)
            pieces = value.parts if isinstance(value, Template) else (_inline(value, part),)
        for piece in pieces:
            # Adjacent texts are joined, so that equal templates compare equal regardless of their
            # parts.
            if isinstance(piece, str) and joined and isinstance(joined[-1], str):
                joined[-1] += piece
            else:
                joined.append(piece)
    if len(joined) == 1 and isinstance(joined[0], str):
        return joined[0]
    return Template(tuple(joined))


def _inline(value: Any, part: Expression) -> str | Reference:
    if isinstance(value, str | Reference):
        return value
    # As YAML writes them, and before the check of numbers: to Python, a boolean is an integer.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    raise ValueProblem(
        "Cannot be inserted into text",
        f'"${{{part.text}}}" is {shortened(value)}; only strings, numbers and booleans can be inserted into text.',
    )


def _look_up(part: Expression, context: Context) -> Any:
    if part.default is None:
        return _read(part, context)
    try:
        value = _read(part, context)
    # Only absence takes the default. A value of the wrong type is a mistake that a default must not
    # hide.
    except Absent:
        value = None
    if value is not None:
        return value
    if isinstance(part.default, Literal):
        return part.default.value
    return _look_up(part.default, context)


def _read(part: Expression, context: Context) -> Any:
    """The value of an expression, without its default."""
    match part.source:
        case ExpressionSource.VARIABLE:
            value = context.variable(part.name)
            return descend(value, part.path, f"var.{part.name}", guess=part.default is None)
        case ExpressionSource.ENVIRONMENT:
            return context.environment(part.name)
        case ExpressionSource.FILE:
            return context.files.text(_path_of(part.name, context.module))
        case ExpressionSource.EACH:
            return _each(part, context.each)
        case ExpressionSource.MODULE:
            return _module(part, context.module)
        case ExpressionSource.STACK:
            outputs = context.stack(part.name)
            return descend(outputs, part.path, f"stack.{part.name}", guess=part.default is None)
    if context.reference is None:
        raise ValueProblem(
            "Reference not possible here",
            f'"${{{part.text}}}" is known only after apply, but this value must be known before.',
        )
    if not part.parts:
        return context.reference(part.name)
    names = [_name(name, context) for name in part.parts]
    if any(isinstance(name, Unknown) for name in names):
        return Unknown(part.text)
    return context.reference("".join(map(str, names)))


def _name(part: str | Expression, context: Context) -> str | Unknown:
    """A part of a reference; an expression must have a name as its value. Raises Problem."""
    if isinstance(part, str):
        return part
    value = _look_up(part, context)
    if isinstance(value, Unknown):
        return value
    # YAML reads a name of digits as a number unless it is quoted.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    # A text with a slash could refer to another object than the reference seems to.
    if not isinstance(value, str) or not _IS_NAME.fullmatch(value):
        detail = f'"${{{part.text}}}" must be a name here: letters, digits, ".", "_" and "-".'
        raise ValueProblem("Not a name", detail)
    return value


def _path_of(path: str, module: ModuleFacts | None) -> str:
    """A path relative to the stack's folder; in a module, `./…` is relative to the module's."""
    if module is not None and path.startswith("./"):
        return f"{module.path}/{path[2:]}"
    return path


def _module(part: Expression, module: ModuleFacts | None) -> str:
    if module is None:
        detail = f'"${{{part.text}}}" is only valid in the manifests of a module.'
        raise ValueProblem("Not in a module", detail)
    return module.name if part.name == "name" else module.path


def _each(part: Expression, each: tuple[str, Any] | None) -> Any:
    if each is None:
        raise ValueProblem(
            "each outside for_each",
            f'"${{{part.text}}}" is only valid in a document with for_each.',
        )
    if part.name == "key":
        return each[0]
    return descend(each[1], part.path, "each.value", guess=part.default is None)


def descend(value: Any, path: Sequence[str], name: str, *, guess: bool = True) -> Any:
    """The value below a dotted path. Keys can contain dots: the longest existing key wins.

    Raises Absent if a map or list has no such key, and Problem if there can be none. `guess` adds
    suggestions to the message, which take time.
    """
    at = 0
    while at < len(path):
        if isinstance(value, Unknown):
            return value
        if isinstance(value, Reference | Template):
            detail = f'"{name}" is known only after apply, so nothing below it can be read.'
            raise ValueProblem("Known only after apply", detail)
        if isinstance(value, list) and path[at].isdecimal() and int(path[at]) < len(value):
            key, end = path[at], at + 1
            value = value[int(key)]
        else:
            end = _end_of_longest_key(value, path, at)
            if end == at:
                raise _no_such_key(value, path[at], name, guess=guess)
            key = ".".join(path[at:end])
            value = value[key]
        name, at = f"{name}.{key}", end
    return value


def _end_of_longest_key(value: Any, path: Sequence[str], at: int) -> int:
    """The end of the longest part of the path from `at` that is a key of a map; `at` if none is."""
    if not isinstance(value, dict):
        return at
    end = len(path)
    while end > at and ".".join(path[at:end]) not in value:
        end -= 1
    return end


def _no_such_key(value: Any, key: str, name: str, *, guess: bool) -> ValueProblem:
    advice = ""
    if guess and isinstance(value, dict) and value:
        advice = nearest(key, value) or f" It has {_listed(value)}."
    detail = f'"{name}" has no "{key}".{advice}'
    # A text or number that should be a map is a mistake, which a default must not hide.
    if value is None or isinstance(value, dict | list):
        return Absent("No such key", detail)
    return ValueProblem("No such key", detail)


def _listed(keys: Mapping[str, Any], most: int = 8) -> str:
    names = [f'"{key}"' for key in list(keys)[:most]]
    return ", ".join(names) + (" and more" if len(keys) > most else "")
