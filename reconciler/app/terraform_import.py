"""Takes a stack over from Terraform: manifests, `removed` blocks, and bindings in the state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.app.handover import begin_handover, end_handover, is_waiting
from reconciler.app.run_manifests import with_paths
from reconciler.app.session import Session
from reconciler.app.state_origin import record_origin
from reconciler.errors import ConfigurationError, OrganizationError, StateError, UsageError
from reconciler.export.files import FileLayout, check_folder, files_of, write_files
from reconciler.export.naming import ObjectKey
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, load_configuration
from reconciler.manifests.cross_checks import TWO_DECLARATIONS
from reconciler.model.address import Address
from reconciler.model.resource import Record, Resource
from reconciler.model.values import Reference, has_unknown
from reconciler.rules import RULE_KINDS
from reconciler.terraform.addressing import ExistingResources
from reconciler.terraform.conversion import Conversion, convert
from reconciler.terraform.documents import documents_of
from reconciler.terraform.removed import FILE_NAME, removed_blocks
from reconciler.terraform.secrets import key_values
from reconciler.terraform.state import TerraformState

STACK_FILE = "reconciler.yaml"
_HEADER = "Imported from a Terraform state."


class Imported(Struct, frozen=True):
    """What an import did."""

    conversion: Conversion
    folder: Path
    files: tuple[Path, ...]
    """Those whose content changed, below the folder."""
    stack_file: Path | None
    """The stack file, if it was written."""


def import_terraform_state(
    session: Session,
    state: TerraformState,
    name: str,
    *,
    folder: str,
    layout: FileLayout,
    force: bool,
) -> Imported:
    """Write manifests and bindings for a Terraform state. The caller holds the state's lock.

    `name` is what messages call the state, and `folder` is relative to the stack's folder. Raises
    UsageError and OrganizationError before anything is written, ConfigurationError if the stack
    does not fit what was written.
    """
    # Before anything can fail with a message that quotes the state.
    for secret in key_values(state):
        session.redactor.add(secret)
    stack, store = session.stack, session.store
    target, prefix = _target(stack.root, folder)
    check_folder(target, force=force)
    writer = _Writer(session, state, _known(session, prefix), target, prefix, layout)
    conversion = writer.conversion
    _check_organization(session, conversion)
    if not conversion.resources:
        raise UsageError(
            f"{name} has no resource that can be carried over", hint=_why_nothing(conversion)
        )
    stack_file = _stack_file(session, conversion.projects)
    was_waiting = is_waiting(store)
    # Before the first manifest: an apply between the two must not create everything again.
    begin_handover(store, name)
    if stack_file is not None:
        _write_stack_file(stack_file, stack.name, conversion.projects)
    configuration = writer.write()
    conversion = writer.conversion
    if not _reads(configuration, conversion):
        if not was_waiting:
            end_handover(store)
        raise UsageError(
            f"the stack does not read {folder}, where the manifests were written",
            hint=f"Add {folder}/ to `manifests` in the stack file, and import again with --force.",
        )
    records = list(_records(conversion, configuration, store.records()))
    # Before the records, so that no state holds objects without saying of which organization.
    record_origin(session)
    store.put_all(records)
    return Imported(conversion, Path(folder), tuple(sorted(writer.changed)), stack_file)


class _Writer:
    """Writes manifests until the stack accepts them.

    A state can hold values that no manifest may have. Such resources are left out, and what
    refers to them keeps their ids.
    """

    def __init__(
        self,
        session: Session,
        state: TerraformState,
        known: ExistingResources,
        target: Path,
        prefix: str,
        layout: FileLayout,
    ) -> None:
        self._session = session
        self._state = state
        self._known = known
        self._target = target
        self._prefix = prefix
        self._layout = layout
        self._adopting: set[Address] = set()
        """The objects that only their id tells from others of the same name."""
        self.conversion = convert(state, KINDS, known)
        self.changed: set[Path] = set()
        """The files whose content changed, below the folder."""

    def write(self) -> Configuration:
        """Write the manifests, and read the stack with them. Raises ConfigurationError."""
        written: set[str] = set()
        # Each round leaves out one more resource, or names one more by its id, so this ends.
        while True:
            files = self._files()
            for name in written - files.keys():
                (self._target / name).unlink(missing_ok=True)
            changed = write_files(self._target, files, force=True)
            self.changed |= {path.relative_to(self._target) for path in changed}
            written = set(files)
            try:
                return load_configuration(self._session.settings, KINDS, RULE_KINDS)
            except ConfigurationError as error:
                if self._adopt_twins(error):
                    continue
                refused = self._refused(error)
                if not refused:
                    self._session.notice(
                        "The manifests were written, but nothing was bound. Correct the problems "
                        "below, and import again with --force."
                    )
                    raise
            refused = {**self._known.refused, **refused}
            self._known = replace(self._known, refused=refused)
            self.conversion = convert(self._state, KINDS, self._known)

    def _files(self) -> dict[str, str]:
        conversion = self.conversion
        documents = documents_of(conversion, KINDS, adopting=self._adopting)
        files = files_of(documents, layout=self._layout, prefix=self._prefix, header=_HEADER)
        files[FILE_NAME] = removed_blocks(conversion.carried_over, conversion.left_out)
        return files

    def _adopt_twins(self, error: ConfigurationError) -> bool:
        """Name objects of one name by their ids; False if there is nothing more to name."""
        before = len(self._adopting)
        for problem in error.diagnostics:
            address = problem.address
            if address is None or problem.summary != TWO_DECLARATIONS:
                continue
            if address in self.conversion.sources:
                self._adopting.add(address)
        return len(self._adopting) > before

    def _refused(self, error: ConfigurationError) -> dict[str, str]:
        """Why resources cannot be declared, by their addresses in Terraform."""
        refused: dict[str, str] = {}
        for problem in error.diagnostics:
            instance = self.conversion.sources.get(problem.address) if problem.address else None
            if instance is not None:
                detail = f"{problem.summary}: {problem.detail}".rstrip(". ")
                refused.setdefault(instance.address, f"no manifest can declare it: {detail}")
        return refused


def _target(root: Path, folder: str) -> tuple[Path, str]:
    """The folder to write to, and its path below the stack's folder."""
    target = Path(root, folder).resolve()
    if not target.is_relative_to(root):
        raise UsageError(
            f"--out {folder} is outside the stack's folder {root}",
            hint="Manifests are read from the stack's folder only: name a folder in it.",
        )
    return target, target.relative_to(root).as_posix()


