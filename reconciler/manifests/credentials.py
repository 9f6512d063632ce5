"""Reads keys from their sources, and checks that every scope has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

from msgspec import Struct

from reconciler.errors import SinkError
from reconciler.manifests.configuration import Configuration, Credential, Credentials
from reconciler.manifests.destinations import key_files
from reconciler.manifests.expressions import Expression, ExpressionSource, parse
from reconciler.manifests.files import Files
from reconciler.manifests.paths import relative, require_file, require_inside
from reconciler.manifests.problems import Problems, Report, ValueProblem
from reconciler.manifests.shapes import OPENAI_KEY, credential_in
from reconciler.manifests.variables import AllowedVariables, how_to_allow
from reconciler.model.address import Address
from reconciler.model.diagnostic import Diagnostic
from reconciler.model.paths import Trail
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.model.secret import LEAST_LENGTH, Secret
from reconciler.model.sinks import Sink, named_sink, targets_of
from reconciler.model.types import KeySinkType

ADMIN_VARIABLE = "OPENAI_ADMIN_KEY"
DEFAULT_VARIABLE = "OPENAI_API_KEY"
SENT_PREFIX = "RECONCILER_SECRET_"
"""The prefix of environment variables that manifests can send to the API and cannot read."""

_ADMIN_SCOPE = ""
"""Stands for the organization among scopes, which are the names of projects."""

_NOT_A_KEY = "Not an API key"
_MIN_GUESSED = 16
"""The shortest value that counts as a secret only because of the name of its variable."""
_SECRET_WORDS = frozenset(
    {"KEY", "KEYS", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL"}
)
_LOOKS_SECRET = re.compile(r"sk-[A-Za-z0-9_-]{16,}|[a-z][a-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@\S*")


class CredentialReader(Struct, frozen=True):
    """Reads the `credentials` of a stack. `stack_file` is the name of the file in messages.

    `learn` is called with every value that is read, even if it is refused.
    """

    env: Mapping[str, str]
    files: Files
    allowed: AllowedVariables = AllowedVariables()
    learn: Callable[[Secret], None] = lambda _: None
    stack_file: str = "reconciler.yaml"

    def read(self, entries: Mapping[str, Any], report: Report) -> Credentials:
        """The credentials. `report` is called with each Problem and the path below `credentials`."""
        projects: dict[str, Credential] = {}
        for name, value in (entries.get("projects") or {}).items():
            credential = self._checked(value, ("projects", name), report)
            if credential is not None:
                projects[name] = credential
        return Credentials(
            admin=self._entry(entries, "admin", ADMIN_VARIABLE, report),
            default=self._entry(entries, "default", DEFAULT_VARIABLE, report),
            projects=projects,
        )

    def _entry(
        self, entries: Mapping[str, Any], name: str, variable: str, report: Report
    ) -> Credential | None:
        if name not in entries:
            return Credential(variable, self._secret(variable))
        return self._checked(entries[name], (name,), report)

    def _checked(self, value: Any, trail: Trail, report: Report) -> Credential | None:
        if value is None:
            return None
        entry = ".".join(["credentials", *map(str, trail)])
        try:
            if isinstance(value, Mapping):
                return self._credential_of_sink(value.get("from_sink"), trail, entry)
            return self._credential(str(value), entry)
        except ValueProblem as problem:
            report(problem, trail)
            return None

    def _credential_of_sink(self, address: Any, trail: Trail, entry: str) -> Credential:
        try:
            writer = Address.parse(str(address))
        except ValueError as error:
            raise ValueProblem("Not an address", f"{entry}.from_sink: {error}") from error
        # With the key of another project, every call would change the wrong project.
        if writer.project != trail[-1]:
            detail = (
                f"{entry} is the key of the project {trail[-1]}, and {writer} is not in it. Name a "
                "ServiceAccount or ServiceAccountKey of that project."
            )
            raise ValueProblem("Key of another project", detail)
        source = f"the destination of {writer} ({entry} in {self.stack_file})"
        return Credential(source, from_sink=writer)

    def _credential(self, text: str, entry: str) -> Credential:
        parts = parse(text)
        part = parts[0]
        where = f"{entry} in {self.stack_file}"
        if len(parts) == 1 and isinstance(part, Expression) and part.default is None:
            if part.source is ExpressionSource.ENVIRONMENT:
                return Credential(f"{part.name} ({where})", self._sendable(part.name, entry))
            if part.source is ExpressionSource.FILE:
                path = relative(part.name)
                require_inside(self.files.root, self.files.root / path, part.name)
                self._require_key_in(path, entry)
                return Credential(f"{path} ({where})", None, path)
        raise ValueProblem(
            "A key does not belong in a file", f"Write ${{env.NAME}} or ${{file:PATH}} for {entry}."
        )

    def _sendable(self, name: str, entry: str) -> Secret | None:
        """The value of a variable that may be sent to the API as a key. Raises Problem."""
        # A stack file can come from a pull request, which must not be able to send other credentials
        # of this process.
        secret = self._secret(name)
        if secret is None or name in (ADMIN_VARIABLE, DEFAULT_VARIABLE):
            return secret
        self.learn(secret)
        if name.startswith(SENT_PREFIX):
            detail = f"{entry} reads {name}, but {SENT_PREFIX}… variables hold secrets for from_env, not keys."
            raise ValueProblem(_NOT_A_KEY, detail)
        if name not in self.allowed and not OPENAI_KEY.fullmatch(secret.reveal()):
            detail = f"{entry} reads {name}, which does not look like an OpenAI key (sk-…), so it was not used."
            raise ValueProblem(_NOT_A_KEY, f"{detail} If it is a key: {how_to_allow(name)}")
        return secret

    def _require_key_in(self, path: str, entry: str) -> None:
        text = _file_text(self.files, path)
        if text and not OPENAI_KEY.fullmatch(text) and not self.files.was_delivered(path):
            detail = f'{entry} reads "{path}", which does not contain an OpenAI key (sk-…), so it was not used.'
            raise ValueProblem(_NOT_A_KEY, detail)

    def _secret(self, name: str) -> Secret | None:
        value = self.env.get(name, "").strip()
        return Secret(value) if value else None


def known_secrets(
    credentials: Credentials, files: Files, env: Mapping[str, str]
) -> tuple[Secret, ...]:
    """All keys that can be known now, including those in files, for redaction and for refusing them
    in manifests."""
    # Even if the stack file names other sources, since the process still holds these.
    secrets = list(process_secrets(env))
    for credential in credentials.all():
        if credential.secret is not None:
            secrets.append(credential.secret)
        if credential.file:
            secrets.append(Secret(_file_text(files, credential.file)))
    # A shorter text would be found in everything, and masking it would mutilate messages.
    long = [secret for secret in secrets if len(secret.reveal()) >= LEAST_LENGTH]
    return tuple(dict.fromkeys(long))


def process_secrets(env: Mapping[str, str]) -> tuple[Secret, ...]:
    """The keys in the environment variables that the API's own clients read."""
    values = [env.get(name, "").strip() for name in (ADMIN_VARIABLE, DEFAULT_VARIABLE)]
    return tuple(map(Secret, filter(None, values)))


