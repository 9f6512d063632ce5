"""Creates and updates objects: the declaration of a kind decides which calls that takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec.structs import replace

from reconciler.api.objects import removal
from reconciler.api.objects.bodies import changed_body, create_body, late_body, whole_body
from reconciler.api.objects.change_context import ChangeContext, FieldWrites
from reconciler.api.objects.field_handlers import FieldHandlers
from reconciler.api.objects.reservations import InProcessReservations
from reconciler.api.objects.retirement import Retirements
from reconciler.api.objects.scopes import Scopes
from reconciler.api.objects.uploads import Uploader
from reconciler.api.transport.request import Form
from reconciler.errors import AmbiguousError, AnswerError, ApiError
from reconciler.model.address import Address
from reconciler.model.comparing import canonical, comparable, same
from reconciler.model.keys import KeyStep
from reconciler.model.kind import Field, Kind, Removal
from reconciler.model.provider import CREATE, Steps, Written
from reconciler.model.resource import LiveObject, Record
from reconciler.model.types import LocalFileType
from reconciler.model.values import LocalFile, Spec


class HttpWriter:
    """The writing half of a provider. Safe to use from threads.

    `settle_seconds` is how long a new object may be unknown to other calls.
    """

    def __init__(
        self,
        scopes: Scopes,
        handlers: FieldHandlers,
        retirements: Retirements,
        reservations: InProcessReservations,
        uploader: Uploader,
        *,
        settle_seconds: float,
    ) -> None:
        self._scopes = scopes
        self._handlers = handlers
        self._retirements = retirements
        self._reservations = reservations
        self._uploader = uploader
        self._settle_seconds = settle_seconds

    @property
    def reservations(self) -> InProcessReservations:
        """The ids that are reserved in this run."""
        return self._reservations

    def create(
        self,
        kind: Kind,
        project: str | None,
        spec: Spec,
        *,
        address: Address,
        mark: str | None,
        steps: Steps,
        record: Record | None = None,
    ) -> Written:
        """Create the object with all its fields; AmbiguousError where the outcome is unknown."""
        collection = self._scopes.collection(kind, project, kind.parent_of(spec) or ())
        context = ChangeContext(collection, address, steps, record)
        own_values = {field.name: spec.get(field.name) for field in kind.own_calls}
        field_writes = self._handlers.writes(context, own_values)
        # Everything that can fail without a call is checked before the first one.
        for handler, field_write in field_writes:
            handler.check(field_write)
        # The answer stays in the context: it may hold a key, and no live object must.
        context.answer = self._send_create(context, spec, mark, field_writes)
        live = collection.live(_without_secrets(context.answer, field_writes))
        # Keys are delivered before any other call: the API has shown them for the only time.
        values = {}
        for handler, field_write in field_writes:
            values[field_write.field.name] = handler.after_create(field_write, live)
        # Fields that a create does not accept take a modify of their own.
        body = late_body(live, spec)
        if body:
            live = _send_update(context, live, body, settle_seconds=self._settle_seconds)
        live = _send_actions(context, live, spec)
        return _written(context, live, values)

    def update(
        self,
        live: LiveObject,
        changes: Spec,
        *,
        address: Address,
        mark: str | None,
        record: Record | None,
        steps: Steps,
        keys: Sequence[KeyStep] = (),
    ) -> Written:
        """Send the changed fields, and our mark where the object lacks it."""
        context = ChangeContext(self._scopes.collection_of(live), address, steps, record, keys)
        field_writes = self._handlers.writes(context, changes)
        # As in a create: nothing is sent while one of the values cannot be written.
        for handler, field_write in field_writes:
            handler.check(field_write)
        body = changed_body(live, changes, mark, applied=context.applied)
        if body:
            body = whole_body(live, body, applied=context.applied)
            # The answer to a modify has no values of fields with calls of their own.
            live = replace(_send_update(context, live, body), own_calls=live.own_calls)
        live = _send_actions(context, live, changes)
        values = {}
        for handler, field_write in field_writes:
            values[field_write.field.name] = handler.write(field_write, live)
        # A handler's own call may have answered with newer values than the modify did.
        live = replace(live, attributes={**live.attributes, **context.answer})
        return _written(context, live, values)

    def delete(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Remove the object as its kind declares. An object that is gone already is no error."""
        context = ChangeContext(self._scopes.collection_of(live), address, steps, record)
        match live.kind.removal:
            case Removal.DELETE:
                removal.stop_job(context, live)
                removal.delete(context, live, self._handlers.clearing(context))
            # A running job is stopped; of an ended one, only its product can be deleted.
            case Removal.CANCEL:
                removal.stop_job(context, live)
                removal.delete_job_product(context, live)
            case Removal.ARCHIVE:
                removal.archive(context, live)
            case Removal.RESTORE:
                removal.restore(context, live)

    def cancel(self, live: LiveObject, *, steps: Steps) -> None:
        """Stop a job. A job that has ended by now stays unchanged."""
        removal.stop_job(ChangeContext(self._scopes.collection_of(live), None, steps), live)

    def delete_leftovers(
        self, live: LiveObject, *, address: Address, record: Record | None, steps: Steps
    ) -> None:
        """Remove what earlier runs created for an object and never used."""
        context = ChangeContext(self._scopes.collection_of(live), address, steps, record)
        for handler, field_write in self._handlers.clearing(context):
            handler.delete_leftovers(field_write, live)

    def _send_create(
        self, context: ChangeContext, spec: Spec, mark: str | None, field_writes: FieldWrites
    ) -> dict[str, Any]:
        """The answer to the create, journalled at once."""
        kind = context.kind
        body = create_body(kind, spec, mark, in_path=context.collection.in_path("create"))
        form = None
        for handler, field_write in field_writes:
            body.update(handler.body(field_write) or {})
            form = form or handler.form(field_write)
        identity = kind.identity(spec)
        creating = self._reservations.creating(kind.collection, identity)
        claim: AbstractContextManager[None] = nullcontext()
        # A mark tells our object from any other, so only objects without one are claimed.
        if mark is None and identity:
            claim = _claim(context, identity)
        # The claim comes first, because it may refuse. The step is on disk before the request is
        # sent: if this process dies, the next run searches for an object of this identity.
        with claim, context.steps.step(CREATE, identity=dict(identity or {})) as step, creating:
            try:
                answer = self._call_create(context, spec, body, form)
            except ApiError as error:
                explained = self._retirements.refused(error, kind, context.client)
                if explained is error:
                    raise
                raise explained from error
            id = _new_id(context, answer)
            # The reservation is made before others may search for objects like this one.
            if not kind.unique_key and not self._reservations.reserve(id, context.address):
                raise AmbiguousError(
                    f"{kind.name}: the answer has the id of another resource, {id}."
                )
            result: dict[str, Any] = {}
            for handler, _ in field_writes:
                result.update(handler.journal_result(answer) or {})
            # At once: from here on the object exists, and its id must survive this process.
            step.done(id, **result)
        return answer

    def _call_create(
        self, context: ChangeContext, spec: Spec, body: Spec, form: Form | None
    ) -> dict[str, Any]:
        local = _local_file(context.kind, spec)
        if local is None:
            return _post(context, body, spec, form)
        return self._uploader.upload(
            context.client,
            local,
            filename=body.get("filename") or local.path.rpartition("/")[2],
            purpose=body["purpose"],
            expires_after=body.get("expires_after"),
        )


