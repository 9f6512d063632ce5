"""Exports the live organization: reads it once, writes manifests, and binds what they declare.

Nothing is written to the API. The plan that proves the result uses the objects already read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.applying import locked
from reconciler.app.export_choice import (
    DEFAULT_PROJECT,
    Chooser,
    SkippedObjects,
    addresses_of,
    ambiguous,
    bound_addresses,
    configuration_kinds,
    key_comments,
    key_of,
    kinds_left_out,
    project_names,
)
from reconciler.app.export_request import ExportRequest, check_request
from reconciler.app.export_writing import ExistingManifests, ManifestWriter, ToWrite
from reconciler.app.live_organization import (
    Reading,
    Unread,
    Wanted,
    read_organization,
)
from reconciler.app.run_manifests import with_paths
from reconciler.app.session import Session
from reconciler.app.state_origin import record_origin
from reconciler.engine.apply.records import imported_record
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanInputs, PlanOptions
from reconciler.engine.plan.planner import make_plan
from reconciler.engine.refresh.collect import collect
from reconciler.engine.refresh.replayed import ReplayingReader
from reconciler.errors import ConfigurationError
from reconciler.export.naming import ObjectKey
from reconciler.export.resource import ExportedResource
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Configuration, load_configuration, load_stack
from reconciler.manifests.configuration import STACK_FILES
from reconciler.manifests.paths import in_stack
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan
from reconciler.model.diagnostic import Diagnostic, Severity
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.rules import RULE_KINDS


class ExportResult(Struct):
    """What an export wrote, what it left out, and the plan that proves it."""

    resources: list[ExportedResource] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    stale_files: list[str] = field(default_factory=list)
    """Files of the folder that this export did not write, and that hold manifests."""
    left_out: list[SkippedObjects] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    archived: int = 0
    bound: int = 0
    plan: Plan | None = None
    calls: int = 0

    @property
    def differing(self) -> list[Change]:
        """The changes that the plan would make to objects. With `adopt_in_manifests`, a mark is none."""
        return [change for change in self._changes if _is_difference(change)]

    @property
    def unmarked(self) -> int:
        """How many objects the first apply marks as belonging to the stack."""
        return sum(change.action is Action.ADOPT and bool(change.mark) for change in self._changes)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for could be read."""
        return all(unread.is_expected for unread in self.unread)

    @property
    def _changes(self) -> Sequence[Change]:
        return self.plan.changes if self.plan is not None else ()


def _is_difference(change: Change) -> bool:
    if change.blocked:
        return True
    return change.is_change and change.action is not Action.ADOPT


def export(session: Session, request: ExportRequest) -> ExportResult:
    """Export the organization. Raises UsageError before anything is read or written."""
    folder = check_request(session, request)
    # Without bindings the state is not written, so no lock has to be held.
    lock: AbstractContextManager[None] = nullcontext()
    if not request.adopt_in_manifests:
        lock = locked(session, "export")
    with lock:
        return _Export(session, request, folder).run()


