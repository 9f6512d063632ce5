"""Dependency graphs: topological order, inversion and closure. Independent of kinds.

A graph maps each node to the nodes that it needs. Needed nodes that are not in the mapping are
outside the graph and block nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from typing import Any, TypeVar

Node = TypeVar("Node")


def in_dependency_order(
    needs: Mapping[Node, Collection[Node]], *, key: Callable[[Node], Any] = lambda node: node
) -> list[Node]:
    """All nodes, each after those that it needs. Of the ready nodes, the smallest `key` comes first.

    Raises ValueError on a cycle. A loaded configuration has none: `manifests/references.py` reports
    cycles.
    """
    dependents = invert(needs)
    waiting: dict[Node, int] = {}
    # `graphlib` yields ready nodes in no defined order. The same input must give the same plan, so a
    # heap orders them by key.
    ready: list[tuple[Any, int, Node]] = []
    # A number breaks ties between equal keys, because nodes need not be comparable.
    ties = count()
    for node, needed in needs.items():
        waiting[node] = len(needs.keys() & set(needed))
        if not waiting[node]:
            ready.append((key(node), next(ties), node))
    heapq.heapify(ready)
    ordered: list[Node] = []
    while ready:
        _, _, node = heapq.heappop(ready)
        ordered.append(node)
        for dependent in dependents[node]:
            waiting[dependent] -= 1
            if waiting[dependent] == 0:
                heapq.heappush(ready, (key(dependent), next(ties), dependent))
    # Nodes of a cycle, and their dependents, never become ready.
    if len(ordered) != len(needs):
        raise ValueError("the graph has a cycle")
    return ordered


def invert(needs: Mapping[Node, Collection[Node]]) -> dict[Node, list[Node]]:
    """Maps each node to those that need it."""
    dependents: dict[Node, list[Node]] = {node: [] for node in needs}
    for node, wanted in needs.items():
        # Each edge once: a dependent that is counted down twice for it would be ready too early.
        for need in set(wanted):
            if need in dependents:
                dependents[need].append(node)
    return dependents


def closure(needs: Mapping[Node, Collection[Node]], start: Iterable[Node]) -> set[Node]:
    """The nodes of `start` and everything that they need, directly or indirectly."""
    reached: set[Node] = set()
    pending = [node for node in start if node in needs]
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending.extend(need for need in needs[node] if need in needs)
    return reached
