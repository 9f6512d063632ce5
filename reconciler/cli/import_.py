"""`reconciler import`: binds an existing object to a declared address, in the state only."""

from __future__ import annotations

import click
from msgspec.structs import replace

from reconciler.app.addresses import parse_addresses
from reconciler.app.applying import locked
from reconciler.app.plans import PlanRequest, plan_stack, require_credentials
from reconciler.app.state_origin import record_origin
from reconciler.cli.options import GlobalOptions, global_options, lock_option
from reconciler.cli.session import CommandSession
from reconciler.engine.apply.records import imported_record
from reconciler.errors import ConfigurationError, UsageError
from reconciler.manifests import Configuration
from reconciler.model.address import Address
from reconciler.model.change import Action
from reconciler.model.diagnostic import Severity, nearest
from reconciler.model.kind import Kind
from reconciler.model.resource import Resource, by_address
from reconciler.render.values import count


@click.command("import")
@click.argument("address", required=False)
@click.argument("id", required=False)
@click.option(
    "--from-terraform",
    metavar="FILE",
    help="Import everything in a Terraform or OpenTofu state; - reads standard input.",
)
@click.option(
    "--out",
    metavar="DIR",
    help="With --from-terraform: write manifests to this folder of the stack; manifests by default.",
)
@click.option(
    "--layout",
    type=click.Choice(("project", "kind", "flat")),
    help="With --from-terraform: a folder for each project, a file for each kind, or one file; "
    "project by default.",
)
@click.option(
    "--force",
    is_flag=True,
    help="With --from-terraform: replace files in a folder that is not empty.",
)
@click.option(
    "--terraform-released",
    is_flag=True,
    help="Confirm that Terraform no longer manages the imported objects, so that apply may begin.",
)
@lock_option
@global_options
def command(
    options: GlobalOptions,
    address: str | None,
    id: str | None,
    from_terraform: str | None,
    out: str | None,
    layout: str | None,
    force: bool,
    terraform_released: bool,
) -> int:
    """Bind an object to an address, or import a Terraform state.

    A manifest must declare ADDRESS; ID is the object's id at the API. Writes only to the state. The
    next plan shows how the object differs from its manifest, and the next apply writes
    the ownership mark if the kind has one.

    With --from-terraform, write manifests for the objects that the providers openai/openai,
    mkdev-me/openai and jianyuan/openai manage, and bind them. No API is called. `apply` refuses
    until --terraform-released confirms that Terraform has released the objects.
    """
    given = (from_terraform is not None, terraform_released, address is not None)
    if sum(given) != 1 or (address is not None and id is None):
        raise UsageError(
            "import needs either ADDRESS and ID, --from-terraform FILE, or --terraform-released"
        )
    if from_terraform is None and (out or layout or force):
        raise UsageError("--out, --layout and --force belong to --from-terraform")
    if terraform_released or from_terraform is not None:
        from reconciler.cli import import_terraform

        if from_terraform is None:
            return import_terraform.release(options)
        return import_terraform.run(
            options, from_terraform, out=out or "manifests", layout=layout, force=force
        )
    return _import_one(options, str(address), str(id))


def _import_one(options: GlobalOptions, address: str, id: str) -> int:
    with CommandSession(options) as session:
        (target,) = parse_addresses((address,), "ADDRESS")
        require_credentials(session)
        configuration = session.configuration
        # The import is a plan in which the resource adopts the object, so that all checks of an
        # adoption hold here too. Only its record is saved.
        resource = _declared(configuration, target)
        adopted = _checked(resource.kind, id)
        adopting = replace(resource, lifecycle=replace(resource.lifecycle, adopt=adopted))
        others = tuple(other for other in configuration.resources if other.address != target)
        session.use_configuration(replace(configuration, resources=(*others, adopting)))
        with locked(session, "import"):
            return _bind(session, adopting)


def _checked(kind: Kind, id: str) -> str:
    """The id in the form of the kind. Raises UsageError."""
    if not kind.parents:
        # Other tools write the id of the project before it.
        return id.rpartition("/")[2]
    try:
        return kind.composed_id(*kind.parent_and_id(id))
    except ValueError:
        forms = " or ".join(kind.id_forms)
        raise UsageError(
            f'"{id}" is no id of a {kind.name}',
            hint=f"Its ids are written {forms}.",
        ) from None


def _declared(configuration: Configuration, address: Address) -> Resource:
    known = by_address(configuration.resources)
    if address not in known:
        hint = nearest(str(address), map(str, known))
        raise UsageError(
            f'no manifest declares "{address}".{hint}',
            hint="Declare it first, then import.",
        )
    return known[address]


def _bind(session: CommandSession, resource: Resource) -> int:
    plan = plan_stack(session, PlanRequest(target=(str(resource.address),)))
    errors = [problem for problem in plan.diagnostics if problem.severity is Severity.ERROR]
    if errors:
        raise ConfigurationError(errors)
    change = next(change for change in plan.changes if change.address == resource.address)
    adopted = resource.lifecycle.adopt
    if change.id != adopted:
        state = "would be created"
        if change.id:
            state = f"is bound to {change.id} already"
        raise UsageError(
            f"{resource.address} {state}: {adopted} cannot be imported",
            hint="See `reconciler state show`.",
        )
    record_origin(session)
    session.store.put(imported_record(resource.kind, change))
    click.echo(f"{resource.address} is now bound to {change.id}.")
    if change.action not in (Action.ADOPT, Action.NO_OP):
        differing = count(len(change.fields), "field")
        click.echo(f"It differs from its manifest in {differing}: see `reconciler plan`.")
    return 0
