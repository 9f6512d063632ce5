"""Claims about the secret managers of AWS, Google Cloud and Azure, the same for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from reconciler.errors import SinkError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.model.sinks import place_of, sink_class
from reconciler.secrets import SinkSet
from tests.secrets.clouds import CLOUDS, OPEN, Cloud, cloud_named, sinks_of
from tests.servers.proxy import Proxy

INDEXER = Address.parse("ServiceAccount/search/indexer")
OTHER = Address.parse("ServiceAccount/search/other")
OLD, NEW = Secret("sk-svcacct-the-old-key-000000"), Secret("sk-svcacct-the-new-key-111111")
OLD_TOKEN, NEW_TOKEN = "0" * 32, "1" * 32
NAME = "search-openai"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) for name in CLOUDS])
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    with cloud_named(request.param) as running:
        yield running


def target(cloud: Cloud, name: str = NAME) -> dict[str, dict[str, str]]:
    return {cloud.sink: {"name": name}}


def with_value(cloud: Cloud, name: str) -> None:
    cloud.hold(name, "the password of somebody else")


def test_a_reader_gets_the_key_and_no_newline(cloud: Cloud) -> None:
    sinks = sinks_of(cloud.env)
    sinks.check(target(cloud), address=INDEXER)
    receipt = sinks.put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    assert cloud.place(NAME) == OLD.reveal()
    assert receipt["place"] == f"{cloud.sink}:{NAME}"
    assert OLD.reveal() not in str(receipt)


def test_a_check_writes_nothing_and_reads_no_value(cloud: Cloud) -> None:
    sinks = sinks_of(cloud.env)
    sinks.check(target(cloud), address=INDEXER)
    assert cloud.place(NAME) is None
    sinks.put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    redactor = Redactor()
    sinks_of(cloud.env, redactor=redactor).check(target(cloud), address=INDEXER)
    assert cloud.place(NAME) == OLD.reveal()


def test_a_rotation_leaves_the_old_key_readable_until_it_is_withdrawn(cloud: Cloud) -> None:
    first = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks = sinks_of(cloud.env)
    sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    assert cloud.place(NAME) == NEW.reveal()
    assert cloud.readable(NAME) == [OLD.reveal(), NEW.reveal()]
    sinks_of(cloud.env).withdraw(target(cloud), first, address=INDEXER)
    assert cloud.place(NAME) == NEW.reveal()
    assert (cloud.readable(NAME) == [NEW.reveal()]) is cloud.forgets_versions


def test_a_withdrawn_key_is_nowhere_and_its_place_takes_another(cloud: Cloud) -> None:
    receipt = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    for _ in range(2):  # it succeeds where there is nothing left
        sinks_of(cloud.env).withdraw(target(cloud), receipt, address=INDEXER)
        assert cloud.place(NAME) is None
    sinks = sinks_of(cloud.env)
    sinks.check(target(cloud), address=INDEXER)
    sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    assert cloud.place(NAME) == NEW.reveal()


def test_the_remains_of_an_interrupted_put_are_removed(cloud: Cloud) -> None:
    sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks_of(cloud.env).withdraw(target(cloud), {}, address=INDEXER)
    assert cloud.place(NAME) is None


def test_a_repeated_put_leaves_one_key_that_one_withdrawal_removes(cloud: Cloud) -> None:
    for _ in range(2):
        receipt = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    assert set(cloud.readable(NAME)) == {OLD.reveal()}
    sinks_of(cloud.env).withdraw(target(cloud), receipt, address=INDEXER)
    assert cloud.place(NAME) is None


def test_a_key_taken_back_in_the_same_run_gives_its_place_to_the_key_before(cloud: Cloud) -> None:
    first = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks = sinks_of(cloud.env)
    second = sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    sinks.withdraw(target(cloud), second, address=INDEXER)
    assert cloud.place(NAME) == OLD.reveal()
    assert not cloud.forgets_versions or NEW.reveal() not in cloud.readable(NAME)
    sinks_of(cloud.env).withdraw(target(cloud), first, address=INDEXER)
    assert cloud.place(NAME) is None


# --- owners


def test_a_secret_of_somebody_else_is_neither_replaced_nor_removed(cloud: Cloud) -> None:
    with_value(cloud, NAME)
    sinks = sinks_of(cloud.env)
    with pytest.raises(SinkError, match="was not written by reconciler"):
        sinks.check(target(cloud), address=INDEXER)
    with pytest.raises(SinkError, match="was not written by reconciler"):
        sinks.put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks.withdraw(target(cloud), {}, address=INDEXER)
    assert cloud.place(NAME) == "the password of somebody else"
    assert sinks.recall(target(cloud), address=INDEXER) is None


@pytest.mark.parametrize(
    ("owner", "address"),
    [("acme/prod", OTHER), ("acme/staging", INDEXER)],
    ids=["of another account", "of another environment"],
)
def test_a_key_of_another_owner_is_refused_by_name(
    cloud: Cloud, owner: str, address: Address
) -> None:
    receipt = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks = sinks_of(cloud.env, owner=owner)
    for attempt in (
        lambda: sinks.check(target(cloud), address=address),
        lambda: sinks.put(target(cloud), NEW, address=address, token=NEW_TOKEN),
    ):
        with pytest.raises(SinkError, match=f'belongs to "acme/prod/{INDEXER}"'):
            attempt()
    sinks.withdraw(target(cloud), receipt, address=address)
    assert sinks.recall(target(cloud), address=address) is None
    assert cloud.place(NAME) == OLD.reveal()


def test_the_owner_of_a_long_name_is_recognized(cloud: Cloud) -> None:
    address = Address.parse(f"ServiceAccount/{'p' * 150}/{'a' * 150}")
    for _ in range(2):
        sinks_of(cloud.env).put(target(cloud), OLD, address=address, token=OLD_TOKEN)
    other = Address.parse(f"ServiceAccount/{'p' * 150}/{'a' * 149}b")
    with pytest.raises(SinkError, match="belongs to"):
        sinks_of(cloud.env).check(target(cloud), address=other)


def test_an_empty_secret_is_taken_and_kept_as_it_was_set_up(cloud: Cloud) -> None:
    if not cloud.can_be_empty:
        pytest.skip("no secret of this service is empty")
    cloud.hold(NAME, None)
    sinks = sinks_of(cloud.env)
    sinks.check(target(cloud), address=INDEXER)
    sinks.put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    assert cloud.place(NAME) == OLD.reveal()
    with pytest.raises(SinkError, match="belongs to"):
        sinks.check(target(cloud), address=OTHER)


def test_a_key_is_read_back_by_its_owner(cloud: Cloud) -> None:
    redactor = Redactor()
    sinks = sinks_of(cloud.env, redactor=redactor)
    assert sinks.recall(target(cloud), address=INDEXER) is None
    sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    assert sinks.recall(target(cloud), address=INDEXER) == OLD
    assert redactor.holds(OLD.reveal())


# --- the network


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    """A proxy in front of the cloud, which is at its address from then on."""
    parts = urlsplit(cloud.env[cloud.address_variable])
    with Proxy((str(parts.hostname), int(parts.port or 0))) as running:
        address = f"http://127.0.0.1:{running.port}{parts.path}"
        cloud.env = {**cloud.env, cloud.address_variable: address}
        yield running


WRITES = {
    "aws_secrets_manager": (b"secretsmanager.CreateSecret", b"secretsmanager.PutSecretValue"),
    "aws_ssm": (b"AmazonSSM.PutParameter", b"AmazonSSM.PutParameter"),
    "gcp_secret_manager": (b":addVersion", b":addVersion"),
    "azure_key_vault": (b"PUT /secrets", b"PUT /secrets"),
}
"""What is in the request that brings the first key, and in the one that brings another."""


@pytest.mark.parametrize("is_first", [True, False], ids=["the first", "another"])
@pytest.mark.parametrize("loss", ["request", "answer"])
def test_a_key_arrives_once_although_the_network_lost_something(
    cloud: Cloud, proxy: Proxy, loss: str, is_first: bool
) -> None:
    if not is_first:
        sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    marker = WRITES[cloud.sink][0 if is_first else 1]
    lost = proxy.lose_answer(marker) if loss == "answer" else proxy.lose_request(marker)
    sinks = sinks_of(cloud.env)
    receipt = sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    assert lost.is_set()
    assert cloud.place(NAME) == NEW.reveal()
    sinks_of(cloud.env).withdraw(target(cloud), receipt, address=INDEXER)
    assert cloud.place(NAME) != NEW.reveal()


def test_a_key_whose_answers_were_all_lost_is_found_where_it_arrived(
    cloud: Cloud, proxy: Proxy
) -> None:
    sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    marker = WRITES[cloud.sink][1]
    losses = [proxy.lose_answer(marker) for _ in range(4)]
    sinks = sinks_of(cloud.env)
    if cloud.sink == "aws_ssm":
        with pytest.raises(UncertainDeliveryError):
            sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    else:
        sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    assert all(loss.is_set() for loss in losses)
    assert cloud.place(NAME) == NEW.reveal()


def test_a_key_that_may_have_arrived_is_reported_as_uncertain(cloud: Cloud, proxy: Proxy) -> None:
    sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    sinks = sinks_of(cloud.env)
    sinks.check(target(cloud), address=INDEXER)
    lost = proxy.lose_answer(WRITES[cloud.sink][1])
    waits: list[float] = []

    def break_down(seconds: float) -> None:
        waits.append(seconds)
        proxy.refuse()

    sinks = sinks_of(cloud.env, sleep=break_down)
    with pytest.raises(UncertainDeliveryError, match="unknown whether the key arrived"):
        sinks.put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    assert lost.is_set()


def test_an_unreachable_server_is_a_sentence_and_certainly_got_nothing(
    cloud: Cloud, proxy: Proxy
) -> None:
    proxy.refuse()
    sinks = sinks_of(cloud.env)
    for attempt in (
        lambda: sinks.check(target(cloud), address=INDEXER),
        lambda: sinks.put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN),
    ):
        with pytest.raises(SinkError, match="cannot be reached") as caught:
            attempt()
        assert not isinstance(caught.value, UncertainDeliveryError)
        assert caught.value.hint


def test_nothing_is_written_without_permission(cloud: Cloud) -> None:
    def refuse() -> None:
        raise SinkError("another run has taken over")

    with pytest.raises(SinkError, match="taken over"):
        sinks_of(cloud.env, permit=refuse).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    assert cloud.place(NAME) is None


# --- bad input

BAD_NAMES = {
    "aws_secrets_manager": [
        "arn:aws:secretsmanager:eu-west-1:210987654321:secret:stolen-a1b2c3",
        "with space",
        "",
        "line\nbreak",
    ],
    "aws_ssm": [
        "arn:aws:ssm:eu-west-1:210987654321:parameter/stolen",
        "/aws/reserved",
        "ssm-reserved",
        "/a//b",
        "name:3",
    ],
    "gcp_secret_manager": ["projects/stolen/secrets/name", "name/versions/1", "..", "a?b"],
    "azure_key_vault": ["https://stolen.vault.azure.net/secrets/a", "a_b", "a/b", "a.b"],
}


@pytest.mark.parametrize(
    ("sink", "name"),
    [(sink, name) for sink, names in BAD_NAMES.items() for name in names],
)
def test_a_name_cannot_lead_elsewhere(sink: str, name: str) -> None:
    with pytest.raises(SinkError, match="is not the name of a"):
        place_of({sink: {"name": name}})


def test_two_spellings_of_one_place_are_one_place() -> None:
    assert place_of({"aws_ssm": {"name": "/key"}}) == place_of({"aws_ssm": {"name": "key"}})
    assert place_of({"azure_key_vault": {"name": "Search-Key"}}) == place_of(
        {"azure_key_vault": {"name": "search-key"}}
    )
    with_field = {"aws_secrets_manager": {"name": "a", "field": "OPENAI_API_KEY"}}
    assert place_of(with_field) == place_of({"aws_secrets_manager": {"name": "a"}})


@pytest.mark.parametrize("sink", CLOUDS)
def test_every_cloud_keeps_versions_and_reads_back(sink: str) -> None:
    driver = sink_class(sink)
    assert driver is not None
    assert (driver.keeps_versions, driver.reads_back) == (True, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example",
        "https://user:word@vault.example",
        "x",
        "https://[x",
        "https://vault.example:port",
    ],
)
def test_an_address_that_would_show_keys_is_refused_by_its_variable(cloud: Cloud, url: str) -> None:
    sinks = sinks_of({**cloud.env, cloud.address_variable: url})
    with pytest.raises(SinkError) as caught:
        sinks.check(target(cloud), address=INDEXER)
    assert cloud.address_variable in f"{caught.value} {caught.value.hint}"
    assert "user:word" not in str(caught.value)


# --- what the state knows


def recorded(cloud: Cloud, address: Address, receipt: Mapping[str, Any]) -> SinkSet:
    """The sinks of a later run, whose state has a receipt of an address."""
    return sinks_of(cloud.env, deliveries=lambda: [(address, {"key": {"receipt": receipt}})])


def test_an_interrupted_put_leaves_the_key_of_the_receipt(cloud: Cloud) -> None:
    first = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    recorded(cloud, INDEXER, first).withdraw(target(cloud), {}, address=INDEXER)
    assert cloud.place(NAME) == OLD.reveal()
    sinks_of(cloud.env).put(target(cloud), NEW, address=INDEXER, token=NEW_TOKEN)
    recorded(cloud, INDEXER, first).withdraw(target(cloud), {}, address=INDEXER)
    assert cloud.place(NAME) == OLD.reveal()
    recorded(cloud, INDEXER, first).withdraw(target(cloud), first, address=INDEXER)
    assert cloud.place(NAME) is None


def test_a_renamed_owner_keeps_its_place(cloud: Cloud) -> None:
    first = sinks_of(cloud.env).put(target(cloud), OLD, address=INDEXER, token=OLD_TOKEN)
    renamed = recorded(cloud, OTHER, first)
    renamed.check(target(cloud), address=OTHER)
    assert renamed.recall(target(cloud), address=OTHER) == OLD
    renamed.put(target(cloud), NEW, address=OTHER, token=NEW_TOKEN)
    assert cloud.place(NAME) == NEW.reveal()
    sinks_of(cloud.env).check(target(cloud), address=OTHER)
    with pytest.raises(SinkError, match="belongs to"):
        sinks_of(cloud.env).check(target(cloud), address=INDEXER)