def environment_secrets(env: Mapping[str, str]) -> tuple[Secret, ...]:
    """Values of environment variables that seem to be secrets, by a name such as GITHUB_TOKEN or by
    their shape.

    The stack file lists the variables that manifests may read. Since it can come from an untrusted
    source, that list alone does not open a secret.
    """
    values = (value.strip() for name, value in env.items() if _is_secret(name, value.strip()))
    return tuple(dict.fromkeys(map(Secret, values)))


def _is_secret(name: str, value: str) -> bool:
    if credential_in(value) or _LOOKS_SECRET.fullmatch(value):
        return True
    if name.startswith(SENT_PREFIX) and len(value) >= LEAST_LENGTH:
        return True
    if name.upper().rpartition("_")[2] not in _SECRET_WORDS or len(value) < _MIN_GUESSED:
        return False
    # A variable such as SSH_KEY can also hold a path or a sentence.
    return value[0] not in "/.~" and not any(map(str.isspace, value))


def _file_text(files: Files, path: str) -> str:
    try:
        return require_file(files.root, path).read_text(encoding="utf-8").strip()
    except (ValueProblem, OSError, UnicodeDecodeError):
        return ""


def check_credentials(configuration: Configuration) -> list[Diagnostic]:
    """A problem for each scope that has resources but no key, reported at the first resource.

    Separate from loading, so that a configuration can be validated without keys.
    """
    problems = Problems()
    credentials, written = configuration.stack.credentials, _written(configuration)
    delivered = _projects_with_a_key_to_come(configuration)
    for scope, resources in _by_scope(configuration).items():
        if scope == _ADMIN_SCOPE:
            credential = credentials.admin
        else:
            credential = credentials.for_project(scope)
        if credential is not None and credential.from_sink is not None:
            detail = _objection(credential.from_sink, configuration)
        elif scope in delivered or (credential and _usable(credential, configuration, written)):
            continue
        else:
            detail = _remedy(credential, scope, configuration, len(resources))
        if detail:
            first = resources[0]
            problems.add(
                _missing_key_summary(scope), detail, place=first.location, address=first.address
            )
    return list(problems.in_reading_order(configuration.secrets))


