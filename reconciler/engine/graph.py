"""Order: what needs what, what can go at the same time, and who waits in a circle. Knows nothing of kinds.

A graph is a mapping from each node to the nodes that it needs. Nodes that are needed but not in the mapping are
outside of the graph and hold nobody up.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

Node = TypeVar("Node")


def in_dependency_order(
    needs: Mapping[Node, Collection[Node]], *, key: Callable[[Node], Any] = lambda node: node
) -> list[Node]:
    """Every node after all that it needs; among those that could go next, the smallest `key` goes first.

    Raises ValueError on a cycle; `find_cycle` tells which.
    """
    waiting = {
        node: sum(1 for need in set(wanted) if need in needs) for node, wanted in needs.items()
    }
    dependents = invert(needs)
    ready = [
        (key(node), index, node)
        for index, (node, count) in enumerate(waiting.items())
        if count == 0
    ]
    heapq.heapify(ready)
    ordered: list[Node] = []
    tie = len(waiting)
    while ready:
        _, _, node = heapq.heappop(ready)
        ordered.append(node)
        for dependent in dependents.get(node, ()):
            waiting[dependent] -= 1
            if waiting[dependent] == 0:
                tie += 1
                heapq.heappush(ready, (key(dependent), tie, dependent))
    if len(ordered) != len(needs):
        raise ValueError("the graph has a cycle")
    return ordered


def invert(needs: Mapping[Node, Collection[Node]]) -> dict[Node, list[Node]]:
    """Each node of the graph to those that need it."""
    dependents: dict[Node, list[Node]] = {node: [] for node in needs}
    for node, wanted in needs.items():
        for need in set(wanted):
            if need in dependents:
                dependents[need].append(node)
    return dependents


def find_cycle(needs: Mapping[Node, Collection[Node]]) -> list[Node]:
    """One cycle, its first node repeated at the end; empty where there is none."""
    done: set[Node] = set()
    for start in needs:
        trail: dict[Node, None] = {}
        stack: list[tuple[Node, bool]] = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                del trail[node]
                done.add(node)
            elif node in trail:
                nodes = list(trail)
                return [*nodes[nodes.index(node) :], node]
            elif node in needs and node not in done:
                trail[node] = None
                stack.append((node, True))
                stack.extend((need, False) for need in needs[node])
    return []


def closure(needs: Mapping[Node, Collection[Node]], start: Iterable[Node]) -> set[Node]:
    """The nodes of `start` and everything that they need, directly or not."""
    reached: set[Node] = set()
    pending = [node for node in start if node in needs]
    while pending:
        node = pending.pop()
        if node not in reached:
            reached.add(node)
            pending.extend(need for need in needs[node] if need in needs)
    return reached
