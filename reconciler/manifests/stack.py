"""Reads the stack file and the layer of the selected environment, and fills in the defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from reconciler.kinds import KINDS
from reconciler.manifests.configuration import (
    DEFAULT_ENVIRONMENT,
    STACK_FILES,
    STATE_FOLDER,
    Credentials,
    Guards,
    Refresh,
    Settings,
    Stack,
    allowed_sources,
)
from reconciler.manifests.credential_scan import CredentialScan, masked
from reconciler.manifests.credentials import (
    ADMIN_VARIABLE,
    DEFAULT_VARIABLE,
    SENT_PREFIX,
    CredentialReader,
    environment_secrets,
    known_secrets,
    process_secrets,
)
from reconciler.manifests.expressions import Context, Evaluator
from reconciler.manifests.files import Files
from reconciler.manifests.load import load_documents, read_text
from reconciler.manifests.paths import relative, require_file, require_inside, shown
from reconciler.manifests.problems import Problems, Report, ValueProblem
from reconciler.manifests.secret_inputs import SecretInputs
from reconciler.manifests.shared_state import (
    given_folder,
    is_remote,
    quotable,
    recipients_of,
    refuse_address,
)
from reconciler.manifests.source_map import Document
from reconciler.manifests.stack_schema import MAX_STACK_NAME, stack_schema
from reconciler.manifests.type_schema import ID_SCHEMA
from reconciler.manifests.validate import Checker, SchemaViolation
from reconciler.manifests.variables import (
    MAY_NOT_READ,
    AllowedVariables,
    Environment,
    Variables,
    allowance,
    put_from_command_line,
    put_saved,
)
from reconciler.model.diagnostic import SourceLocation, nearest
from reconciler.model.ignoring import IgnoreRules
from reconciler.model.paths import Trail
from reconciler.model.patterns import is_wild
from reconciler.model.secret import Redactor, Secret
from reconciler.model.values import Unknown
from reconciler.rules import RULE_KINDS

_ID = Checker({"type": "string", **ID_SCHEMA})
_KEY_VARIABLES = (ADMIN_VARIABLE, DEFAULT_VARIABLE)
_ORGANIZATION_VARIABLE = "OPENAI_ORG_ID"
_ORGANIZATION_ID = re.compile(r"org-[A-Za-z0-9_-]+")
_WHOLE_SECTIONS = ("backend", "encryption")
"""Sections that an environment replaces as a whole."""
_URLS = {"baseurl", "openaibaseurl", "apibase", "apiurl", "endpoint", "url", "host"}


class OpenStack(Struct, frozen=True):
    """A stack, and the inputs for reading its manifests."""

    stack: Stack
    files: Files
    context: Context
    variables: Variables
    environment: Environment
    secrets: tuple[Secret, ...]
    inputs: SecretInputs
    manifests: tuple[str, ...] | None = None
    """The locations of the manifests; None to search the whole folder."""
    outputs: Mapping[str, Any] | None = None
    document: Document | None = None

    def place_of(self, *trail: str | int, key: bool = False) -> SourceLocation | None:
        """The location of a setting, in the selected environment or else in the stack itself."""
        return Layers(self.document, self.stack.environment).place_of(*trail, key=key)


class Layers(Struct, frozen=True):
    """The stack's spec under that of an environment."""

    document: Document | None
    environment: str

    @property
    def spec(self) -> Mapping[str, Any]:
        value = self.document.value if self.document else {}
        return value.get("spec") or {}

    @property
    def overlay(self) -> Mapping[str, Any]:
        return (self.spec.get("environments") or {}).get(self.environment) or {}

    def get(self, section: str) -> Any:
        """The value of a section.

        A list or text of the environment replaces that of the stack. Maps are merged, except for
        sections that an environment replaces as a whole.
        """
        below, above = self.spec.get(section), self.overlay.get(section)
        if isinstance(below, dict) and isinstance(above, dict) and section not in _WHOLE_SECTIONS:
            return _merged(below, above)
        return below if above is None else above

    def place_of(self, *trail: str | int, key: bool = False) -> SourceLocation | None:
        if self.document is None:
            return None
        path: Trail = ("spec", "environments", self.environment, *trail)
        if not self.document.has(path):
            path = ("spec", *trail)
        return self.document.location_of(path, key=key)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**below, **above}
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            merged[key] = _merged(below[key], value)
    return merged


