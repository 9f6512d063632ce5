"""Finds the stacks of a fleet: folders with a stack file, in each environment that they declare.

Reads one file a stack: no manifest, no state and no key. Folders come from checkouts, so a link that
leaves the folder of the fleet is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from reconciler.errors import ConfigurationError, UsageError
from reconciler.fleet.stack_run import FleetStack
from reconciler.manifests import Settings
from reconciler.manifests.configuration import MODULE_FILES, STACK_FILES
from reconciler.manifests.outline import EnvironmentOutline, StackOutline, read_outline
from reconciler.manifests.paths import Glob, normal
from reconciler.manifests.problems import ValueProblem
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.fleet import StackId
from reconciler.model.secret import Secret

_SKIPPED = frozenset({"node_modules", "venv", "__pycache__"})
_MOST_NAMED = 4
_KEY_VARIABLES = ("OPENAI_ADMIN_KEY", "OPENAI_API_KEY")


class FoundStack(Struct, frozen=True):
    """A stack in one environment, as its stack file describes it."""

    id: StackId
    root: Path
    environment: str | None = None
    """The value of `-e`; None for a stack that declares no environments."""
    organization: str = ""
    """As the stack file spells it; empty if it names none."""
    backend: str = ""
    """`remote`, or `local:PATH` as the stack file spells the path."""
    state: tuple[str, ...] = ()
    """The identity of the state. Two stacks with the same state would overwrite each other."""
    problems: tuple[Diagnostic, ...] = ()
    """Why the stack cannot be run."""
    shares_state: bool = False
    """Whether another stack has the same state. Only a run of the fleet notices, and refuses both."""


class StackChoice(Struct, frozen=True):
    """Which stacks of a folder belong to the fleet; without patterns, all."""

    patterns: tuple[str, ...] = ()
    """Globs for folders, relative to the folder of the fleet."""
    environment: str | None = None
    """The name of an environment, or a pattern for some."""


def find_stacks(settings: Settings, choice: StackChoice) -> list[FoundStack]:
    """The stacks below `settings.root`, by folder, with environments in the order of their file.

    A stack with a problem is in the list. Raises UsageError if nothing matches.
    """
    # Problems quote the stack file, in which somebody may have pasted a key.
    secrets = tuple(_secrets(settings.env))
    chosen, others, environments = [], [], set()
    for folder, problem, is_matching in _folders(settings.root, choice.patterns):
        for stack in _stacks_in(settings, folder, problem, secrets):
            if not is_matching:
                others.append(stack)
                continue
            environments.add(stack.id.environment)
            if _is_chosen(stack, choice.environment):
                chosen.append(stack)
    if not chosen:
        raise _nothing(settings.root, choice, environments)
    return _with_clashes(chosen, others)


def runnable(stack: FoundStack, settings: Settings) -> FleetStack:
    """The stack with the settings of its session: those of the fleet, in its own folder."""
    own = replace(settings, root=stack.root, environment=stack.environment)
    return FleetStack(stack.id, stack.root, own)


# --- folders


def _folders(root: Path, patterns: Sequence[str]) -> Iterator[tuple[str, Diagnostic | None, bool]]:
    """The folders of stacks, in order; with a problem if they cannot be entered.

    The last part says whether a folder matches. One that does not can still claim the state of one
    that does.
    """
    globs = [_glob(pattern) for pattern in patterns]
    if not root.is_dir():
        raise UsageError(f'There is no folder "{root}".')
    for folder, problem in _walk(root):
        is_matching = not globs or any(_matches(glob, normal(folder)) for glob in globs)
        yield folder, problem, is_matching


def _matches(glob: Glob, folder: str) -> bool:
    """Whether a pattern matches a folder. One without wildcards also names what lies below it."""
    if not glob.is_wild and folder.startswith(f"{glob.pattern}/"):
        return True
    return glob.matches(folder)


def _glob(pattern: str) -> Glob:
    simple = os.path.normpath(pattern).replace(os.sep, "/") if pattern else ""
    if not simple or simple.startswith("/") or simple.split("/")[0] == "..":
        raise UsageError(
            f'--stacks "{pattern}": name folders below the current one',
            hint="Choose another folder with -C DIR.",
        )
    glob = Glob(simple)
    try:
        glob.matches("")
    except ValueProblem as problem:
        raise UsageError(f'--stacks "{pattern}": {problem.detail}') from problem
    return glob


def _walk(root: Path) -> Iterator[tuple[str, Diagnostic | None]]:
    """Each folder with a stack file, as a path relative to the root: "." for the root itself."""
    top = os.path.realpath(root)
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        path = root / folder
        try:
            with os.scandir(path) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            detail = f'"{path}": {error.strerror or error}'
            yield folder or ".", Diagnostic("Cannot read the folder", detail)
            continue
        names = {entry.name for entry in inside}
        if names.intersection(MODULE_FILES):
            continue
        if names.intersection(STACK_FILES):
            yield folder or ".", None
        below = []
        for entry in inside:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in _SKIPPED:
                continue
            if entry.is_symlink():
                problem = _leaving(entry, name, top)
                if problem is not None:
                    yield name, problem
            elif entry.is_dir():
                below.append(name)
        # The last one is taken first, so folders come in order.
        waiting += reversed(below)


def _leaving(entry: os.DirEntry[str], name: str, top: str) -> Diagnostic | None:
    """The problem of a link to a stack outside of the fleet's folder.

    A link to a folder inside is skipped, because the walk reaches that folder anyway.
    """
    real = os.path.realpath(entry.path)
    if real == top or real.startswith(f"{top}{os.sep}"):
        return None
    if not any(os.path.exists(os.path.join(real, file)) for file in STACK_FILES):  # noqa: PTH110, PTH118
        return None
    detail = (
        f'"{name}" is a symbolic link that leads outside of the fleet\'s folder. Replace it by the '
        "folder, or run the fleet from a folder that contains both."
    )
    return Diagnostic("Stack outside of the fleet", detail)


# --- stacks


def _stacks_in(
    settings: Settings, folder: str, problem: Diagnostic | None, secrets: Sequence[Secret]
) -> Iterator[FoundStack]:
    root = settings.root / folder
    outline = None
    problems: tuple[Diagnostic, ...] = ()
    if problem is not None:
        problems = (problem,)
    else:
        try:
            outline = read_outline(root, secrets)
        except ConfigurationError as error:
            problems = error.diagnostics
    if outline is None:
        yield FoundStack(StackId(folder, ""), root, problems=problems)
        return
    for environment in outline.environments:
        yield _stack(settings, folder, outline, environment)


def _stack(
    settings: Settings, folder: str, outline: StackOutline, environment: EnvironmentOutline
) -> FoundStack:
    # An address given for the fleet applies to every state and overrides stack files.
    place = settings.backend or settings.env.get("RECONCILER_BACKEND", "").strip()
    return FoundStack(
        StackId(folder, environment.name, outline.name),
        settings.root / folder,
        environment.name if environment.is_declared else None,
        environment.organization,
        environment.backend,
        (place or environment.state_folder, outline.name, environment.name),
    )


def _is_chosen(stack: FoundStack, environment: str | None) -> bool:
    """Whether a stack is in the environment. One whose file is broken may be in any."""
    if environment is None or not stack.id.environment:
        return True
    return fnmatchcase(stack.id.environment, environment)


def _with_clashes(stacks: list[FoundStack], others: list[FoundStack]) -> list[FoundStack]:
    """The stacks, with a problem for those that would share a state, be it with one of `others`."""
    owners: dict[tuple[str, ...], list[FoundStack]] = {}
    for stack in (*stacks, *others):
        if stack.state:
            owners.setdefault(stack.state, []).append(stack)
    checked = []
    for stack in stacks:
        owned = owners.get(stack.state, [])
        if len(owned) > 1:
            # A few names suffice, and all of them for each would be quadratic.
            named = [other for other in owned[:_MOST_NAMED] if other is not stack]
            clash = _clash(stack, named, len(owned) - 1)
            stack = replace(stack, problems=(clash,), shares_state=True)
        checked.append(stack)
    return checked


def _clash(stack: FoundStack, others: Sequence[FoundStack], number: int) -> Diagnostic:
    folders = ", ".join(f'"{other.id.folder}"' for other in others)
    more = f" and {number - len(others):,} more" if number > len(others) else ""
    detail = (
        f'"{stack.id.folder}" and {folders}{more} are the stack "{stack.id.name}" in the '
        f"environment {stack.id.environment}, with the same state. Give each a name of its own in "
        "metadata.name."
    )
    place = SourceLocation((stack.root / STACK_FILES[0]).as_posix(), 1, 1)
    return Diagnostic("One state for several stacks", detail, location=place)


def _nothing(root: Path, choice: StackChoice, environments: Iterable[str]) -> UsageError:
    where = "the current folder" if root == Path() else f'"{root}"'
    patterns = " or ".join(f'"{pattern}"' for pattern in choice.patterns)
    known = sorted(filter(None, environments))
    if known and choice.environment is not None:
        listed = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
        message = f'No stack below {where} has an environment that matches "{choice.environment}".'
        return UsageError(message, hint=f"The environments are {listed}.")
    matching = f" in a folder that matches {patterns}" if patterns else ""
    return UsageError(
        f"There is no stack below {where}{matching}: no folder with a file {STACK_FILES[0]}.",
        hint="Patterns are relative to that folder, as in --stacks 'stacks/*' or 'stacks/**'. "
        "Hidden folders, modules and linked folders are left out.",
    )


def _secrets(env: Mapping[str, str]) -> Iterator[Secret]:
    for name in _KEY_VARIABLES:
        value = env.get(name, "").strip()
        if value:
            yield Secret(value)
