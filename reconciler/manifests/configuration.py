"""The configuration: the value that manifests and the stack evaluate to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from reconciler.model.address import Address
from reconciler.model.allowance import SOURCES_VARIABLE, SourceAllowance, allowed_places
from reconciler.model.diagnostic import Diagnostic, SourceLocation
from reconciler.model.ignoring import IgnoreRules
from reconciler.model.resource import Resource
from reconciler.model.rule import Rule
from reconciler.model.secret import Secret
from reconciler.model.values import SecretValue

STACK_FILES = ("reconciler.yaml", "reconciler.yml")
MODULE_FILES = ("module.yaml", "module.yml")
DEFAULT_ENVIRONMENT = "default"
STATE_FOLDER = ".reconciler"


class Settings(Struct, frozen=True):
    """Inputs from the command line and the process: the stack's folder, `-e`, `--var`,
    `--var-file`, os.environ."""

    root: Path
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    variable_files: Sequence[Path] = ()
    allow_env: Sequence[str] = ()
    """Environment variables that manifests may read, in addition to those in RECONCILER_ALLOW_ENV.
    """
    allow_sinks: Sequence[str] = ()
    """Globs of places that keys may be delivered to, in addition to RECONCILER_ALLOW_SINKS."""
    allow_sources: Sequence[str] = ()
    """Globs of places that secrets may be read from, in addition to RECONCILER_ALLOW_SOURCES."""
    backend: str | None = None
    """The address of the state, with its credentials; without one, RECONCILER_BACKEND in `env` holds."""
    env: Mapping[str, str] = field(default_factory=dict)
    allow_delete: Sequence[str] = ()
    """Addresses and patterns that the guards let a plan delete, in addition to those of the stack."""
    admin_requests_per_minute: float | None = None
    """The rate limit of admin routes, in place of that in the stack file."""
    saved_variables: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the saved plan that is being applied."""
    learn: Callable[[Secret], None] = lambda _: None
    """Called with every secret as soon as it is known, even if loading fails afterwards."""

    def __repr__(self) -> str:
        # The environment holds keys, and a traceback can show every local.
        return f"Settings({self.root})"


class Credential(Struct, frozen=True):
    """A key and its source."""

    source: str
    """A name of the source that can be printed."""
    secret: Secret | None = None
    """None if the variable is not set, and always None if `file` is given."""
    file: str | None = None
    """A path relative to the stack's folder. Apply can write the file, so it is read when the key is
    needed."""
    from_sink: Address | None = None
    """The resource whose delivered key this is. It is read back from its destination when needed."""

    @property
    def is_unset(self) -> bool:
        """Whether the source of the key is missing: its variable is not set."""
        return self.secret is None and self.file is None and self.from_sink is None


class Credentials(Struct, frozen=True):
    """The admin key, the key of the default scope, and project keys by the project's name in the
    configuration."""

    admin: Credential | None = None
    default: Credential | None = None
    projects: Mapping[str, Credential] = field(default_factory=dict)

    def for_project(self, project: str | None) -> Credential | None:
        """The key of a project, else the default key."""
        return self.projects.get(project or "") or self.default

    def all(self) -> tuple[Credential, ...]:
        """All configured credentials, set or not."""
        configured = (self.admin, self.default, *self.projects.values())
        return tuple(credential for credential in configured if credential is not None)


class Guards(Struct, frozen=True):
    """Limits on deletions: a share of the managed objects, and a number.

    `max_vanished_percent` limits the share of recorded objects that may be missing at once.
    """

    max_delete_percent: int = 30
    max_deletes: int = 10
    max_vanished_percent: int = 30


class Refresh(Struct, frozen=True):
    """When scopes are read even though the audit log shows no change, and how late its entries may
    be."""

    full_every_hours: float = 24
    full_every_runs: int = 20
    overlap_minutes: float = 15


class Stack(Struct, frozen=True):
    """The settings of one stack in one environment, with all defaults."""

    name: str
    environment: str
    root: Path
    file: Path | None = None
    """None if there is no stack file."""
    is_named: bool = False
    """Whether the stack file has a name. Otherwise it is that of the folder."""
    projects: Mapping[str, str] = field(default_factory=dict)
    """Ids of existing projects that are not managed here, by name."""
    credentials: Credentials = Credentials()
    refresh: Refresh = Refresh()
    guards: Guards = Guards()
    admin_requests_per_minute: float | None = None
    """None to detect the rate limit."""
    backend_path: Path = Path(STATE_FOLDER)
    """The folder of a local state."""
    backend_place: SourceLocation | None = None
    """The source location of `backend: remote`."""
    needs_remote: bool = False
    """Whether the stack says `backend: remote`."""
    recipients: tuple[str, ...] = ()
    """The age recipients that can decrypt the state; without any, it is not encrypted."""
    strict: bool = False
    """The default of `lifecycle.strict`."""
    ignore: IgnoreRules = IgnoreRules()
    """Unmanaged objects that no report mentions."""
    allow_delete: tuple[str, ...] = ()
    """Addresses and patterns that the guards let a plan delete."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """May contain references and templates."""
    organization: str | None = None
    organization_source: str = ""
    """Names the setting that selects the organization, for messages."""
    project: str | None = None
    read_secret: Callable[[SecretValue], Secret | None] = lambda _: None
    """Reads a secret from a variable or a file that a manifest names. Returns None if it is not
    set; raises Problem if it must not be read."""
    in_use: tuple[Secret, ...] = ()
    """The keys that this run authenticates with; no secret to send may contain one."""


def allowed_sources(settings: Settings) -> SourceAllowance:
    """The places that secrets may be read from, as the caller decided."""
    return SourceAllowance(
        allowed_places(settings.allow_sources, settings.env, variable=SOURCES_VARIABLE)
    )


class GivenInputs(Struct, frozen=True):
    """Inputs from the command line and the environment, beyond the stack's files.

    `variables` are values by name. `digests` stand for values that must not be stored: values that
    contain or look like a secret (`var.NAME`), and values from the environment (`env.NAME`).
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


class Configuration(Struct, frozen=True):
    """The desired state of one run."""

    stack: Stack
    resources: tuple[Resource, ...]
    """In address order."""
    digest: str
    """Changes with everything that affects an apply, and with nothing else: not with comments,
    white space or file names. Empty while files of folders are unread."""
    warnings: tuple[Diagnostic, ...] = ()
    secrets: tuple[Secret, ...] = ()
    """The values of all credentials that are known now, for redaction."""
    rules: tuple[Rule, ...] = ()
    """In address order."""
    complete: Callable[[], Configuration] | None = None
    given: GivenInputs = GivenInputs()

    def completed(self) -> Configuration:
        """The configuration with the contents of all folders. Raises ConfigurationError with all
        problems."""
        return self if self.complete is None else self.complete()
