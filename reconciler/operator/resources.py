"""Custom resources as structs.

The API server checks resources against the schemas of `crds.py`. A definition can be older, or its
validation switched off, so everything is checked again here. A resource that does not fit becomes a
sentence for its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from reconciler.operator.bodies import mapping_at
from reconciler.operator.crds import (
    ALLOW_DELETE_PATTERN,
    APPROVE,
    DEFAULT_INTERVAL,
    ENVIRONMENT_PATTERN,
    FINALIZER,
    INTERVAL_PATTERN,
    KEY_PATTERN,
    KEY_VARIABLE_PATTERN,
    LONGEST_INTERVAL,
    MAX_PATTERNS,
    MAX_REFERENCES,
    MAX_VARIABLES,
    NAME_PATTERN,
    NAMESPACE_PATTERN,
    PATH_PATTERN,
    RECONCILE,
    SHORTEST_INTERVAL,
)

_UNIT_SECONDS = {"h": 3600, "m": 60, "s": 1}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_TOKEN = 256


class ObjectKey(Struct, frozen=True, order=True):
    """The namespace and the name of an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Mode(StrEnum):
    """How much the operator may do with a Stack."""

    OBSERVE = "observe"
    PLAN = "plan"
    APPROVE = "approve"
    APPLY = "apply"


class DeletionPolicy(StrEnum):
    """What happens to the objects of a deleted Stack."""

    RETAIN = "Retain"
    DELETE = "Delete"


def _pattern(pattern: str) -> str:
    """A pattern of a schema for Python."""
    # `$` of Python also matches before a final line break, which schemas exclude.
    return f"{pattern.removesuffix('$')}\\Z"


Name = Annotated[str, Meta(min_length=1, max_length=253, pattern=_pattern(NAME_PATTERN))]
Namespace = Annotated[str, Meta(min_length=1, max_length=63, pattern=_pattern(NAMESPACE_PATTERN))]
DataKey = Annotated[str, Meta(min_length=1, max_length=253, pattern=_pattern(KEY_PATTERN))]
RelativePath = Annotated[str, Meta(min_length=1, max_length=512, pattern=_pattern(PATH_PATTERN))]
Pattern = Annotated[str, Meta(min_length=1, max_length=512)]
Patterns = Annotated[tuple[Pattern, ...], Meta(max_length=MAX_PATTERNS)]


class ConfigMapItem(Struct, frozen=True):
    """A key of a ConfigMap and the file that it becomes."""

    key: DataKey
    path: RelativePath


class ConfigMapReference(Struct, frozen=True):
    """A ConfigMap whose keys are files."""

    name: Name
    items: Annotated[tuple[ConfigMapItem, ...], Meta(max_length=1000)] = ()


class StackSource(Struct, frozen=True, rename="camel"):
    """The location of a stack file and its manifests. Exactly one of `config_map` and `path` is
    set.
    """

    config_map: ConfigMapReference | None = None
    path: RelativePath | None = None
    sub_path: RelativePath | None = None


class PolicyPlace(Struct, frozen=True, rename="camel"):
    """The location of policies. Exactly one of the two is set."""

    config_map: ConfigMapReference | None = None
    path: RelativePath | None = None


class OrganizationReference(Struct, frozen=True):
    """An Organization. Without a namespace it is in that of the Stack."""

    name: Name
    namespace: Namespace | None = None


class StackSpec(Struct, frozen=True, rename="camel"):
    """The `spec` of a Stack."""

    source: StackSource
    organization_ref: OrganizationReference
    environment: (
        Annotated[str, Meta(max_length=63, pattern=_pattern(ENVIRONMENT_PATTERN))] | None
    ) = None
    mode: Mode = Mode.OBSERVE
    interval: Annotated[str, Meta(max_length=32, pattern=_pattern(INTERVAL_PATTERN))] | None = None
    suspend: bool = False
    variables: Annotated[
        dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=MAX_VARIABLES)
    ] = field(default_factory=dict)
    policies: Annotated[tuple[PolicyPlace, ...], Meta(max_length=MAX_REFERENCES)] = ()
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    allow_delete: Annotated[
        tuple[Annotated[str, Meta(max_length=512, pattern=_pattern(ALLOW_DELETE_PATTERN))], ...],
        Meta(max_length=MAX_PATTERNS),
    ] = ()