def open_stack(settings: Settings, problems: Problems) -> OpenStack:
    """Read the stack file, if there is one.

    Raises ConfigurationError for violations of its schema, and collects other problems.
    """
    # Before the first message, since the stack file can contain a key in a value that a message
    # quotes.
    secrets = process_secrets(settings.env)
    for secret in secrets:
        settings.learn(secret)
    root = _root(settings, problems)
    document, file = stack_document(root, secrets, problems)
    problems.raise_errors(secrets)
    layers = Layers(document, _environment(settings, document, problems))
    problems.raise_errors(secrets)
    return _opened(settings, layers, root, file, problems)


def _opened(
    settings: Settings, layers: Layers, root: Path, file: Path | None, problems: Problems
) -> OpenStack:
    variables, files = _variables(settings, layers, root, problems), Files(root)
    allowed = allowance(settings.allow_env, settings.env, problems)
    credentials = _credentials(settings, layers, files, allowed, file, problems)
    in_use = known_secrets(credentials, files, settings.env)
    secrets = tuple(dict.fromkeys((*in_use, *environment_secrets(settings.env))))
    for secret in secrets:
        settings.learn(secret)
    files.secrets = tuple(secret.reveal().encode() for secret in secrets)
    inputs = SecretInputs(files, settings.env, in_use, settings.learn, allowed_sources(settings))
    leaks = CredentialScan(secrets, problems, "stack file")
    environment = _readable(settings, layers, allowed, leaks, problems)
    context = Context(variables, environment, files)
    organization, source = _organization(layers, settings, context, problems)
    declared_folder = _backend(layers, settings, context, allowed, leaks, problems)
    stack = Stack(
        name=stack_name(layers.document, root),
        environment=layers.environment,
        root=root,
        file=file,
        is_named=bool(_name_in(layers.document)),
        projects=_projects(layers, context, leaks, problems),
        credentials=credentials,
        strict=bool(layers.get("strict")),
        ignore=_ignore(layers, leaks, problems),
        allow_delete=(*_allow_delete(layers, leaks, problems), *settings.allow_delete),
        guards=Guards(**(layers.get("guards") or {})),
        refresh=Refresh(**(layers.get("refresh") or {})),
        admin_requests_per_minute=settings.admin_requests_per_minute or _pace(layers),
        backend_path=given_folder(settings) or declared_folder,
        backend_place=layers.place_of("backend"),
        needs_remote=is_remote(layers.get("backend")),
        recipients=recipients_of(layers.get("encryption")),
        organization=organization,
        organization_source=source,
        project=_id_of(settings, "OPENAI_PROJECT_ID", problems),
        read_secret=inputs.read,
        in_use=in_use,
    )
    # Both folders, since an option can select another state than the stack file names.
    files.withhold_folder(declared_folder)
    files.withhold_folder(stack.backend_path)
    manifests = layers.get("manifests")
    return OpenStack(
        stack=stack,
        files=files,
        context=context,
        variables=variables,
        environment=environment,
        secrets=secrets,
        inputs=inputs,
        manifests=None if manifests is None else tuple(manifests),
        outputs=layers.get("outputs") or {},
        document=layers.document,
    )


def _id_of(settings: Settings, variable: str, problems: Problems) -> str | None:
    """The id in an environment variable."""
    id = settings.env.get(variable, "").strip()
    # It is sent as a header, which can only contain printable ASCII.
    if not (id.isascii() and id.isprintable()):
        problems.add(
            "Not an id",
            f"{variable} contains characters that are not allowed in an id. Correct or unset it.",
        )
    return id or None


