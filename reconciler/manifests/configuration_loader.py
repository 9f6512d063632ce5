"""Loads a configuration from the stack's folder. Calls no API, runs no program and writes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.manifests.closed import Remembered
from reconciler.manifests.configuration import Configuration, GivenInputs, Settings, Stack
from reconciler.manifests.credential_scan import CredentialScan
from reconciler.manifests.credentials import environment_secrets
from reconciler.manifests.cross_checks import CrossChecks
from reconciler.manifests.deferred_files import DeferredFiles
from reconciler.manifests.discover import read_documents
from reconciler.manifests.expand import Expander, Instance
from reconciler.manifests.expressions import Evaluator
from reconciler.manifests.key_targets import KeyTargets
from reconciler.manifests.modules import ModuleReader
from reconciler.manifests.parsed import ParsedFiles
from reconciler.manifests.problems import Absent, Problems, ValueProblem
from reconciler.manifests.references import AddressIndex, guess_reference
from reconciler.manifests.resolve import Resolver
from reconciler.manifests.room import NoRoomError, Room
from reconciler.manifests.source_map import Document
from reconciler.manifests.stack import OpenStack, open_stack
from reconciler.model.address import Address
from reconciler.model.allowance import allowed_places
from reconciler.model.diagnostic import SourceLocation
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Kind
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule, RuleKind
from reconciler.model.secret import Redactor
from reconciler.model.types import KeySinkType
from reconciler.model.values import Unknown

T = TypeVar("T")

OutputsOf = Callable[[Stack, str], Mapping[str, Any] | None]
"""The outputs of another stack, from the backend of this stack's state; None if no state may be read.
Raises Problem."""


def load_configuration(
    settings: Settings,
    kinds: Mapping[str, Kind],
    rules: Mapping[str, RuleKind] | None = None,
    *,
    parsed: Callable[[Stack], ParsedFiles] = lambda _: ParsedFiles(),
    remembered: Callable[[Stack], Remembered] = lambda _: Remembered(),
    outputs_of: OutputsOf = lambda _, __: None,
    whole: bool = True,
    needs_manifests: bool = True,
) -> Configuration:
    """Load manifests and stack. Raises ConfigurationError with all problems.

    `parsed` caches parsed files, `remembered` is what the state knows of secrets. `outputs_of` reads
    the outputs of another stack; without it, `${stack.NAME.OUTPUT}` stays unknown. Unless `whole`,
    files of folders are left to `Configuration.completed`.
    """
    problems = Problems()
    opened = _with_stacks(open_stack(settings, problems), outputs_of)
    # Before anything is read, since the state knows files that no manifest may insert.
    opened.files.remember(remembered(opened.stack))
    opened.variables.note_missing(problems)
    declared = AddressIndex(kinds, rules)
    known = parsed(opened.stack)
    documents = _documents(opened, declared, known, problems)
    if not documents and declared.complete and needs_manifests:
        problems.add("No manifests", _where_to_begin(opened))
    leaks = CredentialScan(opened.secrets, problems)
    room = Room()
    modules = ModuleReader(opened.files, known, problems)
    expander = Expander(opened.context, declared, leaks, problems, room, modules=modules)
    contents = DeferredFiles(opened.context.files, problems)
    resolver = Resolver(
        opened.context,
        declared,
        leaks,
        opened.inputs,
        contents,
        problems,
        room,
        strict=opened.stack.strict,
    )
    resolved = _resolve_all(expander.expand(documents), resolver, problems)
    manifests = {document.file for document in documents}
    _check_together(resolved, manifests, opened, declared, problems, settings)
    stack = replace(opened.stack, outputs=_outputs(opened, declared.reference, problems))
    resources, ruled = _in_address_order(resolved.resources), _in_address_order(resolved.rules)

    def complete() -> Configuration:
        read = tuple(contents.read_into(resources))
        warnings = problems.raise_errors(opened.secrets)
        approved = digest(stack, read, (rule for rule in ruled if rule.kind.removes))
        given = _given_inputs(opened)
        return Configuration(stack, read, approved, warnings, opened.secrets, ruled, given=given)

    # With errors, files are read too, so that one run reports all problems.
    if whole or problems.errors:
        return complete()
    warnings = problems.raise_errors(opened.secrets)
    return Configuration(stack, resources, "", warnings, opened.secrets, ruled, complete)


def _documents(
    opened: OpenStack, declared: AddressIndex, known: ParsedFiles, problems: Problems
) -> list[Document]:
    """The documents of all manifests. An unreadable one makes `declared` incomplete."""
    before = problems.errors
    documents = read_documents(
        opened.files, opened.manifests, declared.declarable, opened.place_of, problems, known
    )
    collected = list(documents)
    declared.complete = problems.errors == before
    return collected


def _in_address_order(resolved: Mapping[Address, tuple[T, Document]]) -> tuple[T, ...]:
    return tuple(resolved[address][0] for address in sorted(resolved))


def _with_stacks(opened: OpenStack, outputs_of: OutputsOf) -> OpenStack:
    """The same stack, in which expressions can read the outputs of others, each once."""

    @cache
    def outputs(name: str) -> Any:
        if name == opened.stack.name:
            detail = f'"{name}" is this stack. Refer to the resource itself, with ${{Kind/name}}.'
            raise ValueProblem("No outputs of other stacks", detail)
        values = outputs_of(opened.stack, name)
        if values is None:
            return Unknown(f"stack.{name}")
        if not values:
            detail = (
                f'The stack "{name}" has no outputs in the environment {opened.stack.environment}, '
                "at the address of this state. Apply it there first."
            )
            raise Absent("No outputs of other stacks", detail)
        return values

    return replace(opened, context=replace(opened.context, stack=outputs))


class _Resolved(Struct, frozen=True):
    """The results of all documents, each with its document."""

    resources: dict[Address, tuple[Resource, Document]] = field(default_factory=dict)
    rules: dict[Address, tuple[Rule, Document]] = field(default_factory=dict)


def _check_together(
    resolved: _Resolved,
    manifests: set[str],
    opened: OpenStack,
    declared: AddressIndex,
    problems: Problems,
    settings: Settings,
) -> None:
    stack = opened.stack

    def places(names: Iterable[str], *section: str) -> dict[str, SourceLocation | None]:
        return {name: opened.place_of(*section, name, key=True) for name in names}

    CrossChecks(
        resolved.resources,
        declared,
        projects=places(stack.projects, "projects"),
        keys=places(stack.credentials.projects, "credentials", "projects"),
        targets=KeyTargets(stack.root, stack.backend_path, manifests),
        problems=problems,
        rules=resolved.rules,
        project_ids=stack.projects,
        allowed_sinks=allowed_places(settings.allow_sinks, settings.env),
    ).check()


def load_stack(
    settings: Settings, remembered: Callable[[Stack], Remembered] = lambda _: Remembered()
) -> Stack:
    """Load only the stack, for commands that need no manifests. Raises ConfigurationError.

    The addresses of references in outputs are guessed from their spelling, because no declarations
    are known.
    """
    problems = Problems()
    # Outputs of other stacks stay unknown: such commands show what the last apply recorded.
    opened = _with_stacks(open_stack(settings, problems), lambda _, __: None)
    opened.files.remember(remembered(opened.stack))
    stack = replace(opened.stack, outputs=_outputs(opened, guess_reference, problems))
    problems.raise_errors(opened.secrets)
    return stack


def digest(stack: Stack, resources: Iterable[Resource], rules: Iterable[Rule] = ()) -> str:
    """SHA-256, in hexadecimal, of everything that affects an apply."""
    hashed = hashlib.sha256()
    guards = stack.guards
    # Only what affects an apply: another setting, such as a credential, must not make a saved plan
    # stale.
    whole = {
        "stack": stack.name,
        "environment": stack.environment,
        "projects": stack.projects,
        "outputs": stack.outputs,
        "guards": [guards.max_delete_percent, guards.max_deletes, guards.max_vanished_percent],
    }
    # Only if it is set, so that the digests of plans that older versions saved stay valid.
    if stack.allow_delete:
        whole["allow_delete"] = stack.allow_delete
    hashed.update(_canonical(whole))
    for resource in resources:
        hashed.update(_canonical([str(resource.address), resource.spec, _lifecycle(resource)]))
    for rule in rules:
        hashed.update(_canonical([str(rule.address), rule.spec]))
    return hashed.hexdigest()


def _canonical(value: Any) -> bytes:
    return sorted_json(value) + b"\n"


def _lifecycle(resource: Resource) -> list[Any]:
    life = resource.lifecycle
    earlier = str(life.renamed_from) if life.renamed_from else None
    facts = [
        life.prevent_destroy,
        list(life.ignore_changes),
        life.on_remove,
        life.adopt,
        life.create_before_destroy,
        earlier,
    ]
    if life.strict:
        facts.append("strict")
    return facts


def _resolve_all(instances: list[Instance], resolver: Resolver, problems: Problems) -> _Resolved:
    results = _Resolved()
    for instance in sorted(instances, key=_resolution_order):
        try:
            resolved = resolver.resolve(instance)
        except NoRoomError as error:
            document = instance.document
            problems.add(
                "Stack too large", str(error), place=document.place, address=instance.address
            )
            break
        if isinstance(resolved, Resource):
            results.resources.setdefault(resolved.address, (resolved, instance.document))
        elif resolved is not None:
            results.rules.setdefault(resolved.address, (resolved, instance.document))
    return results


def _resolution_order(instance: Instance) -> tuple[bool, bool]:
    """Sorts kinds that write keys first, then those that send secrets."""
    # Their files have to be known before any other resource reads a file.
    kind = instance.kind
    writes_keys = any(isinstance(field.type, KeySinkType) for field in kind.own_calls)
    return not writes_keys, not kind.takes_secrets


def _given_inputs(opened: OpenStack) -> GivenInputs:
    redactor = Redactor(opened.secrets)
    kept: dict[str, Any] = {}
    # A saved plan stores these inputs, so values that may be secret are only compared by digest.
    digests = {f"env.{name}": _digest(value) for name, value in opened.environment.read.items()}
    for name, value in opened.variables.given.items():
        is_in_use = redactor.holds(json.dumps(value, default=str, ensure_ascii=False))
        if is_in_use or environment_secrets({name: str(value)}):
            digests[f"var.{name}"] = _digest(value)
        else:
            kept[name] = value
    return GivenInputs(kept, dict(sorted(digests.items())))


def _digest(value: Any) -> str:
    return hashlib.sha256(sorted_json(value)).hexdigest()


def _outputs(opened: OpenStack, reference: Any, problems: Problems) -> Mapping[str, Any]:
    report = problems.reporter(lambda trail: opened.place_of("outputs", *trail))
    evaluator = Evaluator(replace(opened.context, reference=reference), report)
    outputs = evaluator.evaluate(opened.outputs or {})
    redactor = Redactor(opened.secrets)
    for name, value in outputs.items():
        if redactor.holds(json.dumps(value, default=str, ensure_ascii=False)):
            detail = "Outputs are printed, so they must not contain a key that is in use."
            problems.add(
                "A credential does not belong in an output",
                detail,
                place=opened.place_of("outputs", name),
            )
    return dict(outputs)


def _where_to_begin(opened: OpenStack) -> str:
    where = ""
    if opened.manifests:
        where = f"{', '.join(opened.manifests)} in "
    return (
        f'No .yaml, .yml or .json document with a kind was found in {where}"{opened.stack.root}". '
        "`reconciler init` writes a stack to start from, `reconciler export` writes manifests for what exists, "
        "and -C DIR chooses another folder."
    )
