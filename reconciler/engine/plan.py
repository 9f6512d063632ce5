"""An action and a reason for each address: desired, live and prior state become one plan.

Resources are taken in dependency order, so that what a reference points at is decided before the reference is looked
at: it is a value where the object stays, and unknown where it is still to be made.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from reconciler.engine import diff
from reconciler.engine.graph import closure, in_dependency_order
from reconciler.engine.match import Binding, Found, Matcher, Ownership
from reconciler.engine.refresh import Place, Reader
from reconciler.errors import UsageError
from reconciler.model.address import Address
from reconciler.model.change import (
    Action,
    Change,
    Drift,
    FieldChange,
    Origin,
    OutputChange,
    Plan,
    Reason,
    Unmanaged,
)
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.kind import KEEP, Ended, Kind, OnRemove, Readable, Removal
from reconciler.model.provider import Provider
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import LocalFile, Reference, Spec, Unknown, substitute


@dataclass(frozen=True)
class PlanOptions:
    """What a caller may ask of a plan beyond "what is different"."""

    destroy: bool = False
    adopt: bool = False
    unmanaged: bool = False
    targets: tuple[Address, ...] = ()
    replace: tuple[Address, ...] = ()
    budget_calls: int | None = None


@dataclass(frozen=True)
class PlanInputs:
    """Everything a plan is made from, live state apart.

    `projects` are the ids of scopes that are used and not managed. `key_writers` names, for a project, the resource
    that delivers the key which opens it, so that it comes before what needs the key. `state_is_new` makes the plan
    look for marked objects of kinds that nothing declares any more.
    """

    resources: Sequence[Resource]
    kinds: Mapping[str, Kind]
    records: Mapping[Address, Record]
    ownership: Ownership
    projects: Mapping[str, str] = field(default_factory=dict)
    key_writers: Mapping[str, Address] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    previous_outputs: Mapping[str, Any] = field(default_factory=dict)
    config_digest: str = ""
    state_serial: int = 0
    state_is_new: bool = False
    options: PlanOptions = PlanOptions()


def make_plan(
    inputs: PlanInputs, provider: Provider, *, parallelism: int = 10, clock: Callable[[], float] = time.monotonic
) -> Plan:
    """Read live state and decide. Changes nothing anywhere; problems with single addresses become diagnostics."""
    started, calls = clock(), provider.calls
    planner = _Planner(inputs, provider, parallelism)
    changes = planner.decide()
    return Plan(
        stack=inputs.ownership.stack,
        environment=inputs.ownership.environment,
        changes=tuple(changes),
        drift=tuple(planner.drift()),
        outputs=tuple(planner.output_changes()),
        unmanaged=tuple(planner.unmanaged()) if inputs.options.unmanaged else (),
        diagnostics=tuple(planner.diagnostics),
        config_digest=inputs.config_digest,
        state_serial=inputs.state_serial,
        destroy=inputs.options.destroy,
        calls=provider.calls - calls,
        seconds=clock() - started,
    )


class _Planner:
    def __init__(self, inputs: PlanInputs, provider: Provider, parallelism: int) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._in = inputs
        self._provider = provider
        self._reader = Reader(provider, inputs.kinds, parallelism=parallelism)
        self._resources = {resource.address: resource for resource in inputs.resources}
        self._needs = {address: self._needs_of(resource) for address, resource in self._resources.items()}
        self._selected = self._select()
        self._bindings: dict[Address, Binding] = {}
        self._specs: dict[Address, Spec] = {}
        self._changes: dict[Address, Change] = {}
        self._defined: set[str] = set()
        self._gone_projects: set[str] = set()

    # --- the way through -------------------------------------------------------------------------------------------

    def decide(self) -> list[Change]:
        self._refuse_over_budget()
        order = [a for a in in_dependency_order(self._needs, key=lambda a: a.sort_key) if a in self._selected]
        self._read_projects()
        matcher = self._matcher()
        self._bind_projects(order, matcher)
        self._read_everything()
        matcher = self._matcher()
        for address in order:
            self._bind(self._resources[address], matcher)
        self._read_carried()
        self._changes = {}
        for address in order:
            self._changes[address] = self._decide_declared(self._resources[address])
        self.diagnostics += matcher.diagnostics
        self._matched = matcher
        changes = [change for change in self._changes.values() if change.reason is not Reason.GONE]
        changes += self._decide_undeclared(matcher)
        return self._with_archived_projects(changes)

    def _matcher(self) -> Matcher:
        return Matcher(
            self._reader.state,
            self._in.records,
            self._in.ownership,
            declared=self._resources,
            adopt_all=self._in.options.adopt,
        )

    def _needs_of(self, resource: Resource) -> set[Address]:
        address = resource.address
        needs = set(resource.references)
        needs |= {self._definers[address.project]} if address.project in self._definers else set()
        writer = self._in.key_writers.get(address.project or "")
        if writer is not None and not resource.kind.scope.needs_admin_key:
            needs.add(writer)
        return needs - {address}

    @cached_property
    def _definers(self) -> Mapping[str | None, Address]:
        """The resource that is each declared project, by the project's name."""
        return {
            resource.address.name: resource.address for resource in self._in.resources if resource.kind.defines_project
        }

    def _select(self) -> set[Address]:
        options = self._in.options
        known = {*self._resources, *self._in.records}
        for address in (*options.targets, *options.replace):
            if address not in known:
                hint = nearest(str(address), map(str, known))
                raise UsageError(f'Nothing here has the address "{address}".{hint}')
        if not options.targets:
            return set(self._resources)
        return closure(self._needs, options.targets)

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read_projects(self) -> None:
        for name, id in self._in.projects.items():
            self._provider.bind_project(name, id)
        places = {place for place in self._places() if self._in.kinds[place.kind].defines_project}
        self._reader.read_lists(sorted(places, key=lambda place: place.kind))
        self._reader.confirm(self._expected(places))

    def _bind_projects(self, order: Iterable[Address], matcher: Matcher) -> None:
        """Tell the provider which project is which; what was left in a project that is gone is gone with it."""
        for address in order:
            resource = self._resources[address]
            if resource.kind.defines_project:
                live = self._bind(resource, matcher).live
                self._bind_project(address.name, live.id if live is not None else None)
        for address, record in self._in.records.items():
            kind = self._in.kinds.get(address.kind)
            if kind is not None and kind.defines_project and address not in self._resources:
                live = self._reader.state.find(address.kind, address.project, record.id)
                alive = live is not None and kind.ending(live.attributes) is not Ended.GONE
                self._bind_project(address.name, record.id if alive else None)
        for address, record in self._in.records.items():
            known = {*self._in.projects, *self._defined, *self._gone_projects}
            if address.project and record.project_id and address.project not in known:
                self._provider.bind_project(address.project, record.project_id)

    def _bind_project(self, name: str, project_id: str | None) -> None:
        if project_id is None:
            self._gone_projects.add(name)
        else:
            self._defined.add(name)
            self._provider.bind_project(name, project_id)

    def _read_everything(self) -> None:
        places = self._places()
        self._reader.read_lists(sorted(places, key=lambda place: (place.project or "", place.kind)))
        if self._in.state_is_new:
            self._reader.read_lists(self._places_of_marked_kinds(places), optional=True)
        self._reader.confirm(self._expected(places))
        self._warn_of_unreadable()

    def _places(self) -> set[Place]:
        addresses = set(self._selected)
        if not self._in.options.targets:
            addresses |= {address for address in self._in.records if address.kind in self._in.kinds}
        return {Place(address.kind, address.project) for address in addresses}

    def _refuse_over_budget(self) -> None:
        budget = self._in.options.budget_calls
        members = sum(
            any(item.readable is not Readable.NEVER and item.name in resource.spec for item in resource.kind.carried)
            for address, resource in self._resources.items()
            if address in self._selected and address in self._in.records
        )
        estimate = len(self._places()) + members
        if budget is not None and estimate > budget:
            raise UsageError(
                f"reading live state needs at least {estimate} calls, over the budget of {budget}",
                hint="Raise --budget, or narrow the plan with --target.",
            )

    def _places_of_marked_kinds(self, places: Iterable[Place]) -> list[Place]:
        data_projects = {place.project for place in places if not self._in.kinds[place.kind].scope.needs_admin_key}
        marked = [kind for kind in self._in.kinds.values() if kind.mark]
        return [
            Place(kind.name, project)
            for project in sorted(data_projects, key=lambda name: name or "")
            for kind in marked
        ]

    def _expected(self, places: Iterable[Place]) -> list[tuple[Place, str]]:
        wanted = [(Place(a.kind, a.project), record.id) for a, record in self._in.records.items()]
        wanted += [
            (Place(a.kind, a.project), resource.lifecycle.adopt)
            for a, resource in self._resources.items()
            if isinstance(resource.lifecycle.adopt, str)
        ]
        allowed = set(places)
        return [(place, id) for place, id in wanted if place in allowed]

    def _read_carried(self) -> None:
        wanted: dict[tuple[Place, str], set[str]] = defaultdict(set)
        for address, binding in self._bindings.items():
            resource = self._resources[address]
            managed = {*resource.spec, *(binding.record.applied if binding.record else ())}
            names = {f.name for f in resource.kind.carried if f.readable is not Readable.NEVER and f.name in managed}
            if binding.live is not None and names and not self._in.options.destroy:
                wanted[Place(address.kind, address.project), binding.live.id] |= names
        self._reader.read_carried(wanted)
        for address, binding in self._bindings.items():
            if binding.live is not None:
                fresh = self._reader.state.find(address.kind, address.project, binding.live.id)
                self._bindings[address] = replace(binding, live=fresh)

    def _warn_of_unreadable(self) -> None:
        for project in sorted({place.project or "" for place in self._reader.state.unreadable}):
            definer = self._definers.get(project)
            known = definer is None or self._bindings.get(definer, Binding()).live is not None
            if project and known:
                self.diagnostics.append(
                    Diagnostic(
                        f'Objects of project "{project}" cannot be read yet',
                        "the key that opens it is not at hand. What is planned for it is looked for again right before "
                        "it is made.",
                        address=self._in.key_writers.get(project),
                        severity=Severity.WARNING,
                    )
                )

    # --- declared resources ----------------------------------------------------------------------------------------

    def _bind(self, resource: Resource, matcher: Matcher) -> Binding:
        spec = resource.kind.complete(substitute(resource.spec, self._lookup))
        binding = matcher.bind(resource, spec)
        self._bindings[resource.address] = binding
        return binding

    def _lookup(self, reference: Reference) -> Any:
        """What a reference is now: a value, or unknown while its target is still to be made."""
        change = self._changes.get(reference.address)
        live = self._bindings.get(reference.address, Binding()).live
        stays = live is not None and (change is None or change.action not in (Action.CREATE, Action.REPLACE))
        if not reference.path:
            return live.id if stays and live is not None else Unknown(str(reference))
        found = _at(self._specs.get(reference.address, {}), reference.path)
        if found is None and stays and live is not None:
            found = _at(live.attributes, reference.path)
        if isinstance(found, LocalFile):
            return found.path
        return Unknown(str(reference)) if found is None else found

    def _decide_declared(self, resource: Resource) -> Change:
        binding = self._bindings[resource.address]
        spec = resource.kind.complete(substitute(resource.spec, self._lookup))
        self._specs[resource.address] = spec
        if self._in.options.destroy:
            return self._destroy(resource, binding)
        if binding.live is None:
            return self._create(resource, binding, spec)
        return self._compare(resource, binding, binding.live, spec)

    def _base(self, resource: Resource, binding: Binding) -> Change:
        record, lifecycle = binding.record, resource.lifecycle
        recorded = record.prevent_destroy if record else False
        protected = lifecycle.prevent_destroy
        before_destroy = lifecycle.create_before_destroy
        depends_on = self._needs[resource.address] | set(record.depends_on if record else ())
        return Change(
            address=resource.address,
            action=Action.NO_OP,
            reason=Reason.IN_SYNC,
            id=binding.live.id if binding.live else None,
            project_id=self._project_id(resource.address.project),
            scope=resource.kind.scope.value,
            desired=resource.kind.complete(resource.spec),
            depends_on=tuple(sorted(depends_on)),
            place=resource.place,
            removal=resource.kind.removal,
            create_before_destroy=resource.kind.create_before_destroy if before_destroy is None else before_destroy,
            prevent_destroy=recorded if protected is None else protected,
            on_remove=resource.on_remove.value,
            renamed_from=binding.renamed_from,
        )

    def _create(self, resource: Resource, binding: Binding, spec: Spec) -> Change:
        reason = Reason.NEW
        if binding.ended is not None:
            reason = Reason.ARCHIVED_OUTSIDE
        elif binding.record is not None:
            reason = Reason.DELETED_OUTSIDE
        place = Place(resource.address.kind, resource.address.project)
        fields = [FieldChange((name,), None, value) for name, value in spec.items() if value is not None]
        return replace(
            self._base(resource, binding),
            action=Action.CREATE,
            reason=reason,
            fields=tuple(fields),
            after=spec,
            look_first=place in self._reader.state.unreadable or resource.address in self._in.ownership.begun,
        )

    def _compare(self, resource: Resource, binding: Binding, live: LiveObject, spec: Spec) -> Change:
        kind, record, ignore = resource.kind, binding.record, resource.lifecycle.ignore_changes
        desired = diff.without_ignored(spec, live=live, ignore=ignore)
        prior = (
            replace(record, applied=diff.without_ignored(record.applied, live=live, ignore=ignore)) if record else None
        )
        fields = tuple(diff.diff_fields(kind, desired=desired, live=live, record=prior))
        change = replace(
            self._base(resource, binding),
            fields=fields,
            desired=diff.without_ignored(kind.complete(resource.spec), live=live, ignore=ignore),
            after={**self._shown(resource.kind, live, record), **desired},
            before=self._shown(resource.kind, live, record),
            pre_image=diff.image(kind, live),
            warnings=tuple(self._warnings(resource, desired, record)),
        )
        return self._chosen(resource, binding, live, change)

    def _chosen(self, resource: Resource, binding: Binding, live: LiveObject, change: Change) -> Change:
        forced = any(item.forces_replacement for item in change.fields)
        expired = resource.kind.ending(live.attributes) is Ended.REPLACE
        if forced or expired or resource.address in self._in.options.replace:
            reason = Reason.FIELD_FORCES_REPLACEMENT if forced else Reason.EXPIRED if expired else Reason.REQUESTED
            return replace(change, action=Action.REPLACE, reason=reason, destructive=resource.kind.destroys)
        if change.fields:
            return replace(change, action=Action.UPDATE, reason=_update_reason(change.fields, binding))
        if binding.renamed_from is not None:
            return replace(change, action=Action.ADOPT, reason=Reason.RENAMED)
        if binding.found is Found.ADOPTED and binding.record is None:
            return replace(change, action=Action.ADOPT, reason=Reason.ADOPTED)
        return change

    def _warnings(self, resource: Resource, desired: Spec, record: Record | None) -> Iterable[str]:
        for item in diff.fixed_fields(resource.kind, desired=desired, record=record):
            yield f"{item.name} can only be set at creation: the API keeps the earlier value"
        for name in record.answered if record else ():
            if name in desired:
                yield f"{name}: the API answered another value than asked, and keeps it"
        for item in resource.kind.fields:
            applied = record.applied.get(item.name) if record else None
            if item.reset is KEEP and applied is not None and item.name not in desired:
                yield f"{item.name} is not set any more, and nothing can clear it: it stays as it is"

    def _shown(self, kind: Kind, live: LiveObject, record: Record | None) -> dict[str, Any]:
        shown = {item.name: live.value(item.name) for item in kind.fields}
        for item in kind.fields:
            if item.readable is Readable.NEVER and record is not None:
                shown[item.name] = record.applied.get(item.name)
        return {name: value for name, value in shown.items() if value is not None}

    # --- what nothing declares -------------------------------------------------------------------------------------

    def _destroy(self, resource: Resource, binding: Binding) -> Change:
        change = self._base(resource, binding)
        if binding.live is None or (resource.kind.always_exists and binding.record is None):
            known = binding.record is not None
            return replace(change, action=Action.FORGET, reason=Reason.GONE) if known else _nothing(change)
        return self._removal(change, resource.kind, binding.live, binding.record, Reason.DESTROY)

    def _decide_undeclared(self, matcher: Matcher) -> list[Change]:
        renamed = {binding.renamed_from for binding in self._bindings.values() if binding.renamed_from}
        targets = self._in.options.targets
        changes: list[Change] = []
        for address, record in self._in.records.items():
            if address.kind not in self._in.kinds:
                continue
            if address not in self._resources and address not in renamed and (not targets or address in targets):
                changes.append(self._orphan(address, record))
            changes += self._deposed(address, record)
        if not targets:
            changes += [self._marked_orphan(address, live) for address, live in matcher.marked_but_undeclared()]
        return changes

    def _orphan(self, address: Address, record: Record) -> Change:
        kind = self._in.kinds[address.kind]
        live = self._reader.state.find(address.kind, address.project, record.id)
        change = self._undeclared(address, record)
        unreadable = Place(address.kind, address.project) in self._reader.state.unreadable
        if unreadable and address.project not in self._gone_projects:
            return replace(change, action=Action.DELETE, reason=Reason.NOT_DECLARED, look_first=True)
        if live is None or kind.ending(live.attributes) is Ended.GONE:
            return replace(change, action=Action.FORGET, reason=Reason.GONE)
        reason = Reason.DESTROY if self._in.options.destroy else Reason.NOT_DECLARED
        return self._removal(change, kind, live, record, reason)

    def _deposed(self, address: Address, record: Record) -> Iterable[Change]:
        for id in record.deposed:
            live = self._reader.state.find(address.kind, address.project, id)
            change = replace(self._undeclared(address, record), id=id, action=Action.DELETE, reason=Reason.LEFT_BEHIND)
            if live is not None:
                kind = self._in.kinds[address.kind]
                yield replace(change, before=self._shown(kind, live, None), pre_image=diff.image(kind, live))

    def _marked_orphan(self, address: Address, live: LiveObject) -> Change:
        declared = address in self._resources
        record = Record(address=address, id=live.id, project_id=self._project_id(address.project))
        reason = Reason.LEFT_BEHIND if declared else Reason.NOT_DECLARED
        if self._in.options.destroy and not declared:
            reason = Reason.DESTROY
        return self._removal(self._undeclared(address, record), live.kind, live, record, reason)

    def _undeclared(self, address: Address, record: Record) -> Change:
        kind = self._in.kinds[address.kind]
        return Change(
            address=address,
            action=Action.NO_OP,
            reason=Reason.IN_SYNC,
            id=record.id,
            project_id=record.project_id,
            scope=kind.scope.value,
            depends_on=record.depends_on,
            removal=kind.removal,
            prevent_destroy=record.prevent_destroy,
            on_remove=(record.on_remove or kind.on_remove).value,
        )

    def _removal(self, change: Change, kind: Kind, live: LiveObject, record: Record | None, reason: Reason) -> Change:
        shown = replace(change, id=live.id, before=self._shown(kind, live, record), pre_image=diff.image(kind, live))
        if change.on_remove == OnRemove.RETAIN:
            return replace(shown, action=Action.FORGET, reason=Reason.RETAINED)
        restored = record.overwritten if record and kind.removal is Removal.RESTORE else {}
        fields = [FieldChange((name,), live.value(name), value) for name, value in restored.items()]
        return replace(
            shown, action=Action.DELETE, reason=reason, destructive=kind.destroys, fields=tuple(fields), after={}
        )

    def _with_archived_projects(self, changes: list[Change]) -> list[Change]:
        """Limits of a project that is archived anyway are not written back first."""
        archived = {
            change.address.name
            for change in changes
            if change.action is Action.DELETE and self._in.kinds[change.address.kind].defines_project
        }
        return [
            replace(change, action=Action.FORGET, reason=Reason.WITH_PROJECT, fields=())
            if change.action is Action.DELETE
            and change.address.project in archived
            and (change.removal is Removal.RESTORE or change.look_first)
            else change
            for change in changes
        ]

    # --- beside the changes ----------------------------------------------------------------------------------------

    def drift(self) -> Iterable[Drift]:
        for address, record in self._in.records.items():
            if address.kind not in self._in.kinds or (self._in.options.targets and address not in self._selected):
                continue
            place = Place(address.kind, address.project)
            if place not in self._reader.state.listed:
                continue
            found = self._drift_of(address, record)
            if found is not None:
                yield found
        for change in self._changes.values():
            unknown = tuple(item for item in change.fields if item.origin is Origin.UNKNOWN)
            if change.action is Action.UPDATE and unknown and change.address not in self._in.records:
                binding = self._bindings[change.address]
                if binding.found is Found.MARK:
                    turned = tuple(replace(item, before=item.after, after=item.before) for item in unknown)
                    yield Drift(
                        change.address,
                        change.id or "",
                        turned,
                        place=change.place,
                        project_id=change.project_id,
                        scope=change.scope,
                    )

    def _drift_of(self, address: Address, record: Record) -> Drift | None:
        resource = self._resources.get(address)
        live = self._reader.state.find(address.kind, address.project, record.id)
        kind = self._in.kinds[address.kind]
        if live is None or kind.ending(live.attributes) is not None:
            return Drift(
                address,
                record.id,
                deleted=True,
                place=resource.place if resource else None,
                project_id=record.project_id,
                scope=kind.scope.value,
            )
        ignore = resource.lifecycle.ignore_changes if resource else ()
        fields = diff.drifted_fields(kind, live=live, record=record, ignore=ignore)
        if not fields:
            return None
        return Drift(
            address,
            record.id,
            tuple(fields),
            place=resource.place if resource else None,
            project_id=record.project_id,
            scope=kind.scope.value,
        )

    def output_changes(self) -> Iterable[OutputChange]:
        previous = self._in.previous_outputs
        if self._in.options.destroy:
            return [OutputChange(name, None, before) for name, before in sorted(previous.items())]
        if self._in.options.targets:
            return []
        after = {name: substitute(value, self._lookup) for name, value in self._in.outputs.items()}
        names = sorted({*after, *previous})
        return [
            OutputChange(name, after.get(name), previous.get(name))
            for name in names
            if after.get(name) != previous.get(name)
        ]

    def unmanaged(self) -> Iterable[Unmanaged]:
        found = [Unmanaged(live.kind.name, live.id, _label(live), live.project) for live in self._matched.unmanaged()]
        return sorted(found, key=lambda item: (item.project or "", item.kind, item.label, item.id))

    def _project_id(self, name: str | None) -> str | None:
        definer = self._definers.get(name)
        live = self._bindings.get(definer, Binding()).live if definer else None
        return live.id if live is not None else self._in.projects.get(name or "")


def _nothing(change: Change) -> Change:
    return replace(change, action=Action.NO_OP, reason=Reason.GONE)


def _update_reason(fields: Sequence[FieldChange], binding: Binding) -> Reason:
    if binding.found is Found.ADOPTED and binding.record is None:
        return Reason.ADOPTED
    if binding.found is Found.NATURAL and binding.record is None:
        return Reason.FIRST_WRITE
    origins = {item.origin for item in fields}
    if origins == {Origin.DRIFT}:
        return Reason.DRIFT
    if origins == {Origin.CONFIG}:
        return Reason.CONFIG
    return Reason.DIFFERS if Origin.UNKNOWN in origins else Reason.CONFIG_AND_DRIFT


def _at(spec: Any, path: Sequence[str]) -> Any:
    value = spec
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return value if isinstance(value, Unknown) else None
    return value


def _label(live: LiveObject) -> str:
    for name in (*live.kind.natural_key, "name"):
        value = live.attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return live.id
