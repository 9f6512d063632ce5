"""What the manifests and the stack come to: one value that the rest of the program works from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.model.secret import Secret
from reconciler.model.values import SecretValue

STACK_FILES = ("reconciler.yaml", "reconciler.yml")
DEFAULT_ENVIRONMENT = "default"
STATE_FOLDER = ".reconciler"


class Settings(Struct, frozen=True):
    """What the command line and the process hand in: the stack's folder, `-e`, `--var`,
    `--var-file`, os.environ.

    `allow_env` names the environment variables that manifests may read, in addition to those in
    RECONCILER_ALLOW_ENV. `backend` is the address of the state, with its credentials. Without
    one, RECONCILER_BACKEND in `env` holds; no file can give it. `saved_variables` are those that a
    saved plan was made with. `learn` is told every secret as soon as it is known, also where
    loading fails afterwards.
    """

    root: Path
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    variable_files: Sequence[Path] = ()
    allow_env: Sequence[str] = ()
    backend: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    saved_variables: Mapping[str, Any] = field(default_factory=dict)
    learn: Callable[[Secret], None] = lambda _: None

    def __repr__(self) -> str:
        return f"Settings({self.root})"  # the environment holds keys


class Credential(Struct, frozen=True):
    """A key and where it comes from. `source` is how the user knows it, fit to be printed.

    `secret` is None where the variable is not set, and always where `file` is given: that file
    (relative to the stack's folder) may only be written during the apply, so it is read when the
    key is needed.
    """

    source: str
    secret: Secret | None = None
    file: str | None = None


class Credentials(Struct, frozen=True):
    """The admin key, the key of the default scope, and the keys of projects by their name in the
    configuration.
    """

    admin: Credential | None = None
    default: Credential | None = None
    projects: Mapping[str, Credential] = field(default_factory=dict)

    def for_project(self, project: str | None) -> Credential | None:
        """The key that reaches a project: its own, else the default one."""
        return (self.projects.get(project) if project else None) or self.default

    def all(self) -> tuple[Credential, ...]:
        """Every credential that is configured, set or not."""
        return tuple(
            item for item in (self.admin, self.default, *self.projects.values()) if item is not None
        )


class Guards(Struct, frozen=True):
    """How much a plan may delete before it is refused: a share of what is managed, and a number.

    `max_vanished_percent` is the share of the recorded objects that may be gone at once.
    """

    max_delete_percent: int = 30
    max_deletes: int = 10
    max_vanished_percent: int = 30


class Refresh(Struct, frozen=True):
    """When scopes that the audit log shows to be unchanged are read all the same, and how late its
    entries may be.
    """

    full_every_hours: float = 24
    full_every_runs: int = 20
    overlap_minutes: float = 15


class Stack(Struct, frozen=True):
    """The settings of one stack in one environment, everything defaulted.

    `file` is None where there is no stack file. `projects` maps names to ids of projects that exist
    without being managed here. `admin_requests_per_minute` of None means that the pace is found
    out. `outputs` may hold references and templates. `organization_source` says in words what names
    the organization. `needs_remote` is `backend: remote`, said at `backend_place`; `backend_path` is
    the folder of a local state, from the given address or else the stack file. `recipients` are
    those that can decrypt the state; without any it is not encrypted. `read_secret` reads what
    manifests name to be sent: None where there is none, raises Problem.
    """

    name: str
    environment: str
    root: Path
    file: Path | None = None
    projects: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = Credentials()
    refresh: Refresh = Refresh()
    guards: Guards = Guards()
    admin_requests_per_minute: float | None = None
    backend_path: Path = Path(STATE_FOLDER)
    backend_place: SourceLocation | None = None
    needs_remote: bool = False
    recipients: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    organization: str | None = None
    organization_source: str = ""
    project: str | None = None
    read_secret: Callable[[SecretValue], Secret | None] = lambda _: None


class GivenInputs(Struct, frozen=True):
    """What the command line and the environment gave, beyond the files of the stack.

    `variables` are values by name. `digests` stand for what must not be kept: values that contain
    or look like a secret (`var.NAME`), and what was read of the environment (`env.NAME`).
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


class Configuration(Struct, frozen=True):
    """Everything that one run wants to be true.

    `resources` are in address order. `digest` changes with everything that decides what would be
    applied, and with nothing else: not with comments, white space, or which file says it. `secrets`
    are the values of all credentials that are known now, for redaction. `rules` are the documents
    that declare no object, in address order. Where what is in the files of folders was left to be
    read, there is no digest, and `completed` reads it.
    """

    stack: Stack
    resources: tuple[Resource, ...]
    digest: str
    warnings: tuple[Diagnostic, ...] = ()
    secrets: tuple[Secret, ...] = ()
    rules: tuple[Rule, ...] = ()
    complete: Callable[[], Configuration] | None = None
    given: GivenInputs = GivenInputs()

    def completed(self) -> Configuration:
        """The same with what is in the files of folders; raises ConfigurationError with all
        problems found.
        """
        return self if self.complete is None else self.complete()
