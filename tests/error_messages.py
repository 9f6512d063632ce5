"""Collects the error messages of the program from its source.

A problem is a summary with a detail: `ValueProblem("No manifests", …)`, `problems.add("Unknown project", …)`. An error is a
message, often with a hint: `raise UsageError("…", hint="…")`. Parts that are filled in at run time become placeholders:
`{address.shown}` becomes `SHOWN`. docs/errors.md is made of them and of docs/errors.yaml.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

import reconciler.errors

PACKAGE = Path(reconciler.errors.__file__).parent

OTHER_PROGRAM = "emulator"
"""A folder whose messages come from a server, like those of the API."""

SUMMARY_AT = {
    "ValueProblem": 0, "Absent": 0, "Diagnostic": 0,
    "RuleProblem": 1, "SchemaFlaw": 1, "SchemaViolation": 1,
    "self._add": 2, "self._problem": 1, "self._stop": 1, "problem": 0, "_error": 1,
}  # fmt: skip
"""Which argument of a call is the summary of a problem."""

CALLED_OTHERWISE = {
    "_error": ("engine/binding/conflicts.py", "policies/fields.py"),
    "self._add": ("manifests/cross_checks.py",),
    "self._problem": ("manifests/load.py",),
    "self._stop": ("manifests/load.py",),
    "problem": (),
}
"""Functions whose names have another meaning in other files."""

YIELDED = ("manifests/file_advice.py",)
"""Files whose functions yield a summary and a detail."""

ERRORS = {
    name: kind
    for name, kind in vars(reconciler.errors).items()
    if isinstance(kind, type) and issubclass(kind, reconciler.errors.ReconcilerError)
}


@dataclass(frozen=True)
class Message:
    """What an error of a class says, and the hint that follows; either may be empty."""

    kind: str
    text: str
    hint: str


Function = ast.FunctionDef | None


@dataclass
class Source:
    """A module: its path below the package, and its nodes of interest with the functions around them."""

    path: str
    tree: ast.Module
    calls: list[tuple[ast.Call, Function]] = field(default_factory=list)
    yields: list[tuple[ast.Yield, Function]] = field(default_factory=list)
    classes: list[ast.ClassDef] = field(default_factory=list)

    @property
    def constants(self) -> dict[str, ast.expr]:
        """The module's own constants."""
        return {
            node.targets[0].id: node.value
            for node in self.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }

    def __post_init__(self) -> None:
        # One walk: the package has hundreds of thousands of nodes.
        waiting: list[tuple[ast.AST, Function]] = [(self.tree, None)]
        while waiting:
            node, function = waiting.pop()
            match node:
                case ast.Call():
                    self.calls.append((node, function))
                case ast.Yield():
                    self.yields.append((node, function))
                case ast.ClassDef():
                    self.classes.append(node)
                case ast.FunctionDef():
                    function = node
            waiting.extend((below, function) for below in ast.iter_child_nodes(node))


@dataclass(frozen=True)
class Site:
    """An expression, and where its names have their values."""

    node: ast.expr
    source: Source
    function: Function

    def of(self, node: ast.expr) -> Site:
        """Another expression of the same function."""
        return Site(node, self.source, self.function)


@cache
def sources() -> tuple[Source, ...]:
    """The modules of the package."""
    read = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        text = path.read_text(encoding="utf-8")
        if OTHER_PROGRAM not in name.parts:
            read.append(Source(name.as_posix(), ast.parse(text)))
    return tuple(read)


@cache
def constants() -> Mapping[str, ast.expr]:
    """The constants of all modules, by name, without names that mean several things."""
    named: dict[str, ast.expr] = {}
    several: set[str] = set()
    for source in sources():
        for name, value in source.constants.items():
            other = named.setdefault(name, value)
            if ast.dump(other) != ast.dump(value):
                several.add(name)
    return {name: value for name, value in named.items() if name not in several}


