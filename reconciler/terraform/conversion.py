"""From a Terraform state to resources: addresses, references, and what was left out and why.

Conversion needs no API. Ids of objects in the same state become references; everything that is
not carried over is listed with its reason.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from reconciler.export.naming import ObjectKey, Unnamed, addresses
from reconciler.export.resource import ExportedResource
from reconciler.model.address import Address
from reconciler.model.comparing import canonical
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.types import KeySinkType
from reconciler.model.values import Reference
from reconciler.terraform.limits import usual_limits
from reconciler.terraform.mapping import Draft, FindFile, Lookup, NotCarriedOver, TypeMapping
from reconciler.terraform.names import label_of, module_label, project_label
from reconciler.terraform.providers import PROVIDERS
from reconciler.terraform.secrets import ClearKey, holds_key, keys_elsewhere
from reconciler.terraform.shared import model_of, stored_limits
from reconciler.terraform.state import Instance, TerraformState

_PROJECT_IS_ARCHIVED = "its project is archived"
_ORGANIZATION = re.compile(r"__api-organization__(org-[A-Za-z0-9_-]+)")


class Known(Struct, frozen=True):
    """What the stack has already."""

    projects: Mapping[str, str] = field(default_factory=dict)
    """Ids of projects that the stack names without managing them, by name."""
    bound: Mapping[ObjectKey, Address] = field(default_factory=dict)
    """Addresses of objects in the stack's state. They are kept."""
    elsewhere: frozenset[Address] = frozenset()
    """Addresses that other manifests declare. They are not written again."""
    find_file: FindFile = lambda path, size: None  # noqa: ARG005
    """Finds the content of an uploaded file in the stack's folder."""


class LeftOut(Struct, frozen=True):
    """An instance that was not carried over."""

    instance: Instance
    reason: str
    """A clause without a full stop."""


class Conversion(Struct, frozen=True):
    """What a state becomes."""

    resources: tuple[ExportedResource, ...]
    sources: Mapping[Address, Instance]
    """The instance that each resource was made from."""
    carried_over: tuple[Instance, ...]
    """The instances that Terraform has to let go."""
    left_out: tuple[LeftOut, ...]
    other_providers: Mapping[str, int]
    """How many instances other providers manage, by provider."""
    keys: tuple[ClearKey, ...]
    notes: tuple[str, ...]
    """Sentences about instances that were carried over."""
    projects: Mapping[str, str]
    """Projects that the stack has to name: their ids, by name."""
    organizations: frozenset[str]
    """The organizations that the state mentions."""


def convert(state: TerraformState, kinds: Mapping[str, Kind], known: Known) -> Conversion:
    """Convert a state. `kinds` are the kinds by name."""
    return _Converter(state, kinds, known).result()


class _Made(Struct, frozen=True):
    """A draft with the instance that it was made from, and the id of its object."""

    draft: Draft
    instance: Instance
    id: str
    mapping: TypeMapping

    @property
    def identity(self) -> tuple[str, str | None, str]:
        """What is the same for two declarations of one object."""
        return self.draft.kind, self.draft.project_id, self.id


