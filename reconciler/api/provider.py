"""Kinds into calls: the provider that the engine knows only by its protocol.

Everything is read off the declaration of a kind: where its collection is, which key reaches it, which fields a body
takes, what a delete means. Fields that have calls of their own are left to carriers, chosen by their type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from reconciler.api.bodies import changed_body, create_body, late_body, restoring_body
from reconciler.api.claims import Claims
from reconciler.api.client import Client
from reconciler.api.delivery import Delivery
from reconciler.api.folder import Folder
from reconciler.api.keys import KeyRing
from reconciler.api.retirement import Retirements
from reconciler.api.uploads import MEBIBYTE, Uploader
from reconciler.api.work import CREATE, Carrier, Reach, Task, Work, id_of
from reconciler.errors import AmbiguousError, AnswerError, ApiError, CredentialError, NotFoundError
from reconciler.model.address import Address
from reconciler.model.kind import Ended, Kind, Removal, Scope
from reconciler.model.provider import Sinks, Steps, Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import FileSetType, KeySinkType, LocalFileType
from reconciler.model.values import LocalFile, Spec

_FIRST_LOOK_SECONDS = 0.5

Tasks = tuple[tuple[Carrier, Task], ...]


class HttpProvider:
    """Implements `model.provider.Provider`. Safe to use from threads.

    `project_ids` maps project names of the configuration to ids, `default_project` is the id to send along with the
    default key, where one is set. `settle_seconds` is how long something just written may be missing from answers,
    `index_seconds` how long indexing is waited for. Files above `whole_bytes` are uploaded in parts of `part_bytes`;
    `parallelism` counts the calls at a time within one change.
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
        settle_seconds: float = 20.0,
        index_seconds: float = 600.0,
        parallelism: int = 4,
        whole_bytes: int = 512 * MEBIBYTE,
        part_bytes: int = 64 * MEBIBYTE,
    ) -> None:
        self._client = client
        self._keys = keys
        self._project_ids = dict(project_ids)
        self._default_project = default_project
        self._settle_seconds = settle_seconds
        self._claims = Claims()
        self._retirements = Retirements()
        self._uploader = Uploader(root, whole_bytes=whole_bytes, part_bytes=part_bytes)
        folder = Folder(
            self._uploader,
            self._claims,
            index_seconds=index_seconds,
            settle_seconds=settle_seconds,
            parallelism=parallelism,
        )
        # The one place that knows which fields have calls of their own; local files are sent by the create itself.
        self._carriers: dict[type, Carrier] = {FileSetType: folder, KeySinkType: Delivery(sinks, keys)}

    @property
    def calls(self) -> int:
        """Requests sent so far, retries included."""
        return self._client.calls

    @property
    def claims(self) -> Claims:
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
        if project is None or kind.scope is Scope.ORGANIZATION:
            return True
        if project not in self._project_ids:
            return False
        return kind.scope.needs_admin_key or self._keys.has_project(project)

    # Reading

    def list(self, kind: Kind, project: str | None) -> tuple[LiveObject, ...]:
        """All objects of a kind in a scope; RetiredError where the server has no such kind any more."""
        reach = self._reach(kind, project)
        query: dict[str, str | int] = {**kind.list_query, "limit": kind.page_limit}
        try:
            found = tuple(_live(kind, project, item) for item in reach.list(kind.collection, query=query))
        except NotFoundError as error:
            raise self._retirements.explain(error, kind, reach) from error
        self._retirements.seen(kind)
        return found

    def get(self, kind: Kind, project: str | None, id: str) -> LiveObject | None:
        """One object, or None where the API knows none."""
        if not kind.readable_singly:
            return next((live for live in self.list(kind, project) if live.id == id), None)
        reach = self._reach(kind, project)
        try:
            item = reach.request("GET", _item_path(kind), ids={"id": id})
        except NotFoundError:
            self._retirements.check(kind, reach)
            return None
        return _live(kind, project, item)

    def read_carried(self, live: LiveObject, names: Iterable[str]) -> LiveObject:
        """The object with the live values of the named fields, as far as they can be read."""
        carried = dict(live.carried)
        wanted = frozenset(names)
        for field in live.kind.carried:
            carrier = self._carriers.get(type(field.type))
            value = (
                carrier.read(self._reach(live.kind, live.project), live) if carrier and field.name in wanted else None
            )
            if value is not None:
                carried[field.name] = value
        return replace(live, carried=carried)

    # Writing

    def create(
        self, kind: Kind, project: str | None, spec: Spec, *, address: Address, mark: str | None, steps: Steps
    ) -> Written:
        """Make the object with all its fields; AmbiguousError where it may or may not have been made."""
        work = Work(kind, self._reach(kind, project), address, project, steps)
        tasks = self._tasks(work, {field.name: spec.get(field.name) for field in kind.carried})
        for carrier, task in tasks:
            carrier.check(task)
        work.answer = self._made(work, spec, mark, tasks)
        hidden = frozenset(name for carrier, _ in tasks for name in carrier.private)
        shown = {name: value for name, value in work.answer.items() if name not in hidden}
        live = _live(kind, project, shown)
        # A key is delivered before anything else can go wrong.
        values = {task.field.name: carrier.created(task, live) for carrier, task in tasks}
        late = late_body(live, spec)
        live = self._modified(work, live, late, is_new=True) if late else live
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
        work = Work(live.kind, self._reach(live.kind, live.project), address, live.project, steps, record)
        tasks = self._tasks(work, changes)
        for carrier, task in tasks:
            carrier.check(task)
        body = changed_body(live, changes, mark)
        if body:
            live = replace(self._modified(work, live, body), carried=live.carried)
        values = {task.field.name: carrier.write(task, live) for carrier, task in tasks}
        return _written(work, live, values)

    def delete(self, live: LiveObject, *, record: Record | None, steps: Steps) -> None:
        """Remove the object the way its kind does; one that is gone already is no error."""
        address = record.address if record else None
        work = Work(live.kind, self._reach(live.kind, live.project), address, live.project, steps, record)
        match live.kind.removal:
            case Removal.DELETE:
                self._remove(work, live)
            case Removal.ARCHIVE:
                self._archive(work, live)
            case Removal.RESTORE:
                self._restore(work, live)

    def _made(self, work: Work, spec: Spec, mark: str | None, tasks: Tasks) -> dict[str, Any]:
        """The answer to the create, journalled as soon as it is there."""
        source = next((field for field in work.kind.fields if isinstance(field.type, LocalFileType)), None)
        body = create_body(work.kind, spec, mark)
        for carrier, task in tasks:
            body.update(carrier.body(task) or {})
        making = self._claims.making(work.kind.collection, work.kind.identity(spec))
        with work.steps.step(CREATE) as step, making:
            try:
                answer = self._uploaded(work, spec[source.name], body) if source else self._posted(work, body)
            except NotFoundError as error:
                raise self._retirements.explain(error, work.kind, work.reach) from error
            id = _new_id(work, answer)
            if not self._claims.claim(id, work.address):
                raise AnswerError(f"POST {work.kind.collection}: the answer has the id of another resource, {id}.")
            known: dict[str, Any] = {}
            for carrier, _ in tasks:
                known.update(carrier.journalled(answer) or {})
            step.done(id, **known)
        return answer

    def _posted(self, work: Work, body: Spec) -> dict[str, Any]:
        return work.reach.request("POST", work.kind.collection, json=body)

    def _uploaded(self, work: Work, local: LocalFile, body: Spec) -> dict[str, Any]:
        return self._uploader.upload(
            work.reach,
            local,
            filename=body.get("filename") or local.path.rpartition("/")[2],
            purpose=body["purpose"],
            expires_after=body.get("expires_after"),
        )

    def _modified(self, work: Work, live: LiveObject, body: Spec, *, is_new: bool = False) -> LiveObject:
        with work.steps.step("update", fields=sorted(body)) as step:
            answer = self._modify(work, live.id, body, settle_seconds=self._settle_seconds if is_new else 0.0)
            step.done(live.id)
        return _live(work.kind, work.project, {"id": live.id, **answer})

    def _modify(self, work: Work, id: str, body: Spec, *, settle_seconds: float) -> dict[str, Any]:
        """A modify call. An object that was just made may be unknown for a moment; a 404 is waited out so long."""
        pause = _FIRST_LOOK_SECONDS
        while True:
            try:
                return work.reach.request("POST", _item_path(work.kind), ids={"id": id}, json=body, repeatable=True)
            except NotFoundError:
                settle_seconds -= pause
                if settle_seconds < 0:
                    raise
            self._client.pause(pause, f"until the new {work.kind.name} {id} can be changed")
            pause *= 2

    def _remove(self, work: Work, live: LiveObject) -> None:
        tasks = self._tasks(work, {field.name: None for field in live.kind.carried})
        for carrier, task in tasks:
            with self._gone_is_fine(work):
                carrier.removing(task, live)
        with work.steps.step("delete", id=live.id) as step:
            with self._gone_is_fine(work):
                work.reach.request("DELETE", _item_path(live.kind), ids={"id": live.id})
            step.done(live.id)
        for carrier, task in tasks:
            carrier.removed(task)

    def _archive(self, work: Work, live: LiveObject) -> None:
        with work.steps.step("archive", id=live.id) as step:
            try:
                path = f"{_item_path(live.kind)}/archive"
                work.reach.request("POST", path, ids={"id": live.id}, repeatable=True)
            except NotFoundError:
                pass
            except ApiError as error:
                if error.status != 400 or not self._has_ended(work, live):
                    raise
            step.done(live.id)

    def _has_ended(self, work: Work, live: LiveObject) -> bool:
        found = work.reach.request("GET", _item_path(live.kind), ids={"id": live.id})
        return live.kind.ending(found) is Ended.GONE

    def _restore(self, work: Work, live: LiveObject) -> None:
        body = restoring_body(work.record.overwritten if work.record else {})
        if not body:
            return
        with work.steps.step("restore", fields=sorted(body)) as step:
            with self._gone_is_fine(work):
                self._modify(work, live.id, body, settle_seconds=0.0)
            step.done(live.id)

    @contextmanager
    def _gone_is_fine(self, work: Work) -> Iterator[None]:
        try:
            yield
        except NotFoundError:
            return
        except ApiError as error:
            if not self._went_with_its_project(work, error):
                raise

    def _went_with_its_project(self, work: Work, error: ApiError) -> bool:
        """Whether a delete was refused because the whole project is archived, and with it the object out of use."""
        if error.status not in (400, 401) or "archived" not in str(error):
            return False
        parent, found, _ = work.kind.collection.partition("/{project}")
        if not found:
            return True
        project = work.reach.request("GET", f"{parent}/{{project}}")
        return project.get("status") == "archived"

    # Whom to call as

    def _reach(self, kind: Kind, project: str | None) -> Reach:
        if kind.scope is Scope.ORGANIZATION:
            return Reach(self._client, self._keys.admin(), beta=kind.beta)
        project_id = self._default_project if project is None else self._project_ids.get(project)
        if project is not None and project_id is None:
            raise CredentialError(f'The project "{project}" is not known at the API yet.')
        if not kind.scope.needs_admin_key:
            key = replace(self._keys.for_project(project), project_id=project_id)
            return Reach(self._client, key, beta=kind.beta)
        if project_id is None:
            raise CredentialError(f"A {kind.name} lives in a project, and none is named.")
        return Reach(self._client, self._keys.admin(), {"project": project_id}, kind.beta)

    def _tasks(self, work: Work, values: Spec) -> Tasks:
        """The carried fields among `values`, each with its carrier."""
        return tuple(
            (self._carriers[type(field.type)], Task(work, field, values[field.name]))
            for field in work.kind.carried
            if field.name in values and type(field.type) in self._carriers
        )


def _item_path(kind: Kind) -> str:
    return f"{kind.collection}/{{id}}"


def _live(kind: Kind, project: str | None, item: Mapping[str, Any]) -> LiveObject:
    return LiveObject(kind, id_of(item, what=kind.collection), dict(item), project)


def _new_id(work: Work, answer: Mapping[str, Any]) -> str:
    try:
        return id_of(answer, what=f"POST {work.kind.collection}")
    except AnswerError as error:
        raise AmbiguousError(f"{error} Whether the object was made is unknown.") from error


def _written(work: Work, live: LiveObject, values: Mapping[str, Any]) -> Written:
    shown = {name: value for name, value in values.items() if value is not None}
    live = replace(live, carried={**live.carried, **shown})
    return Written(live, delivered=work.delivered, notes=tuple(work.notes))