def texts(site: Site, depth: int = 0) -> list[str]:
    """The texts that an expression can be; empty if the source does not say."""
    if depth > 4:
        return []
    match site.node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.JoinedStr(values=parts):
            return ["".join(_part(part) for part in parts)]
        case ast.BinOp(left=first, op=ast.Add(), right=second):
            right = texts(site.of(second), depth + 1) or [_placeholder(second)]
            return [left + right[0] for left in texts(site.of(first), depth + 1)]
        case ast.IfExp(body=first, orelse=second):
            return texts(site.of(first), depth + 1) + texts(site.of(second), depth + 1)
        case ast.Starred(value=value) | ast.Tuple(elts=[value, *_]):
            return texts(site.of(value), depth + 1)
        case ast.Name(id=name):
            return _of_name(name, site, depth)
        case ast.Call(func=ast.Name(id=name)):
            return _of_function(name, site.source, depth)
        case ast.Call(func=ast.Attribute(value=value, attr="rstrip" | "strip")):
            return texts(site.of(value), depth + 1)
    return []


def _of_name(name: str, site: Site, depth: int) -> list[str]:
    read: list[str] = []
    for statement in ast.walk(site.function) if site.function else ():
        if not isinstance(statement, ast.Assign):
            continue
        target, value = statement.targets[0], statement.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for left, right in pairs:
            if isinstance(left, ast.Name) and left.id == name:
                read += texts(site.of(right), depth + 1)
    value = site.source.constants.get(name) or constants().get(name)
    return texts(Site(value, site.source, None), depth + 1) if value and not read else read


def _of_function(name: str, source: Source, depth: int) -> list[str]:
    read: list[str] = []
    for function in source.tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == name:
            for statement in ast.walk(function):
                if isinstance(statement, ast.Return) and statement.value:
                    read += texts(Site(statement.value, source, function), depth + 1)
    return read


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return _placeholder(part.value)


def _placeholder(node: ast.expr) -> str:
    """A name in capitals for a value, and the text itself for a constant; `…` if it has no name."""
    match node:
        case ast.Name(id="hint" | "guess" | "suggestion"):
            return ""  # a suggestion
        case ast.Name(id=name) if name.isupper() or name.lstrip("_").isupper():
            value = constants().get(name)
            if isinstance(value, ast.Constant):
                return str(value.value)
            return name.strip("_")
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").upper()
        case ast.Call(func=ast.Name(id="nearest" | "nearest_few")):
            return ""  # a suggestion
        case ast.Call(func=ast.Attribute(value=ast.Name(id="self"))):
            return "…"
        case ast.Call(args=[first, *_]):
            return _placeholder(first)
        case ast.Call(func=ast.Attribute(value=value)) | ast.Subscript(value=value):
            return _placeholder(value)
    return "…"


# --- problems --------------------------------------------------------------------------------------------------------


def problem_sites() -> Iterator[Site]:
    """Every expression that becomes the summary of a problem."""
    for source in sources():
        for call, function in source.calls:
            position = _summary_position(call, source)
            if position is not None and len(call.args) > position:
                yield Site(call.args[position], source, function)
        for node, function in source.yields if source.path in YIELDED else ():
            if isinstance(node.value, ast.Tuple):
                yield Site(node.value, source, function)


def _summary_position(call: ast.Call, source: Source) -> int | None:
    name = _name(call.func)
    if name.endswith((".add", ".warn")):
        return 0 if name.split(".")[-2].endswith("problems") else None
    if name in CALLED_OTHERWISE and source.path not in CALLED_OTHERWISE[name]:
        return None
    return SUMMARY_AT.get(name)