def _credentials(
    settings: Settings,
    layers: Layers,
    files: Files,
    allowed: AllowedVariables,
    file: Path | None,
    problems: Problems,
) -> Credentials:
    reader = CredentialReader(
        settings.env, files, allowed, settings.learn, file.name if file else STACK_FILES[0]
    )
    credentials = reader.read(
        layers.get("credentials") or {}, _reporter(layers, problems, "credentials")
    )
    # Manifests must not read these files, so they are closed before any manifest is opened.
    for credential in credentials.all():
        if credential.file:
            files.withhold(files.root / credential.file)
    return credentials


def _root(settings: Settings, problems: Problems) -> Path:
    root = Path(os.path.realpath(settings.root))
    if not root.is_dir():
        reason = "is no folder" if root.exists() or root.is_symlink() else "does not exist"
        problems.add(
            "No such folder",
            f'The stack\'s folder "{settings.root}" {reason}. Choose another with -C DIR.',
        )
        problems.raise_errors()
    return root


def stack_document(
    root: Path, secrets: tuple[Secret, ...], problems: Problems
) -> tuple[Document | None, Path | None]:
    """The checked stack file and its path; None without a file, or if it has problems."""
    paths = [root / name for name in STACK_FILES]
    # A broken link is an error, not a stack without a file.
    present = [path for path in paths if path.exists() or path.is_symlink()]
    if not present:
        return None, None
    path = present[0]
    name = shown(path, root)
    if len(present) > 1:
        detail = f"Both {STACK_FILES[0]} and {STACK_FILES[1]} exist: keep one."
        problems.add("Two stack files", detail, place=SourceLocation(name, 1, 1))
    try:
        # The stack file can be a link to a secret, and messages quote its text.
        Files(root).require_open(path.name)
        require_file(root, path.name)
    except ValueProblem as problem:
        problems.take(problem, place=SourceLocation(name, 1, 1))
        return None, path
    text = read_text(path, name, problems)
    if text is None:
        return None, path
    documents = load_documents(text, name, problems)
    return _checked(documents, name, Redactor(secrets), problems), path


def _checked(
    documents: list[Document], name: str, redact: Redactor, problems: Problems
) -> Document | None:
    if problems.errors:
        return None
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        place = documents[1].place if len(documents) > 1 else SourceLocation(name, 1, 1)
        problems.add(
            "Not a stack",
            "The stack file must contain exactly one document, of kind Stack.",
            place=place,
        )
        return None
    document = documents[0]
    value = quotable(masked(document.value, redact), problems.reporter(document.location_of))
    for violation in _checker().violations(value):
        place = document.location_of(violation.trail, key=violation.at_key)
        problems.add(violation.summary, violation.detail + _about_urls(violation), place=place)
    return document


@cache
def _checker() -> Checker:
    # One for all stack files of a process, since compiling the schema takes longer than reading one.
    return Checker(stack_schema())


def _about_urls(violation: SchemaViolation) -> str:
    name = ""
    if violation.at_key and violation.trail:
        name = str(violation.trail[-1]).replace("_", "").replace("-", "").lower()
    if name in _URLS:
        return " The base URL comes from OPENAI_BASE_URL or --base-url only, never from a file."
    return ""


def _environment(settings: Settings, document: Document | None, problems: Problems) -> str:
    """The selected environment, or the default one if there is a problem."""
    known = list(Layers(document, "").spec.get("environments") or {})
    wanted = settings.environment
    place = None
    if document and known:
        place = document.location_of(("spec", "environments"), key=True)
    if wanted is None and known:
        # Without a choice, a run would plan a third environment, with a state of its own.
        detail = f"Choose one with -e: {', '.join(known)}."
        problems.add("No environment selected", detail, place=place)
        return DEFAULT_ENVIRONMENT
    if wanted is None or wanted in known or wanted == DEFAULT_ENVIRONMENT:
        return wanted or DEFAULT_ENVIRONMENT
    listed = "The stack declares none: see spec.environments."
    if known:
        listed = f"Known: {', '.join(known)}."
    problems.add(
        "Unknown environment",
        f'"{wanted}" is not declared.{nearest(wanted, known)} {listed}',
        place=place,
    )
    return DEFAULT_ENVIRONMENT


