"""The copy of an organization on a local emulator, and sessions that work on it.

The original stays untouched: the state is a copy in a temporary folder, keys are delivered only
there, and no secret of a manifest is sent.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.transport.base_url import normal_form
from reconciler.api.transport.client import Client
from reconciler.app.listener import RunListener, SilentListener
from reconciler.app.plans import SEARCHED
from reconciler.app.secret_sources import SecretSources
from reconciler.app.session import Session
from reconciler.manifests import Configuration, Settings
from reconciler.manifests.configuration import Credential, Credentials, allowed_sources
from reconciler.model.allowance import SourceAllowance
from reconciler.model.provider import Sinks
from reconciler.model.secret import Redactor, Secret
from reconciler.model.values import SecretValue
from reconciler.rehearsal.reading import parts_of
from reconciler.rehearsal.recording import RecordedKey, Recording
from reconciler.rehearsal.sinks import RehearsedSinks
from reconciler.state import StateStore

SETTLE_SECONDS = 0.2
"""The search time for an object in a copy whose lists do not lag."""
_PLACEHOLDER = Secret("placeholder-of-a-rehearsal")
_LEAST_HIDDEN = 24


class CopyKeys(Struct, frozen=True):
    """The keys that the copy accepts, in place of the credentials of the stack."""

    admin: str = ""
    default: str = ""
    projects: dict[str, str] = field(default_factory=dict)
    """By the project's name in the configuration."""
    homes: dict[str, str] = field(default_factory=dict)
    """By key: the id of its project."""

    def __repr__(self) -> str:
        return "CopyKeys()"

    @property
    def accepted(self) -> list[Mapping[str, str]]:
        """The keys as the emulator loads them."""
        entries: list[Mapping[str, str]] = []
        if self.admin:
            entries.append({"value": self.admin, "project": ""})
        for key, id in self.homes.items():
            entries.append({"value": key, "project": id})
        return entries


def keys_for(recording: Recording) -> CopyKeys:
    """A key for each credential that had one, with the same redacted form."""
    keys = recording.keys
    homes: dict[str, str] = {}

    def minted(key: RecordedKey, name: str) -> str:
        value = _similar_key(key.shown)
        homes[value] = key.project_id or f"proj_of_the_key_{name or 'default'}"
        return value

    return CopyKeys(
        admin=_similar_key(keys.admin.shown, "sk-admin-") if keys.admin else "",
        default=minted(keys.default, "") if keys.default else "",
        projects={name: minted(key, name) for name, key in keys.projects.items()},
        homes=homes,
    )


def _similar_key(shown: str, prefix: str = "sk-proj-") -> str:
    # The copy shows keys in their redacted form too, and plans compare that.
    begin, hidden, end = parts_of(shown)
    if not hidden:
        return prefix + secrets.token_hex(_LEAST_HIDDEN)
    return begin + secrets.token_hex(max(len(hidden), _LEAST_HIDDEN)) + end


class CopyPlace(Struct, frozen=True):
    """The location of a copy. It can be handed to another process."""

    folder: Path
    """A temporary folder for the state and the keys that are delivered."""
    base_url: str
    organization: str
    keys: CopyKeys
    settle_seconds: float = SETTLE_SECONDS

    @property
    def state_folder(self) -> Path:
        """The folder of the state."""
        return self.folder / "state"

    @property
    def delivery_folder(self) -> Path:
        """The folder in which files with keys are written."""
        return self.folder / "delivered"


def prepare_state(
    place: CopyPlace, recording: Recording, source: StateStore | None, stored: Mapping[str, str]
) -> None:
    """Copy the state to a place: from `source`, or as it was recorded.

    `stored` are the credentials that are files, by their path, with the keys of the copy.
    """
    from reconciler.state.transfer import copy_state, import_state

    place.state_folder.mkdir(mode=0o700)
    place.delivery_folder.mkdir(mode=0o700)
    for name, key in stored.items():
        path = place.delivery_folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Before the folder has any content: setting the mode later would leave a moment for others.
        path.touch(mode=0o600)
        path.write_text(f"{key}\n", encoding="utf-8")
    with StateStore.open(
        place.state_folder, stack=recording.stack, environment=recording.environment
    ) as target:
        if source is not None:
            copy_state(source, target)
        else:
            import_state(target, recording.state, from_elsewhere=True, force_older=True)
            if recording.was_searched:
                target.remarks.put(SEARCHED, "yes")
        # The state of the original names another server, which an apply to the copy would refuse. An
        # empty state names none.
        if target.records() or target.runs.unfinished():
            target.bind(server=normal_form(place.base_url), organization=place.organization)


