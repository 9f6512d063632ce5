"""Single calls of a refresh. A refusal is recorded in the live state instead of raised.

A refused read concerns the addresses that need it and no others, so the plan goes on without it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

from msgspec.structs import replace

from reconciler.engine.scope import LiveState, Scope
from reconciler.errors import ApiError, CredentialError, RetiredError
from reconciler.model.provider import LiveReader
from reconciler.model.resource import LiveObject


class TolerantReader:
    """Makes one call at a time, and records refusals in `state`. Workers share it.

    With `survey`, a list that cannot be read is noted as unread: it neither counts as empty nor
    raises an error.
    """

    def __init__(self, provider: LiveReader, state: LiveState, *, survey: bool) -> None:
        self.survey = survey
        self._provider = provider
        self._state = state

    def objects(
        self,
        scope: Scope,
        id: str | None,
        *,
        only_ids: frozenset[str] | None,
        is_optional: bool,
        fresh: bool,
    ) -> Collection[LiveObject]:
        """The objects of a scope, or only the one with `id`; none if the API refuses the read."""
        try:
            if id is None:
                return self._provider.list(
                    self._state.kinds[scope.kind],
                    scope.project,
                    scope.parent,
                    only_ids=only_ids,
                    fresh=fresh,
                    is_optional=is_optional,
                )
            live = self.object(scope, id)
        except (ApiError, CredentialError) as error:
            self._record(scope, error, is_optional=is_optional)
            return ()
        # A single read that answers 404 means absence, as the absence from a list does.
        return () if live is None else (live,)

    def _record(
        self, scope: Scope, error: ApiError | CredentialError, *, is_optional: bool
    ) -> None:
        """Record why a scope was not read, or raise an error that concerns every scope."""
        # An overview goes on past anything that concerns one list. A lost connection concerns them
        # all.
        if self.survey and (is_refusal(error) or isinstance(error, CredentialError)):
            self._state.unread[scope] = error
        # Not a failure of the plan: the search would only have found leftovers. The plan reports
        # that the search must be repeated.
        elif is_optional:
            self._state.unsearched[scope] = error
        elif is_refusal(error):
            self._state.fail(scope, error)
        else:
            raise error

    def object(self, scope: Scope, id: str, *, fresh: bool = False) -> LiveObject | None:
        """An object by id; None if there is none or the API refuses the read."""
        try:
            live = self._provider.get(self._state.kinds[scope.kind], scope.project, id, fresh=fresh)
        except ApiError as error:
            # A retired kind concerns all of its objects, so the caller has to handle it.
            if not is_refusal(error) or isinstance(error, RetiredError):
                raise
            # One refused object says nothing about the others of its list.
            self._state.failed_objects[scope, id] = error
            return None
        # The refusal was one of a lag if a later read succeeds.
        self._state.failed_objects.pop((scope, id), None)
        # The provider knows a project by its id; addresses know it by its name.
        return None if live is None else replace(live, project=scope.project)

    def own_calls(
        self, scope: Scope, live: LiveObject, names: Collection[str]
    ) -> LiveObject | None:
        """The object with its fields that have calls of their own; None if the API refuses the
        read."""
        try:
            return self._provider.read_own_calls(live, names)
        except ApiError as error:
            if not is_refusal(error):
                raise
            self._state.failed_objects[scope, live.id] = error
            return None


def is_refusal(error: ApiError | CredentialError) -> TypeGuard[ApiError]:
    """Whether the API answered, so that the error concerns one route instead of the connection."""
    return isinstance(error, ApiError) and error.status is not None