class SecretKey(Struct, frozen=True):
    """A key of a Secret."""

    name: Name
    key: DataKey


class KeySource(Struct, frozen=True, rename="camel"):
    """The location of a key for the API."""

    secret_ref: SecretKey


class ProjectKey(Struct, frozen=True, rename="camel"):
    """The location of a project's key, and the variable name for it in stack files."""

    variable: Annotated[str, Meta(max_length=128, pattern=_pattern(KEY_VARIABLE_PATTERN))]
    secret_ref: SecretKey


class OrganizationSpec(Struct, frozen=True, rename="camel"):
    """The `spec` of an Organization."""

    organization_id: (
        Annotated[str, Meta(max_length=128, pattern=r"^org-[A-Za-z0-9_-]+\Z")] | None
    ) = None
    base_url: Annotated[str, Meta(max_length=512)] | None = None
    admin_key: KeySource | None = None
    default_key: KeySource | None = None
    project_keys: Annotated[tuple[ProjectKey, ...], Meta(max_length=500)] = ()
    admin_requests_per_minute: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    allowed_namespaces: Annotated[
        tuple[Annotated[str, Meta(max_length=63)], ...], Meta(max_length=1000)
    ] = ()
    allowed_sinks: Patterns = ()
    allowed_sources: Patterns = ()
    policies: Annotated[tuple[PolicyPlace, ...], Meta(max_length=MAX_REFERENCES)] = ()

    def secrets(self) -> tuple[tuple[str, SecretKey], ...]:
        """The environment variable of each key, and the location of the key."""
        keys = [(entry.variable, entry.secret_ref) for entry in self.project_keys]
        if self.default_key is not None:
            keys.insert(0, ("OPENAI_API_KEY", self.default_key.secret_ref))
        if self.admin_key is not None:
            keys.insert(0, ("OPENAI_ADMIN_KEY", self.admin_key.secret_ref))
        return tuple(keys)


class StackObject(Struct, frozen=True):
    """A Stack of the cluster. `spec` is None if it cannot be used; `problem` says why."""

    key: ObjectKey
    uid: str
    generation: int
    version: int
    """The resource version. Numbers of one cluster are in order; 0 for one that is no number."""
    created: str
    """When it was created, in the format of Kubernetes, which sorts by time."""
    spec: StackSpec | None
    problem: str = ""
    is_deleting: bool = False
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """As the spec says, even if the rest of the spec cannot be used."""
    finalizers: tuple[str, ...] = ()
    approve: str = ""
    """The digest in the annotation for approval; empty without one, and for any other text."""
    reconcile: str = ""
    """The text of the annotation that asks for a run."""
    interval: float = 0.0
    """Seconds from one run to the next."""
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_finalizer(self) -> bool:
        """Whether the object stays until the operator removes its finalizer."""
        return FINALIZER in self.finalizers

    @property
    def organization(self) -> ObjectKey | None:
        """The Organization that the Stack names."""
        if self.spec is None:
            return None
        reference = self.spec.organization_ref
        return ObjectKey(reference.namespace or self.key.namespace, reference.name)


class OrganizationObject(Struct, frozen=True):
    """An Organization of the cluster. `spec` is None if it cannot be used; `problem` says why."""

    key: ObjectKey
    uid: str
    generation: int
    spec: OrganizationSpec | None
    problem: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)

    def allows(self, namespace: str) -> bool:
        """Whether Stacks of a namespace may use the keys."""
        if namespace == self.key.namespace:
            return True
        if self.spec is None:
            return False
        allowed = self.spec.allowed_namespaces
        return "*" in allowed or namespace in allowed


def seconds_of(interval: str) -> float:
    """The seconds of an interval such as `1h30m`."""
    parts = re.findall(r"([0-9]{1,9})([hms])", interval)
    return float(sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts))