class _Converter:
    def __init__(self, state: TerraformState, kinds: Mapping[str, Kind], known: Known) -> None:
        self._state = state
        self._kinds = kinds
        self._known = known
        self._left_out: list[LeftOut] = []
        self._notes: list[str] = []
        self._others: Counter[str] = Counter()
        self._carried_over: list[Instance] = []
        self._labels: dict[str, str] = {}
        """What a person calls the object with an id."""
        self._count = Counter(one.resource_address for one in state.instances)
        self._archived = frozenset(_archived_projects(state.instances))
        self._lookup = _lookup_of(state, known.find_file)

    def result(self) -> Conversion:
        made = self._without_inherited(self._without_repeats(list(self._made())))
        for one in made:
            self._labels[one.id] = self._label(one.instance)
        projects, missing = self._project_names(made)
        named = self._named(made, projects)
        by_id = self._addresses_by_id(named)
        resources, sources = [], {}
        for one, address in named:
            if address in self._known.elsewhere:
                self._notes.append(
                    f"{one.instance.address} is managed as {address} already: its manifest stays "
                    "as it is."
                )
                continue
            kind, emails = self._kinds[one.draft.kind], self._lookup.emails
            resources.append(_resource(one, address, kind, by_id, emails))
            sources[address] = one.instance
        resources.sort(key=lambda resource: resource.address.sort_key)
        return Conversion(
            resources=tuple(resources),
            sources=sources,
            carried_over=tuple(self._carried_over),
            left_out=tuple(self._left_out),
            other_providers=dict(sorted(self._others.items())),
            keys=tuple(self._keys(named)),
            notes=tuple(self._notes),
            projects=missing,
            organizations=frozenset(_organizations(state=self._state)),
        )

    def _leave_out(self, instance: Instance, reason: str) -> None:
        self._left_out.append(LeftOut(instance, reason))

    # --- drafts

    def _made(self) -> Iterator[_Made]:
        for instance in self._state.instances:
            provider = PROVIDERS.get(instance.provider)
            if provider is None:
                self._others[instance.provider] += 1
                continue
            mapping = provider.types.get(instance.type)
            if mapping is None:
                unknown = f"this type of {provider.name} is not supported"
                self._leave_out(instance, provider.without_counterpart.get(instance.type, unknown))
                continue
            try:
                yield from self._of_instance(instance, mapping)
            except NotCarriedOver as error:
                self._leave_out(instance, str(error))

    def _of_instance(self, instance: Instance, mapping: TypeMapping) -> list[_Made]:
        if instance.is_deposed:
            raise NotCarriedOver(
                "it is a deposed object: Terraform has replaced it and not deleted it yet"
            )
        if instance.attributes.get("project_id") in self._archived:
            raise NotCarriedOver(_PROJECT_IS_ARCHIVED)
        made = []
        for draft in mapping.drafts(instance, self._lookup):
            if holds_key(draft.spec):
                raise NotCarriedOver("a field of it contains what looks like an API key")
            kind = self._kinds[draft.kind]
            made.append(_Made(draft, instance, _object_id(kind, draft), mapping))
        if instance.is_tainted:
            self._notes.append(
                f"{instance.address} is tainted: Terraform would have replaced it, and here it "
                "is kept as it is."
            )
        self._carried_over.append(instance)
        return made

    def _without_repeats(self, made: list[_Made]) -> list[_Made]:
        """One draft for each object: two resources may manage the same one."""
        first: dict[tuple[str, str | None, str], _Made] = {}
        for one in made:
            other = first.setdefault(one.identity, one)
            if other is not one and other.instance is not one.instance:
                self._notes.append(
                    f"{one.instance.address} and {other.instance.address} are the same object: "
                    "it is declared once, as the latter says."
                )
        return list(first.values())

    def _without_inherited(self, made: list[_Made]) -> list[_Made]:
        """Only direct grants: one provider also lists the roles that a user has through groups."""
        groups = defaultdict(set)
        granted = set()
        for one in made:
            spec, project = one.draft.spec, one.draft.project_id
            if "group_id" in spec and "user_id" in spec:
                groups[spec["user_id"]].add(spec["group_id"])
            elif "group_id" in spec:
                granted.add((spec["group_id"], spec.get("role_id") or spec.get("role"), project))
        direct = []
        for one in made:
            spec, project = one.draft.spec, one.draft.project_id
            sources = groups[spec.get("user_id")] if one.draft.suffix else ()
            if any((group, spec.get("role_id"), project) in granted for group in sources):
                self._notes.append(
                    f"{one.instance.address} has the role {spec.get('role_id')} through a group, "
                    "so it is not declared for the user."
                )
            else:
                direct.append(one)
        return direct

    # --- names

    def _project_names(
        self, made: list[_Made]
    ) -> tuple[dict[str | None, str | None], dict[str, str]]:
        """The name of each project by id, and the projects that the stack has to name."""
        names: dict[str | None, str | None] = {None: None}
        known = self._known
        names |= {id: name for name, id in known.projects.items()}
        for (kind, _, id), address in known.bound.items():
            if self._kinds[kind].defines_project:
                names[id] = address.name
        own = [one for one in made if self._kinds[one.draft.kind].defines_project]
        for (_, _, id), address in self._addresses(own, names).items():
            names[id] = address.name
        wanted = dict.fromkeys(one.draft.project_id for one in made)
        missing = [id for id in wanted if id is not None and id not in names]
        taken = {str(name).casefold() for name in names.values()}
        found: dict[str, str] = {}
        labels = _names_of_projects(self._state)
        for id in missing:
            name = project_label(labels.get(id), id)
            if name in taken:
                name = f"{name}-{id[-4:].lower()}"
            taken.add(name)
            names[id] = name
            found[name] = id
        return names, found

    def _label(self, instance: Instance) -> str:
        return label_of(instance, is_only=self._count[instance.resource_address] == 1)

    def _named(
        self, made: list[_Made], projects: Mapping[str | None, str | None]
    ) -> list[tuple[_Made, Address]]:
        found = self._addresses(made, projects)
        named = []
        for one in made:
            project = projects[one.draft.project_id]
            named.append((one, found[one.draft.kind, project, one.id]))
        return named

    def _addresses(
        self, made: Iterable[_Made], projects: Mapping[str | None, str | None]
    ) -> dict[ObjectKey, Address]:
        unnamed = []
        for one in made:
            suffix = self._labels.get(one.draft.suffix, one.draft.suffix)
            unnamed.append(
                Unnamed(
                    one.draft.kind,
                    projects[one.draft.project_id],
                    one.id,
                    "-".join(filter(None, (self._label(one.instance), suffix))),
                    module_label(one.instance),
                )
            )
        known = dict(self._known.bound)
        for address in self._known.elsewhere:
            known.setdefault((address.kind, address.project, f" {address.name}"), address)
        projects_kind = next(name for name, kind in self._kinds.items() if kind.defines_project)
        for name, id in self._known.projects.items():
            known.setdefault((projects_kind, None, id), Address(projects_kind, name))
        return addresses(unnamed, known)

    def _addresses_by_id(self, named: Iterable[tuple[_Made, Address]]) -> dict[str, Address]:
        """The addresses of objects whose ids are unique, for references."""
        found = {}
        for (kind, _, id), address in self._known.bound.items():
            if _has_unique_ids(self._kinds[kind]):
                found[id] = address
        for one, address in named:
            if _has_unique_ids(self._kinds[one.draft.kind]):
                found[one.id] = address
        return found

    # --- keys

    def _keys(self, named: Iterable[tuple[_Made, Address]]) -> Iterator[ClearKey]:
        by_instance: dict[int, Address] = {}
        for one, address in named:
            by_instance.setdefault(id(one.instance), address)
        known = []
        for instance in self._state.instances:
            provider = PROVIDERS.get(instance.provider)
            mapping = provider.types.get(instance.type) if provider else None
            for attribute, id_attribute in mapping.keys if mapping else ():
                if not instance.attributes.get(attribute):
                    continue
                place = f"{instance.address}.{attribute}"
                known.append(place)
                target = by_instance.get(id(instance))
                yield ClearKey(
                    place,
                    str(instance.attributes.get(id_attribute) or ""),
                    "" if target is None else str(target),
                )
        yield from keys_elsewhere(self._state, known)


