"""A client for one collection: the calls that a kind declares, and live objects of the answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from math import ceil
from typing import Any, Literal

from msgspec import Struct

from reconciler.api.objects.scoped_client import ScopedClient, id_of
from reconciler.errors import AnswerError, CredentialError, NotFoundError
from reconciler.model.calls import Parent, parent_fields
from reconciler.model.comparing import canonical, with_hidden
from reconciler.model.consistency import pauses
from reconciler.model.kind import IN_USE, IS_OVER, Field, Kind
from reconciler.model.paths import undotted
from reconciler.model.resource import LiveObject
from reconciler.model.secret import Secret
from reconciler.model.values import SecretValue, Spec, value_at, with_secrets

_FEW = 3
"""Up to this many ids are read singly rather than with another page."""

LOG = logging.getLogger("reconciler.api")

Reveal = Callable[[SecretValue], Secret]
"""Reads a secret from its source; raises CredentialError if it is missing or must not be sent."""

CallName = Literal["create", "read", "update", "delete"]


def _unreadable(value: SecretValue) -> Secret:
    raise CredentialError(f"{value.source}: no secret can be read here")


class CollectionClient(Struct, frozen=True, dict=True):
    """The collection of a kind in a scope. `project` is the name in the configuration.

    `is_in_use` tells whether a redacted key is one that this run uses. `reveal` reads the secrets
    in a body right before the body is sent; no other code sees them.
    """

    kind: Kind
    client: ScopedClient
    project: str | None
    parent: Parent = ()
    is_in_use: Callable[[str], bool] = lambda _: False
    reveal: Reveal = _unreadable

    @cached_property
    def path(self) -> str:
        """The path of the collection, with path parameters."""
        return self.kind.collection_for(in_project=self.project is not None, parent=self.parent)

    def call(
        self, name: CallName, id: str = "", *, values: Spec | None = None, **rest: Any
    ) -> dict[str, Any]:
        """One of the kind's calls; path parameters are taken from `values` and from the parent.

        `rest` are fields of `Request`.
        """
        return self.send(*self._template(name), id, values=values, **rest)

    def call_action(self, field: Field, value: str, id: str) -> dict[str, Any]:
        """The call that sets a field to a value, such as `activate`; its answer."""
        call = self.kind.filled(
            field.action_calls[value], in_project=self.project is not None, parent=self.parent
        )
        return self.send(*call, id, repeatable=True)

    def send(
        self, method: str, path: str, id: str, *, values: Spec | None = None, **rest: Any
    ) -> dict[str, Any]:
        """A call by method and path, as in `call`."""
        ids: dict[str, str] = {}
        for parameter in parent_fields(path):
            value = (values or {}).get(parameter)
            if value:
                ids[parameter] = str(value)
        # The parent in the id of an object outranks the one in its manifest, which may have changed.
        ids.update(self.parent)
        if id:
            ids["id"] = id
        # Secrets are inserted last, so that no logged body contains one.
        if "json" in rest:
            rest["json"] = with_secrets(rest["json"], lambda value: self.reveal(value).reveal())
        return self.client.request(method, path, ids=ids, **rest)

    def modify(self, id: str, body: Spec, *, settle_seconds: float = 0.0) -> dict[str, Any]:
        """A modify call. A 404 is retried for `settle_seconds`: new objects may be unknown so long.

        The call is repeatable because it sets values.
        """
        growing_pauses = pauses(settle_seconds)

        # A poll returns one result, so the refusal is a value until the deadline.
        def attempt() -> dict[str, Any] | NotFoundError:
            try:
                return self.call("update", id, json=body, repeatable=True)
            except NotFoundError as error:
                return error

        answer = self.client.http.waits.poll(
            attempt,
            is_done=lambda answer: not isinstance(answer, NotFoundError),
            next_pause=lambda _: next(growing_pauses, None),
            reason=f"until the new {self.kind.name} {id} can be changed",
        )
        if isinstance(answer, NotFoundError):
            raise answer
        return answer

    def list(
        self,
        query: Mapping[str, str | int],
        *,
        only_ids: frozenset[str] | None = None,
        pages: int = 1,
        sharers: int = 1,
        attempts: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of the collection, page by page; with `only_ids`, possibly fewer.

        The list then ends once single reads of the missing ids take fewer calls than its other
        pages, for `sharers` stacks that each miss as many. `pages` is its number of pages when it
        was last read.
        """
        items = self.client.list(self.path, ids=dict(self.parent), query=query, attempts=attempts)
        if only_ids is None or not self.kind.readable_singly:
            yield from items
            return
        missing, wanted = set(only_ids), len(only_ids) * sharers
        pages = max(pages, ceil(wanted / self.kind.page_limit))
        for number, answer in enumerate(items, start=1):
            missing.discard(self.id_of(answer))
            yield answer
            # Asking for the next item fetches the next page, so decide at the end of each page.
            page, rest = divmod(number, self.kind.page_limit)
            if not rest and _ends_early(
                page, of=pages, missing=len(missing) * sharers, wanted=wanted
            ):
                LOG.info("%s: %s", self.kind.name, _early_end(page, len(missing)))
                return

    def is_shared(self, query: Mapping[str, str | int]) -> bool:
        """Whether another stack has read the list, or is reading it."""
        return self.client.is_shared(self.path, ids=dict(self.parent), query=query)

    def get(self, id: str = "") -> LiveObject | None:
        """The object with an id, None where the API has none."""
        try:
            answer = self.call("read", id)
        except NotFoundError:
            return None
        if not self.counts(answer):
            return None
        # Some answers to a read lack the id that was asked for. Singletons have none.
        if id:
            answer = {"id": id, **answer}
        return self.live(answer)

    def remove(self, id: str) -> None:
        """Delete an object, or switch it off if the kind declares that."""
        if self._template("delete")[0] == "DELETE":
            self.call("delete", id)
        else:
            # Such a call takes a list of ids, and sets a state: a second time changes nothing.
            self.call("delete", id, json={str(self.kind.calls.in_list_as): [id]}, repeatable=True)

    def cancel(self, id: str) -> None:
        """Stop a job."""
        if self.kind.job is not None:
            self._request_of_job(self.kind.job.cancel, id)

    def job_events(self, id: str) -> Sequence[tuple[str, str]]:
        """Recent events of a job, oldest first, as id and sentence."""
        if self.kind.job is None or self.kind.job.events is None:
            return []
        # One page is enough: the API sends the newest events first.
        events = self._request_of_job(f"GET {self.kind.job.events}", id).get("data") or ()
        return [
            (str(event.get("id") or ""), str(event["message"]))
            for event in reversed(events)
            if event.get("message")
        ]

    def _request_of_job(self, template: str, id: str) -> dict[str, Any]:
        method, _, path = template.replace("{collection}", self.path).partition(" ")
        return self.client.request(method, path, ids=dict(self.parent) | {"id": id})

    def counts(self, answer: Spec) -> bool:
        """Whether an item of a list is an object of the kind; some lists hold several kinds.

        Raises AnswerError if the item does not show its type.
        """
        if self.kind.calls.listed is None:
            return True
        is_of_kind = self.kind.calls.listed({**answer, **dict(self.parent)})
        # To skip the item would count the object as deleted.
        if is_of_kind is None:
            raise AnswerError(
                f"{self.kind.name} {answer.get('id')}: the answer lacks the fields that tell it "
                "from other objects of the list",
                hint="Nothing is planned. Check the server and any proxy in between, and plan "
                "again.",
            )
        return is_of_kind

    def in_path(self, name: CallName) -> frozenset[str]:
        """The fields in the path of a call. The API refuses them in the body."""
        return frozenset(parent_fields(self._template(name)[1]))

    def own_id_of(self, answer: Spec) -> str:
        """The id of an answered object within its parent; AnswerError where it has none."""
        # The API shows no id of an object that always exists, so the path stands for one.
        if self.kind.calls.singleton:
            return self.path.rpartition("/")[2]
        id_field = self.kind.calls.id_field
        if not id_field:
            return id_of(answer, subject=self.path)
        # The create names the member by its field; the list shows the user or the role itself.
        id = id_of({"id": answer.get(id_field) or answer.get("id")}, subject=self.path)
        # Two spellings of an id would be two objects.
        return str(canonical(self.kind.by_name[id_field].type, id))

    def live(self, answer: Spec) -> LiveObject:
        """An answer as a live object: with our names of fields, and with the ids in the path."""
        if self.parent or self.kind.shown_otherwise or self.kind.shows_key:
            answer = self._reshaped(answer)
        id = self.kind.composed_id(self.parent, self.own_id_of(answer))
        return LiveObject(self.kind, id, answer, self.project)

    def _reshaped(self, answer: Spec) -> Spec:
        attributes = {**answer, **dict(self.parent)}
        for field in self.kind.shown_otherwise:
            if field.response_key:
                source = [str(part) for part in undotted(field.response_key)]
                _copy_value(field.name, source, answer, attributes)
            # Secrets are dropped even where the API shows them, because the redactor does not know
            # those values.
            if field.has_hidden and field.name in attributes:
                attributes[field.name] = with_hidden(field.type, attributes[field.name], None)
            elif field.takes_secrets:
                attributes.pop(field.name, None)
        shown = answer.get(self.kind.shows_key or "")
        if isinstance(shown, str):
            expires_at = answer.get("expires_at")
            attributes[IN_USE] = self.is_in_use(shown)
            now = self.client.http.server_clock()
            attributes[IS_OVER] = isinstance(expires_at, int) and expires_at <= now
        return attributes

    def id_of(self, answer: Spec) -> str:
        """The id of an answered object, with its parent."""
        return self.kind.composed_id(self.parent, self.own_id_of(answer))

    def _template(self, name: CallName) -> tuple[str, str]:
        return self.kind.route(name, in_project=self.project is not None, parent=self.parent)


