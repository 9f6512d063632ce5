"""Exports the live organization: reads it once, writes manifests, and binds what they declare.

Nothing is written to the API. The plan that proves the result is made offline, from what was read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.app.applying import locked
from reconciler.app.export_choice import (
    DEFAULT_PROJECT,
    Chooser,
    LeftOut,
    addresses_of,
    ambiguous,
    configuration_kinds,
    key_comments,
    key_of,
    kinds_left_out,
    project_names,
    usual_values,
)
from reconciler.app.live_organization import (
    Reading,
    Unread,
    Wanted,
    read_organization,
)
from reconciler.app.origin import record_origin
from reconciler.app.session import Session
from reconciler.engine.apply.records import imported_record
from reconciler.engine.binding.natural_keys import is_gone
from reconciler.engine.binding.renames import with_renamed_projects
from reconciler.engine.inputs import PlanInputs
from reconciler.engine.plan.planner import make_plan
from reconciler.engine.refresh.collect import collect
from reconciler.engine.refresh.replayed import ReplayingReader
from reconciler.engine.scope import LiveState
from reconciler.errors import ConfigurationError, UsageError
from reconciler.export.files import Layout, check_folder, document_of, files_of, write_files
from reconciler.export.fold import folded
from reconciler.export.naming import ObjectKey, slug
from reconciler.export.references import rings
from reconciler.export.resource import ExportedResource
from reconciler.export.specs import Known, Unexportable, resource_of
from reconciler.kinds import ALL_KINDS, KINDS
from reconciler.manifests import Configuration, load_configuration, load_stack
from reconciler.manifests.shapes import credential_in
from reconciler.model.address import Address
from reconciler.model.change import Action, Change, Plan
from reconciler.model.diagnostic import Diagnostic, Severity, nearest
from reconciler.model.resource import LiveObject, Record, Resource
from reconciler.model.values import Spec, references_in
from reconciler.rules import RULE_KINDS

HEADER = "Written by `reconciler export`. Edit freely."
_ROUNDS = 5
"""How often objects that turn out not to be declarable are left out before the export gives up."""


class ExportRequest(Struct, frozen=True):
    """What to export and how. Each field is the option of `reconciler export` with that name."""

    out: Path = Path("manifests")
    projects: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    select: tuple[str, ...] = ()
    unmanaged: bool = False
    adopt_in_manifests: bool = False
    layout: Layout = Layout.PROJECT
    fold: bool = False
    force: bool = False
    all_limits: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether it leaves out objects that could be written."""
        return bool(self.projects or self.kinds or self.select or self.unmanaged)


