"""Loads a configuration from the stack's folder. Calls no API, runs no program and writes no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

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
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Declaration, Kind
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule, RuleKind
from reconciler.model.secret import Redactor
from reconciler.model.types import KeySinkType
from reconciler.model.values import Unknown

OutputsOf = Callable[[Stack, str], Mapping[str, Any] | None]
"""The outputs of another stack, beside the state of this one; None where nothing may be asked. Raises
Problem."""


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
    opened = open_stack(settings, problems)
    opened = _with_stacks(opened, outputs_of)
    opened.files.remember(remembered(opened.stack))
    opened.variables.note_missing(problems)
    declared, before = AddressIndex(kinds, rules), problems.errors
    known = parsed(opened.stack)
    documents = list(
        read_documents(
            opened.files, opened.manifests, declared.declarable, opened.place_of, problems, known
        )
    )
    declared.complete = problems.errors == before
    if not documents and declared.complete and needs_manifests:
        problems.add("No manifests", _where_to_begin(opened))
    leaks = CredentialScan(opened.secrets, problems)
    room = Room()
    modules = ModuleReader(opened.files, known, problems)
    instances = Expander(opened.context, declared, leaks, problems, room, modules=modules).expand(
        documents
    )
    contents = DeferredFiles(opened.context.files, problems)
    made = _made(
        instances,
        Resolver(
            opened.context,
            declared,
            leaks,
            opened.inputs,
            contents,
            problems,
            room,
            strict=opened.stack.strict,
        ),
        problems,
    )
    _check_together(
        made, {document.file for document in documents}, opened, declared, problems, settings
    )
    stack = replace(opened.stack, outputs=_outputs(opened, declared.reference, problems))
    resources = tuple(made.resources[address][0] for address in sorted(made.resources))
    ruled = tuple(made.rules[address][0] for address in sorted(made.rules))

    def complete() -> Configuration:
        read = tuple(contents.read_into(resources))
        warnings = problems.raise_errors(opened.secrets)
        approved = digest(stack, read, (rule for rule in ruled if rule.kind.removes))
        given = _given(opened)
        return Configuration(stack, read, approved, warnings, opened.secrets, ruled, given=given)

    if whole or problems.errors:  # all problems are told at once
        return complete()
    return Configuration(
        stack, resources, "", problems.raise_errors(opened.secrets), opened.secrets, ruled, complete
    )


def _with_stacks(opened: OpenStack, outputs_of: OutputsOf) -> OpenStack:
    """The same stack, in which expressions can read the outputs of others, each once."""

    @cache
    def outputs(name: str) -> Any:
        if name == opened.stack.name:
            detail = f'"{name}" is this stack. Refer to the resource itself, with ${{Kind/name}}.'
            raise ValueProblem("No outputs of other stacks", detail)
        found = outputs_of(opened.stack, name)
        if found is None:
            return Unknown(f"stack.{name}")
        if not found:
            detail = (
                f'The stack "{name}" has no outputs in the environment {opened.stack.environment}, '
                "at the address of this state. Apply it there first."
            )
            raise Absent("No outputs of other stacks", detail)
        return found

    return replace(opened, context=replace(opened.context, stack=outputs))


class _Made(Struct, frozen=True):
    """The results of all documents, each with its document."""

    resources: dict[Address, tuple[Resource, Document]] = field(default_factory=dict)
    rules: dict[Address, tuple[Rule, Document]] = field(default_factory=dict)


def _check_together(
    made: _Made,
    manifests: set[str],
    opened: OpenStack,
    declared: AddressIndex,
    problems: Problems,
    settings: Settings,
) -> None:
    stack = opened.stack
    CrossChecks(
        made.resources,
        declared,
        projects={name: opened.place_of("projects", name, key=True) for name in stack.projects},
        keys={
            name: opened.place_of("credentials", "projects", name, key=True)
            for name in stack.credentials.projects
        },
        targets=KeyTargets(stack.root, stack.backend_path, manifests),
        problems=problems,
        rules=made.rules,
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
    whole = {
        "stack": stack.name,
        "environment": stack.environment,
        "projects": stack.projects,
        "outputs": stack.outputs,
        "guards": [guards.max_delete_percent, guards.max_deletes, guards.max_vanished_percent],
    }
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
    return [
        life.prevent_destroy,
        list(life.ignore_changes),
        life.on_remove,
        life.adopt,
        life.create_before_destroy,
        earlier,
        *(["strict"] if life.strict else []),
    ]


def _made(instances: list[Instance], resolver: Resolver, problems: Problems) -> _Made:
    results = _Made()
    # Kinds that write keys come first, then those that send secrets, so that their files are known
    # before anything else reads a file.
    for instance in sorted(
        instances, key=lambda one: (not _writes_keys(one.kind), not one.kind.takes_secrets)
    ):
        try:
            made = resolver.made(instance)
        except NoRoomError as error:
            problems.add(
                "Too much", str(error), place=instance.document.place, address=instance.address
            )
            break
        if isinstance(made, Resource):
            results.resources.setdefault(made.address, (made, instance.document))
        elif made is not None:
            results.rules.setdefault(made.address, (made, instance.document))
    return results


def _writes_keys(kind: Declaration) -> bool:
    return any(isinstance(field.type, KeySinkType) for field in kind.own_calls)


def _given(opened: OpenStack) -> GivenInputs:
    redactor = Redactor(opened.secrets)
    kept: dict[str, Any] = {}
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
    where = f"{', '.join(opened.manifests)} in " if opened.manifests else ""
    return (
        f'No .yaml, .yml or .json document with a kind was found in {where}"{opened.stack.root}". '
        "`reconciler init` writes a stack to start from, `reconciler export` writes manifests for what exists, "
        "and -C DIR chooses another folder."
    )