def _name_in(document: Document | None) -> str:
    """The name in a stack file; empty for none."""
    if document is None:
        return ""
    metadata = document.value.get("metadata") or {}
    return str(metadata.get("name") or "")


def stack_name(document: Document | None, root: Path) -> str:
    """The name of a stack: that in its file, else one made from the name of its folder."""
    if given := _name_in(document):
        return given
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", root.name).strip("._-")[:MAX_STACK_NAME]
    return plain or "stack"


def _variables(settings: Settings, layers: Layers, root: Path, problems: Problems) -> Variables:
    variables = Variables()
    for name, declaration in (layers.spec.get("variables") or {}).items():
        if layers.document:
            place = layers.document.location_of(("spec", "variables", name), key=True)
        else:
            place = SourceLocation("", 1, 1)
        try:
            variables.declare(name, declaration, place)
        except ValueProblem as problem:
            problems.take(problem, place=place)
    for name, value in (layers.overlay.get("variables") or {}).items():
        try:
            variables.put(name, _over(variables.values.get(name), value))
        except ValueProblem as problem:
            problems.take(problem, place=layers.place_of("variables", name, key=True))
    put_saved(variables, settings.saved_variables)
    put_from_command_line(variables, settings.variable_files, settings.variables, root, problems)
    return variables


def _over(default: Any, value: Any) -> Any:
    """The value of a variable in an environment; a map is merged into the default, key by key."""
    if isinstance(default, dict) and isinstance(value, dict):
        return _merged(default, value)
    return value


def _reporter(layers: Layers, problems: Problems, section: str) -> Report:
    return problems.reporter(lambda trail: layers.place_of(section, *trail))


def _projects(
    layers: Layers, context: Context, leaks: CredentialScan, problems: Problems
) -> dict[str, str]:
    report = _reporter(layers, problems, "projects")
    ids = Evaluator(context, report).evaluate(layers.get("projects") or {})
    for name, id in ids.items():
        if leaks.holds(name) or leaks.holds(str(id)):
            report(_key_in_value(), (name,))
        elif not isinstance(id, Unknown):
            for violation in _ID.violations(id, ("spec", "projects", name)):
                report(ValueProblem(violation.summary, violation.detail), (name,))
    return {name: str(id) for name, id in ids.items() if not leaks.holds(name)}


def _key_in_value(detail: str = "The value is a key that is in use.") -> ValueProblem:
    return ValueProblem("A credential does not belong in a stack file", detail)


def _ignore(layers: Layers, leaks: CredentialScan, problems: Problems) -> IgnoreRules:
    """The patterns of `ignore`."""
    patterns = layers.get("ignore") or []
    report = _reporter(layers, problems, "ignore")
    for index, pattern in enumerate(patterns):
        if leaks.holds(pattern):
            report(_key_in_value(), (index,))
            continue
        kind, slash, rest = pattern.partition("/")
        # A misspelled kind would silently ignore nothing.
        if slash and not is_wild(kind) and kind not in KINDS:
            detail = (
                f'"{kind}" is not a kind.{nearest(kind, KINDS)} Write KIND/NAME; a name that '
                f'contains a slash needs its kind too, such as "File/{pattern}".'
            )
            report(ValueProblem("Unknown kind", detail), (index,))
        elif slash and not rest:
            detail = f'"{pattern}" names no object. For all objects of the kind, write "{kind}/*".'
            report(ValueProblem("Incomplete address", detail), (index,))
    return IgnoreRules(tuple(patterns))


def _allow_delete(layers: Layers, leaks: CredentialScan, problems: Problems) -> tuple[str, ...]:
    """The entries of `allow_delete`."""
    entries = layers.get("allow_delete") or []
    report = _reporter(layers, problems, "allow_delete")
    allowed = []
    for index, entry in enumerate(entries):
        kind, slash, rest = entry.partition("/")
        if leaks.holds(entry):
            report(_key_in_value(), (index,))
        # An entry for everything would disable the guards.
        elif not slash or not rest.strip("*?/"):
            detail = f'"{entry}" matches every object. Write an address or a narrower pattern.'
            report(ValueProblem("Pattern too broad", detail), (index,))
        elif not is_wild(kind) and kind not in KINDS and kind not in RULE_KINDS:
            detail = f'"{kind}" is not a kind.{nearest(kind, KINDS)}'
            report(ValueProblem("Unknown kind", detail), (index,))
        else:
            allowed.append(entry)
    return tuple(allowed)


