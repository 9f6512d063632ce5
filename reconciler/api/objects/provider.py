"""Kinds into calls: the provider that the engine knows only by its protocol.

Everything is read off the declaration of a kind: where its collection is, which key reaches it, which fields a body
takes, what a delete means. Fields that have calls of their own are left to carriers, chosen by their type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.objects.bodies import (
    changed_body,
    create_body,
    late_body,
    restoring_body,
    whole_body,
)
from reconciler.api.objects.changes import ChangeContext, FieldHandler, FieldWrite
from reconciler.api.objects.collection import CollectionClient, Reveal
from reconciler.api.objects.file_set import FileSetHandler
from reconciler.api.objects.key_delivery import KeyDelivery
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.retirement import Retirements
from reconciler.api.objects.scoped import ScopedClient
from reconciler.api.objects.shown_once import ShownOnce
from reconciler.api.objects.uploads import MEBIBYTE, Uploader
from reconciler.api.transport.client import Client
from reconciler.api.transport.request import Form
from reconciler.api.transport.throttle import RateLimitKey
from reconciler.errors import AmbiguousError, AnswerError, ApiError, CredentialError, NotFoundError
from reconciler.model.address import Address
from reconciler.model.calls import ListKey, Parent
from reconciler.model.comparing import canonical, comparable, same
from reconciler.model.consistency import SETTLE_SECONDS, pauses
from reconciler.model.kind import Field, Kind, Removal, ScopeType, TerminalState
from reconciler.model.provider import CREATE, ExpectedValue, Sinks, Steps, Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import BundleType, FileSetType, KeySinkType, LocalFileType
from reconciler.model.values import LocalFile, Spec

_OPTIONAL_ATTEMPTS = 2
Tasks = tuple[tuple[FieldHandler, FieldWrite], ...]


class HttpProvider:
    """Implements `model.provider.Provider`. Safe to use from threads.

    `project_ids` maps project names of the configuration to ids, `default_project` is the id to send along with the
    default key, where one is set. `settle_seconds` is how long something just written may be missing from answers,
    `index_seconds` how long indexing is waited for. Files above `whole_bytes` are uploaded in parts of `part_bytes`;
    `parallelism` counts the calls at a time within one change. `reveal` reads the secrets that bodies name, `recorded`
    is what the state remembers. `pages` is how long lists were when they were read last, where that was more than a
    page, and is kept up to date.
    """

    def __init__(
        self,
        client: Client,
        keys: KeyRing,
        sinks: Sinks,
        root: Path,
        project_ids: Mapping[str, str],
        *,
        default_project: str | None = None,
        settle_seconds: float = SETTLE_SECONDS,
        index_seconds: float = 600.0,
        parallelism: int = 4,
        whole_bytes: int = 512 * MEBIBYTE,
        part_bytes: int = 64 * MEBIBYTE,
        reveal: Reveal | None = None,
        recorded: Iterable[Record] = (),
        pages: Mapping[ListKey, int] | None = None,
    ) -> None:
        self.pages = dict(pages or {})
        self._client = client
        self._keys = keys
        self._project_ids = dict(project_ids)
        self._default_project = default_project
        self._settle_seconds = settle_seconds
        self._reveal = reveal
        self._claims = InProcessReservations()
        self._retirements = Retirements()
        self._uploader = Uploader(root, whole_bytes=whole_bytes, part_bytes=part_bytes)
        folder = FileSetHandler(
            self._uploader,
            self._claims,
            index_seconds=index_seconds,
            settle_seconds=settle_seconds,
            parallelism=parallelism,
        )
        self._recorded = recorded
        delivery = KeyDelivery(sinks, keys, settle_seconds=settle_seconds)
        self._folder, self._delivery, self._shown_once = folder, delivery, ShownOnce(sinks)

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._client.calls

    @property
    def reservations(self) -> InProcessReservations:
        """The ids that are spoken for in this run."""
        return self._claims

    def bind_project(self, name: str, project_id: str) -> None:
        """Tell which API project a project name of the configuration is."""
        self._project_ids[name] = project_id

    def can_read(self, kind: Kind, project: str | None) -> bool:
        """Whether objects of the kind can be read now.

        False while the project or its key does not exist yet. A missing admin or default key is no such thing, and
        shows as CredentialError as soon as it is needed.
        """
        if project is None or kind.scope is ScopeType.ORGANIZATION:
            return True
        if project not in self._project_ids:
            return False
        return kind.scope.needs_admin_key or self._keys.has_project(project)

    def announce(self, kind: Kind, project: str | None, *calls: str, within: Parent = ()) -> None:
        """Tell that calls will be made soon; surroundings that are not known yet make no other route."""
        around = within or tuple((name, "") for name in (kind.parents[0] if kind.parents else ()))
        for call in calls:
            if call in kind.by_name:
                carrier = self._carrier(kind.by_name[call])
                route = carrier.reads(kind) if carrier else None
            else:
                route = kind.route(call, in_project=project is not None, within=around)
            if route is not None:
                self._client.expect(RateLimitKey(kind.scope.needs_admin_key, *route))

    # Reading

    def list(
        self,
        kind: Kind,
        project: str | None,
        within: Parent = (),
        *,
        enough: frozenset[str] | None = None,
        anew: bool = False,
        is_optional: bool = False,
    ) -> tuple[LiveObject, ...]:
        """All objects of a kind in a scope; RetiredError where the server has no such kind any more.

        Empty where the API has no list of the kind, and where the surroundings are gone. `enough` ends it early. Every
        call sends its own requests.
        """
        del anew
        if not kind.calls.listable:
            if kind.retirement:  # nothing else would say so before something is made
                self._retirements.check(kind, self._reach(kind, project))
            return ()
        site = self._site(kind, project, within)
        if kind.calls.singleton:
            found = site.get()
            return () if found is None else (found,)
        query: dict[str, str | int] = {**kind.list_query, "limit": kind.page_limit}
        attempts = _OPTIONAL_ATTEMPTS if is_optional else None
        pages = self.pages.get((kind.name, project, within), 1)
        try:
            items = list(site.list(query, enough=enough, pages=pages, attempts=attempts))
        except ApiError as error:
            explained = self._retirements.explain(error, kind, site.client, asked=site.collection)
            if explained is not error:
                raise explained from error
            if within and isinstance(error, NotFoundError):
                return ()
            raise
        self._retirements.seen(kind)
        self._note_pages(
            (kind.name, project, within),
            ceil(len(items) / kind.page_limit),
            is_whole=enough is None,
        )
        return tuple(site.live(item) for item in items if site.counts(item))

    def newest(
        self, kind: Kind, project: str | None, within: Parent = ()
    ) -> tuple[LiveObject, ...]:
        """The objects of a kind in a scope that were made last, as many as one call answers."""
        site = self._site(kind, project, within)
        query: dict[str, str | int] = {**kind.list_query, "limit": kind.page_limit}
        items = islice(site.list(query), kind.page_limit)
        return tuple(site.live(item) for item in items if site.counts(item))

    def _note_pages(self, listed: ListKey, pages: int, *, is_whole: bool) -> None:
        if pages > 1 and (is_whole or pages > self.pages.get(listed, 1)):
            self.pages[listed] = pages
        elif is_whole:
            self.pages.pop(listed, None)

    def get(
        self, kind: Kind, project: str | None, id: str, *, anew: bool = False
    ) -> LiveObject | None:
        """One object, or None where the API knows none. Every call sends its own requests."""
        del anew
        within, own_id = kind.parent_and_id(id)
        if not kind.readable_singly:
            return next((live for live in self.list(kind, project, within) if live.id == id), None)
        site = self._site(kind, project, within)
        found = site.get(own_id)
        if found is None:
            self._retirements.check(kind, site.client)
        return found

    def read_own_calls(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of the named fields, as far as they can be read."""
        return self._carrying(live, names, lambda carrier, _, reach: carrier.read(reach, live))

    def read_before_write(
        self, live: LiveObject, expected: Mapping[str, ExpectedValue]
    ) -> LiveObject:
        """The object with the live values of the named fields, read as far as a change touches them."""
        return self._carrying(
            live,
            expected,
            lambda carrier, field, reach: carrier.read_before_write(
                field, reach, live, expected[field.name]
            ),
        )

    def _carrying(
        self,
        live: LiveObject,
        names: Iterable[str],
        read: Callable[[FieldHandler, Field, ScopedClient], Any],
    ) -> LiveObject:
        wanted, reach = frozenset(names), self._reach(live.kind, live.project)
        tasks = (
            (field.name, self._carrier(field), field)
            for field in live.kind.own_calls
            if field.name in wanted
        )
        found = {name: read(carrier, field, reach) for name, carrier, field in tasks if carrier}
        shown = {name: value for name, value in found.items() if value is not None}
        return replace(live, own_calls={**live.own_calls, **shown})

    # Writing

    def create(
        self,
        kind: Kind,
        project: str | None,
        spec: Spec,
        *,
        address: Address,
        mark: str | None,
        steps: Steps,
    ) -> Written:
        """Make the object with all its fields; AmbiguousError where it may or may not have been made."""
        work = ChangeContext(self._site(kind, project, kind.parent_of(spec) or ()), address, steps)
        tasks = self._tasks(work, {field.name: spec.get(field.name) for field in kind.own_calls})
        for carrier, task in tasks:
            carrier.check(task)
        work.answer = self._made(work, spec, mark, tasks)
        hidden = frozenset(name for carrier, task in tasks for name in carrier.private(task.field))
        live = work.collection.live(
            {name: value for name, value in work.answer.items() if name not in hidden}
        )
        # A key is delivered before anything else can go wrong.
        values = {task.field.name: carrier.created(task, live) for carrier, task in tasks}
        late = late_body(live, spec)
        live = self._modified(work, live, late, is_new=True) if late else live
        live = self._switched(work, live, spec)
        return _written(work, live, values)

    def update(
        self,
        live: LiveObject,
        changes: Spec,
        *,
        address: Address,
        mark: str | None,
        record: Record | None,
        steps: Steps,
    ) -> Written:
        """Send the changed fields, and nothing else but our mark where the object lacks it."""
        work = ChangeContext(self._site_of(live), address, steps, record)
        tasks = self._tasks(work, changes)
        for carrier, task in tasks:
            carrier.check(task)
        body = changed_body(live, changes, mark, applied=record.applied if record else {})
        if body:
            whole = whole_body(live, body, applied=record.applied if record else {})
            live = replace(self._modified(work, live, whole), own_calls=live.own_calls)
        live = self._switched(work, live, changes)
        values = {task.field.name: carrier.write(task, live) for carrier, task in tasks}
        live = replace(live, attributes={**live.attributes, **work.answer})
        return _written(work, live, values)

    def delete(self, live: LiveObject, *, record: Record | None, steps: Steps) -> None:
        """Remove the object the way its kind does; one that is gone already is no error."""
        address = record.address if record else None
        work = ChangeContext(self._site_of(live), address, steps, record)
        match live.kind.removal:
            case Removal.DELETE:
                self._stop(work, live)
                self._remove(work, live)
            case Removal.CANCEL:
                self._stop(work, live)
                self._remove_product(work, live)
            case Removal.ARCHIVE:
                self._archive(work, live)
            case Removal.RESTORE:
                self._restore(work, live)

    def cancel(self, live: LiveObject, *, steps: Steps) -> None:
        """Stop a job. One that has ended by now is left as it is."""
        self._stop(ChangeContext(self._site_of(live), None, steps), live)

    def job_events(self, live: LiveObject) -> Sequence[tuple[str, str]]:
        """What a job has said lately, oldest first, as id and sentence; nothing where it cannot be asked."""
        return self._site_of(live).said(live.own_id)

    def delete_leftovers(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Remove what earlier runs made for an object and did not live to use."""
        work = ChangeContext(self._site_of(live), address, steps, record)
        for carrier, task in self._tasks(work, {field.name: None for field in live.kind.own_calls}):
            carrier.delete_leftovers(task, live)

    def _made(
        self, work: ChangeContext, spec: Spec, mark: str | None, tasks: Tasks
    ) -> dict[str, Any]:
        """The answer to the create, journalled as soon as it is there."""
        source = next(
            (field for field in work.kind.fields if isinstance(field.type, LocalFileType)), None
        )
        body = create_body(work.kind, spec, mark, in_path=work.collection.in_path("create"))
        for carrier, task in tasks:
            body.update(carrier.body(task) or {})
        form = next((form for carrier, task in tasks if (form := carrier.form(task))), None)
        identity = work.kind.identity(spec)
        making = self._claims.creating(work.kind.collection, identity)
        with work.steps.step(CREATE, identity=dict(identity or {})) as step, making:
            try:
                if source:
                    answer = self._uploaded(work, spec[source.name], body)
                else:
                    answer = self._posted(work, body, spec, form)
            except ApiError as error:
                explained = self._retirements.refused(error, work.kind, work.client)
                if explained is error:
                    raise
                raise explained from error
            id = _new_id(work, answer)
            if not work.kind.unique_key and not self._claims.reserve(id, work.address):
                raise AmbiguousError(
                    f"{work.kind.name}: the answer has the id of another resource, {id}."
                )
            known: dict[str, Any] = {}
            for carrier, _ in tasks:
                known.update(carrier.journalled(answer) or {})
            step.done(id, **known)
        return answer

    def _posted(
        self, work: ChangeContext, body: Spec, spec: Spec, form: Form | None
    ) -> dict[str, Any]:
        kind = work.kind
        if form is not None:
            return work.collection.call("create", values=spec, form=form)
        sent = {kind.calls.in_list_as: list(body.values())} if kind.calls.in_list_as else body
        answer = work.collection.call("create", values=spec, json=sent)
        if kind.calls.in_list_as:
            answer = _listed_alike(answer.get("data"), body)
        if kind.calls.id_field and not _shows(answer, kind.by_name[kind.calls.id_field], spec):
            raise AmbiguousError(
                f"{kind.name}: the answer to the create does not show what was created."
            )
        # What an object joins or belongs to is often not in the answer, since the call said it.
        said = {name: spec[name] for name in work.collection.in_path("create")}
        return {**said, **(body if kind.calls.id_field else {}), **answer}

    def _uploaded(self, work: ChangeContext, local: LocalFile, body: Spec) -> dict[str, Any]:
        return self._uploader.upload(
            work.client,
            local,
            filename=body.get("filename") or local.path.rpartition("/")[2],
            purpose=body["purpose"],
            expires_after=body.get("expires_after"),
        )

    def _modified(
        self, work: ChangeContext, live: LiveObject, body: Spec, *, is_new: bool = False
    ) -> LiveObject:
        with work.steps.step("update", fields=sorted(body)) as step:
            answer = self._modify(
                work, live.own_id, body, settle_seconds=self._settle_seconds if is_new else 0.0
            )
            changed = _shown_after(work, live, answer)
            step.done(live.id)
        return changed

    def _switched(self, work: ChangeContext, live: LiveObject, spec: Spec) -> LiveObject:
        """The object after the calls of the fields that have one for each value, where it shows another."""
        for field in live.kind.fields:
            value = spec.get(field.name)
            if (
                field.action_calls
                and value is not None
                and not same(*comparable(field.type, value, live.value(field.name)))
            ):
                with work.steps.step("switch", field=field.name, to=value) as step:
                    changed = _shown_after(
                        work, live, work.collection.switch(field, value, live.own_id)
                    )
                    step.done(live.id)
                live = replace(changed, own_calls=live.own_calls)
        return live

    def _modify(
        self, work: ChangeContext, id: str, body: Spec, *, settle_seconds: float
    ) -> dict[str, Any]:
        """A modify call. An object that was just made may be unknown for a moment; a 404 is waited out so long."""
        left = pauses(settle_seconds)
        while True:
            try:
                return work.collection.call("update", id, json=body, repeatable=True)
            except NotFoundError:
                pause = next(left, None)
                if pause is None:
                    raise
            self._client.pause(pause, f"until the new {work.kind.name} {id} can be changed")

    def _remove(self, work: ChangeContext, live: LiveObject) -> None:
        tasks = self._tasks(work, {field.name: None for field in live.kind.own_calls})
        for carrier, task in tasks:
            with self._gone_is_fine(work):
                carrier.removing(task, live)
        with work.steps.step("delete", id=live.id) as step:
            with self._gone_is_fine(work):
                work.collection.remove(live.own_id)
            step.done(live.id)
        for carrier, task in tasks:
            carrier.removed(task)

    def _stop(self, work: ChangeContext, live: LiveObject) -> None:
        """Cancel what still runs; an end that it comes to meanwhile is as good."""
        if not live.runs:
            return
        with work.steps.step("cancel", id=live.id) as step:
            try:
                with self._gone_is_fine(work):
                    work.collection.cancel(live.own_id)
            except ApiError as error:
                now = work.collection.get(live.own_id) if error.status in (400, 409) else live
                if now is not None and now.runs:
                    raise
            step.done(live.id)

    def _remove_product(self, work: ChangeContext, live: LiveObject) -> None:
        job = live.kind.job
        product = job.found(live.attributes).get(job.product) if job and job.product else None
        if job is None or product is None:
            return
        method, _, path = job.remove_product.partition(" ")
        with work.steps.step("delete product", id=product) as step:
            with self._gone_is_fine(work):
                work.client.request(method, path, ids={"id": str(product)})
            step.done(live.id)

    def _archive(self, work: ChangeContext, live: LiveObject) -> None:
        with work.steps.step("archive", id=live.id) as step:
            try:
                path = f"{work.collection.collection}/{{id}}/archive"
                answer = work.client.request("POST", path, ids={"id": live.own_id}, repeatable=True)
                if live.kind.terminal_state(
                    answer
                ) is not TerminalState.GONE and not self._has_ended(work, live):
                    raise AnswerError(
                        f"POST {path}: the answer does not say that {live.own_id} is archived."
                    )
            except NotFoundError:
                pass
            except ApiError as error:
                if error.status != 400 or not self._has_ended(work, live):
                    raise
            step.done(live.id)

    def _has_ended(self, work: ChangeContext, live: LiveObject) -> bool:
        found = work.collection.get(live.own_id)
        return found is None or live.kind.terminal_state(found.attributes) is TerminalState.GONE

    def _restore(self, work: ChangeContext, live: LiveObject) -> None:
        body = restoring_body(work.record.overwritten if work.record else {})
        if not body:
            return
        with work.steps.step("restore", fields=sorted(body)) as step:
            with self._gone_is_fine(work):
                self._modify(
                    work,
                    live.own_id,
                    whole_body(live, body, applied=work.record.applied if work.record else {}),
                    settle_seconds=0.0,
                )
            step.done(live.id)

    @contextmanager
    def _gone_is_fine(self, work: ChangeContext) -> Iterator[None]:
        try:
            yield
        except NotFoundError:
            return
        except ApiError as error:
            if not self._went_with_its_project(work, error):
                raise

    def _went_with_its_project(self, work: ChangeContext, error: ApiError) -> bool:
        """Whether a delete was refused because the whole project is archived, and with it the object out of use."""
        if error.status not in (400, 401) or "archived" not in str(error):
            return False
        if "{project}" not in work.collection.collection:
            return True
        project = work.client.request("GET", "/organization/projects/{project}")
        return project.get("status") == "archived"

    # Whom to call as

    def _reach(self, kind: Kind, project: str | None) -> ScopedClient:
        if kind.scope is ScopeType.ORGANIZATION:
            return ScopedClient(self._client, self._keys.admin(), beta=kind.beta)
        project_id = self._default_project if project is None else self._project_ids.get(project)
        if kind.scope is ScopeType.EITHER and project is None:
            return ScopedClient(self._client, self._keys.admin(), beta=kind.beta)
        if project is not None and project_id is None:
            raise CredentialError(f'The project "{project}" is not known at the API yet.')
        if not kind.scope.needs_admin_key:
            return self.reach_of_project(project, beta=kind.beta)
        if project_id is None:
            raise CredentialError(f"A {kind.name} lives in a project, and none is named.")
        return ScopedClient(self._client, self._keys.admin(), {"project": project_id}, kind.beta)

    def reach_of_project(self, project: str | None, *, beta: str | None = None) -> ScopedClient:
        """Whom to call as for the data of a project, None being that of the default key; raises CredentialError."""
        project_id = self._default_project if project is None else self._project_ids.get(project)
        if project is not None and project_id is None:
            raise CredentialError(f'The project "{project}" is not known at the API yet.')
        return ScopedClient(
            self._client, replace(self._keys.for_project(project), project_id=project_id), beta=beta
        )

    def _site(self, kind: Kind, project: str | None, within: Parent = ()) -> CollectionClient:
        site = CollectionClient(
            kind, self._reach(kind, project), project, within, self._keys.is_in_use
        )
        return replace(site, reveal=self._reveal) if self._reveal else site

    def _site_of(self, live: LiveObject) -> CollectionClient:
        return self._site(live.kind, live.project, live.kind.parent_and_id(live.id)[0])

    def _tasks(self, work: ChangeContext, values: Spec) -> Tasks:
        """The carried fields among `values`, each with its carrier."""
        carried = (
            (self._carrier(field), field) for field in work.kind.own_calls if field.name in values
        )
        return tuple(
            (carrier, FieldWrite(work, field, values[field.name]))
            for carrier, field in carried
            if carrier
        )

    @cached_property
    def _bundles(self) -> FieldHandler:
        from reconciler.api.objects.bundles import (
            BundleHandler,
        )  # with what packs archives, which few need

        return BundleHandler(self._uploader, self._recorded)

    def _carrier(self, field: Field) -> FieldHandler | None:
        """Who makes the calls of a field; none for a local file, which the create itself sends."""
        match field.type:
            case FileSetType():
                return self._folder
            case BundleType():
                return self._bundles
            case KeySinkType(shown_in=None):
                return self._delivery
            case KeySinkType():
                return self._shown_once
        return None


def _listed_alike(items: Any, body: Spec) -> dict[str, Any]:
    """The item of an answered list that shows what was sent; empty where none does."""
    found = (
        (item for item in items if isinstance(item, dict)) if isinstance(items, list) else iter(())
    )
    return next((item for item in found if all(one in item.values() for one in body.values())), {})


def _shows(answer: Any, id_field: Field, spec: Spec) -> bool:
    """Whether an answer has the id that a spec names, in any of its spellings and at any depth."""
    if isinstance(answer, Mapping):
        return any(_shows(value, id_field, spec) for value in answer.values())
    if isinstance(answer, list):
        return any(_shows(value, id_field, spec) for value in answer)
    wanted = canonical(id_field.type, spec.get(id_field.name))
    return isinstance(answer, str) and bool(canonical(id_field.type, answer) == wanted)


def _shown_after(work: ChangeContext, live: LiveObject, answer: Mapping[str, Any]) -> LiveObject:
    """The object that the answer to a change shows. One that shows no object, or another one, is not believed: the
    object is read.

    Raises AnswerError where that shows none either.
    """
    names_itself = not (work.kind.calls.singleton or work.kind.calls.id_field)
    if answer and (not names_itself or answer.get("id") in (live.own_id, live.id)):
        return work.collection.live({"id": live.own_id, **answer})
    seen = work.collection.get(live.own_id) if work.kind.readable_singly else None
    if seen is None:
        raise AnswerError(
            f"{work.kind.name} {live.own_id}: the answer to its change does not show it."
        )
    return seen


def _new_id(work: ChangeContext, answer: Mapping[str, Any]) -> str:
    try:
        return work.collection.id_of(answer)
    except AnswerError as error:
        raise AmbiguousError(f"{error} Whether the object was made is unknown.") from error


def _written(work: ChangeContext, live: LiveObject, values: Mapping[str, Any]) -> Written:
    shown = {name: value for name, value in values.items() if value is not None}
    live = replace(live, own_calls={**live.own_calls, **shown})
    return Written(
        live, delivered=work.delivered, notes=tuple(work.notes), refused=tuple(work.refused)
    )