# --- resources


def _resource(
    one: _Made,
    address: Address,
    kind: Kind,
    by_id: Mapping[str, Address],
    emails: Mapping[str, str],
) -> ExportedResource:
    spec = dict(_with_references(one.draft.spec, by_id, address))
    comments = dict(one.draft.comments)
    user_id = spec.get("user_id")
    if isinstance(user_id, str) and user_id in emails:
        comments["user_id"] = emails[user_id]
    for declared in kind.fields:
        if isinstance(declared.type, KeySinkType) and declared.required:
            spec[declared.name] = {"write_to": {"file": f"secrets/{address.name}.key"}}
            comments[declared.name] = "Where a new key goes: the present one was never delivered."
    if any(one.instance.attributes.get(key) for key, _ in one.mapping.keys):
        comments[""] = "\n".join(filter(None, (comments.get("", ""), _advice(one, address, kind))))
    return ExportedResource(
        address=address,
        id=one.id,
        spec=spec,
        project_id=one.draft.project_id,
        comments=comments,
    )


def _advice(one: _Made, address: Address, kind: Kind) -> str:
    """How to rotate a key that the state holds."""
    if kind.is_shown_once:
        return (
            "Terraform's state holds this key in clear text. To rotate it, replace it: a new key "
            f"goes to the file below.\nreconciler apply --replace {address}"
        )
    key_id = next(
        (
            str(one.instance.attributes[id])
            for _, id in one.mapping.keys
            if one.instance.attributes.get(id)
        ),
        "unknown",
    )
    return (
        "Terraform's state holds the key of this account in clear text. To rotate it, add "
        "`key: {write_to: {file: secrets/NAME.key}}`, apply, give the new key to its users, and "
        f"delete the old key.\nThe old key: {key_id}"
    )


