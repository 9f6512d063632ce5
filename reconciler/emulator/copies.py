"""Loads an organization as the API showed it, so that reads of the copy equal reads of the original.

What is loaded are answers: lists, single objects, and refusals. Loaders turn them into records.
Then the emulator reads its own lists and objects. Wherever it answers otherwise than the API did,
for example because it does not know a field, the difference is kept as a patch of that field. A
patch holds until the emulator's own value changes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from reconciler.emulator.errors import ErrorAnswer
from reconciler.emulator.loaders import LOADERS, UNREAD, Item, Loaded
from reconciler.emulator.options import EmulatorOptions
from reconciler.emulator.query import Query
from reconciler.emulator.routing import Call, Principal, Reply, Router
from reconciler.emulator.store import ORGANIZATION, ObjectRow, Store

_ABSENT = object()
_MOST_PAGES = 10_000
_CURSORS = ("next", "last_id")
_LASTING = (401, 403, 410)

Place = tuple[str, str]
"""The project of what a project key reads, otherwise empty, and a path below /v1."""
Patch = dict[str, tuple[Any, Any]]
"""By field: the emulator's value and the loaded one."""


@dataclass(frozen=True)
class ListAnswer:
    """The items of a list, in its order. `project` is that of a project key, otherwise empty."""

    path: str
    items: list[Item]
    project: str = ""
    query: dict[str, str] = field(default_factory=dict)
    is_partial: bool = False
    """Whether the list goes on after these items."""


@dataclass(frozen=True)
class ObjectAnswer:
    """One object, or the settings of a scope."""

    path: str
    body: Item
    project: str = ""


@dataclass(frozen=True)
class Refusal:
    """A path that the API refused. What lies below it is refused too, unless some of it was read."""

    path: str
    status: int
    body: Any
    project: str = ""
    is_whole: bool = True
    """Whether all that lies below the path is refused too."""

    def covers(self, project: str, path: str) -> bool:
        is_below = self.is_whole and path.startswith(f"{self.path}/")
        return (path == self.path or is_below) and self.project == project


@dataclass(frozen=True)
class CopiedKey:
    """A key that the copy accepts: an admin key, or one for a project."""

    value: str = field(repr=False)
    project: str = ""


@dataclass(frozen=True)
class Organization:
    """What is loaded. `id` is the organization that answers name; empty keeps the present one."""

    id: str = ""
    lists: Sequence[ListAnswer] = ()
    objects: Sequence[ObjectAnswer] = ()
    refusals: Sequence[Refusal] = ()
    keys: Sequence[CopiedKey] = ()

    @classmethod
    def parse(cls, data: Any) -> Organization:
        """The organization in the body of a control request; raises ValueError, TypeError."""
        if not isinstance(data, dict):
            raise TypeError("send a JSON object")
        unknown = sorted(data.keys() - {"organization", *_PARTS})
        if unknown:
            raise ValueError(
                f"unknown {unknown[0]!r}; it is one of organization, {', '.join(_PARTS)}"
            )
        parts = {
            name: tuple(of(**entry) for entry in data.get(name, ())) for name, of in _PARTS.items()
        }
        return cls(id=str(data.get("organization") or ""), **parts)


_PARTS: dict[str, Any] = {
    "lists": ListAnswer,
    "objects": ObjectAnswer,
    "refusals": Refusal,
    "keys": CopiedKey,
}


@dataclass
class Differences:
    """Where the answers of the emulator give way to those that were loaded."""

    in_lists: dict[Place, Patch] = field(default_factory=dict)
    """By path of the object: the patch of its answer in a list."""
    alone: dict[Place, Patch] = field(default_factory=dict)
    """By path of the object: the patch of the answer that shows it alone, if that was loaded."""
    refusals: tuple[Refusal, ...] = ()

    def refusal(self, project: str, path: str) -> Refusal | None:
        return next((refusal for refusal in self.refusals if refusal.covers(project, path)), None)

    def patched(self, project: str, path: str, shown: Item) -> Item:
        """An answer with the loaded values of all fields that have not changed since."""
        if not self.in_lists and not self.alone:
            return shown
        items = shown.get("data")
        if isinstance(items, list):
            records = [_applied(self.in_lists.get((project, _path(path, i))), i) for i in items]
            return {**shown, "data": records}
        place = (project, path)
        patch = self.alone[place] if place in self.alone else self.in_lists.get(place)
        result: Item = _applied(patch, shown)
        return result


def _applied(patch: Patch | None, shown: Any) -> Any:
    if not patch or not isinstance(shown, dict):
        return shown
    result = dict(shown)
    for name, (emulated, loaded) in patch.items():
        if result.get(name, _ABSENT) != emulated:
            continue
        if loaded is _ABSENT:
            result.pop(name, None)
        else:
            result[name] = loaded
    return result


