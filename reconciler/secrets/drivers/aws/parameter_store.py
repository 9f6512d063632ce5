"""SecureString parameters of AWS Systems Manager's Parameter Store.

Readers of the plain name get the newest version. The labels `current` and `previous` name the
versions of this key and the one before, and a tag has version and token of ours. AWS can remove a
parameter, but none of its old versions: a withdrawn version loses its label, and the key that stays
in the history no longer works.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, ClassVar

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.secret import Secret
from reconciler.model.sinks import Receipt, SinkContext
from reconciler.model.types import Object, Property, Text, Type
from reconciler.secrets.drivers.aws.client import AwsClient, AwsError, AwsService
from reconciler.secrets.drivers.owners import OWNER, foreign_owner, is_ours, owner_tag
from reconciler.secrets.drivers.versions import Replaced, mark_of, version_before

_SERVICE = AwsService("ssm", "AWS Parameter Store", "AWS_ENDPOINT_URL_SSM")
_NAME = r"^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+){0,14}$"
_LONGEST_NAME = 1011
_RESERVED = re.compile(r"^/?(aws|ssm)", re.IGNORECASE)
_CURRENT, _PREVIOUS = "current", "previous"
_ABSENT = {"InvalidResourceId", "ParameterNotFound", "ParameterVersionNotFound"}
_TAKEN = "ParameterAlreadyExists"
_TAGGED = "Parameter"
_TOKEN = "reconciler-token"  # noqa: S105 - the name of a tag


class ParameterStoreSink:
    """Parameters of the account and region that the environment selects."""

    name: ClassVar[str] = "aws_ssm"
    description: ClassVar[str] = (
        "A SecureString parameter of AWS Parameter Store, in the account and region of the "
        "environment."
    )
    type: ClassVar[Type] = Object(
        (
            Property(
                "name",
                Text(pattern=_NAME, max_length=_LONGEST_NAME),
                "The name of the parameter, such as `/search/openai`, not its ARN.",
                required=True,
            ),
        )
    )
    keeps_versions: ClassVar[bool] = True
    reads_back: ClassVar[bool] = True

    def __init__(self, context: SinkContext) -> None:
        self._context = context
        self._aws = AwsClient(_SERVICE, context)
        self._replaced: dict[str, Replaced] = {}
        """The version before, for each token that this run put."""

    @staticmethod
    def place(target: Any) -> str:
        """`aws_ssm:NAME`. Without a folder, AWS takes `/name` and `name` for the same."""
        name = str(target["name"])
        if not re.fullmatch(_NAME, name) or _RESERVED.match(name):
            raise ValueError(f'"{name}" is not the name of a parameter in AWS Parameter Store')
        if name.count("/") == 1:
            name = name.removeprefix("/")
        return f"aws_ssm:{name}"

    def check(self, target: Any, *, owner: str) -> None:
        """Raise SinkError if the parameter's tags cannot be read, or are not ours."""
        self._require_ours(target, self._tags(target), owner)

    def put(self, target: Any, secret: Secret, *, owner: str, token: str) -> Receipt:
        """Add a version, and label it. A repeated put adds one more with the same key."""
        tags = self._tags(target)
        self._require_ours(target, tags, owner)
        before = None
        if tags is not None:
            before = self._newest(target)
        tag = owner_tag(owner)
        # AWS takes tags only with the first version, whose number is 1.
        first = {OWNER: tag, _TOKEN: mark_of(1, token)}
        try:
            version = self._write(target, secret.reveal(), owner, tags, first)
        except AwsError as error:
            if error.may_have_happened:
                raise UncertainDeliveryError(
                    f"{_named(target)}: {error.problem}, so it is unknown whether the key arrived",
                    hint="run the same command again",
                ) from None
            raise _sink_error(target, error) from None
        if before is not None and tags is not None and _token_in(tags) != token:
            self._replaced[token] = Replaced(before, _token_in(tags))
        # The key has arrived: a permission that is missing for labels must not look like a failure.
        with suppress(AwsError):
            self._note(target, version, before, {OWNER: tag, _TOKEN: mark_of(version, token)})
        return {"version": version, "token": token}

    def read(self, target: Any, *, owner: str) -> Secret | None:
        """The newest version, if the parameter is ours."""
        tags = self._tags(target)
        if tags is None or not self._is_ours(target, tags, owner):
            return None
        return self.fetch(target)

    def fetch(self, target: Any) -> Secret | None:
        """The newest version, of any owner; None if there is none. Raises SinkError."""
        try:
            answer = self._aws.read("get_parameter", Name=target["name"], WithDecryption=True)
        except AwsError as error:
            if error.code in _ABSENT:
                return None
            raise _sink_error(target, error) from None
        return Secret(str(answer["Parameter"]["Value"]))

    def withdraw(self, target: Any, receipt: Receipt, *, owner: str) -> None:
        """Delete the parameter if the key is its newest version, or take the label of an old one."""
        tags = self._tags(target)
        if tags is None or not self._is_ours(target, tags, owner):
            return
        version, token = receipt.get("version"), receipt.get("token")
        before = self._before(target, receipt, owner)
        try:
            newest = self._version(target)
            # Gone, or an interrupted put that never arrived.
            if newest is None or (not receipt and before and _is_at(before, newest, tags)):
                return
            is_newest = version == newest or tags.get(_TOKEN) == mark_of(newest, token)
            if isinstance(version, int) and not is_newest:
                self._remove_label(target, version)
            elif before is not None:
                self._put_back(target, before, owner)
            else:
                self._aws.write("delete_parameter", Name=target["name"])
        except AwsError as error:
            if error.code not in _ABSENT:
                raise _sink_error(target, error) from None

    def _before(self, target: Any, receipt: Receipt, owner: str) -> Replaced | None:
        recorded = self._context.receipt(self.place(target), owner)
        return version_before(self._replaced, receipt, recorded)

    # --- facts

    def _tags(self, target: Any) -> dict[str, str] | None:
        """The tags of the parameter, None if it does not exist. Raises SinkError."""
        try:
            answer = self._aws.read(
                "list_tags_for_resource", ResourceType=_TAGGED, ResourceId=target["name"]
            )
        except AwsError as error:
            if error.code in _ABSENT:
                return None
            raise _sink_error(target, error) from None
        return {tag["Key"]: tag.get("Value", "") for tag in answer.get("TagList") or ()}

    def _require_ours(self, target: Any, tags: dict[str, str] | None, owner: str) -> None:
        if tags is not None and not self._is_ours(target, tags, owner):
            raise SinkError(
                f"{_named(target)} {foreign_owner(tags.get(OWNER))}",
                hint="choose another name, or remove the parameter",
            )

    def _is_ours(self, target: Any, tags: dict[str, str], owner: str) -> bool:
        receipt = self._context.receipt(self.place(target), owner) or {}
        is_recorded = bool(_token_in(tags)) and receipt.get("token") == _token_in(tags)
        return is_ours(tags.get(OWNER), owner, is_recorded=is_recorded)

    def _version(self, target: Any, label: str = "") -> int | None:
        """The number of the newest or the labelled version."""
        name = target["name"]
        if label:
            name += f":{label}"
        # Without decryption, the answer does not show the value.
        try:
            answer = self._aws.read("get_parameter", Name=name, WithDecryption=False)
        except AwsError as error:
            if error.code in _ABSENT:
                return None
            raise
        return int(answer["Parameter"]["Version"])

    def _newest(self, target: Any) -> int | None:
        """The version of the key before, where the permission to ask for it exists."""
        try:
            return self._version(target)
        except AwsError:
            return None

    # --- writes

    def _write(
        self,
        target: Any,
        value: str,
        owner: str,
        tags: dict[str, str] | None,
        own_tags: dict[str, str],
    ) -> int:
        """Write a value, and return the number of its version. `own_tags` are the tags to have."""
        parameter = {"Name": target["name"], "Value": value, "Type": "SecureString"}
        if tags is None:
            try:
                answer = self._aws.write("put_parameter", Tags=_listed(own_tags), **parameter)
                return int(answer["Version"])
            except AwsError as error:
                # An earlier attempt of this put, or somebody else, was faster.
                if error.code != _TAKEN:
                    raise
                self._require_ours(target, self._tags(target), owner)
        answer = self._aws.write("put_parameter", Overwrite=True, **parameter)
        return int(answer["Version"])

    def _note(
        self, target: Any, version: int, before: int | None, own_tags: dict[str, str]
    ) -> None:
        """Tag the token, and move the labels. AWS takes a label from the version that had it."""
        if before is not None:
            self._aws.write(
                "add_tags_to_resource",
                ResourceType=_TAGGED,
                ResourceId=target["name"],
                Tags=_listed(own_tags),
            )
        labels = {version: _CURRENT}
        if before is not None and before != version:
            labels[before] = _PREVIOUS
        for number, label in labels.items():
            self._aws.write(
                "label_parameter_version",
                Name=target["name"],
                ParameterVersion=number,
                Labels=[label],
            )

    def _remove_label(self, target: Any, version: int) -> None:
        if version == self._version(target, _PREVIOUS):
            self._aws.write(
                "unlabel_parameter_version",
                Name=target["name"],
                ParameterVersion=version,
                Labels=[_PREVIOUS],
            )

    def _put_back(self, target: Any, before: Replaced, owner: str) -> None:
        """Write the key before again, which is still valid."""
        name = f"{target['name']}:{before.version}"
        answer = self._aws.read("get_parameter", Name=name, WithDecryption=True)
        value = str(answer["Parameter"]["Value"])
        # As a new version: readers of the plain name always get the newest.
        version = self._write(target, value, owner, {}, {})
        own_tags = {OWNER: owner_tag(owner), _TOKEN: mark_of(version, before.token)}
        with suppress(AwsError):
            self._note(target, version, before.version, own_tags)


def _is_at(before: Replaced, version: int, tags: dict[str, str]) -> bool:
    """Whether the version before is a version, or that is a copy of it."""
    return before.version == version or tags.get(_TOKEN) == mark_of(version, before.token)


def _token_in(tags: dict[str, str]) -> str:
    return tags.get(_TOKEN, "").partition(".")[2]


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _named(target: Any) -> str:
    return f'the parameter "{target["name"]}" in AWS Parameter Store'


def _sink_error(target: Any, error: AwsError) -> SinkError:
    return error.sink_error(_named(target))
