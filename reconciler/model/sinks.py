"""Sinks: the places that keys are delivered to, and the contract of their drivers.

`write_to` of a manifest is a target or a list of targets. A target has one key, the name of its
sink, and the value that this sink's type describes: `{vault: {path: secret/search}}`. The manifest
names the path alone. Address and credentials of a sink come from the environment of the process,
so that a pull request cannot send a key elsewhere.

Drivers of this package are listed in `BUILT_IN`, others are found by the entry point
`reconciler.sinks`. Ours are no entry points, because the metadata of an installation can be older
than its code, or missing. Another driver cannot take the name of one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from msgspec import Struct

from reconciler.errors import SinkError
from reconciler.model.diagnostic import nearest
from reconciler.model.secret import Redactor, Secret
from reconciler.model.types import Boolean, ListOf, Object, Text, Type
from reconciler.model.values import MAP

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT = "reconciler.sinks"
"""The group of entry points that other packages register their drivers in."""

BUILT_IN = {
    "file": "reconciler.secrets.files:FileSink",
    "command": "reconciler.secrets.commands:CommandSink",
    "vault": "reconciler.secrets.drivers.vault:VaultSink",
    "aws_secrets_manager": "reconciler.secrets.drivers.aws.secrets_manager:SecretsManagerSink",
    "aws_ssm": "reconciler.secrets.drivers.aws.parameter_store:ParameterStoreSink",
    "gcp_secret_manager": "reconciler.secrets.drivers.gcp.secret_manager:GcpSecretManagerSink",
    "azure_key_vault": "reconciler.secrets.drivers.azure.key_vault:KeyVaultSink",
    "kubernetes": "reconciler.secrets.drivers.kubernetes:KubernetesSink",
    "github_actions": "reconciler.secrets.drivers.github_actions:GithubActionsSink",
    "gitlab_variable": "reconciler.secrets.drivers.gitlab_variable:GitlabVariableSink",
}
"""The drivers of this package, each as `MODULE:CLASS`."""

Receipt = Mapping[str, Any]
"""What a sink returns for a delivery: JSON for the state, without the key."""


class SinkContext(Struct, frozen=True):
    """The inputs of a driver."""

    env: Mapping[str, str]
    """The environment: the only source of addresses and credentials."""
    root: Path
    """The stack's folder."""
    redactor: Redactor
    """Learns every credential that a driver reads."""
    permit: Callable[[], None]
    """Called just before each write. Raises if another run has replaced this one."""
    connect: Callable[..., Any]
    """Makes an HTTP client for one server: `api/transport/side_client.py:connect`."""
    run: Callable[..., Any]
    """Runs a program: `secrets/commands.py:Runner`."""
    sleep: Callable[[float], object]
    """Waits between attempts. Ends early once the run is interrupted."""
    receipt: Callable[[str, str], Receipt | None]
    """The receipt of the last delivery to a place (first argument) for an owner (second), from this
    run or from the state."""
    was_begun: Callable[[str, str], bool]
    """Whether a delivery to a place for an owner began and its outcome was not recorded: by this
    run, or by one that died. The value there may be ours.
    """
    withheld: tuple[Secret, ...] = ()
    """The keys that this run authenticates to the API with. No program gets them."""


class Sink(Protocol):
    """A driver. There is one instance a run; its methods are called from several threads.

    A method's `target` is the value below the sink's name: in `{vault: {path: secret/search}}` the
    map with `path`. `owner` is `STACK/ENVIRONMENT/ADDRESS`. It is stored beside the key where the
    place has room for it, and nothing of another owner is ever overwritten or removed. Every method
    but `place` raises SinkError with a sentence that names the place, and a hint with the cure.
    """

    name: ClassVar[str]
    """The key in `write_to`."""
    description: ClassVar[str]
    """A sentence for schemas, completion in editors and `explain`."""
    type: ClassVar[Type]
    """The shape of a target, for schemas, validation and `explain`."""
    keeps_versions: ClassVar[bool]
    """Whether a new key leaves the old one readable under its version."""
    reads_back: ClassVar[bool]
    """Whether `read` can return a key."""

    def __init__(self, context: SinkContext) -> None: ...

    @staticmethod
    def place(target: Any) -> str:
        """The destination in normal form, `NAME:PATH`. Two keys cannot have the same.

        Needs no environment. Raises ValueError with a sentence for a path that is not allowed.
        """

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError where a key could not be put now. Writes nothing, reads no secret.

        Examples: unreachable, sealed, forbidden, read-only, of the wrong type, full, owned by
        somebody else, a missing extra or credential.
        """

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Deliver a key and return the receipt.

        Idempotent: the same `token` (32 lower-case hexadecimal digits) names the same key, also in
        another process. A write whose answer was lost is sent again. Raises SinkError where the
        key certainly did not arrive, and UncertainDeliveryError where it may have.
        """

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The key that we put there for this owner; None if there is none or it is not ours."""

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Remove the key of a receipt, unless somebody changed it since.

        An empty receipt stands for an interrupted `put`, whose traces are removed. Succeeds if
        there is nothing to remove.
        """


# --- drivers by name


