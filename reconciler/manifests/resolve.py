"""Turns instances into resources and rules: expressions, validation, files, and values that apply
provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from reconciler.manifests.answers import as_manifest, keeps_secret
from reconciler.manifests.bundles import bundle_of
from reconciler.manifests.checks import check_resource, check_rule
from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.deferred_files import DeferredFiles
from reconciler.manifests.destinations import key_files
from reconciler.manifests.expand import Instance
from reconciler.manifests.expressions import Context, Evaluator
from reconciler.manifests.fast_validation import LATER
from reconciler.manifests.files import MAX_FILE_BYTES, Files, MemberFinder
from reconciler.manifests.kind_schema import kind_schema
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.room import Room
from reconciler.manifests.secret_inputs import SecretInputs, with_sources
from reconciler.manifests.validate import Checker, SchemaViolation
from reconciler.model.address import Address
from reconciler.model.kind import Declaration, Field, Kind, OnRemove, ScopeType
from reconciler.model.paths import Trail, dotted
from reconciler.model.resource import IGNORE_ALL, Lifecycle, Resource
from reconciler.model.rule import Rule, RuleKind
from reconciler.model.sinks import local_sinks
from reconciler.model.types import BundleType, FileSetType, LocalFileType, MapOf
from reconciler.model.values import (
    FileSet,
    LocalFile,
    Reference,
    Spec,
    Template,
    Unknown,
    has_unknown,
)

_UNSAID = Lifecycle()
_STRICT = Lifecycle(strict=True)
MAX_SENT_BYTES = 100 * 1024 * 1024
"""The largest file that a check sends, since it is held in memory."""

_EXPANDED = {"for_each", "when"}
"""Keys of a document that have done their work when it is resolved."""
_MAY_WAIT = {"file_id", "attributes", "chunking_strategy"}


class Resolver:
    """Makes resources and rules, one per instance. Instances with errors are reported and skipped.

    A long class, because each step of an instance reports its problems at the instance's own location.
    """

    def __init__(
        self,
        context: Context,
        declared: AddressIndex,
        leaks: CredentialScan,
        inputs: SecretInputs,
        contents: DeferredFiles,
        problems: Problems,
        room: Room | None = None,
        *,
        strict: bool = False,
    ) -> None:
        """`strict` is the default of `lifecycle.strict`."""
        self._context = context
        self._strict = strict
        self._room = room
        self._contents = contents
        self._declared = declared
        self._problems = problems
        self._checkers: dict[str, Checker] = {}
        self._leaks = leaks
        self._inputs = inputs
        self._failed = False

    def made(self, instance: Instance) -> Resource | Rule | None:
        """The resource or rule of an instance; None, with problems reported, if it has errors."""
        self._failed = False
        evaluated = self._evaluate(instance)
        document = self._leaks.taken_out(evaluated, instance.document, (), instance.address)
        self._failed = self._failed or document is not evaluated
        if isinstance(instance.kind, Kind) and "spec" in document:
            document = {**document, "spec": as_manifest(instance.kind, document["spec"])}
        findings = [
            finding
            for finding in self._checker(instance.kind).findings(document)
            if not keeps_secret(instance.kind, document, finding)
        ]
        if isinstance(document.get("spec"), Reference | Template):
            findings.append(
                SchemaViolation(("spec",), "Reference not possible here", "spec must be a map.")
            )
        for finding in findings:
            self._note(instance, _reworded(finding, instance.kind))
        if instance.address is None:
            if not findings and not has_unknown(instance.metadata):
                location = instance.document.name_place
                self._problems.add(
                    "Not a name",
                    f"{instance.kind.name} has no valid metadata.name.",
                    place=location,
                )
            return None
        # What is unknown without a problem of its own has one elsewhere: a variable without a
        # value, an unread file.
        unknown = has_unknown([document.get("lifecycle")]) or isinstance(
            document.get("spec"), Unknown
        )
        if findings or self._failed or unknown:
            return None
        if isinstance(instance.kind, Kind):
            return self._resource(instance, instance.kind, instance.address, document)
        if isinstance(instance.kind, RuleKind) and instance.kind.expands:
            return None
        if isinstance(instance.kind, RuleKind):
            return self._rule(instance, instance.kind, instance.address, document["spec"])
        raise TypeError(f"{instance.kind.name} is neither a kind of objects nor of rules")

    def _rule(
        self, instance: Instance, kind: RuleKind, address: Address, spec: Spec
    ) -> Rule | None:
        document = instance.document
        rule = Rule(
            address,
            kind,
            self._with_file_values(instance, spec),
            document.place,
            document.spec_places,
        )
        for finding in check_rule(rule, spec):
            self._note(instance, finding)
        return rule

    def _resource(
        self, instance: Instance, kind: Kind, address: Address, document: Mapping[str, Any]
    ) -> Resource:
        lifecycle = self._lifecycle(instance, document.get("lifecycle") or {})
        resource = Resource(
            address=address,
            kind=kind,
            spec=_named(kind, address, self._with_file_values(instance, document["spec"])),
            lifecycle=lifecycle,
            location=instance.document.place,
            locations=instance.document.spec_places,
        )
        for finding in check_resource(resource, self._declared, document["spec"]):
            self._note(instance, finding)
        for path in key_files(resource):
            self._files.withhold(self._files.root / path)
        return resource

    def _evaluate(self, instance: Instance) -> dict[str, Any]:
        """The document with all expressions replaced, for schema validation."""
        raw = instance.document.value
        project = instance.address.project if instance.address else None

        def reference(text: str) -> Any:
            return self._declared.reference(text, project)

        def report(problem: ValueProblem, trail: Trail) -> None:
            self._failed = True
            self._problems.take(
                problem, place=instance.document.location_of(trail), address=instance.address
            )

        full = replace(instance.context, reference=reference)
        document = {key: value for key, value in raw.items() if key not in _EXPANDED}
        document["metadata"] = instance.metadata
        document["spec"] = Evaluator(full, report, self._room).evaluate(raw.get("spec"), ("spec",))
        if "lifecycle" in raw:
            document["lifecycle"] = Evaluator(instance.context, report).evaluate(
                raw["lifecycle"], ("lifecycle",)
            )
        for name in ("metadata", "spec"):
            # The schema has to see what the document lacks, not what evaluation has put there.
            if name not in raw:
                del document[name]
        return document

    def _checker(self, kind: Declaration) -> Checker:
        if kind.name not in self._checkers:
            whole = partial(kind_schema, kind, expressions=False)
            # The whole schema of a key loads the driver of every sink, also of other packages.
            usual = whole(sinks=local_sinks) if kind.delivers_keys else whole()
            self._checkers[kind.name] = Checker(whole, usual=usual)
        return self._checkers[kind.name]

    def _note(self, instance: Instance, finding: SchemaViolation) -> None:
        location = instance.document.location_of(finding.trail, key=finding.at_key)
        self._problems.add(
            finding.summary,
            finding.detail,
            place=location,
            address=instance.address,
            severity=finding.severity,
        )

    def _lifecycle(self, instance: Instance, written: Mapping[str, Any]) -> Lifecycle:
        if not written:
            # Shared by all documents without a lifecycle, which are nearly all.
            return _STRICT if self._strict else _UNSAID
        ignored = written.get("ignore_changes", ())
        return Lifecycle(
            prevent_destroy=written.get("prevent_destroy"),
            ignore_changes=(IGNORE_ALL,) if ignored == IGNORE_ALL else tuple(ignored),
            on_remove=OnRemove(written["on_remove"]) if "on_remove" in written else None,
            adopt=self._adopted(instance, written.get("adopt", False)),
            create_before_destroy=written.get("create_before_destroy"),
            renamed_from=self._renamed_from(instance, written.get("renamed_from")),
            strict=written.get("strict", self._strict),
        )

    def _adopted(self, instance: Instance, adopt: bool | str) -> bool | str:
        """The id to adopt, in the spelling that ids of the kind have."""
        if not isinstance(adopt, str) or not isinstance(instance.kind, Kind):
            return adopt
        try:
            return instance.kind.composed_id(*instance.kind.parent_and_id(adopt))
        except ValueError:
            detail = f'"{adopt}" is not an id of this kind: its form is {" or ".join(instance.kind.id_forms)}.'
            self._note(instance, SchemaViolation(("lifecycle", "adopt"), "Wrong form", detail))
            return False

    def _renamed_from(self, instance: Instance, text: str | None) -> Address | None:
        if text is None:
            return None
        try:
            address = Address.parse(text)
            if address.kind == instance.kind.name:
                return address
            detail = f'"{text}" has another kind: its object cannot become a {instance.kind.name}.'
        except ValueError as error:
            detail = f"{error}."
        self._note(
            instance,
            SchemaViolation(("lifecycle", "renamed_from"), "Invalid earlier address", detail),
        )
        return None

    def _with_file_values(self, instance: Instance, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """The spec with local files, file sets and secrets in place of what names them."""
        replaced: dict[str, Any] = {}
        for field in instance.kind.fields if instance.kind.takes_secrets else ():
            if field.name in spec:
                replaced[field.name] = self._sent(instance, field, spec[field.name])
        for field in instance.kind.own_calls:
            value, trail = spec.get(field.name), ("spec", field.name)
            if not self._is_known(instance, value, trail):
                continue
            if isinstance(field.type, LocalFileType) and isinstance(value, str):
                replaced[field.name] = self._local_file(instance, value, trail)
                self._warn_if_empty(instance, replaced[field.name], trail)
            elif isinstance(field.type, MapOf) and isinstance(value, dict):
                replaced[field.name] = {
                    key: self._local_file(instance, path, (*trail, key), most=MAX_SENT_BYTES)
                    for key, path in value.items()
                }
            elif isinstance(field.type, FileSetType) and isinstance(value, list):
                # Found and checked now, read later, while the first answers of the API are awaited.
                finder = self._members(instance, value, trail, self._files.unread)
                replaced[field.name] = _as_set(finder)
                if instance.address is not None:
                    self._contents.leave(
                        instance.address, field.name, instance.document, finder.item_of
                    )
            elif isinstance(field.type, BundleType) and isinstance(value, list):
                replaced[field.name] = self._bundle(instance, value, field.type, trail)
        return {**spec, **replaced} if replaced else spec

    def _sent(self, instance: Instance, field: Field, value: Any) -> Any:
        """A value with the sources of secrets in place of what names them."""

        def report(problem: ValueProblem, trail: Trail) -> None:
            self._note(instance, SchemaViolation(trail, problem.summary, problem.detail))

        return with_sources(field.type, value, self._inputs, report, ("spec", field.name))

    def _is_known(self, instance: Instance, value: Any, trail: Trail) -> bool:
        """Whether everything is known that decides which files to read. Ids and attributes can be
        unknown until apply."""
        if isinstance(value, Reference | Template):
            detail = (
                f"{dotted(trail)} must be known before apply, so it cannot contain a reference."
            )
            self._note(instance, SchemaViolation(trail, "Reference not possible here", detail))
        if isinstance(value, LATER):
            return False
        if isinstance(value, dict):
            parts = {key: element for key, element in value.items() if key not in _MAY_WAIT}
            return all(
                self._is_known(instance, element, (*trail, key)) for key, element in parts.items()
            )
        if isinstance(value, list):
            return all(
                self._is_known(instance, element, (*trail, index))
                for index, element in enumerate(value)
            )
        return True

    def _local_file(
        self, instance: Instance, path: str, trail: Trail, *, most: int = MAX_FILE_BYTES
    ) -> Any:
        try:
            return self._files.content(path, most=most)
        except ValueProblem as problem:
            self._note(instance, SchemaViolation(trail, problem.summary, problem.detail))
            return path

    def _warn_if_empty(self, instance: Instance, file: Any, trail: Trail) -> None:
        if isinstance(file, LocalFile) and file.size == 0:
            detail = f'"{file.path}": the API rejects empty files.'
            location = instance.document.location_of(trail)
            self._problems.warn("Empty file", detail, place=location, address=instance.address)

    def _members(
        self,
        instance: Instance,
        items: list[Any],
        trail: Trail,
        content: Callable[[str], LocalFile],
    ) -> MemberFinder:
        finder = MemberFinder(self._files, content)
        for index, entry in enumerate(items):
            at: Trail = (*trail, index, "file_id" if "file_id" in entry else "path")
            try:
                finder.add(index, entry)
            except ValueProblem as problem:
                self._note(instance, SchemaViolation(at, problem.summary, problem.detail))
                self._failed = True
        return finder

    def _bundle(
        self, instance: Instance, items: list[Any], type: BundleType, trail: Trail
    ) -> FileSet:
        members = _as_set(
            self._members(instance, items, trail, partial(self._files.content, most=type.max_bytes))
        )
        if self._failed:  # what is missing from the folder was said already
            return members
        try:
            return bundle_of({member.key: member for member in members.members}, type, self._files)
        except ValueProblem as problem:
            self._note(instance, SchemaViolation(trail, problem.summary, problem.detail))
            return members

    @property
    def _files(self) -> Files:
        return self._context.files


def _as_set(finder: MemberFinder) -> FileSet:
    return FileSet(tuple(sorted(finder.members.values(), key=lambda member: member.key)))


def _reworded(finding: SchemaViolation, kind: Declaration) -> SchemaViolation:
    """The problems with a project say what the kind's context is, which the schema does not know."""
    if (
        finding.trail == ("metadata", "project")
        and finding.at_key
        and kind.scope is ScopeType.ORGANIZATION
    ):
        detail = f"{kind.name} belongs to the organization: remove metadata.project."
        return SchemaViolation(finding.trail, "Unexpected project", detail, at_key=True)
    if finding.trail == ("metadata",) and finding.summary == 'Missing "project"':
        detail = f"{kind.name} lives in a project: add metadata.project."
        return SchemaViolation(finding.trail, finding.summary, detail, at_key=True)
    return finding


def _named(kind: Kind, address: Address, spec: Spec) -> Spec:
    """The spec with the resource's name in omitted fields that default to it."""
    named = {
        field.name: address.name
        for field in kind.fields
        if field.defaults_to_name and field.name not in spec
    }
    return {**named, **spec} if named else spec