def _name(node: ast.expr) -> str:
    """`self._problem` and the like; empty for what is no dotted name."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            return f"{_name(value)}.{attribute}"
    return ""


@cache
def summaries() -> set[str]:
    """The summaries of all problems, with placeholders."""
    return {text for site in problem_sites() for text in texts(site)}


@cache
def unresolved() -> set[tuple[str, str]]:
    """File and expression of each summary that the source of its file does not say."""
    return {
        (site.source.path, ast.unparse(site.node)) for site in problem_sites() if not texts(site)
    }


# --- errors ----------------------------------------------------------------------------------------------------------


@cache
def classes() -> Mapping[str, str]:
    """The class of reconciler/errors.py that each class of errors is, or is derived from."""
    known = {name: name for name in ERRORS}
    derived = [
        (node.name, _name(base).split(".")[-1])
        for source in sources()
        for node in source.classes
        for base in node.bases
    ]
    for _ in range(3):  # classes derived from derived classes
        known |= {
            name: known[base] for name, base in derived if base in known and name not in known
        }
    return known


@cache
def messages() -> list[Message]:
    """What errors say, by class and message, each once."""
    by_text: dict[tuple[str, str], Message] = {}
    for source in sources():
        for call, function in source.calls:
            kind = classes().get(_name(call.func).split(".")[-1])
            if kind in (None, "GuardError", "ConfigurationError") or not call.args:
                continue
            hint = ""
            for keyword in call.keywords:
                if keyword.arg == "hint":
                    hint = (texts(Site(keyword.value, source, function)) or [""])[0]
            for text in texts(Site(call.args[0], source, function)):
                if re.search("[a-z]{3}", text):
                    by_text.setdefault((kind, text), Message(kind, text, hint))
    return sorted(by_text.values(), key=lambda message: (message.kind, sort_key(message.text)))


def sort_key(text: str) -> str:
    """The order of an index: by the first letter, whatever its case and the quotes before it."""
    return re.sub(r"^[^A-Za-z]+", "", text).casefold()


# --- the page --------------------------------------------------------------------------------------------------------


@cache
def explained() -> dict[str, dict[str, dict[str, str]]]:
    """Causes and cures: of `problems`, `guards`, and classes of `errors`."""
    path = PACKAGE.parent / "docs/errors.yaml"
    loaded: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def problem_list() -> str:
    """Every problem from A to Z, with its cause and cure."""
    shown = sorted(
        (
            (entry.get("shown", summary), entry)
            for summary, entry in explained()["problems"].items()
        ),
        key=lambda pair: sort_key(pair[0]),
    )
    lines, letter = [], ""
    for title, entry in shown:
        if sort_key(title)[0] != letter:
            letter = sort_key(title)[0]
            lines += [f"### {letter.upper()}", ""]
        lines += [f"**{_prose(title)}.** {entry['cause']}", f"*Cure:* {entry['cure']}", ""]
    return "\n".join(lines)


def guard_list() -> str:
    """Every refusal of a guard."""
    rows = [
        f"| … {text} … | {entry['cause']} | {entry['cure']} |"
        for text, entry in explained()["guards"].items()
    ]
    return "\n".join(["| Refusal | Cause | Cure |", "|---|---|---|", *rows]) + "\n"


def message_list() -> str:
    """Every error by class, with its hint."""
    by_class: dict[str, list[Message]] = {}
    for message in messages():
        by_class.setdefault(message.kind, []).append(message)
    lines = []
    headings = explained()["errors"]
    for kind in sorted(by_class, key=lambda name: headings[name]["heading"]):
        entry = headings[kind]
        lines += [f"### {entry['heading']}", "", f"{entry['cause']} {entry['cure']}", ""]
        lines += ["| Message | Hint |", "|---|---|"]
        lines += [f"| {_cell(item.text)} | {_cell(item.hint)} |" for item in by_class[kind]]
        lines.append("")
    return "\n".join(lines)


def _prose(text: str) -> str:
    """A message as Markdown that shows every character of it."""
    return re.sub(r"([\\*_`<>\[\]|~])", r"\\\1", text)


def _cell(text: str) -> str:
    """A text as a cell; what stands between backticks stays code."""
    parts = " ".join(text.split()).split("`")
    if len(parts) % 2 == 0:
        return _prose(text)
    return "`".join(
        part.replace("|", "\\|") if index % 2 else _prose(part) for index, part in enumerate(parts)
    )