class _Export:
    def __init__(self, session: Session, request: ExportRequest, folder: Path) -> None:
        self._session = session
        self._request = request
        self._folder = folder
        self._root = session.settings.root.resolve()
        self._prefix = folder.relative_to(self._root).as_posix()
        self._declared = self._declarations()
        self._records = session.store.records()
        self._result = ExportResult()

    def run(self) -> ExportResult:
        session = self._session
        reading = self._read()
        result = self._result
        result.unread = reading.unread
        result.archived = len(reading.archived)
        writer = ManifestWriter(
            session, self._request, self._folder, self._declared, self._chosen(reading)
        )
        configuration = writer.write()
        result.left_out += writer.left_out()
        result.resources, result.files = writer.resources, writer.files
        result.stale_files = writer.stale_files
        result.calls = session.client.calls
        if configuration is None:
            return result
        # Twice: the first plan finds the object of each address, and the second shows what any
        # later plan will show.
        plan = self._plan(configuration, reading, adopt=True)
        if not self._request.adopt_in_manifests:
            self._bind(plan)
            plan = self._plan(configuration, reading, adopt=False)
        result.plan = plan
        return result

    # Reading

    def _declarations(self) -> ExistingManifests:
        """What manifests declare already, in the folder and elsewhere."""
        session = self._session
        stack = load_stack(session.settings)
        resources: tuple[Resource, ...] = ()
        try:
            resources = load_configuration(session.settings, KINDS, RULE_KINDS).resources
        except ConfigurationError as error:
            # The folder to write is empty or about to be replaced, so ignore its problems.
            if not all(self._is_about_folder(problem) for problem in error.diagnostics):
                raise
        session.use_configuration(Configuration(stack, (), ""))
        present: dict[Address, str] = {}
        elsewhere: set[Address] = set()
        for resource, path in with_paths(resources, self._root):
            if _is_below(path, self._prefix):
                present[resource.address] = path
            else:
                elsewhere.add(resource.address)
        return ExistingManifests(frozenset(elsewhere), present)

    def _is_about_folder(self, problem: Diagnostic) -> bool:
        """Whether a problem only says that the folder to write is empty."""
        if problem.severity is not Severity.ERROR or problem.summary == "No manifests":
            return True
        if problem.location is None:
            return False
        path = in_stack(problem.location.file, self._root)
        is_of_stack_file = path.endswith(STACK_FILES) and self._prefix in (problem.detail or "")
        return is_of_stack_file or _is_below(path, self._prefix)

    def _read(self) -> Reading:
        request, session = self._request, self._session
        kinds = frozenset(request.kinds) or configuration_kinds()
        wanted = Wanted(kinds, frozenset(request.projects))
        names = dict(session.stack.projects)
        known = self._known_addresses()
        with session.progress.reading():
            return read_organization(
                session, wanted, lambda projects: project_names(projects, known, names)
            )

    def _bound_objects(self) -> dict[ObjectKey, Record]:
        records = self._records.items()
        return {(at.kind, at.project, record.id): record for at, record in records}

    def _known_addresses(self) -> dict[ObjectKey, Address]:
        return bound_addresses(self._records)

    # Choosing

    def _chosen(self, reading: Reading) -> ToWrite:
        request, result = self._request, self._result
        kinds = request.kinds or configuration_kinds()
        chooser = Chooser(
            reading,
            kinds,
            all_limits=request.all_limits,
            records=self._bound_objects(),
            is_foreign=self._session.ownership.is_foreign,
        )
        chosen = list(chooser.chosen())
        result.rules = chooser.rules + ([] if request.kinds else kinds_left_out())
        result.left_out = chooser.left_out()
        # A project that is chosen is among the projects too, and gets one address.
        everything = {key_of(live): live for live in (*reading.projects.values(), *chosen)}
        addresses = addresses_of(everything.values(), self._named_projects(reading))
        objects = {}
        for live in chosen:
            address = addresses[key_of(live)]
            if not live.kind.defines_project and self._is_selected(live, address):
                objects[address] = live
        # Projects last: whether one is written depends on the objects in it.
        wanted = set(request.projects)
        for name, live in reading.projects.items():
            if self._needs_project(name, live, objects, wanted):
                objects[addresses[key_of(live)]] = live
        return ToWrite(
            objects,
            reading.live,
            ambiguous(reading, objects),
            chooser.norms,
            key_comments(reading),
            {live.id: str(live.value("filename")) for live in reading.objects("File")},
        )

    def _named_projects(self, reading: Reading) -> dict[ObjectKey, Address]:
        addresses = self._known_addresses()
        for name, live in reading.projects.items():
            addresses[key_of(live)] = Address(live.kind.name, name)
        return addresses

    def _is_selected(self, live: LiveObject, address: Address) -> bool:
        request = self._request
        if address in self._declared.elsewhere:
            return False
        if request.unmanaged and address in self._records:
            return False
        if not request.select:
            return True
        texts = (str(address), address.name, live.id, str(live.value("name") or ""))
        return any(fnmatchcase(*pair) for pair in product(texts, request.select))

    def _needs_project(
        self,
        name: str,
        live: LiveObject,
        written: Collection[Address],
        wanted: Collection[str],
    ) -> bool:
        """Whether a project is written: it was requested, or an object in it is written."""
        address = Address(live.kind.name, name)
        if name in self._session.stack.projects or address in self._declared.elsewhere:
            return False
        if any(other.project == name for other in written):
            return True
        if live.attributes.get("name") == DEFAULT_PROJECT:
            return False
        request = self._request
        is_of_kind = not request.kinds or live.kind.name in request.kinds
        is_in_projects = not wanted or name in wanted
        return is_of_kind and is_in_projects and self._is_selected(live, address)

    # Binding and planning

    def _plan(self, configuration: Configuration, reading: Reading, *, adopt: bool) -> Plan:
        """The plan for the written manifests, from what was read. Makes no call."""
        session = self._session
        resources = configuration.resources
        if adopt:
            ids = {resource.address: resource.id for resource in self._result.resources}
            resources = tuple(_adopting(resource, ids) for resource in resources)
        inputs = PlanInputs(
            resources=resources,
            kinds=ALL_KINDS,
            records=session.store.records(),
            ownership=session.ownership,
            projects=configuration.stack.projects,
            outputs=configuration.stack.outputs,
            previous_outputs=session.store.outputs(),
            state_serial=session.store.serial,
            server_time=session.server_clock,
            options=PlanOptions(is_preview=True),
        )
        inputs = with_renamed_projects(inputs)
        reader = ReplayingReader(reading.live, inputs.records)
        return make_plan(collect(inputs, reader, parallelism=1))

    def _bind(self, plan: Plan) -> None:
        session, store = self._session, self._session.store
        written = {resource.address for resource in self._result.resources}
        known = store.records()
        records: list[Record] = []
        for change in plan.changes:
            is_bound = change.address in known
            if change.address in written and change.id and not change.blocked and not is_bound:
                record = imported_record(KINDS[change.address.kind], change)
                # The plan of what was written must be empty, and a mark is a write.
                records.append(replace(record, marked_later=True))
        # Before the records, so that no state holds objects without saying of which organization.
        record_origin(session)
        store.put_all(records)
        self._result.bound = len(records)


def _adopting(resource: Resource, ids: Mapping[Address, str]) -> Resource:
    id = ids.get(resource.address)
    if id is None:
        return resource
    return replace(resource, lifecycle=replace(resource.lifecycle, adopt=id))


def _is_below(file: str, folder: str) -> bool:
    return folder in ("", ".") or file == folder or file.startswith(f"{folder}/")
