"""Secrets of an Azure Key Vault, the one that the environment names.

A put sets a new version. Owner and token are tags of each version. So a list without values shows
which versions are ours, and whether a write without an answer arrived. Versions cannot be deleted
one by one: a withdrawn version is disabled, and the secret is deleted with the newest.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.azure.api import ABSENT, KeyVaultApi, Version, is_disabled, named
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours, owner_tag

_NAME = r"^[0-9A-Za-z-]{1,127}$"
_TOKEN = "reconciler-token"  # noqa: S105 - the name of a tag


class KeyVaultSink:
    """Secrets of one vault."""

    name: ClassVar[str] = "azure_key_vault"
    description: ClassVar[str] = "A secret of Azure Key Vault, in the vault of the environment."
    type: ClassVar[Type] = Object(
        (Property("name", Text(pattern=_NAME), "The name of the secret.", required=True),)
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._api = KeyVaultApi(context)
        self._replaced: dict[str, str] = {}
        """The version before, for each token that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`azure_key_vault:NAME`, in lower case: vaults do not tell capitals apart."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name):
            raise ValueError(f'"{name}" is not the name of a secret in Azure Key Vault')
        return f"azure_key_vault:{name.lower()}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the versions cannot be listed, or are not ours."""
        versions = self._api.versions(target)
        self._require_ours(target, versions, owner)
        if not versions:
            self._require_free(target, owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Set a new version."""
        versions = self._api.versions(target)
        self._require_ours(target, versions, owner)
        try:
            version = self._set(target, secret, owner, token)
        except UncertainDeliveryError:
            version = self._arrived(target, token)
            if not version:
                raise
        # Remembered for the case that another sink refuses the key. A repeated put of the same key
        # replaces nothing.
        if versions and versions[0].is_enabled and versions[0].tags.get(_TOKEN) != token:
            self._replaced[token] = versions[0].id
        return {"version": version, "token": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The newest version, if it is ours."""
        answer = self._api.get(target)
        if answer.status == ABSENT or is_disabled(answer):
            return None
        self._api.require(answer, target, "read")
        if not self._is_ours(target, answer.body.get("tags") or {}, owner):
            return None
        return Secret(str(answer.body["value"]))

    def fetch(self, target: Any) -> Secret | None:
        """The newest version, of any owner; None if there is none. Raises SinkError."""
        answer = self._api.get(target)
        if answer.status == ABSENT:
            return None
        self._api.require(answer, target, "read")
        return Secret(str(answer.body["value"]))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the secret if its newest version is the receipt's, else disable that version."""
        versions = self._api.versions(target)
        if not versions:
            return
        token, newest = receipt.get("token"), versions[0].tags.get(_TOKEN)
        # A newer key is in place: only the versions of the withdrawn one lose their readers.
        if newest != token and token is not None:
            self._disable_all(target, versions, token)
            return
        if not self._is_ours(target, versions[0].tags, owner):
            return
        before = self._before(target, receipt, owner)
        if not receipt and before == versions[0].id:
            return
        if any(version.id == before and version.is_enabled for version in versions):
            self._put_back(target, str(before), versions, str(newest))
            return
        self._api.delete(target)

    def _before(self, target: Any, receipt: Receipt, owner: str) -> str | None:
        """The version whose key is valid without that of the receipt.

        A put of this run is taken back where another sink refused the key, and an interrupted one
        left the key of the state's receipt valid.
        """
        if receipt:
            return self._replaced.get(str(receipt.get("token")))
        recorded = self._context.receipt(self.place(target), owner) or {}
        return recorded.get("version")

    # --- facts

    def _require_ours(self, target: Any, versions: list[Version], owner: str) -> None:
        # Times are whole seconds: any version of the latest second may be the newest.
        newest = [version for version in versions if version.created == versions[0].created]
        for version in newest:
            if not self._is_ours(target, version.tags, owner):
                raise SinkError(
                    f"{named(target)} {foreign_owner(version.tags.get(OWNER))}",
                    hint="choose another name, or remove the secret",
                )

    def _is_ours(self, target: Any, tags: dict[str, str], owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = _TOKEN in tags and receipt.get("token") == tags[_TOKEN]
        return is_ours(tags.get(OWNER), owner, is_recorded=is_recorded)

    def _require_free(self, target: Any, owner: str) -> None:
        """Raise SinkError if a deleted secret of another owner still holds the name."""
        deleted = self._api.deleted(target)
        if deleted is None:
            return
        deleted_owner = (deleted.get("tags") or {}).get(OWNER)
        if not is_ours(deleted_owner, owner, is_recorded=False):
            raise SinkError(
                f"{named(target)} was deleted, can still be recovered, and "
                f"{foreign_owner(deleted_owner)}",
                hint="choose another name, or purge the deleted secret",
            )

    def _arrived(self, target: Any, token: str) -> str:
        """The version that an unanswered write made; empty if there is none."""
        try:
            versions = self._api.versions(target)
        except SinkError:
            return ""
        for version in versions:
            if version.tags.get(_TOKEN) == token:
                return version.id
        return ""

    # --- writes

    def _set(self, target: Any, secret: Secret, owner: str, token: str) -> str:
        tags = {OWNER: owner_tag(owner), _TOKEN: token}
        version = self._api.set(target, secret.reveal(), tags)
        # A deleted secret holds the name. Ours is recovered, which makes the name usable again.
        if version is None:
            self._require_free(target, owner)
            self._api.recover(target)
            version = self._api.set(target, secret.reveal(), tags)
        if version is None:
            raise SinkError(
                f"{named(target)} was deleted, and its recovery is not over",
                hint="run the same command again in a minute",
            )
        return version

    def _disable_all(self, target: Any, versions: list[Version], token: str) -> None:
        """Disable the versions with the key of a token."""
        for version in versions:
            if version.tags.get(_TOKEN) == token and version.is_enabled:
                self._api.disable(target, version)

    def _put_back(self, target: Any, before: str, versions: list[Version], token: str) -> None:
        """Set the version before again: readers get the newest, even where it is disabled."""
        answer = self._api.get(target, before)
        self._api.require(answer, target, "read")
        # With its own tags, so that the copy counts as the version before.
        self._api.set(target, str(answer.body["value"]), dict(answer.body.get("tags") or {}))
        self._disable_all(target, versions, token)
