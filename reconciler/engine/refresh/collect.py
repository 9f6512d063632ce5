"""A survey of the ground before anything is decided: what is to be looked at, what is there, and what is whose.

Projects come first, since everything else is read through them. Then each list is read once, what a list lacks is
asked for by id, every resource is bound to its object, and the fields that have calls of their own are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec.structs import replace

from reconciler.engine.binding.identity import other_projects, surplus_marks, two_addresses
from reconciler.engine.binding.matcher import Binding, Matcher
from reconciler.engine.graph import closure, in_dependency_order, invert
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.refresh import failures
from reconciler.engine.refresh.reader import CarriedFields, LiveState, Reader, Scope
from reconciler.errors import ApiError, RetiredError, UsageError
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.kind import Kind, Readable, TerminalState
from reconciler.model.provider import LiveReader
from reconciler.model.resource import NO_ADDRESSES, LiveObject, Record, Resource, shown_to_others
from reconciler.model.rule import Rule
from reconciler.model.types import FileSetType
from reconciler.model.values import Reference, Unknown, by_content, value_at


class Collector:
    """What is declared, recorded and live, brought together. `take` reads; everything else is looked up.

    `order` holds the selected addresses, each after what it needs. `gone_projects` are projects that we once had or
    still declare, and that are not there: nothing in them can be either.
    """

    def __init__(self, inputs: PlanInputs, provider: LiveReader, parallelism: int) -> None:
        self.inputs = inputs
        self.resources: Mapping[Address, Resource] = {resource.address: resource for resource in inputs.resources}
        self.needs = {address: self._needs_of(resource) for address, resource in self.resources.items()}
        self.to_destroy = self._to_destroy()
        self.selected = self._select()
        self.order = [a for a in in_dependency_order(self.needs, key=lambda a: a.sort_key) if a in self.selected]
        self.bindings: dict[Address, Binding] = {}
        self._known_projects: set[str] = set(inputs.projects)
        self.missing_projects: set[str] = set()
        self.diagnostics: list[Diagnostic] = []
        self._removed: set[str] = set()
        self.errors: dict[Address, Diagnostic] = {}
        """Why nothing can be decided about single addresses, by address; several can share a diagnostic."""
        self.retired: set[Address] = set()
        """What was recorded of kinds that the API has ended, and that nothing wants any more."""
        self._by_identity: dict[str, dict[frozenset[tuple[str, Any]], LiveObject]] = {}
        self._provider = provider
        self._reader = Reader(provider, inputs.kinds, parallelism=parallelism, pages=inputs.pages)
        self._matcher = self._new_matcher()

    def collect(self) -> None:
        """Read everything, and bind every selected resource."""
        self._read_projects()
        self._matcher = self._new_matcher()
        self._bind_projects()
        for addresses, item in other_projects(self, self._is_alive):
            self.block(addresses, item)
        self._read_everything()
        self._bind_everything()
        self._read_nested()
        self._read_carried()
        self._report_failures()
        self._report_unbound()
        self.diagnostics += surplus_marks(self)

    @property
    def state(self) -> LiveState:
        """What was read."""
        return self._reader.state

    def reads_singly(self, place: Scope, wanted: int) -> bool:
        """Whether so many objects of a place, if nothing else is wanted, are asked for one by one."""
        return self._reader.reads_singly(place, wanted)

    def find(self, address: Address, id: str) -> LiveObject | None:
        """An object by its id, in the scope of an address."""
        return self.state.find(address.kind, address.project, id)

    def was_listed(self, address: Address, id: str) -> bool:
        """Whether the list was read that an object would be in."""
        return self._recorded_scope(address, id) in self.state.listed

    def satisfied_by_object(self, resource: Resource) -> LiveObject | None:
        """An object of another kind that makes this resource unnecessary, such as a member for an invite."""
        other = self.inputs.kinds.get(resource.kind.made_unnecessary_by or "")
        identity = resource.kind.identity(resource.kind.fill_defaults(resource.resolved(self._lookup)))
        if other is None or identity is None:
            return None
        if other.name not in self._by_identity:
            objects = self.state.objects(other.name, None)
            self._by_identity[other.name] = {
                frozenset(key.items()): live for live in objects for key in other.identities(live.attributes)
            }
        return self._by_identity[other.name].get(frozenset(identity.items()))

    def inputs_digest(self, resource: Resource, lookup: Callable[[Reference], Any]) -> str | None:
        """The digest of what a job would be started with; None for other kinds, and while it is unknown."""
        if resource.kind.job is None:
            return None
        contents = {address: other.spec for address, other in self.resources.items() if address in resource.references}
        return resource.kind.inputs_digest(resource.kind.fill_defaults(resource.resolved(by_content(contents, lookup))))

    def kind(self, address: Address) -> Kind:
        """The kind of an address."""
        return self.inputs.kinds[address.kind]

    def is_unreadable(self, address: Address) -> bool:
        """Whether the scope of an address exists, as far as we know, and could not be read or was refused."""
        return self.state.is_unreadable(address.kind, address.project)

    def project_id(self, name: str | None) -> str | None:
        """The API's id of a project, where it exists."""
        definer = self._projects_by_name.get(name)
        live = self.bindings.get(definer, Binding()).live if definer else None
        return live.id if live is not None else self.inputs.projects.get(name or "")

    def marked_but_undeclared(self) -> Iterable[tuple[Address, LiveObject]]:
        """Objects with our mark that nothing declares or records, and surplus ones."""
        return self._matcher.marked_but_undeclared()

    def surplus(self) -> Iterable[tuple[Address, LiveObject]]:
        """Objects with a mark of ours that nothing proves to be ours, with the address that the mark names."""
        return self._matcher.surplus()

    @property
    def taken(self) -> Mapping[Address, Address | None]:
        """Recorded addresses whose objects another owner has marked since, with its address if that is one of ours."""
        return self._matcher.taken

    @property
    def project_names(self) -> Mapping[str, Address]:
        """The declared projects, by their names."""
        return {name: address for name, address in self._projects_by_name.items() if name is not None}

    def created_but_undeclared(self) -> Iterable[tuple[Address, LiveObject | None]]:
        """What dead runs made for addresses that nothing declares or records any more."""
        return self._matcher.created_but_undeclared()

    def created_but_superseded(self) -> Iterable[tuple[Address, LiveObject]]:
        """What dead runs made for addresses of ours where something else is wanted by now."""
        return self._matcher.created_but_superseded()

    def unmanaged(self) -> Iterable[LiveObject]:
        """Objects that neither a manifest nor the state knows."""
        return self._matcher.unmanaged()

    @cached_property
    def retention_rules(self) -> Sequence[Rule]:
        """The rules that remove what they match: none where only targets are planned, or all is destroyed."""
        options = self.inputs.options
        return () if options.destroy or options.targets else [rule for rule in self.inputs.rules if rule.kind.removes]

    def access_dependencies(self, project: str | None) -> tuple[Address, ...]:
        """What a project's objects are reached by: the project, and the key that opens it, where they are declared."""
        found = (self._projects_by_name.get(project) if project else None, self.inputs.key_writers.get(project or ""))
        return tuple(address for address in found if address is not None)

    def read_collections(self) -> Iterable[LiveObject]:
        """Every collection that was listed for sweeping and is somebody's, with its members."""
        wanted = {
            (place, live.id): _collection_fields(live.kind)
            for place in self._retention_scopes
            for live in self.state.listed.get(place, {}).values()
            if _collection_fields(live.kind)
            and live.kind.terminal_state(live.attributes) is None
            and (live.is_marked or self._matcher.is_claimed(live))
        }
        self._reader.read_carried(wanted)
        return [self.state.listed[place][id] for place, id in wanted]

    # --- what is to be looked at -----------------------------------------------------------------------------------

    def _needs_of(self, resource: Resource) -> frozenset[Address]:
        address = resource.address
        needs = set(resource.references)
        needs |= {self._projects_by_name[address.project]} if address.project in self._projects_by_name else set()
        writer = self.inputs.key_writers.get(address.project or "")
        if writer is not None and not resource.kind.scope.needs_admin_key:
            needs.add(writer)
        return frozenset(needs - {address}) or NO_ADDRESSES

    @cached_property
    def key_writers(self) -> frozenset[Address]:
        """The resources whose keys open projects."""
        return frozenset(self.inputs.key_writers.values())

    @cached_property
    def _projects_by_name(self) -> Mapping[str | None, Address]:
        """The resource that is each declared project, by the project's name."""
        return {
            resource.address.name: resource.address
            for resource in self.inputs.resources
            if resource.kind.defines_project
        }

    def _to_destroy(self) -> set[Address]:
        """The declared resources that are to be destroyed: all of them, or the targets and what depends on them."""
        options = self.inputs.options
        if not options.destroy:
            return set()
        return closure(invert(self.needs), options.targets) if options.targets else set(self.resources)

    def _select(self) -> set[Address]:
        options = self.inputs.options
        known = {*self.resources, *self.inputs.records}
        for address in (*options.targets, *options.replace):
            if address not in known:
                hint = nearest(str(address), map(str, known))
                raise UsageError(f'Nothing here has the address "{address}".{hint}')
        if not options.targets:
            return set(self.resources)
        return closure(self.needs, (*options.targets, *self.to_destroy))

    @cached_property
    def outer_scopes(self) -> frozenset[Scope]:
        """Where the selected resources are listed, but for those in objects that have to be known first."""
        return frozenset(self._scopes(nested=False))

    def nested_scopes(self) -> set[Scope]:
        """Where the others are listed, as far as it is known by now which objects they are in."""
        return self._scopes(nested=True)

    def _scopes(self, *, nested: bool) -> set[Scope]:
        found = self._needed_places | self._made_places | self._retention_scopes
        return {at for at in found if bool(self.inputs.kinds[at.kind].parents) == nested}

    @property
    def _needed_places(self) -> set[Scope]:
        """Where declared and recorded objects are listed, and what could make them unnecessary.

        Every other place is only searched, so that a failure there stops nothing.
        """
        found = {self._declared_scope(self.resources[address]) for address in self.selected}
        found |= {self._record_scopes[address] for address in self._recorded()}
        kinds = {place.kind for place in found if place is not None}
        stand_ins = {name for kind in kinds if (name := self.inputs.kinds[kind].made_unnecessary_by)}
        return {place for place in found if place is not None} | {Scope(name, None) for name in stand_ins}

    @property
    def _made_places(self) -> set[Scope]:
        """Where objects of unfinished creates can be."""
        if self.inputs.options.targets:
            return set()
        made = (address for address in self.inputs.ownership.create_attempts if address.kind in self.inputs.kinds)
        return {Scope(at.kind, at.project) for at in made if not self.kind(at).parents}

    @cached_property
    def _retention_scopes(self) -> frozenset[Scope]:
        """Where what rules remove is listed, and what could hold it: all of both."""
        return frozenset(place for rule in self.retention_rules for place in self._places_of_rule(rule))

    def _places_of_rule(self, rule: Rule) -> list[Scope]:
        collections = [
            kind.name for kind in self.inputs.kinds.values() if _collection_fields(kind) and not kind.parents
        ]
        return [Scope(name, rule.address.project) for name in (rule.spec["of"], *collections)]

    def knows_all_for(self, rule: Rule) -> bool:
        """Whether everything was read that decides about what a rule removes."""
        refused = (*self.state.failed, *self.state.unsearched)
        return not any(place in refused for place in self._places_of_rule(rule))

    def _declared_scope(self, resource: Resource) -> Scope | None:
        address, kind = resource.address, resource.kind
        within = kind.parent_of(resource.resolved(self._lookup)) if kind.parents else ()
        return None if within is None else Scope(address.kind, address.project, within)

    @cached_property
    def _record_scopes(self) -> Mapping[Address, Scope | None]:
        """Where each recorded object is listed: asked for many times, and always the same."""
        return {address: self._recorded_scope(address, record.id) for address, record in self.inputs.records.items()}

    def _recorded_scope(self, address: Address, id: str) -> Scope | None:
        if address.kind not in self.inputs.kinds:
            return None
        try:
            return self.state.scope_of(address.kind, address.project, id)
        except ValueError:
            return None

    def _recorded(self) -> set[Address]:
        """The recorded addresses to look at: all, or those among the targets, with the projects that they are in."""
        targets = self.inputs.options.targets
        homes = {address.project for address in targets}
        return {
            address
            for address in self.inputs.records
            if (kind := self.inputs.kinds.get(address.kind)) is not None
            and (not targets or address in targets or (kind.defines_project and address.name in homes))
        }

    def scopes_of_marked_kinds(self, places: Iterable[Scope]) -> list[Scope]:
        """Where something of ours could be that nothing declares any more: wherever there is a key of its own.

        The default scope is left out where no place is read with a project's key: a stack that manages the
        organization alone has nothing there, even if the environment has such a key.
        """
        kinds = self.inputs.kinds
        used = {place.project for place in places if not kinds[place.kind].scope.needs_admin_key}
        named = sorted(name for name in {*used, *self.inputs.keyed_projects} if name)
        projects = [None, *named] if used else named
        marked = [kind for kind in kinds.values() if kind.mark and not kind.parents and kind.calls.listable]
        return [Scope(kind.name, project) for project in projects for kind in marked]

    def expected(self, places: Iterable[Scope]) -> list[tuple[Scope, str]]:
        """Which objects a record or a manifest knows by their ids, of those in the places."""
        allowed = set(places)
        return [(place, id) for place, id in self._all_expected if place in allowed]

    @cached_property
    def _all_expected(self) -> list[tuple[Scope, str]]:
        """Where each object is listed that a record or a manifest knows by its id."""
        found = [(self._record_scopes[address], record.id) for address, record in self.inputs.records.items()]
        found += [
            (self._recorded_scope(address, resource.lifecycle.adopt), resource.lifecycle.adopt)
            for address, resource in self.resources.items()
            if isinstance(resource.lifecycle.adopt, str)
        ]
        return [(place, id) for place, id in found if place is not None]

    def only_ids(self, places: Iterable[Scope]) -> dict[Scope, frozenset[str]]:
        """The places of which only known objects are wanted, with their ids.

        Where anything is still to be found, made or listed for its own sake, all objects count: one of them may be it.
        """
        inputs = self.inputs
        if inputs.options.unmanaged or inputs.options.adopt or inputs.state_is_new:
            return {}
        open_ends = {address for address in self.resources if address not in inputs.records} | set(
            inputs.ownership.unfinished
        )
        open_places = {(address.kind, address.project) for address in open_ends}
        # What makes another object unnecessary may be something that nobody manages.
        looked_into = {inputs.kinds[place.kind].made_unnecessary_by for place in places}
        wanted: dict[Scope, set[str]] = {
            place: set()
            for place in places
            if (place.kind, place.project) not in open_places
            and not inputs.kinds[place.kind].min_one
            and place.kind not in looked_into
            and place not in self._retention_scopes
        }
        for address, record in inputs.records.items():
            place = self._record_scopes[address]
            if place in wanted:
                wanted[place].update((record.id, *record.deposed))
        return {place: frozenset(ids) for place, ids in wanted.items() if ids}

    # --- reading ---------------------------------------------------------------------------------------------------

    def _read_projects(self) -> None:
        for name, id in self.inputs.projects.items():
            self._provider.bind_project(name, id)
        places = {place for place in self.outer_scopes if self.inputs.kinds[place.kind].defines_project}
        self._reader.read_lists(sorted(places, key=lambda place: place.kind))
        for error in self.state.failed.values():
            raise error  # everything else is read through projects
        self._confirm(places)

    def _bind_projects(self) -> None:
        """Tell the provider which project is which; what was left in a project that is gone is gone with it."""
        for address in self.order:
            resource = self.resources[address]
            if resource.kind.defines_project:
                live = self._bind(resource).live
                self._bind_project(address.name, live.id if live is not None else None)
        for address, record in self.inputs.records.items():
            kind = self.inputs.kinds.get(address.kind)
            if kind is not None and kind.defines_project and address not in self.resources:
                live = self._reader.state.find(address.kind, address.project, record.id)
                alive = live is not None and kind.terminal_state(live.attributes) is not TerminalState.GONE
                self._bind_project(address.name, record.id if alive else None)
        known = self._known_projects | self.missing_projects
        for address, record in self.inputs.records.items():
            if address.project and record.project_id and address.project not in known:
                self._provider.bind_project(address.project, record.project_id)

    def _is_alive(self, kind: Kind, id: str) -> bool:
        """Whether an object of the organization exists; one that no list shows is asked for by its id."""
        live = self._reader.state.find(kind.name, None, id) or self._provider.get(kind, None, id)
        return live is not None and kind.terminal_state(live.attributes) is not TerminalState.GONE

    def _bind_project(self, name: str, project_id: str | None) -> None:
        if project_id is None:
            self.missing_projects.add(name)
        else:
            self._known_projects.add(name)
            self._provider.bind_project(name, project_id)

    def _read_everything(self) -> None:
        places = self.outer_scopes
        self._revoke_lost_keys()
        enough = self.only_ids(places)
        in_order = sorted(places, key=lambda place: (place.project or "", place.kind))
        needed = self._needed_places
        self._reader.read_lists(
            in_order,
            optional=places - needed,
            enough=enough,
            carried=self.carried_by_record(),
            meanwhile=self._read_contents,
        )
        if self.inputs.state_is_new:
            marked = self.scopes_of_marked_kinds(places)
            readable = [at for at in marked if self._provider.can_read(self.inputs.kinds[at.kind], at.project)]
            self._reader.read_lists(readable, optional=frozenset(readable))
        self._reader.confirm(self.expected(places))
        self._reader.reread(enough)
        self._confirm(places)  # again, as what a list lacks is not in the new one either
        self._check_unreadable()

    def _read_contents(self) -> None:
        if self.inputs.contents is not None:
            self.resources = {resource.address: resource for resource in self.inputs.contents()}

    def _bind_everything(self) -> None:
        self._matcher = self._new_matcher()
        for address in self.order:
            self._bind(self.resources[address])

    def _read_nested(self) -> None:
        """Read what lives inside other objects, which had to be found first, and bind anew."""
        places = self.nested_scopes()
        if places:
            self._reader.read_lists(sorted(places, key=lambda place: (place.project or "", place.kind, place.parent)))
            self._confirm(places)
            self._bind_everything()

    def _confirm(self, places: Collection[Scope]) -> None:
        """Ask by id for what the lists lack. What was created moments ago need not be gone: it is asked for again.

        Each object is waited for until it would have to show, counted from its creation.
        """
        self._reader.confirm(self.expected(places))
        settling = self.inputs.consistency
        self._ask_whether_removed(places)
        longest = (
            max((until for *_, until in self._recently_written_but_missing(places)), default=0.0) - settling.clock()
        )
        looks = settling.poll("what was created a moment ago does not show yet", longest)
        next(looks)  # that was the first
        while (missing := self._recently_written_but_missing(places)) and next(looks, "over") != "over":
            self._reader.list_again([(place, id) for place, id, _ in missing])

    def _recently_written_but_missing(self, places: Collection[Scope]) -> list[tuple[Scope, str, float]]:
        """What is not there and was created so lately that it may not show yet, each with when it has to."""
        listed = self._reader.state.listed
        missing = [(at, id) for at, id in self.expected(places) if at in listed and id not in listed[at]]
        if not missing:
            return []
        settling = self.inputs.consistency
        ends_at = {
            self.inputs.records[address].id: created_by + settling.seconds
            for address, created_by in self._fresh.items()
            if address in self.inputs.records
        }
        # The look at the end of the wait counts, so an object is dropped only once its time is over.
        return [
            (at, id, ends_at[id])
            for at, id in missing
            if ends_at.get(id, 0.0) > settling.clock() and id not in self._removed
        ]

    def _ask_whether_removed(self, places: Collection[Scope]) -> None:
        """Learn which of the objects that do not show were removed again: nobody has to wait for those."""
        kinds = self.inputs.kinds
        own_ids = {
            kinds[at.kind].parent_and_id(id)[1]: id
            for at, id, _ in self._recently_written_but_missing(places)
            if kinds[at.kind].audit_event_types and not kinds[at.kind].unique_key
        }
        if own_ids:
            self._removed |= {own_ids[id] for id in self.inputs.removed(own_ids.keys()) if id in own_ids}

    @cached_property
    def _fresh(self) -> Mapping[Address, float]:
        """Asked once, after the first answers, when the server's time is known."""
        return self.inputs.recently_written()

    def _revoke_lost_keys(self) -> None:
        """A key whose account a run deleted right before it died is still in its place, and opens nothing."""
        for project, writer in self.inputs.key_writers.items():
            record = self.inputs.records.get(writer)
            if record is not None and writer in self.inputs.ownership.unfinished:
                place = Scope(writer.kind, writer.project)
                self._reader.read_lists([place])
                self._reader.confirm([(place, record.id)])
                if self.find(writer, record.id) is None:
                    self._reader.revoked.add(project)

    def carried_by_record(self) -> CarriedFields:
        """What is wanted of carried fields, as far as records tell which object it is that has them."""
        wanted: dict[tuple[Scope, str], set[str]] = {}
        for address in self.order:
            record, place = self.inputs.records.get(address), self._record_scopes.get(address)
            if record is not None and place is not None and self.resources[address].kind.own_calls:
                wanted[place, record.id] = self._wanted_of(self.resources[address], record)
        return wanted

    def _wanted_of(self, resource: Resource, record: Record | None) -> set[str]:
        """The carried fields of a resource that are managed, and can be read; none where all is destroyed."""
        managed = {*resource.spec, *(record.applied if record else ())}
        readable = (field.name for field in resource.kind.own_calls if field.readable is not Readable.NEVER)
        return set() if self.inputs.options.destroy else {name for name in readable if name in managed}

    def _read_carried(self) -> None:
        wanted: dict[tuple[Scope, str], set[str]] = defaultdict(set)
        carrying = {
            address: binding
            for address, binding in self.bindings.items()
            if binding.live is not None and self.resources[address].kind.own_calls
        }
        for address, binding in carrying.items():
            names = self._wanted_of(self.resources[address], binding.record)
            if binding.live is not None and names:
                wanted[self.state.scope_of(address.kind, address.project, binding.live.id), binding.live.id] |= names
        self._reader.read_carried(wanted)
        for address, binding in carrying.items():
            if binding.live is not None:
                fresh = self._reader.state.find(address.kind, address.project, binding.live.id)
                self.bindings[address] = replace(binding, live=fresh)

    # --- what could not be read ------------------------------------------------------------------------------------

    @property
    def is_searched(self) -> bool:
        """Whether no search failed in a way that may pass."""
        return not any(failures.may_pass(error) for error in self.state.unsearched.values())

    def _check_unreadable(self) -> None:
        """Say which projects cannot be read; recorded objects in them have an error.

        Without reading them nothing can be said about them: neither that they drifted nor that they did not.
        """
        ours: dict[str, list[Address]] = defaultdict(list)
        for address in self.inputs.records if self.state.unreadable else ():
            if self.is_unreadable(address):
                ours[address.project or ""].append(address)
        for project in sorted({place.project or "" for place in self.state.unreadable}):
            definer, writer = self._projects_by_name.get(project), self.inputs.key_writers.get(project)
            exists = definer is None or self.bindings.get(definer, Binding()).live is not None
            mine = ours.get(project, [])
            if project and exists and mine:
                self.block(mine, failures.out_of_reach(project, mine, writer))
            elif project and exists:
                self.diagnostics.append(failures.not_yet(project, writer))

    def error_of(self, address: Address) -> Diagnostic | None:
        """The error of an address, or of the project that it is in."""
        definer = self._projects_by_name.get(address.project)
        return self.errors.get(address) or (self.errors.get(definer) if definer is not None else None)

    def block(self, addresses: Iterable[Address], diagnostic: Diagnostic) -> None:
        """Give addresses an error. The first one that an address gets stays."""
        self.diagnostics.append(diagnostic)
        for address in addresses:
            self.errors.setdefault(address, diagnostic)

    def _report_failures(self) -> None:
        """Turn refused reads into errors of the resources that needed them, and into warnings for all others.

        Raises the refusal where the API refused everything: then the fault is not one kind's.
        """
        state, searched = self.state, dict(self.state.unsearched)
        refusals = [error for error in state.failed.values() if not isinstance(error, RetiredError)]
        needed = {place for place in self._needed_places if place in state.listed or place in state.failed}
        if len(refusals) > 1 and needed <= state.failed.keys():
            raise refusals[0]
        for place, error in sorted(state.failed.items(), key=lambda item: (item[0].kind, item[0].project or "")):
            affected = self._affected_by(place)
            wanted = [address for address in affected if not self._is_over(address, error)]
            self.retired |= set(affected) - set(wanted)
            if wanted:
                self.block(wanted, self._refused(place, error, wanted))
            elif affected:
                self.diagnostics.append(failures.forgotten(self.inputs.kinds[place.kind], error, affected))
            else:
                searched[place] = error
        for (place, id), error in state.failed_objects.items():
            if affected := self._affected_by(place, id):
                self.block(affected, self._refused(place, error, affected))
        if searched:
            self.diagnostics.append(failures.not_searched(searched))

    def _refused(self, place: Scope, error: ApiError, affected: Sequence[Address]) -> Diagnostic:
        first = self.resources.get(affected[0])
        kind = self.inputs.kinds[place.kind]
        return failures.refused(kind, place, error, affected, first.location if first else None)

    def _is_over(self, address: Address, error: ApiError) -> bool:
        """Whether an object went with its kind, and nothing wants it."""
        is_wanted = address in self.resources and not self.inputs.options.destroy
        return isinstance(error, RetiredError) and not is_wanted

    def _affected_by(self, place: Scope, id: str | None = None) -> list[Address]:
        """The addresses about which nothing is known without a list, or without one object of it."""

        def is_it(address: Address) -> bool:
            record, live = self.inputs.records.get(address), self.bindings.get(address, Binding()).live
            return id is None or id in (record.id if record else None, live.id if live else None)

        found = {at for at in self._recorded() if self._record_scopes[at] == place and is_it(at)}
        for address in self.selected:
            resource = self.resources[address]
            decides = resource.kind.made_unnecessary_by == place.kind and self.bindings[address].live is None
            if decides or (self._declared_scope(resource) == place and is_it(address)):
                found.add(address)
        return sorted(found)

    def _report_unbound(self) -> None:
        """Take over what binding found wrong. What is to be destroyed and does not exist has no error."""
        for item in self._matcher.diagnostics:
            address = item.address
            binding = self.bindings.get(address, Binding()) if address is not None else Binding()
            if address is not None and self.inputs.options.destroy and binding.live is None:
                self.diagnostics.append(replace(item, severity=Severity.WARNING))
            elif address is None or address in self.errors:
                self.diagnostics.append(item)
            else:
                self.block([address, *self._contested_with(address)], item)
        for address, item in two_addresses(self):
            if not self.inputs.options.destroy:
                # Neither of the two may write: each would undo what the other wrote.
                self.block([address, *([item.address] if item.address else [])], item)

    def _contested_with(self, address: Address) -> list[Address]:
        """The recorded address that has the object of a resource, with everything recorded in it.

        The declaration may have a new address without saying so. Until that is settled, the record must not go.
        """
        owner = self._matcher.contested.get(address)
        if owner is None:
            return []
        inside = owner.name if self.kind(owner).defines_project else None
        return [owner, *(other for other in self.inputs.records if inside and other.project == inside)]

    # --- binding ---------------------------------------------------------------------------------------------------

    def _new_matcher(self) -> Matcher:
        return Matcher(
            self._reader.state,
            self.inputs.records,
            self.inputs.ownership,
            declared=self.resources,
            adopt_all=self.inputs.options.adopt,
            project_id=self.project_id,
            state_is_new=self.inputs.state_is_new,
            destroying=self.inputs.options.destroy,
            moved=self.inputs.moved,
        )

    def _bind(self, resource: Resource) -> Binding:
        spec = resource.kind.fill_defaults(resource.resolved(self._lookup))
        binding = self._matcher.bind(resource, spec, self.inputs_digest(resource, self._lookup))
        self.bindings[resource.address] = binding
        return binding

    def _lookup(self, reference: Reference) -> Any:
        """What a reference is as far as it can be told before anything is decided."""
        live = self.bindings.get(reference.address, Binding()).live
        if live is None:
            return Unknown(str(reference))
        found = value_at(shown_to_others(live), reference.path) if reference.path else live.own_id
        return Unknown(str(reference)) if found is None else found


def _collection_fields(kind: Kind) -> frozenset[str]:
    """The fields of a kind that hold objects of others."""
    return frozenset(item.name for item in kind.own_calls if isinstance(item.type, FileSetType))