# --- declarations that the stack has already


def _known(session: Session, prefix: str) -> ExistingResources:
    records = session.store.records()
    bound: dict[ObjectKey, Address] = {}
    for address, record in records.items():
        if address.kind in KINDS:
            bound[address.kind, address.project, record.id] = address
    return ExistingResources(
        projects=session.stack.projects,
        bound=bound,
        elsewhere=frozenset(_declared_elsewhere(session, prefix)),
        find_file=partial(_find_file, session.stack.root),
    )


def _find_file(root: Path, path: str, size: int) -> str | None:
    """The path below the stack's folder of a file of a size; None if it is not there."""
    try:
        file = Path(root, path).resolve()
        is_there = file.is_relative_to(root) and file.is_file() and file.stat().st_size == size
    except (OSError, ValueError):
        return None
    return file.relative_to(root).as_posix() if is_there else None


def _declared_elsewhere(session: Session, prefix: str) -> Iterator[Address]:
    """The addresses that manifests outside a folder declare."""
    try:
        configuration = load_configuration(session.settings, KINDS, RULE_KINDS)
    except ConfigurationError:
        # There may be no manifest yet. Problems are reported once the new ones are written.
        return
    for resource, path in with_paths(configuration.resources, session.settings.root):
        if prefix != "." and not path.startswith(f"{prefix}/"):
            yield resource.address


