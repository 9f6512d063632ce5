"""The inputs of a run: the Organization and its keys, the source, policies, and settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from reconciler.app.policy_request import PolicyRequest
from reconciler.app.spend import SpendReader
from reconciler.errors import ConfigurationError, ReconcilerError
from reconciler.manifests import Settings, load_stack
from reconciler.model.secret import Redactor
from reconciler.operator.conditions import Judgement
from reconciler.operator.crds import SOURCE_LABEL
from reconciler.operator.keys import KeyProblem, KeyReader
from reconciler.operator.ownership import ownership_environment
from reconciler.operator.registry import Registry, StateClaim
from reconciler.operator.resources import (
    ConfigMapReference,
    ObjectKey,
    OrganizationObject,
    OrganizationSpec,
    PolicyPlace,
    StackObject,
    StackSpec,
)
from reconciler.operator.sources import SourceError, SourceFolder, unpacked
from reconciler.operator.status import KEYS_FOUND


class Obstacle(Exception):
    """Why a run ends before the stack is reached; `reason` is that of the condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OperatorOptions(Struct, frozen=True):
    """The settings of the operator for its runs."""

    env: Mapping[str, str]
    """The environment of sessions, without API keys."""
    backend: str | None = None
    base_url: str | None = None
    """The address of the API for Organizations that name none."""
    allow_env: tuple[str, ...] = ()
    allow_sinks: tuple[str, ...] = ()
    allow_sources: tuple[str, ...] = ()
    parallelism: int = 10
    spend: SpendReader | None = None
    """Reads spending against limits; None unless metrics include it."""


class RunInputs(Struct, frozen=True):
    """The inputs of one run."""

    organization: OrganizationObject
    base_url: str | None
    root: Path
    revision: str
    policies: PolicyRequest
    settings: Settings


