"""The origin of a run: the person, the machine, and the CI job that started it."""

from __future__ import annotations

from msgspec import Struct

_SHORT_COMMIT = 7
_SHA1_LENGTH = 40


class RunOrigin(Struct, frozen=True, omit_defaults=True):
    """The origin of a run. Unknown texts are empty, and outside of CI all but `host` and `user` are.

    `user` is the account of the process on `host`. `actor` is the person who triggered the job of
    the CI system named in `ci`, as that system spells it. `commit` is the commit that the job
    checked out, and `url` is the page of the job. The values come from the environment of the
    process: they inform people and prove nothing.
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
        text, joint = self.who, " at "
        if self.repository:
            text, joint = f"{text} in {self.repository}", "@"
        if not self.commit:
            return text
        commit = self.commit
        # Only a full hash is cut: a shorter text may be a name.
        if len(commit) >= _SHA1_LENGTH:
            commit = commit[:_SHORT_COMMIT]
        return f"{text}{joint}{commit}"

    def describe(self) -> str:
        """The summary, followed by the address of the CI job in brackets, if there is one."""
        return f"{self.summary} ({self.url})" if self.url else self.summary


class RunReference(Struct, frozen=True):
    """A run as reports name it: its number in the history, and who started it."""

    number: int
    origin: RunOrigin