class ExportResult(Struct):
    """What an export wrote, what it left out, and the plan that proves it."""

    resources: list[ExportedResource] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    changed_files: int = 0
    stale_files: list[str] = field(default_factory=list)
    """Files of the folder that this export did not write, and that hold manifests."""
    left_out: list[LeftOut] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    archived: int = 0
    bound: int = 0
    plan: Plan | None = None
    calls: int = 0

    @property
    def differing(self) -> list[Change]:
        """The changes that the plan would make to objects. A mark that is to be written is none."""
        changes = self.plan.changes if self.plan is not None else ()
        return [
            change
            for change in changes
            if change.blocked or (change.is_change and change.action is not Action.ADOPT)
        ]

    @property
    def unmarked(self) -> int:
        """How many objects the first apply marks as belonging to the stack."""
        changes = self.plan.changes if self.plan is not None else ()
        return sum(1 for change in changes if change.action is Action.ADOPT and change.mark)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for could be read."""
        return all(one.is_expected for one in self.unread)


def check_request(session: Session, request: ExportRequest) -> Path:
    """The folder to write to. Raises UsageError for a request that cannot be carried out."""
    for name in request.kinds:
        if name not in KINDS:
            raise UsageError(f"--kind {name}: there is no such kind.{nearest(name, KINDS)}")
    root = session.settings.root.resolve()
    folder = (root / request.out).resolve()
    if not folder.is_relative_to(root):
        raise UsageError(
            f"--out {request.out} is outside the stack's folder {root}",
            hint="Name a folder below it, or the stack with -C DIR.",
        )
    check_folder(folder, force=request.force)
    return folder


def export(session: Session, request: ExportRequest) -> ExportResult:
    """Export the organization. Raises UsageError before anything is read or written."""
    folder = check_request(session, request)
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
        self._present: dict[Address, str] = {}
        """The file of each resource that manifests in the folder declare already."""
        self._declared = self._declared_elsewhere()
        self._records = session.store.records()
        self._result = ExportResult()
        self._refused: dict[Address, str] = {}
        """Why objects are left out that were to be written."""
        self._live: LiveState | None = None
        self._ambiguous: frozenset[Address] = frozenset()
        self._norms: Mapping[ObjectKey, Spec] = {}
        self._key_comments: Mapping[str, str] = {}
        self._file_names: Mapping[str, str] = {}

    def run(self) -> ExportResult:
        session = self._session
        reading = self._read()
        result = self._result
        self._live = reading.live
        result.unread = reading.unread
        result.archived = len(reading.archived)
        objects = self._chosen(reading)
        self._ambiguous = ambiguous(reading, objects)
        configuration = self._written(objects)
        result.left_out += self._refused_objects(objects)
        result.calls = session.client.calls
        if configuration is None:
            return result
        plan = self._plan(configuration, reading, adopt=True)
        if not self._request.adopt_in_manifests:
            self._bind(plan)
            plan = self._plan(configuration, reading, adopt=False)
        result.plan = plan
        return result

    # Reading

    def _declared_elsewhere(self) -> Mapping[Address, Resource]:
        """What manifests outside the folder declare."""
        session = self._session
        stack = load_stack(session.settings)
        resources: tuple[Resource, ...] = ()
        try:
            resources = load_configuration(session.settings, KINDS, RULE_KINDS).resources
        except ConfigurationError as error:
            if not all(_is_about(problem, self._prefix) for problem in error.diagnostics):
                raise
        session.use_configuration(Configuration(stack, (), ""))
        elsewhere: dict[Address, Resource] = {}
        for resource in resources:
            file = resource.location.file if resource.location is not None else ""
            if _is_below(file, self._prefix):
                self._present[resource.address] = file
            else:
                elsewhere[resource.address] = resource
        return elsewhere

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
        return {
            (address.kind, address.project, record.id): record
            for address, record in self._records.items()
        }

    def _known_addresses(self) -> dict[ObjectKey, Address]:
        return {
            (address.kind, address.project, record.id): address
            for address, record in self._records.items()
        }

    # Choosing

    def _chosen(self, reading: Reading) -> dict[Address, LiveObject]:
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
        self._norms = chooser.norms
        self._key_comments = key_comments(reading)
        self._file_names = {
            live.id: str(live.value("filename")) for live in reading.objects("File")
        }
        result.left_out = chooser.left_out()
        projects = {live.id: live for live in reading.projects.values()}
        everything = list({key_of(live): live for live in (*projects.values(), *chosen)}.values())
        addresses = addresses_of(everything, self._named_projects(reading))
        objects = {
            addresses[key_of(live)]: live
            for live in chosen
            if not live.kind.defines_project and self._is_selected(live, addresses[key_of(live)])
        }
        wanted = set(request.projects)
        for name, live in reading.projects.items():
            if self._needs_project(name, live, objects, wanted):
                objects[addresses[key_of(live)]] = live
        return objects

    def _named_projects(self, reading: Reading) -> dict[ObjectKey, Address]:
        named = {
            key_of(live): Address(live.kind.name, name) for name, live in reading.projects.items()
        }
        return self._known_addresses() | named

    def _is_selected(self, live: LiveObject, address: Address) -> bool:
        request = self._request
        if address in self._declared:
            return False
        if request.unmanaged and address in self._records:
            return False
        if not request.select:
            return True
        texts = (str(address), address.name, live.id, str(live.value("name") or ""))
        return any(fnmatchcase(text, glob) for glob in request.select for text in texts)

    def _needs_project(
        self,
        name: str,
        live: LiveObject,
        objects: Collection[Address],
        wanted: Collection[str],
    ) -> bool:
        """Whether a project is written: asked for, or the home of something that is."""
        address = Address(live.kind.name, name)
        if name in self._session.stack.projects or address in self._declared:
            return False
        if any(one.project == name for one in objects):
            return True
        if live.attributes.get("name") == DEFAULT_PROJECT:
            return False
        request = self._request
        is_of_kind = not request.kinds or live.kind.name in request.kinds
        is_in_projects = not wanted or name in wanted
        return is_of_kind and is_in_projects and self._is_selected(live, address)

    # Writing

    def _written(self, objects: Mapping[Address, LiveObject]) -> Configuration | None:
        """Write the manifests and load them; None if there is nothing to write.

        What cannot be declared after all is left out.
        """
        problems: ConfigurationError | None = None
        for _ in range(_ROUNDS):
            self._write(objects)
            if not self._result.files and not self._result.stale_files:
                return None
            try:
                return load_configuration(self._session.settings, KINDS, RULE_KINDS)
            except ConfigurationError as error:
                problems = error
                if not self._refuse(error, objects):
                    break
        raise problems or ConfigurationError([])

    def _refuse(self, error: ConfigurationError, objects: Collection[Address]) -> bool:
        """Leave out the objects with problems; False if the problems are not those of objects."""
        before = len(self._refused)
        for problem in error.diagnostics:
            address = problem.address
            if isinstance(address, Address) and address in objects:
                self._refused.setdefault(address, f"{problem.summary}: {problem.detail}")
        return len(self._refused) > before

    def _write(self, objects: Mapping[Address, LiveObject]) -> None:
        request, result = self._request, self._result
        resources = self._resources(objects)
        documents = [
            document_of(
                resource,
                KINDS[resource.address.kind],
                adopt=request.adopt_in_manifests or resource.address in self._ambiguous,
            )
            for resource in resources
        ]
        if request.fold:
            documents = folded(documents)
        files = files_of(documents, layout=request.layout, prefix=self._prefix, header=HEADER)
        self._refuse_losses(files, {resource.address for resource in resources})
        for name in result.files.keys() - files.keys():
            (self._folder / name).unlink(missing_ok=True)  # of an earlier round
        is_first = not result.files
        result.changed_files = len(
            write_files(self._folder, files, force=request.force or not is_first)
        )
        result.files, result.resources = files, resources
        result.stale_files = self._stale_files()

    def _refuse_losses(self, files: Collection[str], written: Collection[Address]) -> None:
        """Refuse to replace a file that declares something which is not written again.

        Its object would count as undeclared, and a plan would delete it.
        """
        prefix = "" if self._prefix in ("", ".") else f"{self._prefix}/"
        for address, file in self._present.items():
            is_replaced = file.removeprefix(prefix) in files
            if is_replaced and address not in written and not self._is_gone(address):
                raise UsageError(
                    f"{file} declares {address}, which this export does not write, so replacing "
                    "the file would lose it",
                    hint="Name another folder with --out, or export everything.",
                )

    def _is_gone(self, address: Address) -> bool:
        """Whether the object of an address was looked for and does not exist any more."""
        record, live = self._records.get(address), self._live
        if record is None or live is None or address in self._refused:
            return address in self._refused
        scope = live.scope_of(address.kind, address.project, record.id)
        found = live.find(address.kind, address.project, record.id)
        return scope in live.listed and (found is None or is_gone(found))

    def _resources(self, objects: Mapping[Address, LiveObject]) -> list[ExportedResource]:
        """The declarations of the objects that have one; notes the rest as left out."""
        kept = {at: live for at, live in objects.items() if at not in self._refused}
        known = self._known(kept)
        made = self._made(kept, known)
        refused = {at for at in kept if at not in made}
        if refused:
            # What refers to them has to name them by id.
            known = self._known({at: live for at, live in kept.items() if at in made})
            again = {at: kept[at] for at, one in made.items() if _refers_to(one, refused)}
            made |= self._made(again, known)
        for address, target in rings(made):
            ids = {id: at for id, at in known.ids.items() if at not in target}
            made[address] = self._resource(kept[address], address, replace(known, ids=ids))
        return list(made.values())

    def _known(self, objects: Mapping[Address, LiveObject]) -> Known:
        usual = usual_values(objects.values())
        return Known(self._ids(objects), credential_in, usual, self._file_names)

    def _made(
        self, objects: Mapping[Address, LiveObject], known: Known
    ) -> dict[Address, ExportedResource]:
        """The declarations of the objects that can have one. Notes why the others cannot."""
        made = {}
        for address, live in objects.items():
            try:
                made[address] = self._resource(live, address, known)
            except Unexportable as error:
                self._refused[address] = str(error)
        return made

    def _resource(self, live: LiveObject, address: Address, known: Known) -> ExportedResource:
        resource = resource_of(live, address, known, norm=self._norms.get(key_of(live)))
        about_keys = self._key_comments.get(live.id)
        if about_keys is None:
            return resource
        return replace(resource, comments={**resource.comments, "": about_keys})

    def _refused_objects(self, objects: Mapping[Address, LiveObject]) -> list[LeftOut]:
        """What cannot be declared, by reason."""
        ids: dict[tuple[str, str | None, str], list[str]] = defaultdict(list)
        for address, reason in self._refused.items():
            ids[address.kind, address.project, reason].append(objects[address].id)
        return [LeftOut(*key, tuple(several)) for key, several in ids.items()]

    def _ids(self, objects: Mapping[Address, LiveObject]) -> dict[str, Address]:
        """The addresses that references can name, by id."""
        ids: dict[str, Address] = {}
        for address in self._declared:
            record, kind = self._records.get(address), KINDS.get(address.kind)
            if record is not None and kind is not None and _has_own_id(address.kind):
                ids[kind.parent_and_id(record.id)[1]] = address
        for address, live in objects.items():
            if _has_own_id(address.kind):
                ids[live.own_id] = address
        return ids

    def _stale_files(self) -> list[str]:
        written = self._result.files
        paths = (path for path in self._folder.rglob("*") if path.is_file())
        names = sorted(path.relative_to(self._folder).as_posix() for path in paths)
        return [
            name
            for name in names
            if name not in written and name.endswith((".yaml", ".yml", ".json"))
        ]

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
        )
        inputs = with_renamed_projects(inputs)
        return make_plan(collect(inputs, ReplayingReader(reading.live), parallelism=1))

    def _bind(self, plan: Plan) -> None:
        session, store = self._session, self._session.store
        written = {resource.address for resource in self._result.resources}
        known = store.records()
        records: list[Record] = []
        for change in plan.changes:
            is_bound = change.address in known
            if change.address in written and change.id and not change.blocked and not is_bound:
                records.append(imported_record(KINDS[change.address.kind], change))
        record_origin(session)
        store.put_all(records)
        self._result.bound = len(records)


def _adopting(resource: Resource, ids: Mapping[Address, str]) -> Resource:
    id = ids.get(resource.address)
    if id is None:
        return resource
    return replace(resource, lifecycle=replace(resource.lifecycle, adopt=id))


def _refers_to(resource: ExportedResource, addresses: Collection[Address]) -> bool:
    return any(reference.address in addresses for reference in references_in(resource.spec))


def _has_own_id(kind: str) -> bool:
    """Whether the id of such an object names it alone, in every scope."""
    return kind == "User" or not KINDS[kind].unique_key


def _is_about(problem: Diagnostic, folder: str) -> bool:
    """Whether a problem is about the folder that is to be written: that nothing is there yet."""
    if problem.severity is not Severity.ERROR or problem.summary == "No manifests":
        return True
    is_absent = problem.location is not None and problem.location.file.endswith(
        ("reconciler.yaml", "reconciler.yml")
    )
    return (is_absent and folder in (problem.detail or "")) or (
        problem.location is not None and _is_below(problem.location.file, folder)
    )


def _is_below(file: str, folder: str) -> bool:
    return folder in ("", ".") or file == folder or file.startswith(f"{folder}/")


StackWriter = Callable[[Path, str], None]


def stack_file(name: str, out: str) -> str:
    """A stack file for an export."""
    return f"kind: Stack\nmetadata:\n  name: {name}\nspec:\n  manifests: [{out}/]\n"


def stack_name(given: str | None, root: Path) -> str:
    """The name of the stack: as given, else that of its folder. Raises UsageError."""
    if given is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", given):
            raise UsageError(
                f'--stack "{given}" is no name: use letters, digits, dots, hyphens and underscores'
            )
        return given
    return slug(root.resolve().name) or "stack"