def _copy_value(name: str, path: list[str], answer: Spec, attributes: dict[str, Any]) -> None:
    """Set a field to the value at a path of an answer; leave it unset where that is missing."""
    parent = value_at(answer, path[:-1])
    if isinstance(parent, Mapping) and path[-1] in parent:
        # Some calls answer with the field itself, and with null at the path.
        if parent[path[-1]] is not None or name not in answer:
            attributes[name] = parent[path[-1]]
    elif isinstance(attributes.get(name), dict):
        del attributes[name]  # the object around the value, which is no value itself


def _ends_early(page: int, *, of: int, missing: int, wanted: int) -> bool:
    """Whether single reads of the missing ids take fewer calls than the rest of the list."""
    if page < of:
        return missing < of - page
    # Beyond its known pages, the length of a list is unknown. A few ids are not worth a second
    # page. More ids are read singly once that takes at most half as many calls as the pages so far.
    # This never costs much more than the cheaper of the two ways.
    return 2 * missing <= page or (of == 1 and wanted <= _FEW)


def _early_end(pages: int, missing: int) -> str:
    """Why a list ended early, for the log."""
    part = f"the first {pages} pages" if pages > 1 else "the first page"
    if not missing:
        return f"all of ours are on {part} of the list"
    verb = "is" if missing == 1 else "are"
    return f"{missing} of ours {verb} not on {part} of the list, and read singly"
