"""Every sink keeps the promises of its protocol, with real requests; see `beds`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from reconciler.api.transport.side_client import connect
from reconciler.errors import SinkError, SinkSetupError, UncertainDeliveryError
from reconciler.model.address import Address
from reconciler.model.secret import Redactor, Secret
from reconciler.model.sinks import named_sink, place_of, sink_names
from reconciler.secrets import SinkSet
from tests.secrets.beds import BEDS, OTHER_CLIENTS, Bed, bed_named, every_bed

INDEXER = Address.parse("ServiceAccount/search/indexer")
OTHER = Address.parse("ServiceAccount/search/other")
KEY = Secret("sk-svcacct-firstKEYofTHEaccountINDEXER")
NEXT = Secret("sk-svcacct-secondKEYofTHEaccountINDEXER")
TOKEN, NEXT_TOKEN = "1" * 32, "2" * 32


class World:
    """A bed, and runs that deliver keys to it."""

    def __init__(self, bed: Bed, root: Path) -> None:
        self.bed = bed
        self.root = root
        self.target = bed.target("indexer")
        self.receipts: dict[Address, Any] = {}
        self.begun: list[tuple[Address, Any]] = []
        self._runs: list[SinkSet] = []

    def run(self, owner: str = "acme/prod", **more: Any) -> SinkSet:
        """The sinks of a new run, which knows what earlier ones recorded."""
        arguments: dict[str, Any] = {
            "owner": owner,
            "env": self.bed.env,
            "deliveries": lambda: list(self.receipts.items()),
            "begun": lambda: self.begun,
            "connect": partial(connect, environ={}),
            "sleep": lambda _: None,
            **more,
        }
        self._runs.append(SinkSet(self.root, Redactor(), **arguments))
        return self._runs[-1]

    def stranger(self) -> World:
        """Somebody who knows nothing of our deliveries, in the same place."""
        other = World(self.bed, self.root)
        other._runs = self._runs
        return other

    def close(self) -> None:
        for run in self._runs:
            run.close()

    def deliver(self, key: Secret = KEY, token: str = TOKEN) -> Mapping[str, Any]:
        """Deliver as a run does, and record the receipt."""
        run = self.run()
        run.check(self.target, address=INDEXER)
        receipt = run.put(self.target, key, address=INDEXER, token=token)
        self.receipts[INDEXER] = {"key": {"target": self.target, "receipt": receipt}}
        return receipt

    @property
    def held(self) -> str | None:
        """The key that an application would read."""
        return self.bed.keys(self.root).get("indexer")


@pytest.fixture
def world(bed_name: str, tmp_path: Path) -> Iterator[World]:
    with bed_named(bed_name) as bed:
        made = World(bed, tmp_path)
        yield made
        made.close()


@every_bed
def test_an_application_reads_exactly_the_key(world: World) -> None:
    world.deliver()
    assert world.held == KEY.reveal()


@every_bed
def test_the_receipt_names_the_place_and_holds_no_key(world: World) -> None:
    receipt = world.deliver()
    assert receipt["place"] == place_of(world.target)
    assert KEY.reveal() not in repr(receipt)


@every_bed
def test_a_check_changes_nothing(world: World) -> None:
    world.run().check(world.target, address=INDEXER)
    assert world.held is None


@every_bed
def test_a_new_key_replaces_the_old_one(world: World) -> None:
    world.deliver()
    world.deliver(NEXT, NEXT_TOKEN)
    assert world.held == NEXT.reveal()


@every_bed
def test_the_same_key_can_be_delivered_again(world: World) -> None:
    world.deliver()
    world.deliver()
    assert world.held == KEY.reveal()


@every_bed
def test_a_key_of_another_owner_is_never_replaced(world: World) -> None:
    if (
        not named_sink(world.target)[0].reads_back
        and not world.bed.holds_owner
        and not world.bed.removes
    ):
        return  # a command alone knows what it replaces
    world.deliver()
    refused = 0
    for owner, address in (("acme/dev", INDEXER), ("acme/prod", OTHER)):
        for act in ("check", "put"):
            run = world.stranger().run(owner)
            more = {} if act == "check" else {"token": TOKEN}
            arguments = (world.target,) if act == "check" else (world.target, NEXT)
            with pytest.raises(SinkError) as refusal:
                getattr(run, act)(*arguments, address=address, **more)
            assert refusal.value.hint
            refused += 1
    assert (refused, world.held) == (4, KEY.reveal())


@every_bed
def test_a_foreign_secret_is_never_replaced_or_removed(world: World) -> None:
    if not world.bed.removes:
        return  # a command alone knows what it replaces
    world.bed.plant("indexer", world.root)
    with pytest.raises(SinkError, match=r"somebody else|not overwritten|not written by reconciler"):
        world.run().check(world.target, address=INDEXER)
    with pytest.raises(SinkError):
        world.run().put(world.target, KEY, address=INDEXER, token=TOKEN)
    world.run().withdraw(world.target, {}, address=INDEXER)
    assert world.bed.planted("indexer", world.root)


@every_bed
def test_a_key_is_read_back_by_its_owner_alone(world: World) -> None:
    world.deliver()
    reads_back = named_sink(world.target)[0].reads_back
    assert world.run().recall(world.target, address=INDEXER) == (KEY if reads_back else None)
    stranger = world.stranger()
    assert stranger.run().recall(world.target, address=OTHER) is None
    assert stranger.run("acme/dev").recall(world.target, address=INDEXER) is None


@every_bed
def test_a_withdrawal_removes_the_key(world: World) -> None:
    receipt = world.deliver()
    world.run().withdraw(world.target, receipt, address=INDEXER)
    assert (world.held is None) == world.bed.removes
    world.run().withdraw(world.target, receipt, address=INDEXER)  # once more does no harm


@every_bed
def test_a_withdrawal_of_an_old_key_leaves_the_new_one(world: World) -> None:
    old = world.deliver()
    world.deliver(NEXT, NEXT_TOKEN)
    world.run().withdraw(world.target, old, address=INDEXER)
    assert world.held == NEXT.reveal()


@every_bed
def test_a_withdrawal_leaves_a_newer_foreign_secret(world: World) -> None:
    if not world.bed.removes:
        return  # nothing is ever removed there
    receipt = world.deliver()
    world.bed.plant("indexer", world.root)
    world.run().withdraw(world.target, receipt, address=INDEXER)
    assert world.bed.planted("indexer", world.root)


@every_bed
def test_an_interrupted_delivery_can_be_withdrawn_and_repeated(world: World) -> None:
    world.run().put(world.target, KEY, address=INDEXER, token=TOKEN)
    world.begun = [(INDEXER, world.target)]  # the run died before it recorded the receipt
    world.run().withdraw(world.target, {}, address=INDEXER)
    assert (world.held is None) == world.bed.removes
    world.run().put(world.target, KEY, address=INDEXER, token=TOKEN)
    world.run().check(world.target, address=INDEXER)
    world.deliver(NEXT, NEXT_TOKEN)
    assert world.held == NEXT.reveal()


@every_bed
def test_a_renamed_owner_keeps_its_place(world: World) -> None:
    world.deliver()
    world.receipts[OTHER] = world.receipts.pop(INDEXER)  # as `renamed_from` does
    run = world.run()
    run.check(world.target, address=OTHER)
    receipt = run.put(world.target, NEXT, address=OTHER, token=NEXT_TOKEN)
    assert world.held == NEXT.reveal()
    world.receipts[OTHER] = {"receipt": receipt}
    world.run().withdraw(world.target, receipt, address=OTHER)
    assert (world.held is None) == world.bed.removes


def losing(
    monkeypatch: pytest.MonkeyPatch, chosen: Callable[[int, httpx.Request], bool]
) -> list[str]:
    """Lose the answers of chosen requests, by their numbers; the list of all requests."""
    send, sent = httpx.HTTPTransport.handle_request, []

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        sent.append(f"{request.method} {request.url.path}")
        number = len(sent) - 1
        response = send(self, request)
        if chosen(number, request):
            response.close()
            raise httpx.ReadError("the connection was cut")
        return response

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
    return sent


@every_bed
def test_every_lost_answer_is_asked_for_again(
    world: World, bed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        requests = losing(patch, lambda number, request: False)
        world.deliver()
        count = len(requests)
    assert (count > 0) == (bed_name not in {"file", "command"} | OTHER_CLIENTS)
    for lost in range(count):
        fresh = world.stranger()
        fresh.bed.restore(None)
        with monkeypatch.context() as patch:
            losing(patch, lambda number, request, lost=lost: number == lost)  # type: ignore[misc]
            fresh.deliver()
        assert (lost, fresh.held) == (lost, KEY.reveal())
        fresh.deliver(NEXT, NEXT_TOKEN)
        assert (lost, fresh.held) == (lost, NEXT.reveal())


@every_bed
def test_a_write_that_is_never_answered_is_uncertain(
    world: World, bed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bed_name in {"file", "command"} | OTHER_CLIENTS:
        return  # they have no answers to lose here
    run = world.run()
    run.check(world.target, address=INDEXER)
    broken: list[str] = []  # from the first write on, nothing is answered
    with monkeypatch.context() as patch:
        losing(patch, lambda _, request: broken.append(request.method) or {*broken} != {"GET"})
        with pytest.raises(UncertainDeliveryError, match="unknown whether the key arrived") as lost:
            run.put(world.target, KEY, address=INDEXER, token=TOKEN)
    assert KEY.reveal() not in str(lost.value)
    run.put(world.target, NEXT, address=INDEXER, token=NEXT_TOKEN)
    assert world.held == NEXT.reveal()


@every_bed
def test_a_refusal_after_a_lost_answer_proves_nothing(
    world: World, bed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bed_name in {"file", "command"} | OTHER_CLIENTS:
        return  # they have no answers to lose here
    run = world.run()
    run.check(world.target, address=INDEXER)
    send, written = httpx.HTTPTransport.handle_request, []

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        if written:  # since then, the credential is refused
            return httpx.Response(403, request=request, json={})
        response = send(self, request)
        if request.method != "GET":
            written.append(request.url.path)
            response.close()
            raise httpx.ReadError("the connection was cut")
        return response

    with monkeypatch.context() as patch:
        patch.setattr(httpx.HTTPTransport, "handle_request", handle_request)
        with pytest.raises(UncertainDeliveryError, match=r"403.*unknown whether the key arrived"):
            run.put(world.target, KEY, address=INDEXER, token=TOKEN)
    run.put(world.target, NEXT, address=INDEXER, token=NEXT_TOKEN)
    assert world.held == NEXT.reveal()


@every_bed
def test_an_environment_without_address_and_credential_is_a_matter_of_setup(
    world: World, bed_name: str
) -> None:
    if bed_name in ("file", "command") or bed_name.startswith(("aws", "gcp")):
        return  # nothing is needed; or the library asks the machine first
    with pytest.raises(SinkSetupError) as missing:
        world.run(env={}).check(world.target, address=INDEXER)
    assert missing.value.hint


@every_bed
def test_a_server_that_is_not_there_is_named(
    world: World, bed_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bed_name in {"file", "command"} | OTHER_CLIENTS:
        return  # they need no server, or reach it in another way

    def refuse(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", refuse)
    for act in (world.run().check, partial(world.run().put, secret=KEY, token=TOKEN)):
        with pytest.raises(SinkError, match=r"127\.0\.0\.1:\d+ cannot be reached") as problem:
            act(world.target, address=INDEXER)
        assert not isinstance(problem.value, UncertainDeliveryError)
        assert problem.value.hint


@every_bed
def test_a_run_that_was_replaced_writes_nothing(world: World) -> None:
    class ReplacedError(Exception):
        """Raised by `permit` in this test."""

    def refuse() -> None:
        raise ReplacedError

    def run_after(permit: Callable[[], None], *_: Any, **__: Any) -> Any:
        permit()

    replaced = world.run(permit=refuse, run=partial(run_after, refuse))
    with pytest.raises(ReplacedError):
        replaced.put(world.target, KEY, address=INDEXER, token=TOKEN)
    assert world.held is None
    receipt = world.deliver()
    if world.bed.removes:
        with pytest.raises(ReplacedError):
            world.run(permit=refuse).withdraw(world.target, receipt, address=INDEXER)
    assert world.held == KEY.reveal()


@every_bed
def test_a_place_that_is_not_allowed_gets_no_key(world: World) -> None:
    place = place_of(world.target)
    sink = place.partition(":")[0]
    for allowed, is_allowed in (
        ([place], True),
        ([f"{sink}:**"], True),
        (["file:other/*", f"{sink}x:**"], False),
    ):
        run = world.run(allowed=allowed)
        if is_allowed:
            run.check(world.target, address=INDEXER)
            continue
        for act in (run.check, partial(run.put, secret=KEY, token=TOKEN)):
            with pytest.raises(SinkError, match="no key may be delivered"):
                act(world.target, address=INDEXER)
    assert world.held is None


def test_every_sink_of_ours_has_a_bed() -> None:
    assert set(sink_names()) - set(BEDS) == set()
