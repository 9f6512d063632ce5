"""Checks that responses are of the organization that the stack file and the state name.

A response names its organization in the header `openai-organization`. A wrong one ends the run
before anything is written: the same keys would create every object a second time there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from msgspec import Struct

from reconciler.errors import ApiError, OrganizationError
from reconciler.model.organization import comparable

HEADER = "openai-organization"
_MISMATCH = "mismatched_organization"


class Expectation(Struct, frozen=True):
    """An expected organization, and the source of the expectation.

    `whose` completes "…, and the keys in use are of the organization X". With `must_be_named`,
    responses without the header, or with a name of another form, are refused as well.
    """

    organization: str
    whose: str
    hint: str = ""
    must_be_named: bool = False


class OrganizationCheck:
    """Compares the organization of each response. Safe to use from threads."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._expected: list[Expectation] = []
        self._seen = ""
        self._error: OrganizationError | None = None
        self._follow: Callable[[str], None] = lambda _: None
        self._lock = threading.Lock()

    @property
    def seen(self) -> str:
        """The organization in responses so far; "" without any."""
        return self._seen

    def follow(self, follow: Callable[[str], None]) -> None:
        """Call `follow` with the organization of each response."""
        self._follow = follow
        if self._seen:
            follow(self._seen)

    def expect(self, expectation: Expectation) -> None:
        """Refuse responses of another organization from now on; raises OrganizationError."""
        self._expected.append(expectation)
        if self._seen:
            self._compare(expectation, self._seen)

    def require(self) -> None:
        """Raise OrganizationError after a response of another organization."""
        if self._error is not None:
            raise self._error

    def check(
        self, headers: Mapping[str, str], *, is_write: bool, refused: ApiError | None = None
    ) -> None:
        """Raise OrganizationError for a response of another organization.

        `refused` is the error in the response, if any.
        """
        try:
            self._check(headers.get(HEADER, "").strip(), refused)
        except OrganizationError as error:
            # `require` refuses every later call. The response of a write passes, because its result
            # must be recorded.
            self._error = error
            if refused is not None or not is_write:
                raise

    def _check(self, name: str, refused: ApiError | None) -> None:
        # The API itself refuses a key of another organization than OPENAI_ORG_ID names.
        if refused is not None and refused.code == _MISMATCH:
            raise self._refused_by_server(refused)
        # The error page of a proxy names no organization.
        if not name and refused is not None:
            return
        for expectation in self._expected:
            self._compare(expectation, name)
        if name:
            self._note(name)

    def _note(self, name: str) -> None:
        with self._lock:
            self._seen = self._seen or name
            first = self._seen
        self._follow(first)
        # An id and a short name may both be of one organization.
        if comparable(first, name) and first != name:
            raise OrganizationError(
                f"the keys in use are of two organizations, {first} and {name}",
                hint="Give the stack keys of one organization: see credentials in the stack file.",
            )

    def _refused_by_server(self, error: ApiError) -> OrganizationError:
        named = " and ".join(expectation.whose for expectation in self._expected)
        if not named:
            named = "OPENAI_ORG_ID is set"
        return OrganizationError(
            f"{named}, and the API refuses the key: {error}",
            hint="Use keys of that organization, or correct `organization` in the stack file.",
        )

    def _compare(self, expectation: Expectation, name: str) -> None:
        if comparable(expectation.organization, name):
            if expectation.organization != name:
                raise OrganizationError(
                    f"{expectation.whose}, and the keys in use are of the organization {name} "
                    f"at {self._server}",
                    hint=expectation.hint,
                )
            return
        if expectation.must_be_named:
            shown = "no organization"
            if name:
                shown = f"the organization {name}"
            raise OrganizationError(
                f"{expectation.whose}, and the answers of {self._server} name {shown}",
                hint=expectation.hint,
            )
