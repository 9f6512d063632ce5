"""Secrets of AWS Secrets Manager.

The id of a version is the token of the delivery, so a repeated put makes no second version, and
whether a lost one arrived can be looked up without reading the secret. The new key becomes
AWSCURRENT, the one before stays readable as AWSPREVIOUS until it is withdrawn.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from msgspec import Struct

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.aws.client import AwsClient, AwsError, AwsService
from reconciler.secrets.drivers.fields import content_of, field_of
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours, owner_tag

RECOVERY_DAYS = 7
"""How long a withdrawn secret can be restored; the shortest time that AWS offers."""

_SERVICE = AwsService("secretsmanager", "AWS Secrets Manager", "AWS_ENDPOINT_URL_SECRETS_MANAGER")
_NAME = r"^[A-Za-z0-9/_+=.@-]{1,512}$"
_CURRENT, _PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_ABSENT = "ResourceNotFoundException"
_TAKEN = "ResourceExistsException"


class _Facts(Struct, frozen=True):
    """The facts about a secret that are known without reading it."""

    owner: str | None
    stages: dict[str, list[str]]
    """The stages of each version by its id."""
    is_deleted: bool
    """Whether it waits for its deletion."""
    obstacle: str
    """Why no version may be added; empty if one may."""

    @property
    def current(self) -> str | None:
        """The id of the version that readers get."""
        return next((id for id, stages in self.stages.items() if _CURRENT in stages), None)


class SecretsManagerSink:
    """Secrets of the account and region that the environment selects."""

    name: ClassVar[str] = "aws_secrets_manager"
    description: ClassVar[str] = (
        "A secret of AWS Secrets Manager, in the account and region of the environment."
    )
    type: ClassVar[Type] = Object(
        (
            Property(
                "name", Text(pattern=_NAME), "The name of the secret, not its ARN.", required=True
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
        self._aws = AwsClient(_SERVICE, context)
        self._replaced: dict[str, str] = {}
        """The version before, for each version that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`aws_secrets_manager:NAME`. A secret holds one key, whatever its field."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name):
            # An ARN could name a secret of another account.
            raise ValueError(f'"{name}" is not the name of a secret in AWS Secrets Manager')
        return f"aws_secrets_manager:{name}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the secret cannot be described, or is not ours to write."""
        self._require_ours(target, self._facts(target), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Make the key the current version, under the token as its id."""
        facts = self._facts(target)
        self._require_ours(target, facts, owner)
        content = content_of(secret, target.get("field"))
        try:
            if facts is None:
                self._create(target, content, owner, token)
            else:
                self._add(target, facts, content, owner, token)
        except AwsError as error:
            if error.may_have_happened and not self._has_arrived(target, token):
                raise UncertainDeliveryError(
                    f"{_named(target)}: {error.problem}, so it is unknown whether the key arrived",
                    hint="run the same command again",
                ) from None
            if not error.may_have_happened:
                raise _sink_error(target, error) from None
        if facts is not None and facts.current and not facts.is_deleted and facts.current != token:
            self._replaced[token] = facts.current
        return {"version": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The current version, if the secret is ours."""
        facts = self._facts(target)
        if facts is None or facts.is_deleted or not self._is_ours(target, facts, owner):
            return None
        # A secret that was made for its policy has no version yet.
        if not facts.current:
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The current version, of any owner; None if there is none. Raises SinkError."""
        try:
            # Only with its stage is it certain which version is meant.
            answer = self._aws.read(
                "get_secret_value", SecretId=target["name"], VersionStage=_CURRENT
            )
        except AwsError as error:
            if error.code == _ABSENT:
                return None
            raise _sink_error(target, error) from None
        if not isinstance(answer.get("SecretString"), str):
            raise SinkError(f"{_named(target)} is binary", hint="store text in it")
        return field_of(Secret(answer["SecretString"]), target.get("field"), _named(target))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Take the stage of an earlier version, or schedule the secret's deletion."""
        facts = self._facts(target)
        if facts is None or facts.is_deleted or not self._is_ours(target, facts, owner):
            return
        before = self._before(target, receipt, owner)
        version = receipt.get("version") or facts.current
        # An interrupted put that never arrived.
        if not receipt and before == facts.current:
            return
        try:
            if version != facts.current and facts.current:
                self._remove_stage(target, facts, str(version))
            elif before in facts.stages:
                self._put_back(target, str(before), str(version))
            else:
                self._delete(target["name"])
        except AwsError as error:
            if error.code != _ABSENT:
                raise _sink_error(target, error) from None

    def _before(self, target: Any, receipt: Receipt, owner: str) -> str | None:
        """The version whose key is valid without that of the receipt.

        A put of this run is taken back where another sink refused the key, and an interrupted one
        left the key of the state's receipt valid.
        """
        if receipt:
            return self._replaced.get(str(receipt.get("version")))
        recorded = self._context.receipt(self.place(target), owner) or {}
        return recorded.get("version")

    # --- facts

    def _facts(self, target: Any) -> _Facts | None:
        """None for a secret that does not exist. Raises SinkError."""
        try:
            answer = self._aws.read("describe_secret", SecretId=target["name"])
        except AwsError as error:
            if error.code == _ABSENT:
                return None
            raise _sink_error(target, error) from None
        tags = {tag["Key"]: tag.get("Value", "") for tag in answer.get("Tags") or ()}
        return _Facts(
            owner=tags.get(OWNER),
            stages=answer.get("VersionIdsToStages") or {},
            is_deleted=answer.get("DeletedDate") is not None,
            obstacle=_obstacle(answer),
        )

    def _require_ours(self, target: Any, facts: _Facts | None, owner: str) -> None:
        if facts is None:
            return
        # An empty secret, made for its encryption key and policy, waits for a key.
        is_empty = facts.owner is None and not any(facts.stages.values()) and not facts.is_deleted
        if not self._is_ours(target, facts, owner) and not is_empty:
            raise SinkError(
                f"{_named(target)} {foreign_owner(facts.owner)}",
                hint="choose another name, or remove the secret",
            )
        if facts.obstacle:
            raise SinkError(f"{_named(target)} {facts.obstacle}", hint="choose another name")

    def _is_ours(self, target: Any, facts: _Facts, owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = facts.current is not None and receipt.get("version") == facts.current
        return is_ours(facts.owner, owner, is_recorded=is_recorded)

    def _has_arrived(self, target: Any, token: str) -> bool:
        try:
            facts = self._facts(target)
        except SinkError:
            return False
        return facts is not None and facts.current == token

    # --- writes

    def _create(self, target: Any, content: str, owner: str, token: str) -> None:
        try:
            self._aws.write(
                "create_secret",
                Name=target["name"],
                Description="An API key that reconciler delivers and rotates.",
                ClientRequestToken=token,
                SecretString=content,
                Tags=[{"Key": OWNER, "Value": owner_tag(owner)}],
            )
        except AwsError as error:
            # Another attempt of this put, or somebody else, was faster.
            if error.code != _TAKEN:
                raise
            facts = self._facts(target)
            self._require_ours(target, facts, owner)
            if facts is None:
                raise
            self._add(target, facts, content, owner, token)

    def _add(self, target: Any, facts: _Facts, content: str, owner: str, token: str) -> None:
        name = target["name"]
        # A deleted secret keeps its name for days, and takes no version.
        if facts.is_deleted:
            self._aws.write("restore_secret", SecretId=name)
        if facts.owner != owner_tag(owner):
            tags = [{"Key": OWNER, "Value": owner_tag(owner)}]
            self._aws.write("tag_resource", SecretId=name, Tags=tags)
        try:
            self._aws.write(
                "put_secret_value",
                SecretId=name,
                # The id of the version: AWS answers a repetition with the version that is there.
                ClientRequestToken=token,
                SecretString=content,
            )
        except AwsError as error:
            if facts.is_deleted and not error.may_have_happened:
                # The restored value is a key that no longer works.
                self._delete(name)
            raise

    def _remove_stage(self, target: Any, facts: _Facts, version: str) -> None:
        """Take an earlier version from its readers."""
        if _PREVIOUS in facts.stages.get(version, ()):
            self._aws.write(
                "update_secret_version_stage",
                SecretId=target["name"],
                VersionStage=_PREVIOUS,
                RemoveFromVersionId=version,
            )

    def _put_back(self, target: Any, before: str, version: str) -> None:
        """Make the version before the current one again, whose key is still valid."""
        self._aws.write(
            "update_secret_version_stage",
            SecretId=target["name"],
            VersionStage=_CURRENT,
            MoveToVersionId=before,
            RemoveFromVersionId=version,
        )
        # AWS has moved the stage of the version before to the withdrawn one.
        facts = self._facts(target)
        if facts is not None:
            self._remove_stage(target, facts, version)

    def _delete(self, name: str) -> None:
        self._aws.write("delete_secret", SecretId=name, RecoveryWindowInDays=RECOVERY_DAYS)


def _obstacle(answer: dict[str, Any]) -> str:
    if answer.get("OwningService"):
        return "is managed by another service of AWS"
    if answer.get("RotationEnabled"):
        return "is rotated by AWS, which would overwrite the key"
    primary = answer.get("PrimaryRegion")
    if primary and f":{primary}:" not in str(answer.get("ARN", "")):
        return f"is a replica of a secret in {primary} and cannot be written here"
    return ""


def _named(target: Any) -> str:
    return f'the secret "{target["name"]}" in AWS Secrets Manager'


def _sink_error(target: Any, error: AwsError) -> SinkError:
    return error.sink_error(_named(target))
