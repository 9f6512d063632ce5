"""The keys that a stack delivers: their destinations, their receipts, and reading them back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from reconciler.errors import SinkError
from reconciler.manifests.shapes import OPENAI_KEY
from reconciler.model.address import Address
from reconciler.model.allowance import allowed_places
from reconciler.model.provider import DELIVER
from reconciler.model.secret import Secret
from reconciler.model.sinks import targets_of
from reconciler.secrets.sinks import SinkSet
from reconciler.state import StateStore
from reconciler.state.journal import EntryStatus

if TYPE_CHECKING:
    from reconciler.app.session import Session


def delivered(store: StateStore) -> Iterator[tuple[Address, Any]]:
    """The receipts of each address: of its record, and of deliveries in changes that did not end."""
    for address, record in store.records().items():
        yield address, record.delivered
    for change in store.runs.unfinished():
        for step in change.steps:
            if step.name == DELIVER:
                yield change.address, step.result


def begun_deliveries(store: StateStore) -> Iterator[tuple[Address, Any]]:
    """The targets of deliveries without a recorded outcome, each with its address."""
    for change in store.runs.unfinished():
        for step in change.steps:
            if step.name == DELIVER and step.status is EntryStatus.BEGUN:
                yield change.address, step.intent.get("target")


def sinks_of(session: Session) -> SinkSet:
    """Where the keys of a session's stack are delivered."""
    stack, env = session.stack, session.settings.env

    # Both are imported late: few stacks deliver to a server or to a program.
    def connect(address: str, **options: Any) -> Any:
        from reconciler.api.transport.side_client import connect

        return connect(address, environ=env, **options)

    def run(*arguments: Any, **options: Any) -> Any:
        from reconciler.secrets.commands import run_program

        permit = session.state.permit
        return run_program(*arguments, **options, stop=session.stop, permit=permit)

    return SinkSet(
        stack.root,
        session.redactor,
        owner=f"{stack.name}/{stack.environment}",
        env=env,
        deliveries=lambda: delivered(session.store),
        begun=lambda: begun_deliveries(session.store),
        allowed=allowed_places(session.settings.allow_sinks, env),
        withheld=stack.in_use,
        connect=connect,
        run=run,
        permit=session.state.permit,
        sleep=session.stop.wait,
    )


def recalled_key(session: Session, writer: Address) -> Secret | None:
    """The delivered key of a resource, from the first of its destinations that has it."""
    for write_to in _destinations(session, writer):
        for target in targets_of(write_to):
            try:
                secret = session.sinks.recall(target, address=writer)
            except SinkError as error:
                session.notice(f"The key of {writer} cannot be read back: {error}")
                continue
            # The destination may hold another value by now, which must not go out as a credential.
            if secret is not None and OPENAI_KEY.fullmatch(secret.reveal()):
                return secret
    return None


def _destinations(session: Session, writer: Address) -> list[Any]:
    """The `write_to` of each key of a resource: as last delivered, else as declared."""
    record = session.store.records().get(writer)
    receipts = record.delivered.values() if record is not None else ()
    recorded = [receipt.get("target") for receipt in receipts if isinstance(receipt, Mapping)]
    if recorded:
        return recorded
    declared = []
    for resource in session.declared.resources:
        if resource.address == writer:
            keys = [resource.spec.get(field.name) for field in resource.kind.own_calls]
            declared += [key.get("write_to") for key in keys if isinstance(key, Mapping)]
    return declared
