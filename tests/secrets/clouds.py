"""Secret managers of clouds for tests: what a reader of a secret gets, and what somebody else does to it."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.exceptions import ClientError

from reconciler.api.transport.side_client import connect
from reconciler.model.address import Address
from reconciler.model.secret import Redactor
from reconciler.secrets import SinkSet
from tests.servers.aws import REGION, aws_env, start_aws
from tests.servers.azure_vault import FakeAzure
from tests.servers.fakes import FakeService
from tests.servers.gcp import FakeGcp


class Cloud(Protocol):
    """A secret manager, empty."""

    sink: str
    """The name of its driver."""
    address_variable: str
    """The variable with the address of the server."""
    env: dict[str, str]
    can_be_empty: bool
    """Whether a secret can exist without a value."""
    forgets_versions: bool
    """Whether an old version can be taken from its readers."""

    def place(self, name: str) -> str | None:
        """What an application reads; None if there is nothing."""

    def readable(self, name: str) -> list[str]:
        """All that can be read, with versions, oldest first."""

    def hold(self, name: str, value: str | None) -> None:
        """Have a secret that somebody else made, with or without a value."""

    def set(self, name: str, value: str) -> None:
        """Have another value of somebody else's secret."""

    def close(self) -> None: ...


class FakeCloud:
    """A fake in this process."""

    def __init__(self, sink: str, service: FakeService, variable: str, **traits: bool) -> None:
        self.sink = sink
        self.service = service
        self.address_variable = variable
        self.env: dict[str, str] = service.env()  # type: ignore[attr-defined]
        self.can_be_empty = traits["can_be_empty"]
        self.forgets_versions = True

    def place(self, name: str) -> str | None:
        return self.service.place(name)  # type: ignore[attr-defined, no-any-return]

    def readable(self, name: str) -> list[str]:
        return self.service.readable(name)  # type: ignore[attr-defined, no-any-return]

    def hold(self, name: str, value: str | None) -> None:
        self.service.hold(name, *([] if value is None else [value]))  # type: ignore[attr-defined]

    def set(self, name: str, value: str) -> None:
        self.service.hold(name, value)  # type: ignore[attr-defined]

    def close(self) -> None:
        self.service.close()


class Aws:
    """Secrets Manager or Parameter Store of moto."""

    address_variable = "AWS_ENDPOINT_URL"

    def __init__(self, sink: str) -> None:
        self.sink = sink
        self.can_be_empty = sink == "aws_secrets_manager"
        self.forgets_versions = sink == "aws_secrets_manager"
        self.endpoint = start_aws()
        self.env = aws_env(self.endpoint)
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        urllib.request.urlopen(request).close()

    @cached_property
    def client(self) -> Any:
        """The client of whoever else uses the account."""
        service = "secretsmanager" if self.sink == "aws_secrets_manager" else "ssm"
        return boto3.session.Session("id-of-a-person", "key-of-a-person", None, REGION).client(
            service, endpoint_url=self.endpoint
        )

    def place(self, name: str) -> str | None:
        if self.sink == "aws_ssm":
            return self._parameter(name)
        return self._secret(name, VersionStage="AWSCURRENT")

    def readable(self, name: str) -> list[str]:
        if self.sink == "aws_ssm":
            history = self.client.get_parameter_history(Name=name, WithDecryption=True)
            return [version["Value"] for version in history["Parameters"]]
        stages = ("AWSPREVIOUS", "AWSCURRENT")
        values = [self._secret(name, VersionStage=stage) for stage in stages]
        return [value for value in values if value is not None]

    def hold(self, name: str, value: str | None) -> None:
        if self.sink == "aws_ssm":
            self.client.put_parameter(Name=name, Value=value, Type="SecureString")
        else:
            self.client.create_secret(
                Name=name, **({} if value is None else {"SecretString": value})
            )

    def set(self, name: str, value: str) -> None:
        if self.sink == "aws_ssm":
            self.client.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)
        elif self.place(name) is None:
            self.hold(name, value)
        else:
            self.client.put_secret_value(SecretId=name, SecretString=value)

    def close(self) -> None:
        """The server serves other tests too."""

    def _secret(self, name: str, **version: str) -> str | None:
        try:
            return str(self.client.get_secret_value(SecretId=name, **version)["SecretString"])
        except ClientError:
            return None

    def _parameter(self, name: str) -> str | None:
        try:
            answer = self.client.get_parameter(Name=name, WithDecryption=True)
        except ClientError:
            return None
        return str(answer["Parameter"]["Value"])


CLOUDS: Mapping[str, Callable[[], Cloud]] = {
    "aws_secrets_manager": partial(Aws, "aws_secrets_manager"),
    "aws_ssm": partial(Aws, "aws_ssm"),
    "gcp_secret_manager": lambda: FakeCloud(
        "gcp_secret_manager",
        FakeGcp(),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER",
        can_be_empty=True,
    ),
    "azure_key_vault": lambda: FakeCloud(
        "azure_key_vault", FakeAzure(), "AZURE_KEYVAULT_URL", can_be_empty=False
    ),
}


@contextmanager
def cloud_named(sink: str) -> Iterator[Cloud]:
    """An empty secret manager."""
    cloud = CLOUDS[sink]()
    try:
        yield cloud
    finally:
        cloud.close()


OPEN: list[SinkSet] = []
"""What `sinks_of` has made, for the fixture that closes it."""


def sinks_of(
    env: Mapping[str, str],
    *,
    redactor: Redactor | None = None,
    owner: str = "acme/prod",
    sleep: Callable[[float], object] = lambda _: None,
    permit: Callable[[], None] = lambda: None,
    deliveries: Callable[[], Iterable[tuple[Address, Any]]] = tuple,
) -> SinkSet:
    """The sinks of a run, which wait for nothing."""
    sinks = SinkSet(
        Path("/nonexistent"),
        redactor or Redactor(),
        owner=owner,
        env=env,
        deliveries=deliveries,
        connect=partial(connect, environ=env),
        permit=permit,
        sleep=sleep,
    )
    OPEN.append(sinks)
    return sinks