class InputReader:
    """Collects the inputs of runs. Thread-safe. Methods raise Obstacle and SourceError.

    `report_organization` receives whether an Organization can be used.
    """

    def __init__(
        self,
        registry: Registry,
        sources: SourceFolder,
        keys: KeyReader,
        options: OperatorOptions,
        redactor: Redactor,
        report_organization: Callable[[OrganizationObject, Judgement], None],
    ) -> None:
        self._registry = registry
        self._sources = sources
        self._keys = keys
        self._options = options
        self._redactor = redactor
        self._report_organization = report_organization

    @contextmanager
    def of(self, stack: StackObject, spec: StackSpec) -> Iterator[RunInputs]:
        """The inputs of a run of a Stack. Files of ConfigMaps exist until the end of the block."""
        # Permissions of the Organization first: a Stack that it does not allow learns nothing else.
        organization = self._organization(stack)
        limits = organization.spec
        if limits is None:
            problem = (
                f'The Organization "{organization.key}" cannot be used: {organization.problem}'
            )
            raise Obstacle("OrganizationInvalid", problem)
        keys = self._key_environment(stack, organization)
        namespace = stack.key.namespace
        with ExitStack() as cleanup:
            root, revision = self._source(namespace, spec, cleanup)
            # The paths of the Organization come first, and a Stack can only add to them.
            placed = [(organization.key.namespace, place) for place in limits.policies]
            placed += [(namespace, place) for place in spec.policies]
            folders = tuple(self._policy_folder(*each, cleanup) for each in placed)
            variables = {**keys, **ownership_environment(stack)}
            settings = self._settings(namespace, spec, limits, root, variables)
            base_url = limits.base_url or self._options.base_url
            yield RunInputs(
                organization, base_url, root, revision, PolicyRequest(folders), settings
            )

    def has_moved(self, spec: StackSpec, revision: str) -> bool:
        """Whether a folder was replaced since. A run may then have read a part of either revision."""
        source = spec.source
        if source.path is None:
            return False
        try:
            return self._sources.resolve(source.path, source.sub_path).revision != revision
        except SourceError:
            return True

    def claimed(self, stack: StackObject, settings: Settings) -> StateClaim:
        """The claim of the Stack, if no other Stack has it."""
        try:
            declared = load_stack(replace(settings, learn=self._redactor.add))
        except ConfigurationError as error:
            problems = error.diagnostics[:3]
            sentences = [f"{each.location}: {each.summary}: {each.detail}" for each in problems]
            raise Obstacle("ConfigurationInvalid", " ".join(sentences)) from error
        except ReconcilerError as error:
            raise Obstacle("ConfigurationInvalid", str(error)) from error
        # Without a name, the folder would identify the stack, and a ConfigMap has another folder in
        # each run.
        if declared.file is None or not declared.is_named:
            raise Obstacle(
                "SourceInvalid",
                "The source has no reconciler.yaml with a metadata.name, which identifies the state.",
            )
        claim = StateClaim(declared.name, declared.environment)
        other = self._registry.claim(stack.key, claim)
        if other is not None:
            raise Obstacle(
                "StackNameTaken",
                f'The Stack "{other}" already manages the stack "{claim.stack}" in the environment '
                f'"{claim.environment}". Give one of them another metadata.name in reconciler.yaml.',
            )
        return claim

    def _organization(self, stack: StackObject) -> OrganizationObject:
        key = stack.organization
        organization = None
        if key is not None:
            organization = self._registry.organization(key)
        if organization is None:
            raise Obstacle("OrganizationNotFound", f'There is no Organization "{key}".')
        if not organization.allows(stack.key.namespace):
            raise Obstacle(
                "OrganizationNotAllowed",
                f'The Organization "{key}" does not allow the namespace "{stack.key.namespace}": '
                "its allowedNamespaces lacks it.",
            )
        return organization

    def _key_environment(
        self, stack: StackObject, organization: OrganizationObject
    ) -> dict[str, str]:
        try:
            # Twice the interval, so that most runs of a Stack read no Secret.
            keys = self._keys.environment(organization, max_age=2 * stack.interval)
        except KeyProblem as problem:
            self._report_organization(organization, Judgement("KeyNotFound", str(problem)))
            raise Obstacle("KeyNotFound", str(problem)) from problem
        self._report_organization(
            organization, Judgement(KEYS_FOUND, "Secrets with all keys exist.")
        )
        return keys

    def _source(self, namespace: str, spec: StackSpec, cleanup: ExitStack) -> tuple[Path, str]:
        source = spec.source
        if source.config_map is not None:
            return self._config_map(namespace, source.config_map, cleanup)
        checkout = self._sources.resolve(source.path or "", source.sub_path)
        return checkout.folder, checkout.revision

    def _config_map(
        self, namespace: str, reference: ConfigMapReference, cleanup: ExitStack
    ) -> tuple[Path, str]:
        key = ObjectKey(namespace, reference.name)
        content = self._registry.config_map(key)
        if content is None:
            raise SourceError(
                "SourceNotFound",
                f'There is no ConfigMap "{key}" with the label {SOURCE_LABEL}. Label it: kubectl '
                f"label configmap {reference.name} -n {namespace} {SOURCE_LABEL}=true",
            )
        folder = cleanup.enter_context(unpacked(content, reference))
        return folder, f"sha256:{content.digest}"

    def _policy_folder(self, namespace: str, place: PolicyPlace, cleanup: ExitStack) -> Path:
        if place.config_map is not None:
            return self._config_map(namespace, place.config_map, cleanup)[0]
        return self._sources.resolve(place.path or "").folder

    def _settings(
        self,
        namespace: str,
        spec: StackSpec,
        limits: OrganizationSpec,
        root: Path,
        variables: Mapping[str, str],
    ) -> Settings:
        options = self._options
        env = {**options.env, **variables}
        if limits.organization_id is not None:
            env["OPENAI_ORG_ID"] = limits.organization_id
        # A Stack may deliver keys to its own namespace, and elsewhere only with the permission of
        # others.
        own = f"kubernetes:{namespace}/**"
        return Settings(
            root=root,
            environment=spec.environment,
            variables=spec.variables,
            allow_env=options.allow_env,
            # Never empty, since an empty list would allow every place.
            allow_sinks=(own, *limits.allowed_sinks, *options.allow_sinks),
            allow_sources=(*limits.allowed_sources, *options.allow_sources),
            allow_delete=spec.allow_delete,
            admin_requests_per_minute=limits.admin_requests_per_minute,
            backend=options.backend,
            env=env,
        )
