"""The manifests of one run, loaded at their first use. Often the stack file alone is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.app.known_secrets import remembered
from reconciler.app.run_state import RunState
from reconciler.errors import StateError
from reconciler.kinds import KINDS
from reconciler.manifests import (
    Configuration,
    ParsedFiles,
    Remembered,
    Settings,
    Stack,
    load_configuration,
    load_stack,
)
from reconciler.manifests.paths import in_stack
from reconciler.model.resource import Resource
from reconciler.model.tracing import span
from reconciler.rules import RULE_KINDS


class RunManifests:
    """The declarations of a run. Raises ConfigurationError with every problem.

    The state helps with loading: it has the parsed form of files that did not change, digests of
    secrets that must be in no file, and the outputs of other stacks.
    """

    def __init__(self, settings: Settings, state: RunState) -> None:
        self.are_required = True
        """Whether a folder without any manifest is an error. A missing file must not read as
        "delete everything"."""
        self.parsed = ParsedFiles()
        """The manifests that were read, for the state to cache."""
        self.settings = settings
        self._state = state
        self._configuration: Configuration | None = None
        self._stack: Stack | None = None

    @property
    def declared(self) -> Configuration:
        """All manifests; files inside declared folders may be unread."""
        if self._configuration is None:
            with span("load"):
                self._configuration = load_configuration(
                    self.settings,
                    KINDS,
                    RULE_KINDS,
                    parsed=self._parsed_files,
                    remembered=self._remembered,
                    outputs_of=self._state.outputs_of,
                    whole=False,
                    needs_manifests=self.are_required,
                )
        return self._configuration

    @property
    def completed(self) -> Configuration:
        """All manifests and every file that they name."""
        self._configuration = self.declared.completed()
        return self._configuration

    @property
    def stack(self) -> Stack:
        """The stack; reads the stack file alone where the manifests are not loaded."""
        if self._configuration is not None:
            return self._configuration.stack
        if self._stack is None:
            self._stack = load_stack(self.settings, remembered=self._remembered)
        return self._stack

    def use(self, configuration: Configuration) -> None:
        """Use this configuration in place of the manifests."""
        self._configuration = configuration

    def _remembered(self, stack: Stack) -> Remembered:
        return remembered(lambda: self._state.read(stack))

    def _parsed_files(self, stack: Stack) -> ParsedFiles:
        # An unreadable state is reported by the first step that needs more of it than this cache.
        with suppress(StateError):
            self.parsed = ParsedFiles(self._state.read(stack).parse_cache.find)
        return self.parsed


def with_paths(resources: Iterable[Resource], root: Path) -> Iterator[tuple[Resource, str]]:
    """Each resource with the path of its file below the stack's folder; "" for one without."""
    paths = {"": ""}  # few files have many resources, and each path asks the disk
    for resource in resources:
        file = resource.location.file if resource.location is not None else ""
        if file not in paths:
            paths[file] = in_stack(file, root)
        yield resource, paths[file]
