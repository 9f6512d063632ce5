"""Finds the stacks whose outputs other stacks of a fleet read, from the text of manifests.

Evaluating manifests would take as long as planning. A mention in a comment only adds an order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from reconciler.fleet.stacks import FoundStack
from reconciler.manifests.configuration import STACK_FILES
from reconciler.manifests.discover import SUFFIXES
from reconciler.manifests.paths import walk
from reconciler.manifests.problems import ValueProblem

_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")
_STACK = re.compile(r"(?<![\w.])stack\.([A-Za-z_][A-Za-z0-9_-]*)\.")

Needs = Mapping[int, frozenset[int]]
"""For each stack, by its position, the positions of the stacks whose outputs it reads."""


def needs_of(stacks: Sequence[FoundStack]) -> Needs:
    """The needs of each stack. Stacks outside of the fleet are not waited for."""
    # By state, because one name can be a stack in several environments.
    at = {stack.state: index for index, stack in enumerate(stacks) if not stack.problems}
    names: dict[Path, frozenset[str]] = {}
    needs = {}
    for index, stack in enumerate(stacks):
        if stack.problems:
            continue
        if stack.root not in names:
            names[stack.root] = frozenset(_mentioned(stack.root))
        needs[index] = frozenset(_positions(stack, names[stack.root], at))
    return needs


def cycles_of(needs: Needs) -> list[list[int]]:
    """The cycles, each as a path that ends where it begins. Breaking all of them leaves none."""
    left = {index: set(others) for index, others in needs.items()}
    cycles = []
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            cycle: list[int] = error.args[1]
            cycles.append(cycle)
            # Cut, so that the next round finds the next cycle.
            for index in cycle:
                left[index] = set()
        else:
            return cycles


def _positions(
    stack: FoundStack, names: frozenset[str], at: Mapping[tuple[str, ...], int]
) -> Iterator[int]:
    place, own, environment = stack.state
    for name in names:
        index = at.get((place, name, environment))
        if index is not None and name != own:
            yield index


def _mentioned(root: Path) -> Iterator[str]:
    for path in _files(root):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # planning the stack reports it
        # Most files mention no stack, and a search for a text is fast.
        if "stack." in text:
            for expression in _EXPRESSION.finditer(text):
                yield from _STACK.findall(expression[1])


def _files(root: Path) -> Iterator[Path]:
    def enter(folder: str) -> bool:
        return not any((root / folder / name).exists() for name in STACK_FILES)

    try:
        for file in walk(root, "", enter=enter):
            path = root / file
            if file.endswith(SUFFIXES) and not path.is_symlink():
                yield path
    except ValueProblem:
        return  # planning the stack reports it
