"""Turns instances into resources and rules.

The expressions of an instance are evaluated, the result is validated, and what names a file or a
secret is replaced. References stay: apply provides their values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from reconciler.manifests.answers import as_manifest, keeps_secret
from reconciler.manifests.checks import check_resource, check_rule
from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.deferred_files import DeferredFiles
from reconciler.manifests.destinations import key_files
from reconciler.manifests.expand import Instance
from reconciler.manifests.expressions import Context, Evaluator
from reconciler.manifests.file_values import FileValues
from reconciler.manifests.files import Files
from reconciler.manifests.kind_schema import kind_schema
from reconciler.manifests.problems import Problems, ValueProblem
from reconciler.manifests.references import AddressIndex
from reconciler.manifests.room import Room
from reconciler.manifests.secret_inputs import SecretInputs
from reconciler.manifests.validate import Checker, SchemaViolation
from reconciler.model.address import Address
from reconciler.model.kind import Declaration, Kind, OnRemove, ScopeType
from reconciler.model.paths import Trail
from reconciler.model.resource import IGNORE_ALL, Lifecycle, Resource
from reconciler.model.rule import Rule, RuleKind
from reconciler.model.sinks import local_sinks
from reconciler.model.values import Reference, Spec, Template, Unknown, has_unknown

_DEFAULT_LIFECYCLE = Lifecycle()
_STRICT_LIFECYCLE = Lifecycle(strict=True)

_EXPANDED = {"for_each", "when"}
"""Keys of a document that its expansion into instances has evaluated."""


class Resolver:
    """Makes resources and rules, one per instance. Instances with errors are reported and skipped."""

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

    def resolve(self, instance: Instance) -> Resource | Rule | None:
        """The resource or rule of an instance; None, with problems reported, if it has errors."""
        self._failed = False
        evaluated = self._evaluate(instance)
        # Before validation, because its messages quote values.
        document = self._leaks.without_keys(evaluated, instance.document, (), instance.address)
        self._failed = self._failed or document is not evaluated
        if isinstance(instance.kind, Kind) and "spec" in document:
            document = {**document, "spec": as_manifest(instance.kind, document["spec"])}
        violations = list(self._violations(instance.kind, document))
        for violation in violations:
            self._note(instance, _reworded(violation, instance.kind))
        if instance.address is None:
            if not violations and not has_unknown(instance.metadata):
                detail = f"{instance.kind.name} has no valid metadata.name."
                self._problems.add("Not a name", detail, place=instance.document.name_place)
            return None
        # An unknown without a problem here has its problem at its source: a variable without a
        # value, or an unread file.
        is_unknown = isinstance(document.get("spec"), Unknown)
        is_unknown = is_unknown or has_unknown([document.get("lifecycle")])
        if violations or self._failed or is_unknown:
            return None
        if isinstance(instance.kind, Kind):
            return self._resource(instance, instance.kind, instance.address, document)
        if isinstance(instance.kind, RuleKind) and instance.kind.expands:
            return None
        if isinstance(instance.kind, RuleKind):
            return self._rule(instance, instance.kind, instance.address, document["spec"])
        raise TypeError(f"{instance.kind.name} is neither a kind of objects nor of rules")

    def _violations(
        self, kind: Declaration, document: Mapping[str, Any]
    ) -> Iterator[SchemaViolation]:
        for violation in self._checker(kind).violations(document):
            if not keeps_secret(kind, document, violation):
                yield violation
        # The validator accepts references everywhere, and a whole spec is no value of the API.
        if isinstance(document.get("spec"), Reference | Template):
            detail = "spec must be a map."
            yield SchemaViolation(("spec",), "Reference not possible here", detail)

    def _rule(
        self, instance: Instance, kind: RuleKind, address: Address, spec: Spec
    ) -> Rule | None:
        document = instance.document
        values = self._with_file_values(instance, spec)
        rule = Rule(address, kind, values, document.place, document.spec_places)
        for violation in check_rule(rule, spec):
            self._note(instance, violation)
        return rule

    def _resource(
        self, instance: Instance, kind: Kind, address: Address, document: Mapping[str, Any]
    ) -> Resource:
        lifecycle = self._lifecycle(instance, document.get("lifecycle") or {})
        values = self._with_file_values(instance, document["spec"])
        resource = Resource(
            address=address,
            kind=kind,
            spec=_named(kind, address, values),
            lifecycle=lifecycle,
            location=instance.document.place,
            locations=instance.document.spec_places,
        )
        for violation in check_resource(resource, self._declared, document["spec"]):
            self._note(instance, violation)
        # Kinds that deliver keys are resolved first, so that no later resource can read a key.
        for path in key_files(resource):
            self._files.withhold(self._files.root / path)
        return resource

    def _with_file_values(self, instance: Instance, spec: Spec) -> Spec:
        # Most kinds name neither files nor secrets.
        if not instance.kind.own_calls and not instance.kind.takes_secrets:
            return spec
        note = partial(self._note, instance)
        values = FileValues(instance, self._files, self._inputs, self._contents, note)
        return values.replaced_in(spec)

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
            # Without references: plan has to know the lifecycle of a resource.
            evaluator = Evaluator(instance.context, report)
            document["lifecycle"] = evaluator.evaluate(raw["lifecycle"], ("lifecycle",))
        for name in ("metadata", "spec"):
            # A key that the document lacks must be missing for the schema too.
            if name not in raw:
                del document[name]
        return document

    def _checker(self, kind: Declaration) -> Checker:
        if kind.name not in self._checkers:
            whole = partial(kind_schema, kind, expressions=False)
            # The whole schema of a key loads the driver of every sink, including those of other
            # packages. A key that only goes to files does without them.
            usual = whole(sinks=local_sinks) if kind.delivers_keys else whole()
            self._checkers[kind.name] = Checker(whole, usual=usual)
        return self._checkers[kind.name]

    def _note(self, instance: Instance, violation: SchemaViolation) -> None:
        location = instance.document.location_of(violation.trail, key=violation.at_key)
        self._problems.add(
            violation.summary,
            violation.detail,
            place=location,
            address=instance.address,
            severity=violation.severity,
        )

    def _lifecycle(self, instance: Instance, written: Mapping[str, Any]) -> Lifecycle:
        if not written:
            # Nearly no document has a lifecycle, so all of them share one object.
            return _STRICT_LIFECYCLE if self._strict else _DEFAULT_LIFECYCLE
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
        """The id to adopt, in the spelling that the state uses for ids of the kind."""
        if not isinstance(adopt, str) or not isinstance(instance.kind, Kind):
            return adopt
        try:
            return instance.kind.composed_id(*instance.kind.parent_and_id(adopt))
        except ValueError:
            forms = " or ".join(instance.kind.id_forms)
            detail = f'"{adopt}" is not an id of this kind: its form is {forms}.'
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
        trail = ("lifecycle", "renamed_from")
        self._note(instance, SchemaViolation(trail, "Invalid earlier address", detail))
        return None

    @property
    def _files(self) -> Files:
        return self._context.files


def _reworded(violation: SchemaViolation, kind: Declaration) -> SchemaViolation:
    """A problem with metadata.project explained by the scope of the kind, which no schema knows."""
    if (
        violation.trail == ("metadata", "project")
        and violation.at_key
        and kind.scope is ScopeType.ORGANIZATION
    ):
        detail = f"{kind.name} belongs to the organization: remove metadata.project."
        return SchemaViolation(violation.trail, "Unexpected project", detail, at_key=True)
    if violation.trail == ("metadata",) and violation.summary == 'Missing "project"':
        detail = f"{kind.name} lives in a project: add metadata.project."
        return SchemaViolation(violation.trail, violation.summary, detail, at_key=True)
    return violation


def _named(kind: Kind, address: Address, spec: Spec) -> Spec:
    """The spec with the resource's name in omitted fields that default to it."""
    names: dict[str, Any] = {}
    for field in kind.fields:
        if field.defaults_to_name and field.name not in spec:
            names[field.name] = address.name
    return {**names, **spec} if names else spec
