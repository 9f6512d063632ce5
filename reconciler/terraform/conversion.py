"""Converts a Terraform state to resources, and lists what it leaves out with the reasons.

Conversion needs no API. Ids of objects in the same state become references. Every other object is
listed with the reason why it is left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from reconciler.export.resource import ExportedResource
from reconciler.model.address import Address
from reconciler.model.kind import Kind
from reconciler.terraform.addressing import ExistingResources, addressed
from reconciler.terraform.drafted import Drafted, object_id
from reconciler.terraform.mapping import NotCarriedOver, TypeMapping
from reconciler.terraform.providers import PROVIDERS
from reconciler.terraform.resources import resource_of
from reconciler.terraform.secrets import ClearKey, holds_key, key_attributes, keys_elsewhere
from reconciler.terraform.state import TerraformInstance, TerraformState
from reconciler.terraform.survey import (
    archived_projects,
    lookup_of,
    names_of_projects,
    organizations,
)

_PROJECT_IS_ARCHIVED = "its project is archived"
_OF_OTHER_TYPES = "its attributes have other types than those that this version knows"
_IS_DEPOSED = "it is a deposed object: Terraform has replaced it and not deleted it yet"
_IS_NOT_MANAGED_HERE = (
    "`projects` in the stack file names it as a project that is not managed here; remove that "
    "entry to take it over"
)


class SkippedInstance(Struct, frozen=True):
    """An instance that was not carried over."""

    instance: TerraformInstance
    reason: str
    """A clause without a full stop."""


class Conversion(Struct, frozen=True):
    """The result of converting a state."""

    resources: tuple[ExportedResource, ...]
    sources: Mapping[Address, TerraformInstance]
    """The instance that each resource was made from."""
    carried_over: tuple[TerraformInstance, ...]
    """The instances that Terraform has to release."""
    left_out: tuple[SkippedInstance, ...]
    other_providers: Mapping[str, int]
    """How many instances other providers manage, by provider."""
    keys: tuple[ClearKey, ...]
    notes: tuple[str, ...]
    """Sentences about instances that were carried over."""
    projects: Mapping[str, str]
    """Projects that the stack has to name: their ids, by name."""
    organizations: frozenset[str]
    """The organizations that the state mentions."""


def convert(
    state: TerraformState, kinds: Mapping[str, Kind], known: ExistingResources
) -> Conversion:
    """Convert a state. `kinds` are the kinds by name."""
    return _Converter(state, kinds, known).result()


class _Converter:
    def __init__(
        self, state: TerraformState, kinds: Mapping[str, Kind], known: ExistingResources
    ) -> None:
        self._state = state
        self._kinds = kinds
        self._known = known
        self._left_out: list[SkippedInstance] = []
        self._notes: list[str] = []
        self._others: Counter[str] = Counter()
        self._carried_over: list[TerraformInstance] = []
        self._archived = frozenset(archived_projects(state.instances))
        self._lookup = lookup_of(state, known.find_file)

    def result(self) -> Conversion:
        drafts = self._without_inherited(self._without_repeats(list(self._drafts())))
        names = names_of_projects(self._state)
        addressing = addressed(drafts, self._kinds, self._known, names)
        resources, sources = [], {}
        for drafted, address in addressing.named:
            if address in self._known.elsewhere:
                # Terraform must release the object anyway: it is in `carried_over`.
                self._notes.append(
                    f"{drafted.instance.address} is managed as {address} already: its manifest "
                    "stays as it is."
                )
                continue
            kind, emails = self._kinds[drafted.kind], self._lookup.emails
            resources.append(resource_of(drafted, address, kind, addressing.by_id, emails))
            sources[address] = drafted.instance
        resources.sort(key=lambda resource: resource.address.sort_key)
        return Conversion(
            resources=tuple(resources),
            sources=sources,
            carried_over=tuple(self._carried_over),
            left_out=tuple(self._left_out),
            other_providers=dict(sorted(self._others.items())),
            keys=tuple(self._keys(addressing.named)),
            notes=tuple(self._notes),
            projects=addressing.new_projects,
            organizations=frozenset(organizations(self._state)),
        )

    # --- drafts

    def _drafts(self) -> Iterator[Drafted]:
        for instance in self._state.instances:
            provider = PROVIDERS.get(instance.provider)
            if provider is None:
                self._others[instance.provider] += 1
                continue
            mapping = provider.types.get(instance.type)
            if mapping is None:
                unknown = f"this type of {provider.name} is not supported"
                reason = provider.without_counterpart.get(instance.type, unknown)
                self._left_out.append(SkippedInstance(instance, reason))
                continue
            try:
                yield from self._drafts_of(instance, mapping)
            except NotCarriedOver as error:
                self._left_out.append(SkippedInstance(instance, str(error)))
            except (AttributeError, KeyError, TypeError, ValueError):
                # An edited state, or one of a later version of the provider.
                self._left_out.append(SkippedInstance(instance, _OF_OTHER_TYPES))

    def _drafts_of(self, instance: TerraformInstance, mapping: TypeMapping) -> list[Drafted]:
        if instance.is_deposed:
            raise NotCarriedOver(_IS_DEPOSED)
        if instance.address in self._known.refused:
            raise NotCarriedOver(self._known.refused[instance.address])
        if instance.attributes.get("project_id") in self._archived:
            raise NotCarriedOver(_PROJECT_IS_ARCHIVED)
        drafts = []
        for draft in mapping.drafts(instance, self._lookup):
            if holds_key(draft.spec):
                raise NotCarriedOver("a field of it contains what looks like an API key")
            kind = self._kinds[draft.kind]
            id = object_id(kind, draft)
            if kind.defines_project and id in self._known.projects.values():
                raise NotCarriedOver(_IS_NOT_MANAGED_HERE)
            drafts.append(Drafted(draft, instance, mapping, id))
        if instance.is_tainted:
            self._notes.append(
                f"{instance.address} is tainted: Terraform would have replaced it, and here it "
                "is kept as it is."
            )
        # Only now: an instance with an error stays with Terraform, whole.
        self._carried_over.append(instance)
        return drafts

    def _without_repeats(self, drafts: list[Drafted]) -> list[Drafted]:
        """One draft for each object: two resources may manage the same one."""
        first: dict[tuple[str, str | None, str], Drafted] = {}
        for drafted in drafts:
            other = first.setdefault(drafted.identity, drafted)
            if other.instance is not drafted.instance:
                self._notes.append(
                    f"{drafted.instance.address} and {other.instance.address} are the same "
                    "object: it is declared once, as the latter says."
                )
        return list(first.values())

    def _without_inherited(self, drafts: list[Drafted]) -> list[Drafted]:
        """Only direct grants: one provider also lists roles that users inherit from groups."""
        groups = defaultdict(set)
        granted = set()
        for drafted in drafts:
            spec, project = drafted.draft.spec, drafted.project_id
            if "group_id" in spec and "user_id" in spec:
                groups[spec["user_id"]].add(spec["group_id"])
            elif "group_id" in spec:
                granted.add((spec["group_id"], spec.get("role_id") or spec.get("role"), project))
        direct = []
        for drafted in drafts:
            spec, project = drafted.draft.spec, drafted.project_id
            # Only drafts of a list of roles have a suffix. A resource of its own is a direct grant.
            sources = groups[spec.get("user_id")] if drafted.draft.suffix else ()
            if any((group, spec.get("role_id"), project) in granted for group in sources):
                self._notes.append(
                    f"{drafted.instance.address} has the role {spec.get('role_id')} through a "
                    "group, so it is not declared for the user."
                )
            else:
                direct.append(drafted)
        return direct

    # --- keys

    def _keys(self, named: Iterable[tuple[Drafted, Address]]) -> Iterator[ClearKey]:
        # By identity: attributes cannot be hashed. The first resource of an instance is the main one.
        by_instance: dict[int, Address] = {}
        for drafted, address in named:
            by_instance.setdefault(id(drafted.instance), address)
        known = []
        for instance in self._state.instances:
            for attribute, id_attribute in key_attributes(instance):
                if not instance.attributes.get(attribute):
                    continue
                place = f"{instance.address}.{attribute}"
                known.append(place)
                key_id = str(instance.attributes.get(id_attribute) or "")
                yield ClearKey(place, key_id, str(by_instance.get(id(instance), "")))
        yield from keys_elsewhere(self._state, known)