@cache
def sink_class(name: str) -> type[Sink] | None:
    """The driver with a name, None if there is none. Raises SinkError if it cannot be loaded."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast("type[Sink]", getattr(import_module(module), attribute))
    for entry_point in _entry_points(name=name):
        try:
            return cast("type[Sink]", entry_point.load())
        # A package of somebody else can raise anything while it is imported.
        except Exception as error:
            raise SinkError(
                f'the sink "{name}" ({entry_point.value}) cannot be loaded: {error}',
                hint="install it again, or remove its package",
            ) from error
    return None


@cache
def sink_names() -> tuple[str, ...]:
    """The names of all sinks: ours in the order of the documentation, then others by name."""
    others = {entry_point.name for entry_point in _entry_points()} - BUILT_IN.keys()
    return (*BUILT_IN, *sorted(others))


def _entry_points(name: str | None = None) -> Iterable[EntryPoint]:
    # Imported late: it takes as long as twenty of our modules, and few stacks use sinks of others.
    from importlib.metadata import entry_points

    every = entry_points(group=ENTRY_POINT)
    return every if name is None else every.select(name=name)


def local_sinks() -> Iterator[type[Sink]]:
    """The drivers of sinks without a server. Loading these takes little."""
    for name in ("file", "command"):
        sink = sink_class(name)
        if sink is not None:
            yield sink


def sink_classes() -> Iterator[type[Sink]]:
    """The drivers of all sinks; those that cannot be loaded are left out."""
    for name in sink_names():
        try:
            sink = sink_class(name)
        except SinkError:
            continue  # reported where a manifest uses it
        if sink is not None:
            yield sink


# --- targets


def write_to_of(value: Any) -> Any:
    """The `write_to` of the value of a key field; None for a value of another form."""
    return value.get("write_to") if isinstance(value, Mapping) else None


def targets_of(write_to: Any) -> tuple[Mapping[str, Any], ...]:
    """The targets of a `write_to`, which is one or a list; empty for anything else."""
    if isinstance(write_to, Mapping):
        return (write_to,)
    if isinstance(write_to, list | tuple):
        return tuple(target for target in write_to if isinstance(target, Mapping))
    return ()


def named_sink(target: Mapping[str, Any]) -> tuple[type[Sink], Any]:
    """The driver of a target, and the target as the driver sees it. Raises SinkError."""
    if len(target) != 1:
        raise SinkError(
            "a target of a key names exactly one sink",
            hint="write {file: PATH}, or a list of targets for several",
        )
    ((name, value),) = target.items()
    sink = sink_class(name)
    if sink is None:
        raise SinkError(
            f'there is no sink "{name}".{nearest(name, sink_names())}',
            hint=f"write one of {', '.join(sink_names())}",
        )
    if not fits(sink.type, value):
        raise SinkError(
            f'the target of the sink "{name}" is not of its form', hint="correct write_to"
        )
    return sink, value


def fits(kind: Type, value: Any) -> bool:
    """Whether a value is of a type that targets are made of.

    Manifests are validated against schemas. This protects drivers from targets of another origin,
    such as a state or an expression that has a value only after a change.
    """
    match kind:
        case Text(min_length=least, choices=choices):
            is_choice = not choices or value in choices
            return isinstance(value, str) and len(value) >= (least or 0) and is_choice
        case Boolean():
            return isinstance(value, bool)
        case ListOf(item=item, min_items=least):
            return (
                isinstance(value, list | tuple)
                and len(value) >= (least or 0)
                and all(fits(item, element) for element in value)
            )
        case Object(properties=properties, exactly_one=exactly_one):
            types = {part.name: part.type for part in properties}
            required = {part.name for part in properties if part.required}
            if not isinstance(value, Mapping) or not required <= value.keys() <= types.keys():
                return False
            if exactly_one and len(value.keys() & exactly_one) != 1:
                return False
            return all(fits(types[name], element) for name, element in value.items())
    return True


def place_of(target: Mapping[str, Any]) -> str:
    """The destination of a target in normal form, `NAME:PATH`. Raises SinkError."""
    sink, value = named_sink(target)
    try:
        return sink.place(value)
    except ValueError as error:
        raise SinkError(str(error), hint="correct write_to") from error


def places_of(write_to: Any) -> Iterator[str]:
    """The destinations of a `write_to`; those that cannot be read are left out."""
    for target in targets_of(write_to):
        try:
            yield place_of(target)
        except SinkError:
            continue  # reported where the resource is validated


EARLIER_KEYS = "previous"
"""The part of a recorded key that lists the keys before it, oldest first."""


def receipts_in(value: Any) -> Iterator[Receipt]:
    """Every receipt in a value, such as the `delivered` of a record: those of earlier keys first.

    Several keys of one place follow each other, so the last receipt of a place is of its present key.
    """
    if isinstance(value, MAP):
        if isinstance(value.get("sink"), str) and "digest" in value:
            yield value
        # An entry lists its earlier keys before or after the parts of the current one.
        if EARLIER_KEYS in value:
            yield from receipts_in(value[EARLIER_KEYS])
        for name, element in value.items():
            # Most parts are text. A generator for each would be most of the work.
            if name != EARLIER_KEYS and not isinstance(element, str):
                yield from receipts_in(element)
    elif isinstance(value, list | tuple):
        for element in value:
            yield from receipts_in(element)
