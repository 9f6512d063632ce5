"""Owners of Secrets with delivered keys: their places come from the state, never from a list of Secrets."""

from __future__ import annotations

from pathlib import Path

from reconciler.app.delivered_places import delivered_places
from reconciler.model.address import Address
from reconciler.model.resource import Record
from reconciler.operator.crds import STACK_LABEL
from reconciler.operator.ownership import set_owned
from reconciler.state import StateStore
from tests.operator.bed import Bed
from tests.operator.makers import a_stack

INDEXER = Address("ServiceAccount", "indexer", "search")
PLACES = [
    "kubernetes:team/mine/KEY",
    "kubernetes:team/mine/OTHER",
    "kubernetes:team/theirs/KEY",
    "kubernetes:team/gone/KEY",
    "kubernetes:elsewhere/mine/KEY",
    "aws-secrets-manager:team/mine",
]


def owners(bed: Bed, name: str, namespace: str = "team") -> list[str]:
    metadata = bed.cluster.objects[("secrets", namespace, name)]["metadata"]
    return [owner["uid"] for owner in metadata.get("ownerReferences", [])]


def test_only_secrets_with_the_label_of_the_stack_get_and_lose_it_as_owner(bed: Bed) -> None:
    stack = a_stack()
    for name, namespace, uid in (
        ("mine", "team", stack.uid),
        ("theirs", "team", "uid-of-another"),
        ("mine", "elsewhere", stack.uid),
    ):
        bed.cluster.put("secrets", name, namespace, metadata={"labels": {STACK_LABEL: uid}})
    set_owned(bed.kube, stack, PLACES, owned=True)
    assert owners(bed, "mine") == [stack.uid]
    assert owners(bed, "theirs") == owners(bed, "mine", "elsewhere") == []
    set_owned(bed.kube, stack, PLACES, owned=False)
    assert owners(bed, "mine") == []
    asked = {request.parts[-1] for request in bed.cluster.requests if "secrets" in request.parts}
    assert asked == {"mine", "theirs", "gone"}, "no list of Secrets"


def test_the_state_alone_says_where_keys_are(tmp_path: Path) -> None:
    receipt = {"sink": "kubernetes", "place": PLACES[0], "digest": "sha256:0"}
    entry = {"target": {"kubernetes": {}}, "receipts": [receipt]}
    with StateStore.open(tmp_path, stack="search", environment="prod") as store:
        store.put(Record(INDEXER, "svc_1", delivered={"key": entry}))
    backend = f"local:{tmp_path}"
    assert delivered_places(backend, "search", "prod", {}) == {PLACES[0]}
    assert delivered_places(backend, "search", "test", {}) == frozenset()
