"""Secret managers of clouds: AWS's of moto, Google's and Azure's as fakes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.secrets.clouds import Aws
from tests.servers.azure_vault import FakeAzure
from tests.servers.gcp import FakeGcp

_PREFIX = "keys-"
_FOREIGN = "the work of somebody else"


class _CloudBed:
    """Secrets whose names begin with a prefix."""

    removes = True
    holds_owner = True
    sink: str
    env: Mapping[str, str]

    def target(self, name: str) -> dict[str, Any]:
        return {self.sink: {"name": f"{_PREFIX}{name}"}}

    def planted(self, name: str, folder: Path) -> bool:
        return bool(self.keys(folder)[name] == _FOREIGN)

    def keys(self, folder: Path) -> Mapping[str, str]:
        raise NotImplementedError


class _FakeBed(_CloudBed):
    """A fake whose secrets are in this process."""

    server: Any
    _parts: tuple[str, ...]
    """The attributes that hold what is stored."""

    def keys(self, folder: Path) -> Mapping[str, str]:
        held = {name: self.server.place(name) for name in self.server.secrets}
        return {
            name.removeprefix(_PREFIX): value for name, value in held.items() if value is not None
        }

    def plant(self, name: str, folder: Path) -> None:
        self.server.add(f"{_PREFIX}{name}", _FOREIGN)

    def save(self) -> Any:
        return {part: copy.deepcopy(getattr(self.server, part)) for part in self._parts}

    def restore(self, saved: Any) -> None:
        for part in self._parts:
            setattr(self.server, part, copy.deepcopy((saved or {}).get(part, {})))

    def close(self) -> None:
        self.server.close()


class GcpBed(_FakeBed):
    """Google Secret Manager."""

    sink = "gcp_secret_manager"
    _parts = ("secrets",)

    def __init__(self) -> None:
        self.server = FakeGcp()
        self.env = self.server.env()


class AzureBed(_FakeBed):
    """Azure Key Vault."""

    sink = "azure_key_vault"
    _parts = ("secrets", "deleted")

    def __init__(self) -> None:
        self.server = FakeAzure()
        self.env = self.server.env()


class _AwsBed(_CloudBed):
    """A service of moto."""

    def __init__(self) -> None:
        self._aws = Aws(self.sink)
        self.env = self._aws.env

    def keys(self, folder: Path) -> Mapping[str, str]:
        held = {name: self._aws.place(name) for name in self._names()}
        return {
            name.removeprefix(_PREFIX): value for name, value in held.items() if value is not None
        }

    def plant(self, name: str, folder: Path) -> None:
        self._aws.set(f"{_PREFIX}{name}", _FOREIGN)

    def close(self) -> None:
        self._aws.close()

    def _names(self) -> list[str]:
        raise NotImplementedError


class SecretsManagerBed(_AwsBed):
    """AWS Secrets Manager."""

    sink = "aws_secrets_manager"

    def save(self) -> Any:
        """Name, tags and the versions of each secret, oldest first."""
        return [self._saved(secret) for secret in self._pages()]

    def _saved(self, secret: Mapping[str, Any]) -> tuple[str, Any, list[tuple[str, str]]]:
        client, name = self._aws.client, secret["Name"]
        described = client.describe_secret(SecretId=name)
        stages = described.get("VersionIdsToStages") or {}
        order = [
            version
            for stage in ("AWSPREVIOUS", "AWSCURRENT")
            for version, names in stages.items()
            if stage in names
        ]
        versions = [
            (version, client.get_secret_value(SecretId=name, VersionId=version)["SecretString"])
            for version in order
        ]
        return name, secret.get("Tags") or [], versions

    def restore(self, saved: Any) -> None:
        client = self._aws.client
        for secret in self._pages(IncludePlannedDeletion=True):
            client.delete_secret(SecretId=secret["Name"], ForceDeleteWithoutRecovery=True)
        for name, tags, versions in saved or ():
            client.create_secret(Name=name, Tags=tags)
            for id, value in versions:
                client.put_secret_value(SecretId=name, ClientRequestToken=id, SecretString=value)

    def _pages(self, **options: Any) -> Iterator[Any]:
        for page in self._aws.client.get_paginator("list_secrets").paginate(**options):
            yield from page["SecretList"]

    def _names(self) -> list[str]:
        return [secret["Name"] for secret in self._pages()]


class ParameterStoreBed(_AwsBed):
    """AWS Parameter Store."""

    sink = "aws_ssm"

    def save(self) -> Any:
        """Name, tags and values of each parameter, oldest first."""
        return [(name, self._tags(name), self._aws.readable(name)) for name in self._names()]

    def restore(self, saved: Any) -> None:
        client = self._aws.client
        for name in self._names():
            client.delete_parameter(Name=name)
        for name, tags, (first, *others) in saved or ():
            client.put_parameter(Name=name, Value=first, Type="SecureString", Tags=tags)
            for value in others:
                self._aws.set(name, value)

    def _tags(self, name: str) -> Any:
        answer = self._aws.client.list_tags_for_resource(ResourceType="Parameter", ResourceId=name)
        return answer["TagList"]

    def _names(self) -> list[str]:
        pages = self._aws.client.get_paginator("describe_parameters").paginate()
        return [parameter["Name"] for page in pages for parameter in page["Parameters"]]
