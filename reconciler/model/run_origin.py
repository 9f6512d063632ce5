"""Where a run was started: by whom, on which machine, and from which CI job."""

from __future__ import annotations

from msgspec import Struct

_SHORT_COMMIT = 7
_SHA1_LENGTH = 40


class RunOrigin(Struct, frozen=True, omit_defaults=True):
    """Who started a run, and from where. Texts are empty where unknown, all but `host` and `user`
    outside of CI.

    `user` is the account of the process on `host`. `actor` is who triggered the job of the CI
    system named in `ci`, as that system spells it. `commit` is what the job checked out, and `url`
    is its page. The values come from the environment of whoever ran the job: they inform people and
    prove nothing.
    """

    user: str = ""
    host: str = ""
    ci: str = ""
    actor: str = ""
    repository: str = ""
    commit: str = ""
    url: str = ""

    @property
    def who(self) -> str:
        """The actor of a CI job, or else the account and the machine, as in `ada@laptop`."""
        return self.actor or f"{self.user}@{self.host}"

    @property
    def summary(self) -> str:
        """Who, in which repository, at which commit: `octocat in acme/infra@1a2b3c4`."""
        commit = self.commit
        if len(commit) >= _SHA1_LENGTH:
            commit = commit[:_SHORT_COMMIT]
        if not self.repository:
            return f"{self.who} at {commit}" if commit else self.who
        place = f"{self.who} in {self.repository}"
        return f"{place}@{commit}" if commit else place

    def describe(self) -> str:
        """The summary, with the address of the CI job in brackets where there is one."""
        return f"{self.summary} ({self.url})" if self.url else self.summary


class RunReference(Struct, frozen=True):
    """A run as reports name it: its number in the history, and who started it."""

    number: int
    origin: RunOrigin
