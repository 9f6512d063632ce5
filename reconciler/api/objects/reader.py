"""Reads objects: the declaration of a kind decides which calls that takes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from math import ceil
from threading import Lock
from typing import Any

from msgspec.structs import replace

from reconciler.api.objects.change_context import FieldHandler
from reconciler.api.objects.collection import CollectionClient
from reconciler.api.objects.field_handlers import FieldHandlers
from reconciler.api.objects.retirement import Retirements
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.objects.scopes import Scopes
from reconciler.api.transport.request import Reuse
from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import ApiError, CredentialError, NotFoundError
from reconciler.model.calls import ListKey, Parent
from reconciler.model.kind import Field, Kind
from reconciler.model.provider import ExpectedValue
from reconciler.model.resource import LiveObject
from reconciler.model.sharers import sharers_of

_OPTIONAL_ATTEMPTS = 2
"""A plan can do without such a list, so a failing server does not delay it for minutes."""

_Items = Sequence[dict[str, Any]]


class HttpReader:
    """The reading half of a provider. Safe to use from threads.

    `pages` is the number of pages of each list when it was last read, for lists of more than one
    page. It decides whether a list is read to its end, and is kept up to date.
    """

    def __init__(
        self,
        scopes: Scopes,
        handlers: FieldHandlers,
        retirements: Retirements,
        pages: Mapping[ListKey, int],
    ) -> None:
        self.pages = dict(pages)
        self._scopes = scopes
        self._handlers = handlers
        self._retirements = retirements
        self._shared: _SharedLists | None = None
        self._sharers = 1

    def for_planning(self, *, sharers: int = 1) -> HttpReader:
        """A reader for plans, whose answers may come from what other stacks have read.

        It has the same projects and page counts. Nothing that belongs to an apply may use it.
        `sharers` is the number of stacks of the organization.
        """
        reader = HttpReader(self._scopes.for_planning(), self._handlers, self._retirements, {})
        reader.pages = self.pages
        reader._sharers = sharers
        return reader

    def share_lists(self) -> None:
        """Read a list that several kinds are in once for all of them, from now on.

        Only for runs that write nothing: a list that was read once is assumed to stay the same.
        """
        self._shared = _SharedLists()

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._scopes.http.calls

    def bind_project(self, name: str, project_id: str) -> None:
        """Set the API project of a project name in the configuration."""
        self._scopes.bind_project(name, project_id)

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether objects of the kind can be read now.

        False while the project or its key does not exist yet. True where the admin key or the
        default key is missing: that raises CredentialError as soon as the key is needed.
        """
        return self._scopes.is_ready(kind, project)

    def announce(self, kind: Kind, project: str | None, *calls: str, parent: Parent = ()) -> None:
        """Announce calls, so that the remaining time can be estimated.

        A list that another stack reads takes no call, so it is not announced.
        """
        if "list" in calls and self.is_list_shared(kind, project, parent):
            return
        # A parent that does not exist yet has no id, and the route of a call needs none.
        if not parent and kind.parents:
            parent = tuple((name, "") for name in kind.parents[0])
        for call in calls:
            route: tuple[str, str] | None
            if call in kind.by_name:
                handler = self._handlers.of(kind.by_name[call])
                route = None if handler is None else handler.read_route(kind)
            else:
                route = kind.route(call, in_project=project is not None, parent=parent)
            if route is not None:
                self._scopes.http.in_flight.expect(RateLimitKey(kind.scope.needs_admin_key, *route))

    def is_list_shared(self, kind: Kind, project: str | None, parent: Parent = ()) -> bool:
        """Whether another stack has read a list, or is reading it, so that it takes no call here."""
        if self._scopes.http.shared is None or not kind.calls.listable or kind.calls.singleton:
            return False
        try:
            collection = self._scopes.collection(kind, project, parent)
        # Its project does not exist yet, or its key.
        except CredentialError:
            return False
        return collection.is_shared({**kind.list_query, "limit": kind.page_limit})

    def list(
        self,
        kind: Kind,
        project: str | None,
        parent: Parent = (),
        *,
        only_ids: frozenset[str] | None = None,
        fresh: bool = False,
        is_optional: bool = False,
    ) -> tuple[LiveObject, ...]:
        """All objects of a kind in a scope; RetiredError where the server dropped the kind.

        Empty where the API has no list of the kind, and where the parent is gone. `only_ids` are the
        only ids that matter, so that the list may end early. A call sends its own requests, unless
        other stacks have read the same and it need not be `fresh`.
        """
        if not kind.calls.listable:
            # Without this check, only a create would find out that the kind is gone.
            if kind.retirement:
                self._retirements.check(kind, self._scopes.client(kind, project))
            return ()
        collection = self._collection(kind, project, parent, fresh=fresh)
        if kind.calls.singleton:
            live = collection.get()
            if live is None:
                return ()
            return (live,)
        list_key = (kind.name, project, parent)
        try:
            items = self._items(collection, list_key, only_ids, is_optional=is_optional)
        except ApiError as error:
            explained = self._retirements.explain(
                error, kind, collection.client, path=collection.path
            )
            if explained is not error:
                raise explained from error
            # The parent is gone, and its objects with it.
            if parent and isinstance(error, NotFoundError):
                return ()
            raise
        # An answered list proves that the kind exists: later 404s are of single objects.
        self._retirements.seen(kind)
        self._note_pages(list_key, ceil(len(items) / kind.page_limit), is_whole=only_ids is None)
        return tuple(collection.live(answer) for answer in items if collection.counts(answer))

    def _collection(
        self, kind: Kind, project: str | None, parent: Parent, *, fresh: bool
    ) -> CollectionClient:
        collection = self._scopes.collection(kind, project, parent)
        if not fresh or collection.client.reuse is Reuse.NEVER:
            return collection
        return replace(collection, client=replace(collection.client, reuse=Reuse.REFRESH))

    def _items(
        self,
        collection: CollectionClient,
        list_key: ListKey,
        only_ids: frozenset[str] | None,
        *,
        is_optional: bool,
    ) -> _Items:
        kind, project = collection.kind, list_key[1]
        query: dict[str, str | int] = {**kind.list_query, "limit": kind.page_limit}

        attempts = _OPTIONAL_ATTEMPTS if is_optional else None

        def read() -> _Items:
            return tuple(
                collection.list(
                    query,
                    only_ids=only_ids,
                    sharers=sharers_of(kind, project, self._sharers),
                    pages=self.pages.get(list_key, 1),
                    attempts=attempts,
                )
            )

        # A list that may end early must not stand for the whole one.
        if self._shared is None or only_ids is not None:
            return read()
        _, project, parent = list_key
        key = (collection.path, project, parent, tuple(sorted(query.items())))
        return self._shared.items(key, read)

    def newest(
        self, kind: Kind, project: str | None, parent: Parent = ()
    ) -> tuple[LiveObject, ...]:
        """The first page of a list: the objects that were created last."""
        # A search repeats this call while lists lag, and a new object is on the first page.
        collection = self._scopes.collection(kind, project, parent)
        query: dict[str, str | int] = {**kind.list_query, "limit": kind.page_limit}
        items = islice(collection.list(query), kind.page_limit)
        return tuple(collection.live(answer) for answer in items if collection.counts(answer))

    def _note_pages(self, list_key: ListKey, pages: int, *, is_whole: bool) -> None:
        # A list that ended early has at least as many pages as were read of it.
        if pages > 1 and (is_whole or pages > self.pages.get(list_key, 1)):
            self.pages[list_key] = pages
        elif is_whole:
            self.pages.pop(list_key, None)

    def get(
        self, kind: Kind, project: str | None, id: str, *, fresh: bool = False
    ) -> LiveObject | None:
        """One object, None where the API has none. `fresh` is as in `list`."""
        parent, own_id = kind.parent_and_id(id)
        # For some kinds, the API has a list and no call for one object.
        if not kind.readable_singly:
            listed = self.list(kind, project, parent, fresh=fresh)
            return next((live for live in listed if live.id == id), None)
        collection = self._collection(kind, project, parent, fresh=fresh)
        live = collection.get(own_id)
        # A 404 of one object may be that of the whole kind, which the API has retired.
        if live is None:
            self._retirements.check(kind, collection.client)
        return live

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of the named fields, as far as they can be read."""
        return self._with_own_calls(
            live, names, lambda handler, _, client: handler.read(client, live)
        )

    def read_before_write(
        self, live: LiveObject, expected: Mapping[str, ExpectedValue]
    ) -> LiveObject:
        """The object with the named fields, read as far as a change touches them."""
        return self._with_own_calls(
            live,
            expected,
            lambda handler, field, client: handler.read_before_write(
                field, client, live, expected[field.name]
            ),
        )

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """Recent events of a job, oldest first, as id and sentence; empty where it has none."""
        return self._scopes.collection_of(live).job_events(live.own_id)

    def _with_own_calls(
        self,
        live: LiveObject,
        names: Iterable[str],
        read: Callable[[FieldHandler, Field, ScopedClient], Any],
    ) -> LiveObject:
        wanted = frozenset(names)
        client = self._scopes.client(live.kind, live.project)
        values = dict(live.own_calls)
        for field in live.kind.own_calls:
            handler = self._handlers.of(field)
            if handler is None or field.name not in wanted:
                continue
            value = read(handler, field, client)
            # A field that cannot be read has no entry, so that it is not compared.
            if value is not None:
                values[field.name] = value
        return replace(live, own_calls=values)


class _SharedLists:
    """Lists that were read, by route, scope and query. Safe to use from threads."""

    def __init__(self) -> None:
        self._items: dict[Hashable, _Items] = {}
        self._locks: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def items(self, key: Hashable, read: Callable[[], _Items]) -> _Items:
        """The items of a list. Concurrent callers wait for one read; errors are not kept."""
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._items:
                self._items[key] = read()
            return self._items[key]