class CopySession(Session):
    """A session whose server, state, keys and sinks are those of a copy.

    `sources` are those of the original session, which tell whether a secret changed. Without them,
    a secret counts as unchanged while planning, and as present while applying.
    """

    def __init__(
        self,
        place: CopyPlace,
        settings: Settings,
        configuration: Configuration,
        *,
        parallelism: int,
        redactor: Redactor,
        sources: SecretSources | None = None,
        stop: threading.Event | None = None,
        progress: Callable[[Client], RunListener] = SilentListener,
    ) -> None:
        env = {**settings.env, "RECONCILER_SETTLE_SECONDS": str(place.settle_seconds)}
        folder = f"local:{place.state_folder}"
        super().__init__(
            replace(settings, backend=folder, env=env),
            base_url=place.base_url,
            parallelism=parallelism,
            redactor=redactor,
            stop=stop,
            notice=lambda _: None,
            progress=progress,
        )
        # No setting of a proxy leads a call to the copy out of this machine.
        self.network_environ = {}
        self._place = place
        self._original_sources = sources
        self._delivery_sinks: RehearsedSinks | None = None
        self.use_configuration(in_copy(configuration, place))

    @cached_property
    def keys(self) -> KeyRing:
        """The keys of the copy; those that an apply delivers are in its folder."""
        credentials = self.stack.credentials
        return KeyRing(
            admin=credentials.admin,
            default=credentials.default,
            projects=credentials.projects,
            root=self._place.delivery_folder,
        )

    @cached_property
    def sinks(self) -> Sinks:
        """Sinks that deliver to the folder of the copy, whatever a manifest names."""
        self._delivery_sinks = self._closed_at_end(
            RehearsedSinks(
                self._place.delivery_folder,
                self.redactor,
                lambda: self.store,
                owner=f"{self.stack.name}/{self.stack.environment}",
            )
        )
        return self._delivery_sinks

    @property
    def withheld(self) -> Sequence[str]:
        """The keys that an apply would have delivered, one line for each."""
        return () if self._delivery_sinks is None else self._delivery_sinks.withheld

    def reveal(self, value: SecretValue) -> Secret:
        """A placeholder: the copy gets no secret."""
        del value
        return _PLACEHOLDER

    @cached_property
    def sources(self) -> SecretSources:
        """The secrets of manifests, to compare them. None of them is sent."""
        return self._original_sources or RecordedSources(allowed_sources(self.settings))

    def use_placeholders(self) -> None:
        """From now on, treat an unreadable secret as present. For the apply."""
        if isinstance(self.sources, RecordedSources):
            self.sources.is_applying = True


class RecordedSources(SecretSources):
    """Sources for a recording, which holds no secret: nothing is read."""

    def __init__(self, allowed: SourceAllowance) -> None:
        super().__init__(lambda _: None, lambda _: None, allowed=allowed)
        self.is_applying = False

    def read(self, value: SecretValue) -> Secret | None:
        """A placeholder for an apply; None for a plan, which treats it as unchanged."""
        del value
        return _PLACEHOLDER if self.is_applying else None


def in_copy(configuration: Configuration, place: CopyPlace) -> Configuration:
    """A configuration whose stack has the keys of the copy, and a plain local state."""
    stack, keys = configuration.stack, place.keys
    credentials = stack.credentials

    def replaced_credential(credential: Credential | None, key: str) -> Credential | None:
        # A credential in a file is read from the file: `prepare_state` writes the copy's key into
        # it.
        if credential is None or credential.file is not None:
            return credential
        return Credential(credential.source, Secret(key) if key else None)

    projects = dict(credentials.projects)
    for name, credential in projects.items():
        projects[name] = replaced_credential(credential, keys.projects.get(name, "")) or credential
    copied = replace(
        stack,
        credentials=Credentials(
            replaced_credential(credentials.admin, keys.admin),
            replaced_credential(credentials.default, keys.default),
            projects,
        ),
        admin_requests_per_minute=None,
        backend_path=place.state_folder,
        needs_remote=False,
        recipients=(),
        organization=None,
    )
    return replace(configuration, stack=copied)


def stored_keys(configuration: Configuration, keys: CopyKeys) -> dict[str, str]:
    """The credentials that are files, by path, with the keys of the copy; only those with a key."""
    credentials = configuration.stack.credentials
    pairs = [(credentials.admin, keys.admin), (credentials.default, keys.default)]
    for name, credential in credentials.projects.items():
        pairs.append((credential, keys.projects.get(name, "")))
    stored = {}
    for owner, key in pairs:
        if owner is not None and owner.file and key:
            stored[owner.file] = key
    return stored


def clock_of(recording: Recording) -> Callable[[], float]:
    """A clock that starts at the time of the recording."""
    offset = recording.read_at - time.time()
    return lambda: time.time() + offset
