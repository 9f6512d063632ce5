"""The calls that a stack makes: the permissions for a key that plans, and for one that applies."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.kinds import KINDS
from reconciler.manifests import Configuration
from reconciler.model.calls import is_of_project, parent_fields
from reconciler.model.doctor import Needs
from reconciler.model.kind import Kind, ScopeType


def needs_of(configuration: Configuration | None) -> dict[str, Needs]:
    """The calls that the declared kinds take, by key; empty where none is declared."""
    resources = configuration.resources if configuration else ()
    declared = {resource.kind.name for resource in resources}
    groups: dict[str, list[Kind]] = {"admin": [], "project": []}
    for kind in KINDS.values():
        if kind.name in declared:
            key = "project" if kind.scope is ScopeType.PROJECT_KEY else "admin"
            groups[key].append(kind)
    return {key: _needs(kinds) for key, kinds in groups.items() if kinds}


def _needs(kinds: Iterable[Kind]) -> Needs:
    names: list[str] = []
    plan: dict[str, None] = {}
    apply: dict[str, None] = {}
    for kind in kinds:
        names.append(kind.name)
        for path in kind.collections:
            if kind.calls.listable or kind.calls.singleton:
                plan[f"GET {path}"] = None
            in_project = is_of_project(path)
            parent = tuple((name, "") for name in parent_fields(path))
            for call in ("create", "update", "delete"):
                if not getattr(kind.calls, call):
                    continue
                method, route = kind.route(call, in_project=in_project, parent=parent)
                if method != "GET":
                    apply[f"{method} {route}"] = None
    return Needs(tuple(names), tuple(plan), tuple(apply))
