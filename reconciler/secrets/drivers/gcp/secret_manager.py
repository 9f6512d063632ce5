"""Secrets of Google Cloud Secret Manager, in the project that the environment selects.

A put adds a version, which `latest` names from then on. The owner is an annotation of the secret,
because labels are too short for it and have no capitals. A version added twice, because an answer
was lost, holds the same key; a withdrawal destroys both.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, ClassVar

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.fields import content_of, field_of
from reconciler.secrets.drivers.gcp.api import Facts, SecretManagerApi, named
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours
from reconciler.secrets.drivers.versions import Replaced, version_before

_NAME = r"^[A-Za-z0-9_-]{1,255}$"


class GcpSecretManagerSink:
    """Secrets of one project."""

    name: ClassVar[str] = "gcp_secret_manager"
    description: ClassVar[str] = (
        "A secret of Google Cloud Secret Manager, in the project of the environment."
    )
    type: ClassVar[Type] = Object(
        (
            Property(
                "name",
                Text(pattern=_NAME),
                "The name of the secret, without its project.",
                required=True,
            ),
            Property(
                "field",
                Text(min_length=1, max_length=256),
                "Writes a JSON object with the key in this field, instead of the key alone.",
            ),
        )
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._api = SecretManagerApi(context)
        self._replaced: dict[str, Replaced] = {}
        """The version before, for each token that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`gcp_secret_manager:NAME`. A secret holds one key, whatever its field."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name):
            # A path could name a secret of another project.
            raise ValueError(f'"{name}" is not the name of a secret in Google Secret Manager')
        return f"gcp_secret_manager:{name}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the secret cannot be described, or is not ours to write."""
        self._require_ours(target, self._api.facts(target), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Add a version with the key."""
        facts = self._api.facts(target)
        self._require_ours(target, facts, owner)
        if facts is None:
            facts = self._create(target, owner)
        elif facts.owner != owner:
            self._api.annotate(target, {**facts.annotations, OWNER: owner}, facts.etag)
        content = content_of(secret, target.get("field")).encode()
        try:
            version = self._api.add(target, content)
        except UncertainDeliveryError:
            version = self._arrived(target, content)
        # Remembered for the case that another sink refuses the key.
        if facts.versions and facts.token != token:
            self._replaced[token] = Replaced(facts.versions[0], facts.token)
        # The key has arrived: failed follow-up work must not look like a failed delivery.
        with suppress(SinkError):
            self._api.note(target, version, token)
        return {"version": version, "token": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The latest version, if the secret is ours."""
        facts = self._api.facts(target)
        if facts is None or not self._is_ours(target, facts, owner) or not facts.versions:
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The latest version, of any owner; None if there is none. Raises SinkError."""
        content = self._api.content(target, "latest")
        if content is None:
            return None
        try:
            stored = Secret(content.decode())
        except UnicodeDecodeError:
            raise SinkError(f"{named(target)} is binary", hint="store text in it") from None
        return field_of(stored, target.get("field"), named(target))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Destroy the version of a receipt and those before it; delete a secret without any."""
        facts = self._api.facts(target)
        if facts is None or not self._is_ours(target, facts, owner):
            return
        version, token = receipt.get("version"), receipt.get("token")
        newest = max(facts.versions, default=0)
        before = self._before(target, receipt, owner)
        # A put that was repeated may have added its version twice, and the receipt names the first.
        is_newest = (
            not isinstance(version, int) or version >= newest or facts.is_marked(newest, token)
        )
        # An interrupted put that never arrived.
        if not receipt and before and facts.is_at(newest, before):
            return
        if is_newest and before and before.version in facts.versions:
            self._put_back(target, before, newest)
            return
        withdrawn = facts.versions
        if not is_newest:
            withdrawn = [number for number in facts.versions if number <= int(version or 0)]
        for number in withdrawn:
            self._api.destroy(target, number)
        # A secret that somebody else made has a policy that would be lost.
        if facts.is_made_by_us and len(withdrawn) == len(facts.versions):
            self._api.delete(target)

    def _before(self, target: Any, receipt: Receipt, owner: str) -> Replaced | None:
        recorded = self._context.receipt(self.place(target), owner)
        return version_before(self._replaced, receipt, recorded)

    def _require_ours(self, target: Any, facts: Facts | None, owner: str) -> None:
        if facts is None or self._is_ours(target, facts, owner):
            return
        # An empty secret, made for its replication and policy, waits for a key.
        if facts.owner is not None or facts.versions:
            raise SinkError(
                f"{named(target)} {foreign_owner(facts.owner)}",
                hint="choose another name, or remove the secret",
            )

    def _is_ours(self, target: Any, facts: Facts, owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = bool(facts.token) and receipt.get("token") == facts.token
        return is_ours(facts.owner, owner, is_recorded=is_recorded)

    def _create(self, target: Any, owner: str) -> Facts:
        facts = self._api.create(target, owner)
        if facts is None:
            # Another attempt of this put, or somebody else, was faster.
            facts = self._api.facts(target)
            self._require_ours(target, facts, owner)
        return facts or Facts({OWNER: owner}, "", True, [])

    def _arrived(self, target: Any, content: bytes) -> int:
        """The version that an unanswered write added. Raises UncertainDeliveryError."""
        problem = UncertainDeliveryError(
            f"{named(target)}: Google Cloud did not answer, so it is unknown whether the key "
            "arrived",
            hint="run the same command again",
        )
        # A version has no mark of ours, so only its content shows that.
        try:
            versions = sorted(self._api.enabled(target))
            if versions and self._api.content(target, str(versions[-1])) == content:
                return versions[-1]
        except SinkError:
            raise problem from None
        raise problem

    def _put_back(self, target: Any, before: Replaced, newest: int) -> None:
        """Make the key before the newest again. `latest` never falls back by itself."""
        content = self._api.content(target, str(before.version))
        if content is not None:
            version = self._api.add(target, content)
            with suppress(SinkError):
                self._api.note(target, version, before.token)
        self._api.destroy(target, newest)
