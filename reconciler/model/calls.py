"""The calls of a kind, and ids of objects that are unique only in a parent.

Most kinds create an object with `POST collection` and reach it at `collection/id`. Others declare how they differ:
singletons (one settings object per scope), activations, and collections below a group or a vault. The path parameters
are `{project}`, `{id}`, and fields of the spec, which then name the parent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

Parent = tuple[tuple[str, str], ...]
"""The parent of an object: field and id, in the order of the path; empty for most kinds."""

ListKey = tuple[str, str | None, Parent]
"""The key of a list: name of the kind, name of the project in the configuration, parent."""

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_NO_FIELDS = ("project", "id", "collection")


class Calls(Struct, frozen=True):
    """Method and path of each call, and how bodies and answers differ from the usual.

    In paths, `{collection}` stands for the path of the collection.
    """

    # The API has no PUT and no PATCH: every modify is a POST to the path of the object.
    create: str = "POST {collection}"
    read: str = "GET {collection}/{id}"
    update: str = "POST {collection}/{id}"
    delete: str = "DELETE {collection}/{id}"
    # The same objects live below the organization and below projects, at unrelated paths.
    also_at: tuple[str, ...] = ()
    """Further collections of the kind. The spec selects the collection whose path parameters it sets."""
    singleton: bool = False
    """Whether a scope has one object, which has no id."""
    # Most modify calls keep what they were not sent; a few replace the whole object.
    whole_updates: bool = False
    """Whether an update replaces all fields, so that every field has to be sent."""
    in_list_as: str | None = None
    """The body key for create and delete calls that take a list of ids."""
    # Memberships and assignments have no id of their own.
    id_field: str | None = None
    """The field that holds the id, if it is not `id`."""
    listable: bool = True
    """Whether the API has a list."""
    listed: Callable[[Mapping[str, Any]], bool | None] | None = None
    """Whether a list entry (with the fields of its parent) is of this kind, where kinds share a list. None if the
    entry does not tell."""


USUAL = Calls()


def singleton(*, also_at: tuple[str, ...] = (), whole_updates: bool = False) -> Calls:
    """The calls of an object that exists once per scope, at a fixed path and without an id."""
    return Calls(
        create="POST {collection}",
        read="GET {collection}",
        update="POST {collection}",
        delete="DELETE {collection}",
        also_at=also_at,
        singleton=True,
        whole_updates=whole_updates,
    )


def parent_fields(path: str) -> tuple[str, ...]:
    """The path parameters that are fields of the spec."""
    return tuple(name for name in _PATH_PARAMETER.findall(path) if name not in _NO_FIELDS)


def is_of_project(path: str) -> bool:
    """Whether a path has the parameter `{project}`."""
    return "{project}" in path


def compose_id(parent: Parent, id: str, *, named: bool) -> str:
    """The id of an object that is unique only in its parent: `group_1/user_2`.

    `named` for kinds with several types of parents: `group_id=group_1/role_2`.
    """
    # A user and a group may have the same role, so the id has to say which parent it means.
    parts = [f"{field}={value}" if named else value for field, value in parent]
    return "/".join([*parts, id])


def split_id(id: str, fields: tuple[tuple[str, ...], ...]) -> tuple[Parent, str]:
    """Parent and own id of a composed id; `fields` are the possible types of parents.

    Raises ValueError with the expected form if the id is malformed.
    """
    *parts, own = id.split("/")
    named = [part.split("=", 1) for part in parts if "=" in part]
    if not named and len(fields) == 1 and len(parts) == len(fields[0]):
        return tuple(zip(fields[0], parts, strict=True)), own
    names = tuple(name for name, _ in named)
    if len(named) == len(parts) and names in fields:
        return tuple((name, value) for name, value in named), own
    raise ValueError(f'"{id}" is not an id of this kind: write {" or ".join(id_forms(fields))}')


def id_forms(fields: tuple[tuple[str, ...], ...], own: str = "ID") -> list[str]:
    """The form of composed ids, for each type of parent; `own` stands for the object's own id."""
    forms = []
    for names in fields:
        parts = [name.upper() if len(fields) == 1 else f"{name}=ID" for name in names]
        forms.append("/".join([*parts, own]))
    return forms