def _by_scope(configuration: Configuration) -> dict[str | None, list[Resource | Rule]]:
    """The resources and rules that make calls, by project; None for the default scope."""
    users: list[Resource | Rule] = list(configuration.resources)
    users += (rule for rule in configuration.rules if rule.kind.removes)
    by_scope: dict[str | None, list[Resource | Rule]] = {}
    for user in users:
        scope = user.address.project
        if user.kind.scope.needs_admin_key:
            scope = _ADMIN_SCOPE
        by_scope.setdefault(scope, []).append(user)
    return by_scope


def _objection(writer: Address, configuration: Configuration) -> str:
    """Why the key of a resource cannot be read back; empty if it can."""
    entry = f"credentials.projects.{writer.project}.from_sink"
    sinks: list[type[Sink]] = []
    for resource in configuration.resources:
        if resource.address == writer:
            sinks += _sinks_of(resource)
    if not sinks:
        return f"{entry} names {writer}, and no manifest declares a key there. Correct the address."
    if any(sink.reads_back for sink in sinks):
        return ""
    names = " and ".join(sink.name for sink in sinks)
    return (
        f"{entry} names {writer}, whose key goes to {names}, from where it cannot be read back. "
        "Deliver it to a file or a secret manager as well, or use ${env.NAME}."
    )


def _sinks_of(resource: Resource) -> Iterator[type[Sink]]:
    for field in resource.kind.own_calls:
        value = resource.spec.get(field.name)
        if not isinstance(field.type, KeySinkType) or not isinstance(value, Mapping):
            continue
        for target in targets_of(value.get("write_to")):
            try:
                yield named_sink(target)[0]
            except SinkError:
                continue  # reported where the destination is checked


def _written(configuration: Configuration) -> set[str]:
    """The files that apply writes keys to."""
    return set(chain.from_iterable(map(key_files, configuration.resources)))


def _projects_with_a_key_to_come(configuration: Configuration) -> set[str]:
    """Projects for which a declared account delivers a key.

    The run receives such a key as soon as it is created, whatever its sink. Until then, an unset
    variable is like a missing key file.
    """
    projects = set()
    for resource in configuration.resources:
        project = resource.address.project
        if project is None or resource.kind.is_shown_once:
            continue
        for field in resource.kind.own_calls:
            is_delivered = resource.spec.get(field.name) is not None
            if is_delivered and isinstance(field.type, KeySinkType):
                projects.add(project)
    return projects


def _usable(credential: Credential, configuration: Configuration, written: set[str]) -> bool:
    if credential.file is None:
        return credential.secret is not None
    return credential.file in written or (configuration.stack.root / credential.file).is_file()


def _missing_key_summary(scope: str | None) -> str:
    if scope == _ADMIN_SCOPE:
        return "No admin key"
    return f'No key for project "{scope}"' if scope else "No key for the default scope"


def _remedy(
    credential: Credential | None, scope: str | None, configuration: Configuration, count: int
) -> str:
    file = configuration.stack.file.name if configuration.stack.file else "reconciler.yaml"
    users = "1 resource needs it" if count == 1 else f"{count} resources need it"
    if credential is None:
        entry = "default"
        if scope == _ADMIN_SCOPE:
            entry = "admin"
        elif scope:
            entry = f"projects.{scope}"
        return f"{users}: set credentials.{entry} in {file}."
    source = credential.source
    if credential.file is not None:
        return f"{users}: {source} does not exist, and no declared ServiceAccount writes it."
    if not source.partition(" ")[0]:
        return f"{users}."
    if scope and scope not in configuration.stack.credentials.projects:
        return f"{users}: set {source}, or credentials.projects.{scope} in {file}."
    return f"{users}: set {source}."