def _check_organization(session: Session, conversion: Conversion) -> None:
    expected = session.stack.organization or session.store.identity.organization
    others = sorted(conversion.organizations - {expected})
    if expected and others:
        raise OrganizationError(
            f"the Terraform state is of the organization {others[0]}, and this stack is of "
            f"{expected}",
            hint="Use a stack with `organization` and keys of that organization.",
        )


def _why_nothing(conversion: Conversion) -> str:
    reasons = [f"{entry.instance.address}: {entry.reason}." for entry in conversion.left_out[:5]]
    for provider, count in conversion.other_providers.items():
        reasons.append(f"{count} of the provider {provider}, which is not supported.")
    return "\n".join(reasons) or "It has no resources. Is it the state of another workspace?"


# --- the stack file


def _stack_file(session: Session, projects: Mapping[str, str]) -> Path | None:
    """The stack file to write. Raises UsageError if there is one and it lacks projects."""
    if not projects:
        return None
    if session.stack.file is None:
        return session.stack.root / STACK_FILE
    lines = _project_lines(projects)
    raise UsageError(
        "Terraform manages objects in projects that it does not manage itself, and "
        f"{session.stack.file.name} does not name those projects",
        hint=f"Add them to its spec, with names of your choice, and import again:\n  projects:\n{lines}",
    )


def _write_stack_file(path: Path, name: str, projects: Mapping[str, str]) -> None:
    text = f"""\
kind: Stack
metadata: {{name: {name}}}
spec:
  # Projects with objects of this stack, which this stack does not manage themselves.
  projects:
{_project_lines(projects)}
"""
    path.write_text(text, encoding="utf-8")


def _project_lines(projects: Mapping[str, str]) -> str:
    return "\n".join(f"    {name}: {id}" for name, id in sorted(projects.items()))


# --- bindings


def _reads(configuration: Configuration, conversion: Conversion) -> bool:
    """Whether the stack reads the written manifests."""
    declared = {resource.address for resource in configuration.resources}
    return all(resource.address in declared for resource in conversion.resources)


def _records(
    conversion: Conversion,
    configuration: Configuration,
    present: Mapping[Address, Record],
) -> Iterable[Record]:
    """The records of everything that was carried over, with the values that Terraform knew."""
    declared: dict[Address, Resource] = {}
    projects: dict[str, Address] = {}
    for resource in configuration.resources:
        declared[resource.address] = resource
        if resource.kind.defines_project:
            projects[resource.address.name] = resource.address
    ids = {address: record.id for address, record in present.items()}
    ids |= {written.address: written.id for written in conversion.resources}

    def id_of(reference: Reference) -> Any:
        kind = KINDS[reference.address.kind]
        return kind.parent_and_id(ids[reference.address])[1]

    for written in conversion.resources:
        resource = declared[written.address]
        spec = resource.kind.fill_defaults(resource.resolved(id_of))
        applied = {name: value for name, value in spec.items() if _is_value(value)}
        yield Record(
            address=written.address,
            id=written.id,
            project_id=written.project_id,
            applied=applied,
            depends_on=_dependencies(resource, projects),
            # The plan after an import must be empty, and a mark is a write.
            marked_later=True,
        )


def _is_value(value: Any) -> bool:
    """Whether Terraform can have applied a value: a null and an unknown are none."""
    return value is not None and not has_unknown(value)


def _dependencies(resource: Resource, projects: Mapping[str, Address]) -> tuple[Address, ...]:
    needed = set(resource.references)
    project = projects.get(resource.address.project or "")
    if project is not None:
        needed.add(project)
    return tuple(sorted(needed))


def check_still_waiting(session: Session) -> None:
    """Raise StateError if nothing waits for Terraform."""
    if not is_waiting(session.store):
        raise StateError(
            "nothing in this state waits for Terraform",
            hint="Run `reconciler import --from-terraform FILE` first.",
        )
