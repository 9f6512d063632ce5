"""Messages about resources that could not be bound: the objects in the way, and every remedy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, nearest
from reconciler.model.resource import MARK_KEY, LiveObject, Resource
from reconciler.model.values import Spec

# The texts stand together so that they can be reviewed in one reading. Each names the object, the
# reason why it was not bound, and every remedy, because a reader of a CI log cannot ask back.
_MOST_IDS = 3


def unproved_mark(resource: Resource, marked: Sequence[LiveObject]) -> Diagnostic:
    """The recorded object is gone, and objects that this state never held carry its mark."""
    return _error(
        resource,
        "The object of this resource is gone, and another one carries its mark",
        f"{_ids(marked)} carries our mark, and this state never held it: it is a copy, or this state is an older "
        f"one. To take it over {_ways_to_adopt(resource, marked)}. To have a new object made, remove the key "
        f'"{MARK_KEY}" from its metadata.',
    )


def already_managed(resource: Resource, id: str, owner: Address) -> Diagnostic:
    """The object to adopt is bound to another address."""
    return _error(resource, "Already managed", f'"{id}" is bound to {owner}')


def nothing_to_adopt(resource: Resource, id: str) -> Diagnostic:
    """No object has the id that the manifest says to adopt."""
    forms = " or ".join(resource.kind.id_forms)
    return _error(
        resource,
        "Nothing to adopt",
        f'the API knows no {resource.kind.name} with id "{id}"; ids of this kind are written {forms}',
    )


def ended(resource: Resource, live: LiveObject) -> Diagnostic:
    """The object to adopt is still listed, and it has ended for good."""
    # The states are named as the API answers them, since a user compares them with the dashboard.
    states = [
        f'{name} "{value}"'
        for name, value in live.kind.terminal_states
        if live.attributes.get(name) == value
    ]
    return _error(
        resource,
        "Nothing to adopt",
        f"{live.id} has {' and '.join(states)}, which is final: it cannot be used any more. Remove `adopt` to have a "
        f"new {live.kind.name} created, or remove the declaration",
    )


def foreign(resource: Resource, live: LiveObject) -> Diagnostic:
    """The object carries the mark of another stack."""
    return _error(
        resource,
        "Managed by another stack",
        f'{live.id} carries the mark "{live.mark}". Let it go there first (lifecycle: {{on_remove: retain}}), or, '
        f'if that stack is gone, remove the key "{MARK_KEY}" from the metadata of {live.id}. If it is to stay '
        f"there, remove {resource.address} from the manifests: it is then forgotten here, and not deleted.",
    )


def exists_already(resource: Resource, spec: Spec, live: LiveObject) -> Diagnostic:
    """An object with the same natural key exists, and nothing says that it is ours."""
    return _error(
        resource,
        "An object like this exists already",
        f"{live.id} has the same {key_text(resource, spec)} and is not managed here. To take it over "
        f"{_ways_to_adopt(resource, [live])}",
    )


def declared_twice(resource: Resource, spec: Spec, other: Resource) -> Diagnostic:
    """Another declaration has the only object with this natural key."""
    return _error(
        resource,
        "Two declarations of one object",
        f"{key_text(resource, spec)} is the object of {other.address} ({other.location}): keep one of the two",
    )


def bound_elsewhere(resource: Resource, spec: Spec, owner: Address) -> Diagnostic:
    """The only object with this natural key is recorded for an address that nothing declares."""
    return _error(
        resource,
        "Bound to another address",
        f"{key_text(resource, spec)} is {owner}, which no manifest declares any more. If it has a new name, "
        f"say lifecycle: {{renamed_from: {owner}}}; if not, remove the one first and declare the other then",
    )


def absent(resource: Resource, spec: Spec, listed: Iterable[LiveObject]) -> Diagnostic:
    """Only the API creates objects of the kind, and it has none with this natural key."""
    kind, project = resource.kind, resource.address.project
    where = f'project "{project}"' if project else "the organization"
    # Ids of models and the like are long and easily misspelled, so the nearest one is suggested.
    names = [live.value(kind.natural_key[0]) for live in listed]
    suggestion = nearest(
        str(spec.get(kind.natural_key[0]) or ""), (name for name in names if isinstance(name, str))
    )
    return _error(
        resource,
        f"No such {kind.name}",
        f"the API lists none with {key_text(resource, spec)} in {where}, and objects of this kind cannot be "
        f"created.{suggestion} {kind.absent}".rstrip(),
    )


def nameless(resource: Resource, ids: Sequence[str]) -> Diagnostic:
    """Objects may be the resource, but no answer shows their natural key."""
    more = " …" if len(ids) > _MOST_IDS else ""
    return _error(
        resource,
        "An object like this may exist already",
        f"the API does not show the {' and '.join(resource.kind.natural_key)} of {', '.join(ids[:_MOST_IDS])}"
        f"{more}. Check the server and any proxy in between, and plan again, or "
        f"say which object it is with reconciler import {resource.address} ID",
    )


def several(resource: Resource, candidates: Sequence[LiveObject], clause: str) -> Diagnostic:
    """Several objects fit; `clause` completes the sentence that begins with their ids."""
    return _error(
        resource,
        "More than one object could be this resource",
        f"{_ids(candidates)} {clause}. Say which one with lifecycle: {{adopt: ID}} or reconciler import "
        f"{resource.address} ID, where ID is one of these as they are written here",
    )


def key_text(resource: Resource, spec: Spec) -> str:
    """The natural key of a spec, as text."""
    identity = resource.kind.identity(spec) or {}
    return ", ".join(f'{name} "{value}"' for name, value in identity.items())


def _ways_to_adopt(resource: Resource, candidates: Sequence[LiveObject]) -> str:
    """How to take over one of some objects; ids are spelled as manifests and `import` take them."""
    if len(candidates) > 1:
        return f"set lifecycle: {{adopt: ID}}, or run reconciler import {resource.address} ID"
    # Quoted, because an id of digits alone would be a YAML number.
    id = candidates[0].id
    return (
        f'set lifecycle: {{adopt: true}} or {{adopt: "{id}"}}, or run plan and apply with --adopt, or '
        f"reconciler import {resource.address} {id}"
    )


def _ids(objects: Iterable[LiveObject]) -> str:
    # Sorted, so that two plans of one situation say the same: reports are compared by text.
    return ", ".join(sorted(live.id for live in objects))


def _error(resource: Resource, summary: str, detail: str) -> Diagnostic:
    return Diagnostic(summary, detail, address=resource.address, location=resource.location)