def _readable(
    settings: Settings,
    layers: Layers,
    allowed: AllowedVariables,
    leaks: CredentialScan,
    problems: Problems,
) -> Environment:
    """The variables that `${env.NAME}` can read.

    The caller allows them, the stack's list can restrict them further, and none holds a secret.
    """

    def secret(name: str) -> str:
        # By name too, because a secret can be too short to be searched for.
        if not name.startswith(SENT_PREFIX) and not leaks.holds(settings.env.get(name, "")):
            return ""
        if name in _KEY_VARIABLES:
            return "a key that is in use"
        return "a key that is in use, or what looks like a secret"

    listed = layers.get("env")
    noted = [name for name in listed or () if secret(name)]
    for name in noted:
        detail = f'"{name}" holds {secret(name)}: remove it from spec.env.'
        problems.add(MAY_NOT_READ, detail, place=layers.place_of("env", listed.index(name)))
    return Environment(settings.env, allowed, listed, noted=noted, secret=secret)


def _pace(layers: Layers) -> float | None:
    pace = (layers.get("pace") or {}).get("admin_requests_per_minute", "auto")
    return None if pace == "auto" else float(pace)


def _backend(
    layers: Layers,
    settings: Settings,
    context: Context,
    allowed: AllowedVariables,
    leaks: CredentialScan,
    problems: Problems,
) -> Path:
    backend = layers.get("backend") or {}
    if is_remote(backend):
        return context.files.root / STATE_FOLDER
    text = (backend.get("local") or {}).get("path", STATE_FOLDER)
    # The list in `env` restricts manifests only, so the path can read every allowed variable.
    anywhere = Context(context.variable, Environment(settings.env, allowed), context.files)
    report = _reporter(layers, problems, "backend")
    path = Evaluator(anywhere, report).evaluate(text, ("local", "path"))
    root = context.files.root
    if not isinstance(path, str):
        return root / STATE_FOLDER
    if leaks.holds(path):
        report(_key_in_value("The path contains a key."), ("local", "path"))
        return root / STATE_FOLDER
    try:
        refuse_address(path)
    except ValueProblem as problem:
        report(problem, ("local", "path"))
        return root / STATE_FOLDER
    # A pull request can edit the stack file, and not the environment of the process.
    if Path(path).is_absolute() and text.lstrip().startswith("${env."):
        return Path(path)
    try:
        return require_inside(root, root / relative(path), path)
    except ValueProblem as problem:
        hint = "A folder outside the stack must come from an environment variable, for example ${env.STATE_FOLDER}."
        report(ValueProblem(problem.summary, f"{problem.detail} {hint}"), ("local", "path"))
        return root / STATE_FOLDER


def _organization(
    layers: Layers, settings: Settings, context: Context, problems: Problems
) -> tuple[str | None, str]:
    """The organization that requests name, and the setting that selects it."""
    of_process = _id_of(settings, _ORGANIZATION_VARIABLE, problems)
    if layers.get("organization") is None:
        return of_process, _ORGANIZATION_VARIABLE
    report = _reporter(layers, problems, "organization")
    named = Evaluator(context, report).evaluate(layers.get("organization"))
    if isinstance(named, Unknown):
        return None, ""
    if not isinstance(named, str) or not _ORGANIZATION_ID.fullmatch(named):
        detail = "Write the id of the organization, such as org-abc123."
        report(ValueProblem("Invalid organization id", detail), ())
        return None, ""
    if of_process not in (None, named):
        detail = (
            f"The stack file names {named}, and {_ORGANIZATION_VARIABLE} is {of_process}. Unset "
            "the variable, or correct one of the two."
        )
        report(ValueProblem("Conflicting organizations", detail), ())
    return named, "`organization` in the stack file"