def _claim(context: ChangeContext, identity: Spec) -> AbstractContextManager[None]:
    """Claim an identity, so that no other stack of the fleet creates an object with it."""
    client, kind = context.client, context.kind
    shared = client.http.shared
    # Where the API keeps keys unique, it refuses a second object itself.
    if shared is None or kind.unique_key:
        return nullcontext()
    place = {**client.ids, **dict(context.collection.parent)}
    key = (context.collection.path, frozenset(place.items()), frozenset(identity.items()))
    names = ", ".join(f'{name} "{value}"' for name, value in identity.items())
    account = (client.http.base_url, client.key.secret, client.key.project_id)
    return shared.creates.claim((account, key), shared, shown=f"a {kind.name} with {names}")


def _local_file(kind: Kind, spec: Spec) -> LocalFile | None:
    """The file that a create uploads, for kinds that are made of one."""
    for field in kind.fields:
        if isinstance(field.type, LocalFileType):
            local: LocalFile = spec[field.name]
            return local
    return None


def _post(context: ChangeContext, body: Spec, spec: Spec, form: Form | None) -> dict[str, Any]:
    kind = context.kind
    if form is not None:
        return context.collection.call("create", values=spec, form=form)
    # The call takes and returns a list, even of a single object.
    if kind.calls.in_list_as:
        sent = {kind.calls.in_list_as: list(body.values())}
        answer = context.collection.call("create", values=spec, json=sent)
        answer = _item_with(answer.get("data"), body)
    else:
        answer = context.collection.call("create", values=spec, json=body)
    if kind.calls.id_field and not _shows(answer, kind.by_name[kind.calls.id_field], spec):
        raise AmbiguousError(
            f"{kind.name}: the answer to the create does not show what was created."
        )
    # The answer often lacks the object's parent, which the path of the call names.
    created = {name: spec[name] for name in context.collection.in_path("create")}
    # The answer of an assignment may lack what was sent, and shows the user or the role in its place.
    if kind.calls.id_field:
        created |= body
    return created | answer


