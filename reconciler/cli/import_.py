"""`reconciler import`: bind an object that exists to a declared address. Writes to the state alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from reconciler.cli.options import GlobalOptions, PlanningOptions, global_options

if TYPE_CHECKING:
    from reconciler.model.kind import Kind


@click.command("import")
@click.argument("address")
@click.argument("id")
@global_options
def command(options: GlobalOptions, address: str, id: str) -> int:
    """Adopt the object ID as the resource ADDRESS, which a manifest must declare.

    This writes to the state alone. The next plan shows how the object differs from its manifest, and the next apply
    writes the ownership mark where the kind has one.
    """
    from reconciler.cli.applying import locked
    from reconciler.cli.session import Session, parse_addresses

    session = Session(options)
    (target,) = parse_addresses((address,), "ADDRESS")
    session.configured()
    configuration = session.configuration
    resource = _declared(configuration, target)
    adopting = replace(resource, lifecycle=replace(resource.lifecycle, adopt=_checked(resource.kind, id)))
    others = tuple(item for item in configuration.resources if item.address != target)
    session.configuration = replace(configuration, resources=(*others, adopting))
    try:
        with locked(session, "import"):
            return _bind(session, adopting)
    finally:
        session.close()


def _checked(kind: Kind, id: str) -> str:
    """The id as objects of the kind have it; an id after a project's, as other tools write it, is taken as well."""
    from reconciler.errors import UsageError

    if not kind.parents:
        return id.rpartition("/")[2]
    try:
        return kind.composed_id(*kind.parent_and_id(id))
    except ValueError:
        forms = " or ".join(kind.id_forms)
        raise UsageError(f'"{id}" is no id of a {kind.name}', hint=f"Its ids are written {forms}.") from None


def _declared(configuration: Any, address: Any) -> Any:
    from reconciler.errors import UsageError
    from reconciler.model.diagnostic import nearest

    known = {item.address: item for item in configuration.resources}
    if address not in known:
        hint = nearest(str(address), map(str, known))
        raise UsageError(f'no manifest declares "{address}".{hint}', hint="Declare it first, then import.")
    return known[address]


def _bind(session: Any, resource: Any) -> int:
    from reconciler.cli.origin import record_origin
    from reconciler.engine.apply.records import imported_record
    from reconciler.errors import ConfigurationError, UsageError
    from reconciler.model.change import Action
    from reconciler.model.diagnostic import Severity

    plan = session.plan(PlanningOptions(target=(str(resource.address),)))
    errors = [item for item in plan.diagnostics if item.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError(errors)
    change = next(item for item in plan.changes if item.address == resource.address)
    wanted = resource.lifecycle.adopt
    if change.id != wanted:
        bound = f" is bound to {change.id} already" if change.id else " would be created"
        raise UsageError(f"{resource.address}{bound}: {wanted} cannot be imported", hint="See `reconciler state show`.")
    record_origin(session)
    session.store.put(imported_record(resource.kind, change))
    click.echo(f"{resource.address} is now bound to {change.id}.")
    if change.action not in (Action.ADOPT, Action.NO_OP):
        count = len(change.fields)
        click.echo(f"It differs from its manifest in {count} field{'s' if count != 1 else ''}: see `reconciler plan`.")
    return 0