def _with_references(value: Any, by_id: Mapping[str, Address], own: Address) -> Any:
    if isinstance(value, str):
        target = by_id.get(value)
        return value if target is None or target == own else Reference(target)
    if isinstance(value, Mapping):
        return {key: _with_references(part, by_id, own) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_references(part, by_id, own) for part in value]
    return value


def _object_id(kind: Kind, draft: Draft) -> str:
    """The id of the object as records have it. Raises NotCarriedOver if a part is missing."""
    spec = draft.spec
    if kind.calls.singleton:
        collection = kind.collection_for(in_project=draft.project_id is not None)
        return collection.rpartition("/")[2]
    own = draft.own_id
    if own is None and kind.calls.id_field:
        value = spec.get(kind.calls.id_field)
        # Ids have several spellings, and lists show one of them.
        own = None if value is None else canonical(kind.by_name[kind.calls.id_field].type, value)
    parent = kind.parent_of(spec)
    if not own or parent is None:
        raise NotCarriedOver("the state does not have its whole id")
    return kind.composed_id(parent, own)


def _has_unique_ids(kind: Kind) -> bool:
    """Whether an id names one object in the whole organization."""
    if kind.parents or kind.calls.singleton or kind.calls.id_field:
        return False
    return not kind.unique_key or kind.scope is ScopeType.ORGANIZATION


# --- what the whole state knows


def _lookup_of(state: TerraformState, find_file: FindFile) -> Lookup:
    limits: list[tuple[str, str, int]] = []
    files: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    stores = set()
    for instance in state.instances:
        if instance.provider not in PROVIDERS:
            continue
        if instance.type == "openai_project_rate_limit":
            limits += _limits_of(instance)
        if instance.type == "openai_vector_store":
            stores.add(str(instance.attributes.get("id")))
        if instance.type.startswith("openai_vector_store_file"):
            files[str(instance.attributes.get("vector_store_id"))].append(instance.attributes)
    emails: dict[str, str] = {}
    for instance in (*state.instances, *state.data):
        if instance.provider in PROVIDERS:
            _note_emails(instance.attributes, emails)
    return Lookup(
        emails=emails,
        configured=state.configured,
        store_files=files,
        stores=frozenset(stores),
        find_file=find_file,
        usual_limits=usual_limits(limits),
    )


def _limits_of(instance: Instance) -> Iterator[tuple[str, str, int]]:
    try:
        model = model_of(instance)
    except NotCarriedOver:
        return
    for name, value in stored_limits(instance):
        yield model, name, value


def _note_emails(value: Any, emails: dict[str, str]) -> None:
    """Note the e-mail addresses of users, wherever an object names both."""
    if isinstance(value, Mapping):
        email, user_id = value.get("email"), value.get("user_id") or value.get("id")
        if isinstance(email, str) and isinstance(user_id, str) and user_id.startswith("user"):
            emails[user_id] = email
        for part in value.values():
            if isinstance(part, Mapping | list):
                _note_emails(part, emails)
    elif isinstance(value, list):
        for part in value:
            _note_emails(part, emails)


def _archived_projects(instances: Iterable[Instance]) -> Iterator[str]:
    for instance in instances:
        is_project = instance.provider in PROVIDERS and instance.type == "openai_project"
        if is_project and instance.attributes.get("status") == "archived":
            yield str(instance.attributes.get("id"))


def _names_of_projects(state: TerraformState) -> dict[str, str]:
    """Display names of projects that data sources have read."""
    names: dict[str, str] = {}

    def note(value: Any) -> None:
        if isinstance(value, Mapping):
            id, name = value.get("id") or value.get("project_id"), value.get("name")
            if isinstance(id, str) and id.startswith("proj_") and isinstance(name, str):
                names[id] = name
            for part in value.values():
                note(part)
        elif isinstance(value, list):
            for part in value:
                note(part)

    for instance in state.data:
        if instance.provider in PROVIDERS and instance.type.startswith("openai_project"):
            note(instance.attributes)
    return names


def _organizations(state: TerraformState) -> Iterator[str]:
    for instance in state.instances:
        if instance.provider not in PROVIDERS:
            continue
        own = instance.attributes.get("organization_id")
        if isinstance(own, str) and own.startswith("org-"):
            yield own
        for name in ("role_id", "role", "id"):
            value = instance.attributes.get(name)
            match = _ORGANIZATION.search(value) if isinstance(value, str) else None
            if match:
                yield match[1]
