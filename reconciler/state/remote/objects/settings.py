"""Credentials, region and endpoint of a bucket, from the usual environment variables alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.remote.objects.address import BucketAddress
from reconciler.state.remote.objects.aws_profile import profile_settings

_AWS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_STS_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_IMDSV1_FALLBACK",
    "AWS_SKIP_SIGNATURE",
    "AWS_UNSIGNED_PAYLOAD",
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_REQUEST_PAYER",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_SSE_CUSTOMER_KEY_BASE64",
    "AWS_DISABLE_BULK_DELETE",
)
_AZURE = (
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_USE_AZURE_CLI",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "AZURE_OBJECT_ID",
    "AZURE_MSI_RESOURCE_ID",
    "AZURE_CREDENTIAL_TYPE",
    "AZURE_SKIP_SIGNATURE",
)
_AZURE_CLI = {
    "AZURE_STORAGE_ACCOUNT": "azure_storage_account_name",
    "AZURE_STORAGE_KEY": "azure_storage_account_key",
}
"""The names of the same settings for the Azure command line."""
_CONNECTION_STRING = {
    "accountname": "azure_storage_account_name",
    "accountkey": "azure_storage_account_key",
    "sharedaccesssignature": "azure_storage_sas_token",
    "blobendpoint": "azure_storage_endpoint",
}
_GOOGLE = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_BASE_URL",
    "GOOGLE_SKIP_SIGNATURE",
)
_ENDPOINTS = {
    "s3": ("aws_endpoint_url_s3", "aws_endpoint_url"),
    "az": ("azure_storage_endpoint", "azure_endpoint"),
    "gs": ("google_base_url",),
}
_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_")
_URL_VARIABLES = ("_endpoint", "_url", "_url_s3", "_full_uri", "_authority_host")
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?"
    r"(/[A-Za-z0-9._~/?=&-]*)?"
)
_LAST_PORT = 65535
_REGION = re.compile(r"[A-Za-z0-9-]+")


class BucketSettings(Struct, frozen=True):
    """The settings of a bucket for the library. `config` contains secrets and is never printed."""

    config: Mapping[str, str]
    endpoint: str
    """The endpoint that the environment gives; empty for the provider's own."""
    region: str
    allow_http: bool

    def __repr__(self) -> str:
        return f"BucketSettings(endpoint={self.endpoint!r}, region={self.region!r})"


def read_settings(address: BucketAddress, env: Mapping[str, str]) -> BucketSettings:
    """The settings of a bucket. Raises StateError where a variable is malformed or missing."""
    config = _READERS[address.scheme](env)
    _refuse_unprintable(config)
    _check_urls(config)
    variable = next((name for name in _ENDPOINTS[address.scheme] if config.get(name)), "")
    endpoint = config.get(variable, "")
    region = config.get("aws_region") or config.get("aws_default_region") or ""
    if region and not _REGION.fullmatch(region):
        raise StateError(f"AWS_REGION {region!r} is not the name of a region.")
    allowed = _is_true(env.get("AWS_ALLOW_HTTP")) or _is_true(env.get("AZURE_ALLOW_HTTP"))
    if not allowed:
        _refuse_plain_http(variable.upper(), endpoint)
    return BucketSettings(config, endpoint, region, allow_http=endpoint.startswith("http://"))


@contextmanager
def only_variables_of(env: Mapping[str, str]) -> Iterator[None]:
    """Hide the providers' variables of this process that `env` does not have, or that are empty."""
    # The library also reads the variables of the process, and panics on some that are empty. CI
    # systems set an empty variable for a secret that does not exist.
    hidden = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PREFIXES) and (not value or env.get(name) != value)
    }
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _aws(env: Mapping[str, str]) -> dict[str, str]:
    config = profile_settings(env)
    config.update(_present(env, _AWS))
    # Set after the environment: a variable that turns conditional writes off would turn fencing off.
    config["aws_conditional_put"] = "etag"
    return config


def _azure(env: Mapping[str, str]) -> dict[str, str]:
    config: dict[str, str] = {}
    for field in env.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";"):
        name, _, value = field.partition("=")
        if name.strip().lower() in _CONNECTION_STRING:
            config[_CONNECTION_STRING[name.strip().lower()]] = value.strip()
    for name, setting in _AZURE_CLI.items():
        if env.get(name):
            config[setting] = env[name]
    config.update(_present(env, _AZURE))
    if "azure_storage_account_name" not in config:
        raise StateError(
            "The address az://… needs the name of the storage account.",
            hint="Set AZURE_STORAGE_ACCOUNT_NAME.",
        )
    return config


def _google(env: Mapping[str, str]) -> dict[str, str]:
    return _present(env, _GOOGLE)


_READERS = {"s3": _aws, "az": _azure, "gs": _google}


def _present(env: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    # An empty variable means the same as none, as in the providers' own programs.
    return {name.lower(): env[name] for name in names if env.get(name)}


def _refuse_unprintable(config: Mapping[str, str]) -> None:
    """Refuse values that no HTTP header may contain, such as a line break after a key: the library
    panics on them.
    """
    for name, value in config.items():
        # A service account's key is a JSON document of several lines, and goes into no header.
        if name == "google_service_account_key":
            continue
        if not value.isascii() or not value.isprintable():
            raise StateError(
                f"{name.upper()} contains a line break or a character that is not printable ASCII.",
                hint="Set it again without surrounding white space.",
            )


def _check_urls(config: Mapping[str, str]) -> None:
    for name, value in config.items():
        if not name.endswith(_URL_VARIABLES):
            continue
        match = _URL.fullmatch(value)
        if match is None or int(match["port"] or 0) > _LAST_PORT:
            raise StateError(
                f"{name.upper()} is not a valid URL.",
                hint="Write https://HOST or https://HOST:PORT, without credentials.",
            )


def _refuse_plain_http(variable: str, endpoint: str) -> None:
    match = _URL.fullmatch(endpoint)
    if match and match["scheme"] == "http" and not _is_loopback(match["host"].strip("[]")):
        raise StateError(
            f"{variable} is an http address, which would send the state unencrypted.",
            hint="Use https, or set AWS_ALLOW_HTTP=true if the network is trusted.",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_true(value: str | None) -> bool:
    return (value or "").strip().lower() in {"1", "true", "yes", "on"}
