"""Claims about credentials of clouds: every usual source works, and what is missing or wrong is named with its cure."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets.drivers.gcp.checksum import crc32c
from reconciler.secrets.drivers.owners import owner_tag
from tests.secrets.clouds import OPEN, sinks_of
from tests.servers.aws import aws_env, start_aws
from tests.servers.azure_vault import CLIENT, CLIENT_SECRET, FEDERATED_TOKEN, TENANT, FakeAzure
from tests.servers.azure_vault import refused as azure_refusal
from tests.servers.fakes import Call, FakeService, Refusal
from tests.servers.gcp import PROJECT, FakeGcp
from tests.servers.gcp import refused as gcp_refusal

INDEXER = Address.parse("ServiceAccount/search/indexer")
KEY = Secret("sk-svcacct-the-key-of-the-indexer")
TOKEN = "0" * 32
GCP, AZURE = {"gcp_secret_manager": {"name": "openai"}}, {"azure_key_vault": {"name": "openai"}}
SECRETS_MANAGER = {"aws_secrets_manager": {"name": "openai"}}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def gcp() -> Iterator[FakeGcp]:
    with FakeGcp() as running:
        yield running


@pytest.fixture
def azure() -> Iterator[FakeAzure]:
    with FakeAzure() as running:
        yield running


def put(
    target: Mapping[str, Any], env: Mapping[str, str], redactor: Redactor | None = None
) -> None:
    sinks = sinks_of(env, redactor=redactor)
    sinks.check(target, address=INDEXER)
    sinks.put(target, KEY, address=INDEXER, token=TOKEN)


def refusal(target: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """What the check of a target says, with its cure."""
    with pytest.raises(SinkError) as caught:
        sinks_of(env).check(target, address=INDEXER)
    assert caught.value.hint
    return f"{caught.value} | {caught.value.hint}"


# --- Google Cloud


def gcp_env(gcp: FakeGcp, **more: str) -> dict[str, str]:
    return {"CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": f"{gcp.url}/", **more}


def test_a_service_account_signs_for_its_token(gcp: FakeGcp, tmp_path: Path) -> None:
    redactor = Redactor()
    file = gcp.key_file(tmp_path)
    put(GCP, gcp_env(gcp, GOOGLE_APPLICATION_CREDENTIALS=str(file)), redactor)
    assert gcp.place("openai") == KEY.reveal()
    assert redactor.holds(json.loads(file.read_text())["private_key"])
    assert sum(call.path == "/token" for call in gcp.calls) == 1


def test_the_login_of_a_person_is_found_where_gcloud_puts_it(gcp: FakeGcp, tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "gcloud"
    folder.mkdir(parents=True)
    gcp.key_file(tmp_path).rename(folder / "application_default_credentials.json")
    put(GCP, gcp_env(gcp, HOME=str(tmp_path)))
    assert gcp.place("openai") == KEY.reveal()


def test_the_machine_of_google_gives_a_token(gcp: FakeGcp) -> None:
    host = gcp.url.removeprefix("http://")
    put(GCP, gcp_env(gcp, GCE_METADATA_HOST=host, GOOGLE_CLOUD_PROJECT=PROJECT))
    assert gcp.place("openai") == KEY.reveal()


def test_a_key_that_google_does_not_know_gives_no_token(gcp: FakeGcp, tmp_path: Path) -> None:
    file = gcp.key_file(tmp_path)
    gcp.faults.append(invalid_grant)
    said = refusal(GCP, gcp_env(gcp, GOOGLE_APPLICATION_CREDENTIALS=str(file)))
    assert "give no token" in said
    assert "GOOGLE_APPLICATION_CREDENTIALS" in said
    assert "PRIVATE KEY" not in said


def invalid_grant(call: Call) -> None:
    if call.path == "/token":
        raise Refusal(
            400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        )


BAD_FILES = {
    "missing": (None, "cannot be read: No such file"),
    "no JSON": ("-----BEGIN", "it is not JSON"),
    "a list": ("[]", "holds no credentials"),
    "of no type": ("{}", "of a kind that is not supported"),
    "of a program": (
        json.dumps({"type": "external_account", "credential_source": {"executable": {}}}),
        "of a kind that is not supported",
    ),
    "of a broken key": (
        json.dumps({"type": "service_account", "private_key": "x", "client_email": "a@b"}),
        "give no token",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_of_credentials_is_named_and_not_quoted(
    gcp: FakeGcp, tmp_path: Path, content: str | None, message: str
) -> None:
    file = tmp_path / "key.json"
    if content is not None:
        file.write_text(content)
    env = gcp_env(gcp, GOOGLE_APPLICATION_CREDENTIALS=str(file), GOOGLE_CLOUD_PROJECT=PROJECT)
    said = refusal(GCP, env)
    assert message in said
    assert "-----BEGIN" not in said


def test_an_address_in_a_file_of_credentials_that_is_no_url_is_named(
    gcp: FakeGcp, tmp_path: Path
) -> None:
    file = gcp.key_file(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "token_uri": "https://[x"}))
    said = refusal(GCP, gcp_env(gcp, GOOGLE_APPLICATION_CREDENTIALS=str(file)))
    assert "an address in the file of GOOGLE_APPLICATION_CREDENTIALS is not a URL" in said


def test_a_file_of_credentials_needs_an_extra(
    gcp: FakeGcp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    file = gcp.key_file(tmp_path)
    said = refusal(GCP, gcp_env(gcp, GOOGLE_APPLICATION_CREDENTIALS=str(file)))
    assert "its extra `gcp`" in said


def test_without_credentials_or_project_the_variable_is_named(gcp: FakeGcp) -> None:
    nowhere = {"GCE_METADATA_HOST": "127.0.0.1:9"}
    said = refusal(GCP, gcp_env(gcp, GOOGLE_CLOUD_PROJECT=PROJECT, **nowhere))
    assert "set GOOGLE_APPLICATION_CREDENTIALS" in said
    assert "set GOOGLE_CLOUD_PROJECT" in refusal(GCP, gcp_env(gcp, **nowhere))


def test_no_stranger_is_asked_for_the_token_of_the_machine(gcp: FakeGcp) -> None:
    env = gcp_env(gcp, GCE_METADATA_HOST="stranger.example", GOOGLE_CLOUD_PROJECT=PROJECT)
    assert "GCE_METADATA_HOST is not the address of a metadata service" in refusal(GCP, env)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(401, "renew the credentials"), (403, "grant the role"), (404, "GOOGLE_CLOUD_PROJECT")],
)
def test_a_refusal_of_google_is_quoted_with_its_cure(gcp: FakeGcp, status: int, hint: str) -> None:
    gcp.hold("openai")

    def refuse(call: Call) -> None:
        if call.path.endswith("/versions"):
            raise gcp_refusal(status, "Permission 'secretmanager.versions.list' denied.")

    gcp.faults.append(refuse)
    said = refusal(GCP, gcp.env())
    assert f"(status {status}): Permission 'secretmanager.versions.list' denied." in said
    assert hint in said


def test_a_refused_version_leaves_no_key(gcp: FakeGcp) -> None:
    def refuse(call: Call) -> None:
        if call.path.endswith(":addVersion"):
            raise gcp_refusal(429, "Quota exceeded.")

    gcp.faults.append(refuse)
    sinks = sinks_of(gcp.env())
    with pytest.raises(SinkError):
        sinks.put(GCP, KEY, address=INDEXER, token=TOKEN)
    assert gcp.place("openai") is None


def test_the_checksum_is_the_one_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"") == 0


# --- Azure


def azure_env(azure: FakeAzure, **more: str) -> dict[str, str]:
    return {"AZURE_KEYVAULT_URL": azure.url, **more}


def client_env(azure: FakeAzure, **more: str) -> dict[str, str]:
    return azure_env(
        azure,
        AZURE_AUTHORITY_HOST=azure.url,
        AZURE_TENANT_ID=TENANT,
        AZURE_CLIENT_ID=CLIENT,
        **more,
    )


def test_a_client_proves_itself_with_a_secret(azure: FakeAzure) -> None:
    redactor = Redactor()
    put(AZURE, client_env(azure, AZURE_CLIENT_SECRET=CLIENT_SECRET), redactor)
    assert azure.place("openai") == KEY.reveal()
    assert redactor.holds(CLIENT_SECRET)
    assert sum(call.path.endswith("/token") for call in azure.calls) == 1


def test_a_client_proves_itself_with_a_federated_token(azure: FakeAzure, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{FEDERATED_TOKEN}\n")
    put(AZURE, client_env(azure, AZURE_FEDERATED_TOKEN_FILE=str(file)))
    assert azure.place("openai") == KEY.reveal()


def test_a_machine_and_a_service_of_azure_give_tokens(azure: FakeAzure) -> None:
    put(AZURE, azure_env(azure, AZURE_POD_IDENTITY_AUTHORITY_HOST=azure.url))
    service = {
        "IDENTITY_ENDPOINT": f"{azure.url}/msi/token",
        "IDENTITY_HEADER": "the-header-of-the-service",
    }
    sinks_of(azure_env(azure, **service)).check(AZURE, address=INDEXER)
    assert azure.place("openai") == KEY.reveal()


BAD_AZURE: dict[str, tuple[Callable[[FakeAzure], dict[str, str]], str]] = {
    "no vault": (lambda azure: {}, "set AZURE_KEYVAULT_URL"),
    "no credentials": (
        lambda azure: azure_env(azure, AZURE_POD_IDENTITY_AUTHORITY_HOST="http://127.0.0.1:9"),
        "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
    ),
    "a wrong secret": (
        lambda azure: client_env(azure, AZURE_CLIENT_SECRET="the-wrong-secret"),
        "AADSTS7000215: Invalid client secret provided. | correct AZURE_TENANT_ID",
    ),
    "no federated token": (
        lambda azure: client_env(azure, AZURE_FEDERATED_TOKEN_FILE="/nonexistent"),
        "correct AZURE_FEDERATED_TOKEN_FILE",
    ),
    "a stranger for a machine": (
        lambda azure: azure_env(azure, AZURE_POD_IDENTITY_AUTHORITY_HOST="http://stranger.example"),
        "AZURE_POD_IDENTITY_AUTHORITY_HOST is not the address of a metadata service",
    ),
    "an old token": (
        lambda azure: azure_env(azure, AZURE_ACCESS_TOKEN="eyJ.an-old-token.x"),
        "renew the credentials",
    ),
}


@pytest.mark.parametrize(("env", "message"), BAD_AZURE.values(), ids=BAD_AZURE)
def test_a_wrong_setting_of_azure_is_named(
    azure: FakeAzure, env: Callable[[FakeAzure], dict[str, str]], message: str
) -> None:
    said = refusal(AZURE, env(azure))
    assert message in said
    assert "the-wrong-secret" not in said


@pytest.mark.parametrize(
    ("inner", "hint"),
    [("ForbiddenByRbac", "Key Vault Secrets Officer"), ("ForbiddenByFirewall", "firewall")],
)
def test_a_refusal_of_azure_is_quoted_with_its_cure(
    azure: FakeAzure, inner: str, hint: str
) -> None:
    def refuse(call: Call) -> None:
        raise azure_refusal(403, "Forbidden", "Caller is not authorized.", inner)

    azure.faults.append(refuse)
    said = refusal(AZURE, azure.env())
    assert "(status 403): Caller is not authorized." in said
    assert hint in said


def test_a_deleted_secret_of_somebody_else_keeps_its_name(azure: FakeAzure) -> None:
    azure.hold("openai", "the password of somebody else")
    azure.bury("openai")
    said = refusal(AZURE, azure.env())
    assert "was deleted, can still be recovered" in said
    assert "purge the deleted secret" in said
    with pytest.raises(SinkError, match="can still be recovered"):
        sinks_of(azure.env()).put(AZURE, KEY, address=INDEXER, token=TOKEN)
    assert azure.place("openai") is None


@pytest.mark.parametrize("link", ["https://stranger.example/secrets", "https://[x"])
def test_a_next_page_elsewhere_is_not_asked(azure: FakeAzure, link: str) -> None:
    put(AZURE, azure.env())

    def continued(call: Call) -> None:
        if call.path.endswith("/versions"):
            raise Refusal(200, {"value": [], "nextLink": link})

    azure.faults.append(continued)
    with pytest.raises(SinkError, match="names a next page elsewhere"):
        sinks_of(azure.env()).put(AZURE, KEY, address=INDEXER, token=TOKEN)


def test_a_secret_that_was_disabled_holds_no_key(azure: FakeAzure) -> None:
    put(AZURE, azure.env())
    azure.secrets["openai"].versions[-1].is_enabled = False
    assert sinks_of(azure.env()).recall(AZURE, address=INDEXER) is None
    with pytest.raises(SinkError, match="disabled") as caught:
        sinks_of(azure.env()).fetch(AZURE)
    assert "enable the secret" in caught.value.hint


# --- AWS


class RefusingAws(FakeService):
    """Refuses everything, or only some operations, with an error of AWS."""

    def __init__(self, code: str, status: int = 400) -> None:
        self.code, self.status = code, status
        super().__init__()

    def routes(self) -> Iterator[tuple[str, str, Callable[[Call], Any]]]:
        yield "POST", "/", self._refuse

    def _refuse(self, call: Call) -> Any:
        raise Refusal(self.status, {"__type": self.code, "Message": f"quoted {KEY.reveal()}"})


BAD_AWS = {
    "denied": ("AccessDeniedException", "grant the permission"),
    "an expired token": ("ExpiredTokenException", "set AWS_PROFILE"),
    "an unknown key": ("UnrecognizedClientException", "set AWS_PROFILE"),
    "full": ("LimitExceededException", "raise the limit"),
    "strange": ("SomethingNewException", "see AWS's documentation"),
}


@pytest.mark.parametrize(("code", "hint"), BAD_AWS.values(), ids=BAD_AWS)
@pytest.mark.parametrize("sink", ["aws_secrets_manager", "aws_ssm"])
def test_a_refusal_of_aws_is_named_with_its_cure_and_without_its_text(
    sink: str, code: str, hint: str
) -> None:
    with RefusingAws(code) as server:
        said = refusal({sink: {"name": "openai"}}, aws_env(server.url))
    assert code in said
    assert hint in said
    assert KEY.reveal() not in said


def test_a_busy_aws_is_asked_four_times() -> None:
    with RefusingAws("ThrottlingException") as server:
        refusal(SECRETS_MANAGER, aws_env(server.url))
        assert len(server.calls) == 4


def test_without_credentials_or_region_of_aws_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    env = aws_env("http://127.0.0.1:9")
    keyless = {name: value for name, value in env.items() if "KEY" not in name}
    assert "set AWS_PROFILE, or AWS_ACCESS_KEY_ID" in refusal(SECRETS_MANAGER, keyless)
    assert "correct AWS_PROFILE" in refusal(SECRETS_MANAGER, {**keyless, "AWS_PROFILE": "absent"})
    regionless = {name: value for name, value in env.items() if name != "AWS_REGION"}
    assert "set AWS_REGION" in refusal(SECRETS_MANAGER, regionless)
    assert "set AWS_REGION" in refusal(SECRETS_MANAGER, {**env, "AWS_REGION": "not a region"})


def test_aws_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    said = refusal(SECRETS_MANAGER, aws_env("http://127.0.0.1:9"))
    assert "its extra `aws`" in said


def test_the_library_of_aws_logs_no_key(caplog: pytest.LogCaptureFixture) -> None:
    env = aws_env(start_aws())
    redactor = Redactor()
    with caplog.at_level(logging.DEBUG):
        put({"aws_secrets_manager": {"name": "logged"}}, env, redactor)
        put({"aws_ssm": {"name": "logged"}}, env)
    assert KEY.reveal() not in caplog.text
    assert env["AWS_SECRET_ACCESS_KEY"] not in caplog.text
    assert redactor.holds(env["AWS_SECRET_ACCESS_KEY"])


# --- fields and owners


@pytest.mark.parametrize("sink", ["aws_secrets_manager", "gcp_secret_manager"])
def test_a_key_in_a_field_is_a_json_object(sink: str, gcp: FakeGcp) -> None:
    env = gcp.env() if sink == "gcp_secret_manager" else aws_env(start_aws())
    target = {sink: {"name": "in-a-field", "field": "OPENAI_API_KEY"}}
    put(target, env)
    sinks = sinks_of(env)
    assert sinks.fetch({sink: {"name": "in-a-field"}}) == Secret(
        json.dumps({"OPENAI_API_KEY": KEY.reveal()})
    )
    assert sinks.recall(target, address=INDEXER) == KEY
    with pytest.raises(SinkError, match='no text in its field "other"') as caught:
        sinks.fetch({sink: {"name": "in-a-field", "field": "other"}})
    assert KEY.reveal() not in str(caught.value)


def test_long_owners_that_differ_at_the_end_have_different_tags() -> None:
    long = "acme/prod/ServiceAccount/" + "p" * 300
    assert len(owner_tag(long)) == 256
    assert owner_tag(long) != owner_tag(f"{long}x")
    assert owner_tag("acme/prod/A/b") == "acme/prod/A/b"
