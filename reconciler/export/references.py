"""Cycles of references, which live objects can have and manifests cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.export.resource import ExportedResource
from reconciler.model.address import Address
from reconciler.model.values import references_in


def references_to_cut(
    resources: Mapping[Address, ExportedResource],
) -> Iterator[tuple[Address, frozenset[Address]]]:
    """The resources that have to name some targets by id, so that no references form a ring.

    Resources are visited in the order of their addresses, so the same resources always give the
    same answer.
    """
    edges: dict[Address, list[Address]] = {}
    for address, resource in resources.items():
        edges[address] = sorted({reference.address for reference in references_in(resource.spec)})
    finished: set[Address] = set()
    for start in sorted(edges):
        path: dict[Address, None] = {}
        backward: dict[Address, set[Address]] = {}
        stack: list[tuple[Address, Iterator[Address]]] = []
        if start not in finished:
            path[start] = None
            stack.append((start, iter(edges[start])))
        # A depth-first walk. A target on the path closes a ring, so that reference is cut.
        while stack:
            address, targets = stack[-1]
            target = next(targets, None)
            if target is None:
                stack.pop()
                del path[address]
                finished.add(address)
            elif target in path:
                backward.setdefault(address, set()).add(target)
            elif target not in finished and target in edges:
                path[target] = None
                stack.append((target, iter(edges[target])))
        for address, cut in backward.items():
            yield address, frozenset(cut)