def _item_with(items: Any, body: Spec) -> dict[str, Any]:
    """The item of an answered list that has all the values sent; empty where none has."""
    if not isinstance(items, list):
        return {}
    for answer in items:
        # The answer may list other objects as well.
        if isinstance(answer, dict) and all(value in answer.values() for value in body.values()):
            return answer
    return {}


def _shows(answer: Any, id_field: Field, spec: Spec) -> bool:
    """Whether an answer has the id that a spec names, in any spelling and at any depth."""
    if isinstance(answer, Mapping):
        return any(_shows(value, id_field, spec) for value in answer.values())
    if isinstance(answer, list):
        return any(_shows(value, id_field, spec) for value in answer)
    if not isinstance(answer, str):
        return False
    expected = canonical(id_field.type, spec.get(id_field.name))
    return bool(canonical(id_field.type, answer) == expected)


def _new_id(context: ChangeContext, answer: Mapping[str, Any]) -> str:
    # The object exists, so the error must not read as a refusal, after which it is created again.
    try:
        return context.collection.id_of(answer)
    except AnswerError as error:
        raise AmbiguousError(f"{error} Whether the object was made is unknown.") from error


def _without_secrets(answer: Spec, field_writes: FieldWrites) -> dict[str, Any]:
    secret_keys: set[str] = set()
    for handler, field_write in field_writes:
        secret_keys |= handler.secret_keys(field_write.field)
    return {name: value for name, value in answer.items() if name not in secret_keys}


def _send_update(
    context: ChangeContext, live: LiveObject, body: Spec, *, settle_seconds: float = 0.0
) -> LiveObject:
    with context.steps.step("update", fields=sorted(body)) as step:
        answer = context.collection.modify(live.own_id, body, settle_seconds=settle_seconds)
        updated = _live_after(context, live, answer)
        step.done(live.id)
    return updated


def _send_actions(context: ChangeContext, live: LiveObject, spec: Spec) -> LiveObject:
    """Make the calls of fields that have one call for each value, such as `activate`."""
    for field in live.kind.fields:
        value = spec.get(field.name)
        if not field.action_calls or value is None:
            continue
        # A second call would change nothing, and admin calls are scarce.
        if same(*comparable(field.type, value, live.value(field.name))):
            continue
        with context.steps.step("switch", field=field.name, to=value) as step:
            answer = context.collection.call_action(field, value, live.own_id)
            updated = _live_after(context, live, answer)
            step.done(live.id)
        live = replace(updated, own_calls=live.own_calls)
    return live


def _live_after(context: ChangeContext, live: LiveObject, answer: Mapping[str, Any]) -> LiveObject:
    """The object in the answer to a change.

    Raises AnswerError where neither the answer nor a read shows it.
    """
    # Some servers and proxies answer with nothing or with another object.
    names_itself = not (context.kind.calls.singleton or context.kind.calls.id_field)
    if answer and (not names_itself or answer.get("id") in (live.own_id, live.id)):
        return context.collection.live({"id": live.own_id, **answer})
    current = None
    if context.kind.readable_singly:
        current = context.collection.get(live.own_id)
    if current is None:
        raise AnswerError(
            f"{context.kind.name} {live.own_id}: the answer to its change does not show it."
        )
    return current


def _written(context: ChangeContext, live: LiveObject, values: Mapping[str, Any]) -> Written:
    shown = {name: value for name, value in values.items() if value is not None}
    return Written(
        replace(live, own_calls={**live.own_calls, **shown}),
        delivered=context.delivered,
        notes=tuple(context.notes),
        refused=tuple(context.refused),
    )
