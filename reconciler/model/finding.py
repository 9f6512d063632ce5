"""Findings: statements of a run about one subject, in the terms that all report formats share.

Plans, drift, outcomes, checks and errors become findings; SARIF, JUnit, GitLab and GitHub show
nothing else. A command with results of another type converts them into findings, and every format
can report them.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from msgspec import Struct

from reconciler.model.address import Address
from reconciler.model.diagnostic import SourceLocation

_ID_LENGTH = 12


class Level(StrEnum):
    """How serious a finding is, in the words of SARIF. `none` is only counted."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NONE = "none"


class CaseVerdict(StrEnum):
    """The result of a finding as a test case."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    SKIPPED = "skipped"


class FindingRule(Struct, frozen=True):
    """A class of findings. `name` is part of the id of each finding and must not change."""

    name: str
    title: str
    help: str = ""


class Finding(Struct, frozen=True):
    """One statement about one subject. `message` is a sentence; `detail` has further lines."""

    rule: FindingRule
    message: str
    level: Level = Level.NONE
    verdict: CaseVerdict = CaseVerdict.PASSED
    address: Address | None = None
    subject: str = ""
    """What the finding is about, if that has no address."""
    key: str = ""
    """Distinguishes findings of the same rule about the same subject."""
    location: SourceLocation | None = None
    detail: str = ""
    seconds: float = 0.0
    known_id: str = ""
    """The id, if the result has one of its own."""

    @property
    def about(self) -> str:
        """The address, or the subject."""
        return str(self.address) if self.address else self.subject

    @property
    def sentence(self) -> str:
        """The message, after what it is about unless it begins with that."""
        if not self.about or self.message.startswith(self.about):
            return self.message
        return f"{self.about}: {self.message}"

    @property
    def id(self) -> str:
        """The same for the same rule and subject in every run and format, wherever it is declared."""
        return self.known_id or finding_id(self.rule, self.about, self.key)


def finding_id(rule: FindingRule, about: str, key: str = "") -> str:
    """`drift-3f2a9c01b7de`: the rule, and a digest of what the finding is about."""
    # Code hosts tell new findings from known ones by the id, so nothing that changes from run to
    # run, such as the message or the position in the file, may enter it.
    identity = "\0".join((rule.name, about, key)).encode("utf-8", "surrogatepass")
    return f"{rule.name}-{hashlib.sha256(identity).hexdigest()[:_ID_LENGTH]}"
