"""One collection of one kind, in one scope: the calls that the kind declares, and live objects of their answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import ceil
from typing import Any, Literal

from msgspec import Struct

from reconciler.api.objects.scoped import ScopedClient, id_of
from reconciler.errors import AnswerError, CredentialError, NotFoundError
from reconciler.model.calls import Parent, parent_fields
from reconciler.model.comparing import canonical, with_hidden
from reconciler.model.kind import IN_USE, IS_OVER, Field, Kind
from reconciler.model.paths import undotted
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.values import SecretValue, Spec, value_at, with_secrets

_FEW = 3

LOG = logging.getLogger("reconciler.api")

Reveal = Callable[[SecretValue], Secret]
"""From where a secret is read to what it is; raises CredentialError where it is not there, or must not be sent."""

CallName = Literal["create", "read", "update", "delete"]


def _unreadable(value: SecretValue) -> Secret:
    raise CredentialError(f"{value.source}: no secret can be read here")


class CollectionClient(Struct, frozen=True, dict=True):
    """Where objects of a kind are: `project` is the name in the configuration.

    `is_in_use` says whether a key that is shown redacted is one that this run works with. `reveal` reads the secrets of
    a body; it is asked as the body is sent, and nothing before that knows them.
    """

    kind: Kind
    client: ScopedClient
    project: str | None
    parent: Parent = ()
    is_in_use: Callable[[str], bool] = lambda _: False
    reveal: Reveal = _unreadable

    @cached_property
    def collection(self) -> str:
        """The path of the collection, with holes."""
        return self.kind.collection_for(in_project=self.project is not None, within=self.parent)

    def call(
        self, name: CallName, id: str = "", *, values: Spec | None = None, **rest: Any
    ) -> dict[str, Any]:
        """One of the kind's calls; `values` of a spec are for holes of the path, `rest` is as in `Reach.request`."""
        return self.send(*self._template(name), id, values=values, **rest)

    def switch(self, field: Field, value: str, id: str) -> dict[str, Any]:
        """The call that gives a field of an object a value; the answer."""
        call = self.kind.filled(
            field.action_calls[value], in_project=self.project is not None, within=self.parent
        )
        return self.send(*call, id, repeatable=True)

    def send(
        self, method: str, path: str, id: str, *, values: Spec | None = None, **rest: Any
    ) -> dict[str, Any]:
        """A call of a method and a path with holes, as in `call`."""
        known = {hole: (values or {}).get(hole) for hole in parent_fields(path)}
        ids = {hole: str(value) for hole, value in known.items() if value} | dict(self.parent)
        if "json" in rest:
            rest["json"] = with_secrets(rest["json"], lambda value: self.reveal(value).reveal())
        return self.client.request(method, path, ids=ids | ({"id": id} if id else {}), **rest)

    def list(
        self,
        query: Mapping[str, str | int],
        *,
        enough: frozenset[str] | None = None,
        pages: int = 1,
        attempts: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of the collection, page by page; fewer where `enough` are all that is wanted.

        It is read until asking for the rest of what is wanted singly is fewer calls than the pages that are to come, of
        as many `pages` as it had when it was read last.
        """
        items = self.client.list(
            self.collection, ids=dict(self.parent), query=query, attempts=attempts
        )
        if enough is None or not self.kind.readable_singly:
            yield from items
            return
        missing, pages = set(enough), max(pages, ceil(len(enough) / self.kind.page_limit))
        for number, item in enumerate(items, start=1):
            missing.discard(self.id_of(item))
            yield item
            page, rest = divmod(number, self.kind.page_limit)
            if not rest and _is_far_enough(
                page, of=pages, missing=len(missing), wanted=len(enough)
            ):
                LOG.info("%s: %s", self.kind.name, _left_off(page, len(missing)))
                return

    def get(self, id: str = "") -> LiveObject | None:
        """The object with an id, None where the API has none."""
        try:
            item = self.call("read", id)
        except NotFoundError:
            return None
        return self.live({"id": id, **item} if id else item) if self.counts(item) else None

    def remove(self, id: str) -> None:
        """Delete, or switch off where that is how objects of the kind go."""
        if self._template("delete")[0] == "DELETE":
            self.call("delete", id)
        else:
            self.call("delete", id, json={str(self.kind.calls.in_list_as): [id]}, repeatable=True)

    def cancel(self, id: str) -> None:
        """Stop a job."""
        self._of_job(self.kind.job.cancel if self.kind.job else "", id)

    def said(self, id: str) -> Sequence[tuple[str, str]]:
        """What a job has said lately, oldest first, as id and sentence."""
        path = self.kind.job.events if self.kind.job else None
        if path is None:
            return []
        events = self._of_job(f"GET {path}", id).get("data") or ()
        return [(str(event.get("id")), str(event.get("message"))) for event in reversed(events)]

    def _of_job(self, template: str, id: str) -> dict[str, Any]:
        method, _, path = template.replace("{collection}", self.collection).partition(" ")
        return self.client.request(method, path, ids=dict(self.parent) | {"id": id})

    def counts(self, item: Spec) -> bool:
        """Whether an item of a list is an object of the kind; it is asked with what the path says.

        Raises AnswerError where the item lacks what would tell: an object that is left out counts as gone.
        """
        if self.kind.calls.listed is None:
            return True
        found = self.kind.calls.listed({**item, **dict(self.parent)})
        if found is None:
            raise AnswerError(
                f"{self.kind.name} {item.get('id')}: the answer lacks what tells it from other objects of the list",
                hint="Nothing is planned. Check the server and any proxy in between, and plan again.",
            )
        return found

    def in_path(self, name: CallName) -> frozenset[str]:
        """The fields that the path of a call says, so that its body must not."""
        return frozenset(parent_fields(self._template(name)[1]))

    def own_id_of(self, item: Spec) -> str:
        """The id of an answered object within its surroundings; AnswerError where it has none."""
        if self.kind.calls.singleton:
            return self.collection.rpartition("/")[2]
        name = self.kind.calls.id_field
        found = id_of(
            {"id": item.get(name)} if name and item.get(name) else item, what=self.collection
        )
        # Two spellings of an id would be two objects.
        return str(canonical(self.kind.by_name[name].type, found)) if name else found

    def live(self, item: Spec) -> LiveObject:
        """An answer as a live object: under the names of our fields, and with what the path says.

        What the API should not show is left out even where it does: it may be a secret, and one that nobody here knows.
        """
        if self.parent or self.kind.shown_otherwise or self.kind.shows_key:
            item = self._reshaped(item)
        id = self.kind.composed_id(self.parent, self.own_id_of(item))
        return LiveObject(self.kind, id, item, self.project)

    def _reshaped(self, item: Spec) -> Spec:
        attributes = {**item, **dict(self.parent)}
        for field in self.kind.shown_otherwise:
            if field.response_key:
                _rename(
                    field.name,
                    [str(part) for part in undotted(field.response_key)],
                    item,
                    attributes,
                )
            if field.has_hidden and field.name in attributes:
                attributes[field.name] = with_hidden(field.type, attributes[field.name], None)
            elif field.takes_secrets:
                attributes.pop(field.name, None)
        shown = item.get(self.kind.shows_key) if self.kind.shows_key else None
        if isinstance(shown, str):
            expires_at = item.get("expires_at")
            attributes[IN_USE] = self.is_in_use(shown)
            attributes[IS_OVER] = (
                isinstance(expires_at, int) and expires_at <= self.client.client.server_clock()
            )
        return attributes

    def id_of(self, item: Spec) -> str:
        """The id of an answered object, with its surroundings."""
        return self.kind.composed_id(self.parent, self.own_id_of(item))

    def _template(self, name: CallName) -> tuple[str, str]:
        return self.kind.route(name, in_project=self.project is not None, within=self.parent)


def _rename(name: str, path: list[str], item: Spec, attributes: dict[str, Any]) -> None:
    """Give a field the value that an answer has for it elsewhere; one that is missing there stays missing."""
    holder = value_at(item, path[:-1])
    if isinstance(holder, Mapping) and path[-1] in holder:
        if holder[path[-1]] is not None or name not in item:
            attributes[name] = holder[path[-1]]
    elif isinstance(attributes.get(name), dict):
        del attributes[name]  # it holds the value, where there is one, and is not the value


def _is_far_enough(page: int, *, of: int, missing: int, wanted: int) -> bool:
    """Whether what is missing after so many pages takes fewer calls by itself than the rest of the list.

    Beyond the pages that are known of, nobody says how long a list is. A few objects are not worth a second page. More
    are asked for once that costs at most half as much as the pages so far, which is never much more than either way
    alone.
    """
    if page < of:
        return missing < of - page
    return 2 * missing <= page or (of == 1 and wanted <= _FEW)


def _left_off(pages: int, missing: int) -> str:
    """Why a list is not read to its end, for people."""
    read = f"the first {pages} pages" if pages > 1 else "the first page"
    if not missing:
        return f"all of ours are on {read} of the list"
    return f"{missing} of ours {'is' if missing == 1 else 'are'} not on {read} of the list, and read singly"