def stack_of(
    body: Mapping[str, Any], default_interval: str = DEFAULT_INTERVAL
) -> StackObject | None:
    """The Stack in a JSON object of the API server; None for something else."""
    metadata = mapping_at(body, "metadata")
    key = _key(metadata)
    if key is None:
        return None
    spec, problem = _spec(body, StackSpec)
    interval = _interval(spec, default_interval)
    if spec is not None:
        problem = _stack_problem(spec)
    if problem:
        spec = None
    annotations = mapping_at(metadata, "annotations")
    finalizers = metadata.get("finalizers")
    approve = str(annotations.get(APPROVE) or "").strip()
    return StackObject(
        key=key,
        uid=str(metadata.get("uid") or ""),
        generation=_integer(metadata.get("generation")),
        version=_version(metadata.get("resourceVersion")),
        created=str(metadata.get("creationTimestamp") or ""),
        spec=spec,
        problem=problem,
        is_deleting=bool(metadata.get("deletionTimestamp")),
        deletion_policy=_deletion_policy(body),
        finalizers=tuple(map(str, finalizers)) if isinstance(finalizers, list) else (),
        approve=approve if _DIGEST.fullmatch(approve) else "",
        reconcile=str(annotations.get(RECONCILE) or "")[:_LONGEST_TOKEN],
        interval=interval,
        status=mapping_at(body, "status"),
    )


def _interval(spec: StackSpec | None, default: str) -> float:
    text = default
    if spec is not None and spec.interval is not None:
        text = spec.interval
    return min(max(seconds_of(text), SHORTEST_INTERVAL), LONGEST_INTERVAL)


def organization_of(body: Mapping[str, Any]) -> OrganizationObject | None:
    """The Organization in a JSON object of the API server; None for something else."""
    metadata = mapping_at(body, "metadata")
    key = _key(metadata)
    if key is None:
        return None
    spec, problem = _spec(body, OrganizationSpec)
    if spec is not None and not spec.secrets():
        problem = "The Organization names no key. Set adminKey, defaultKey or projectKeys."
        spec = None
    return OrganizationObject(
        key=key,
        uid=str(metadata.get("uid") or ""),
        generation=_integer(metadata.get("generation")),
        spec=spec,
        problem=problem,
        status=mapping_at(body, "status"),
    )


def _deletion_policy(body: Mapping[str, Any]) -> DeletionPolicy:
    # Read past the rest of the spec: a mistake elsewhere in it must not change what a deletion does.
    if mapping_at(body, "spec").get("deletionPolicy") == DeletionPolicy.DELETE:
        return DeletionPolicy.DELETE
    return DeletionPolicy.RETAIN


def key_in(body: Mapping[str, Any]) -> ObjectKey:
    """The key of an object as the API server has it."""
    metadata = mapping_at(body, "metadata")
    return ObjectKey(str(metadata.get("namespace")), str(metadata.get("name")))


def _key(metadata: Mapping[str, Any]) -> ObjectKey | None:
    namespace, name = metadata.get("namespace"), metadata.get("name")
    if not isinstance(namespace, str) or not isinstance(name, str):
        return None
    # Both become parts of paths at the API server.
    try:
        msgspec.convert(namespace, Namespace)
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return None
    return ObjectKey(namespace, name)


_S = TypeVar("_S", StackSpec, OrganizationSpec)


def _spec(body: Mapping[str, Any], type: type[_S]) -> tuple[_S | None, str]:
    try:
        return msgspec.convert(body.get("spec") or {}, type), ""
    except msgspec.ValidationError as error:
        return None, f"The spec cannot be used: {error}."


def _stack_problem(spec: StackSpec) -> str:
    """A mistake that a schema cannot express, as a sentence; empty without one."""
    source = spec.source
    if (source.config_map is None) == (source.path is None):
        return "The source names no configMap or path, or both. Name exactly one."
    if source.sub_path is not None and source.path is None:
        return "The source has a subPath without a path. Name the path."
    for place in spec.policies:
        if (place.config_map is None) == (place.path is None):
            return "An entry of policies names no configMap or path, or both. Name exactly one."
    return ""


def may_write(mode: Mode) -> bool:
    """Whether a mode can ever lead to a write."""
    return mode in (Mode.APPROVE, Mode.APPLY)


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return value
    return 0


def _version(value: Any) -> int:
    text = str(value or "")
    # Longer digits are no resource version, and Python refuses to read very long ones.
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    return 0