def _path(collection: str, item: Any) -> str:
    """The path of an item of a list."""
    return f"{collection}/{_id_of(item)}"


def _id_of(item: Any) -> str:
    return str(item.get("id") or item.get("group_id")) if isinstance(item, dict) else ""


class Copier:
    """Loads answers into an empty store, and notes where the emulator answers otherwise.

    `load` returns, as JSON: how many objects were `loaded` by collection; `unknown` paths;
    `missing` answers that the emulator cannot give again; the fields of each collection that are
    `copied` because the emulator has no such value; and by collection what is `not_modelled` at all.
    The caller holds the store's lock.
    """

    def __init__(self, store: Store, options: EmulatorOptions, router: Router) -> None:
        self._store = store
        self._options = options
        self._router = router
        self._loaded: Counter[str] = Counter()
        self._unknown: dict[str, None] = {}
        self._missing: list[str] = []
        self._copied: dict[str, set[str]] = {}
        self._records: dict[tuple[Place, str], ObjectRow] = {}
        self.differences = Differences()

    def load(
        self,
        lists: Sequence[ListAnswer],
        objects: Sequence[ObjectAnswer],
        refusals: Iterable[Refusal],
    ) -> dict[str, Any]:
        known = [answer for answer in lists if self._is_known(answer.path)]
        singles = [single for single in objects if self._is_known(single.path)]
        self._load_records(known, singles)
        for answer in known:
            self._compare_list(answer)
        for single in singles:
            self._compare_object(single)
        read = {(answer.project, answer.path) for answer in known}
        read |= {(single.project, single.path) for single in singles}
        self.differences.refusals = tuple(self._effective(refusals, read))
        return {
            "loaded": dict(sorted(self._loaded.items())),
            "unknown": list(self._unknown),
            "missing": self._missing,
            "copied": {name: sorted(fields) for name, fields in sorted(self._copied.items())},
            "not_modelled": UNREAD,
        }

    def _is_known(self, path: str) -> bool:
        if _home_of(path) is None:
            self._unknown[path] = None
            return False
        return True

    # Records

    def _load_records(self, lists: Sequence[ListAnswer], objects: Sequence[ObjectAnswer]) -> None:
        """Parents first, and objects of lists in the order of their list."""
        work: list[tuple[int, str, str, Item]] = []
        listed: set[Place] = set()
        for answer in lists:
            at = _order_of(answer.path)
            for item in answer.items:
                work.append((at, answer.path, answer.project, item))
                listed.add((answer.project, _path(answer.path, item)))
        for single in objects:
            if (single.project, single.path) not in listed:
                home = single.path if _collection_of(single.path) else _parent(single.path)
                work.append((_order_of(home), home, single.project, single.body))
        for project in sorted({project for _, _, project, _ in work if project}):
            self._require_project(project)
        for _, path, project, item in sorted(work, key=lambda one: one[0]):
            self._load_record(path, project, item)

    def _require_project(self, id: str) -> None:
        """Add a project that only its own key showed; a loaded one takes its place."""
        body = {"id": id, "object": "organization.project", "name": id, "status": "active"}
        rest = {"created_at": 0, "archived_at": None, "external_key_id": None}
        record = self._store.add("project", ORGANIZATION, {**body, **rest}, limits={})
        record.born = 0.0

    def _load_record(self, path: str, project: str, item: Item) -> None:
        collection = _collection_of(path)
        if collection is None:
            return
        template, params = collection
        try:
            record = LOADERS[template](self._store, Loaded(params, project, _copy(item)))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self._missing.append(f"{_path(path, item)}: {type(error).__name__} {error}")
            return
        self._loaded[template] += 1
        if record is not None:
            self._records[(project, path), _id_of(item)] = record

    # Comparing

    def _compare_list(self, answer: ListAnswer) -> None:
        """Restore the order of a list, and note the items that the emulator shows otherwise."""
        wanted = [_id_of(item) for item in answer.items]
        known = set(wanted)
        shown = self._read_list(answer)
        if (
            len(wanted) > 1
            and [id for item in shown if (id := _id_of(item)) in known] == wanted[::-1]
        ):
            self._restore_order(answer, wanted, [_id_of(item) for item in shown])
            shown = self._read_list(answer)
        by_id = {_id_of(item): item for item in shown}
        for item in answer.items:
            emulated = by_id.get(_id_of(item))
            if emulated is None:
                self._missing.append(f"{_path(answer.path, item)}: is not listed")
            elif emulated != item:
                place = (answer.project, _path(answer.path, item))
                self.differences.in_lists[place] = self._patch(place[1], emulated, item)
        extra = sum(1 for id in by_id if id not in known)
        if extra and not answer.is_partial:
            self._missing.append(f"{answer.path}: lists {extra} more than the API did")
        if [id for id in by_id if id in known] != [id for id in wanted if id in by_id]:
            self._missing.append(f"{answer.path}: is in another order")

    def _restore_order(self, answer: ListAnswer, wanted: list[str], shown: list[str]) -> None:
        """Reverse the records of a list that shows the newest first. What else it shows is older."""
        place = (answer.project, answer.path)
        known = set(wanted)
        others = [id for id in shown if id not in known]
        oldest_first = [id for id in [*others, *wanted[::-1]] if (place, id) in self._records]
        self._store.reorder([self._records[place, id] for id in oldest_first])

    def _compare_object(self, single: ObjectAnswer) -> None:
        emulated = self._answer(single.path, single.project, {})
        if emulated is None:
            self._missing.append(f"{single.path}: is not shown")
            return
        patch = {} if emulated == single.body else self._patch(single.path, emulated, single.body)
        self.differences.alone[single.project, single.path] = patch

    def _patch(self, path: str, emulated: Item, loaded: Item) -> Patch:
        pairs = {
            name: (emulated.get(name, _ABSENT), loaded.get(name, _ABSENT))
            for name in {**emulated, **loaded}
        }
        patch = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        self._copied.setdefault(_home_of(path) or path, set()).update(patch)
        return patch

    def _effective(self, refusals: Iterable[Refusal], read: Collection[Place]) -> Iterator[Refusal]:
        """The refusals that last. A 404 lasts where a whole list is gone, not a single object."""
        for refusal in refusals:
            below = f"{refusal.path}/"
            is_whole = not any(
                project == refusal.project and path.startswith(below) for project, path in read
            )
            is_list = _collection_of(refusal.path) is not None
            is_gone = refusal.status == 404 and is_list and self._shows_list(refusal)
            if refusal.status in _LASTING or is_gone:
                yield replace(refusal, is_whole=is_whole)

    def _shows_list(self, refusal: Refusal) -> bool:
        shown = self._answer(refusal.path, refusal.project, {})
        return shown is not None and isinstance(shown.get("data"), list)

    # The emulator's own answers

    def _read_list(self, answer: ListAnswer) -> list[Item]:
        query = dict(answer.query)
        items: list[Item] = []
        for _ in range(_MOST_PAGES):
            page = self._answer(answer.path, answer.project, query)
            if page is None:
                break
            data = page.get("data") or []
            items += data
            if not page.get("has_more") or not data:
                break
            # Some lists name no cursor, and go on after their last item.
            named = next((page[name] for name in _CURSORS if page.get(name)), None)
            query["after"] = str(named or _id_of(data[-1]))
        return items

    def _answer(self, path: str, project: str, query: dict[str, str]) -> Item | None:
        routes, params = self._router.find(path)
        route = routes.get("GET")
        if route is None:
            return None
        record = self._store.get("project", ORGANIZATION, project) if project else None
        principal = Principal(route.access, "copy", record)
        call = Call(
            self._store, self._options, principal, params, Query(urlencode(query, doseq=True))
        )
        try:
            answer = route.handler(call)
        except (ErrorAnswer, RuntimeError):  # a project's path without a project
            return None
        return None if isinstance(answer, Reply) else _copy(answer)


def _copy(item: Item) -> Item:
    copied: Item = json.loads(json.dumps(item))
    return copied


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _home_of(path: str) -> str | None:
    """The template of the collection at a path, or of the one that holds the object at it."""
    collection = _collection_of(path) or _collection_of(_parent(path))
    return None if collection is None else collection[0]


def _order_of(path: str) -> int:
    collection = _collection_of(path)
    return len(_ORDER) if collection is None else _ORDER[collection[0]]


def _collection_of(path: str) -> tuple[str, dict[str, str]] | None:
    """The template of a collection's path and its parameters; None for other paths."""
    parts = path.split("/")
    for template, segments in _TEMPLATES.get(len(parts), ()):
        pairs = list(zip(segments, parts, strict=True))
        if all(
            part and (segment == part or segment.startswith("{")) for segment, part in pairs[1:]
        ):
            return template, {s[1:-1]: part for s, part in pairs if s.startswith("{")}
    return None


_ORDER = {template: at for at, template in enumerate(LOADERS)}
_TEMPLATES: dict[int, list[tuple[str, list[str]]]] = {}
for _template in LOADERS:
    _TEMPLATES.setdefault(_template.count("/") + 1, []).append((_template, _template.split("/")))
