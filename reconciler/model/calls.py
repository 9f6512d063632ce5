"""Where the calls of a kind go, and how an object that lives inside another is named.

Most kinds make an object with `POST collection` and reach it at `collection/id`. The rest say how they differ, as data:
settings that are one object a scope, things that are switched on and off, lists that live below a group or a vault.
The holes of a path are `{project}`, `{id}`, and fields of the spec, which are then the object's surroundings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

Parent = tuple[tuple[str, str], ...]
"""The surroundings of an object: field and id, in the order of the path; empty for most."""

ListKey = tuple[str, str | None, Parent]
"""What is in one list: a kind's name, a project's name in the configuration, and surroundings."""

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_NO_FIELDS = ("project", "id", "collection")


class Calls(Struct, frozen=True):
    """Method and path of each call, and how bodies and answers differ; `{collection}` stands for the collection's path.

    `also_at` are other collections of the kind: the one is used whose holes can be filled. `setting` for what is one
    object a scope and has no id. `whole_updates` where an update replaces everything. `in_list_as` where a create takes
    a list of ids, of which ours is one, and answers with a list. `id_field` names the field that is the object's id.
    `listable` whether there is a list, `listed` says of an item, with its surroundings, if it is an object of the kind,
    and None where the item does not tell.
    """

    create: str = "POST {collection}"
    read: str = "GET {collection}/{id}"
    update: str = "POST {collection}/{id}"
    delete: str = "DELETE {collection}/{id}"
    also_at: tuple[str, ...] = ()
    singleton: bool = False
    whole_updates: bool = False
    in_list_as: str | None = None
    id_field: str | None = None
    listable: bool = True
    listed: Callable[[Mapping[str, Any]], bool | None] | None = None


USUAL = Calls()


def singleton(*, also_at: tuple[str, ...] = (), whole_updates: bool = False) -> Calls:
    """The calls of something that is one object a scope, at a path of its own and without an id."""
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
    """The fields of the spec that a path has holes for."""
    return tuple(name for name in _PATH_PARAMETER.findall(path) if name not in _NO_FIELDS)


def is_of_project(path: str) -> bool:
    """Whether a path has a hole for a project's id."""
    return "{project}" in path


def compose_id(parent: Parent, id: str, *, named: bool) -> str:
    """The id of an object that is only unique inside another: `group_1/user_2`.

    `named` where the surroundings can be of several sorts, and have to say which: `group_id=group_1/role_2`.
    """
    return "/".join([*(f"{field}={value}" if named else value for field, value in parent), id])


def split_id(id: str, fields: tuple[tuple[str, ...], ...]) -> tuple[Parent, str]:
    """Surroundings and own id of a composed id; `fields` are the sorts of surroundings that there are.

    Raises ValueError, with a sentence about what is expected, where the id is not of that form.
    """
    *parts, own = id.split("/")
    pairs = tuple(part.split("=", 1) for part in parts)
    if len(fields) == 1 and all(len(pair) == 1 for pair in pairs):
        pairs = tuple([name, pair[0]] for name, pair in zip(fields[0], pairs, strict=False))
    if len(parts) == len(pairs) and all(len(pair) == 2 for pair in pairs):
        parent = tuple((name, value) for name, value in pairs)
        if tuple(name for name, _ in parent) in fields:
            return parent, own
    raise ValueError(f'"{id}" is not an id of this kind: write {" or ".join(id_forms(fields))}')


def id_forms(fields: tuple[tuple[str, ...], ...], own: str = "ID") -> list[str]:
    """How composed ids are written, for each sort of surroundings; `own` stands for the object's own id."""
    if len(fields) == 1:
        return ["/".join([*(name.upper() for name in fields[0]), own])]
    return ["/".join([*(f"{name}=ID" for name in names), own]) for names in fields]
