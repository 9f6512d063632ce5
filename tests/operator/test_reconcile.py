"""One run of a Stack, on a fake cluster and a real emulator."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.operator.crds import APPROVE, FINALIZER, MODES
from reconciler.operator.queue import Next
from reconciler.operator.registry import Registry
from reconciler.operator.resources import ObjectKey
from reconciler.operator.sources import Checkout, SourceFolder
from tests.operator.bed import PROJECT, Bed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["observe", "plan"])
def test_modes_that_only_report_never_write_whatever_is_approved(bed: Bed, mode: str) -> None:
    bed.stack(mode=mode)
    bed.look()
    bed.approve()
    bed.look()
    assert bed.titles() == []
    assert bed.reason() == "Observed"
    assert bed.status()["plan"]["counts"] == {"create": 1}
    assert bed.reason(type="Synced") == "ChangesPending"


def test_mode_apply_applies_a_plan_that_no_guard_refuses(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.look()
    assert bed.titles() == ["Search"]
    assert bed.reason() == "Applied"
    assert "plan" not in bed.status()
    bed.look()
    assert bed.reason() == "InSync"


def test_a_plan_waits_until_exactly_its_digest_is_approved(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    assert (bed.reason(), bed.titles()) == ("AwaitingApproval", [])
    message = bed.condition()["message"]
    assert message.startswith("Changes: 1 create. Destructive: 0. Approve with: kubectl annotate")
    assert bed.status()["plan"]["digest"] in message
    bed.approve("0" * 64)
    bed.look()
    assert (bed.reason(), bed.titles()) == ("ApprovalOutdated", [])
    digest = bed.approve()
    bed.look()
    assert (bed.reason(), bed.titles()) == ("Applied", ["Search"])
    assert bed.status()["approval"]["digest"] == digest


def test_an_approval_is_used_up_by_its_apply(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    bed.approve()
    bed.look()
    assert APPROVE not in bed.cluster.stack()["metadata"]["annotations"]
    bed.rename("By hand")
    bed.look()
    assert bed.reason() == "AwaitingApproval"
    assert bed.titles() == ["By hand"]


def test_an_approval_of_a_plan_that_changed_applies_nothing_and_says_what_differs(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    digest = bed.approve()
    bed.declare("Renamed")
    bed.look()
    assert bed.titles() == []
    assert bed.reason() == "ApprovalOutdated"
    message = bed.condition()["message"]
    assert "create Project/search has other values" in message
    assert digest[:12] in message
    assert bed.status()["plan"]["digest"] in message


def test_the_digest_of_a_plan_that_undoes_drift_can_be_approved(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.look()
    bed.cluster.change("stacks", "search", mode="approve")
    bed.rename("By hand")
    bed.look()
    assert bed.reason(type="Drifted") == "ChangedOutside"
    assert bed.status()["driftSince"]
    bed.approve()
    bed.look()
    assert bed.titles() == ["Search"]
    assert bed.reason(type="Drifted") == "NoDrift"
    assert "driftSince" not in bed.status()


def test_an_approval_that_is_withdrawn_during_the_run_applies_nothing(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    bed.approve()
    bed.list()
    del bed.cluster.stack()["metadata"]["annotations"][APPROVE]
    outcome = bed.reconciler.reconcile(ObjectKey("team", "search"), _never())
    assert bed.titles() == []
    assert outcome.next is Next.SOON


def test_another_approval_during_the_run_is_not_used_up(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    bed.approve()
    bed.list()
    bed.cluster.annotate("search", APPROVE, "0" * 64)
    bed.reconciler.reconcile(ObjectKey("team", "search"), _never())
    assert bed.titles() == []
    assert bed.cluster.stack()["metadata"]["annotations"][APPROVE] == "0" * 64


def test_a_mode_that_changes_during_the_run_applies_nothing(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.list()
    bed.cluster.change("stacks", "search", mode="observe")
    bed.reconciler.reconcile(ObjectKey("team", "search"), _never())
    assert bed.titles() == []


def test_two_operators_use_an_approval_once(bed: Bed) -> None:
    bed.stack(mode="approve")
    bed.look()
    bed.approve()
    bed.list()
    approved = bed.registry.stack(ObjectKey("team", "search"))
    assert approved is not None
    bed.reconciler.reconcile(approved.key, _never())
    bed.rename("By hand")
    bed.rename("Search")
    # The second operator has not seen yet that the approval is used up.
    stale = {**bed.cluster.stack(), "metadata": {**bed.cluster.stack()["metadata"]}}
    stale["metadata"]["annotations"] = {APPROVE: approved.approve}
    bed.registry.put_stack(stale)
    before = len(bed.cluster.writes())
    bed.new_operator().reconcile(approved.key, _never())
    assert bed.titles() == ["Search"]
    patches = [r for r in bed.cluster.writes()[before:] if "remove" in r.content.decode()]
    assert patches == []


def test_a_suspended_stack_is_left_alone(bed: Bed) -> None:
    bed.stack(mode="apply", suspend=True)
    bed.look()
    assert (bed.reason(), bed.titles()) == ("Suspended", [])


def test_nothing_is_written_to_the_cluster_while_nothing_changes(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.look()
    bed.look()
    del bed.cluster.requests[:]
    for _ in range(20):
        bed.now += 60.0
        bed.reconciler.reconcile(ObjectKey("team", "search"), _never())
    of_stack = [r for r in bed.cluster.requests if "stacks" in r.parts]
    of_keys = [r for r in bed.cluster.requests if "secrets" in r.parts]
    assert len(of_stack) <= 10
    assert len(of_stack) + len(of_keys) == len(bed.cluster.requests) <= 20


def test_events_tell_changes_and_not_runs(bed: Bed) -> None:
    bed.stack(mode="approve")
    for _ in range(3):
        bed.look()
    bed.approve()
    for _ in range(3):
        bed.look()
    assert bed.cluster.events() == ["AwaitingApproval", "Applied", "InSync"]


def test_a_guard_that_refuses_blocks_and_names_the_way_out(bed: Bed) -> None:
    bed.declare(manifest=PROTECTED)
    bed.stack(mode="apply")
    bed.look()
    bed.declare(manifest="kind: Project\nmetadata: {name: other}\nspec: {name: Other}\n")
    outcome = bed.look()
    assert bed.reason() == bed.reason(type="Blocked") == "GuardRefused"
    assert "--allow-delete Project/search" in bed.condition()["message"]
    assert outcome.next is Next.BLOCKED
    bed.cluster.change("stacks", "search", allowDelete=["Project/search"])
    bed.look()
    assert bed.reason() == "Applied"


def test_allowed_deletions_of_objects_that_are_gone_do_no_harm(bed: Bed) -> None:
    bed.stack(mode="apply", allowDelete=["Project/long-gone"])
    bed.look()
    assert bed.reason() == "Applied"


@pytest.mark.parametrize("mode", MODES)
def test_deletion_with_retain_touches_neither_api_nor_finalizer(bed: Bed, mode: str) -> None:
    bed.stack(mode="apply")
    bed.look()
    bed.cluster.change("stacks", "search", mode=mode)
    bed.look()
    assert "finalizers" not in bed.cluster.stack()["metadata"]
    bed.cluster.delete("stacks", "search")
    assert bed.look().next is Next.GONE
    assert bed.titles() == ["Search"]


def test_deletion_with_delete_destroys_and_lets_go(bed: Bed) -> None:
    bed.declare(manifest=DELETED)
    bed.stack(mode="apply", deletionPolicy="Delete")
    bed.look()
    assert bed.cluster.stack()["metadata"]["finalizers"] == [FINALIZER]
    bed.cluster.delete("stacks", "search")
    assert bed.look().next is Next.GONE
    assert ("stacks", "team", "search") not in bed.cluster.objects
    assert bed.cluster.events()[-1] == "Destroyed"


def test_deletion_in_mode_approve_waits_for_the_digest_of_the_destruction(bed: Bed) -> None:
    bed.declare(manifest=DELETED)
    bed.stack(mode="apply", deletionPolicy="Delete")
    bed.look()
    bed.cluster.change("stacks", "search", mode="approve")
    bed.look()
    bed.cluster.delete("stacks", "search")
    bed.look()
    assert bed.reason() == "AwaitingApproval"
    assert bed.status()["plan"]["counts"] == {"delete": 1}
    bed.approve()
    bed.look()
    assert ("stacks", "team", "search") not in bed.cluster.objects


def test_a_deletion_that_a_guard_refuses_stays_until_the_policy_is_retain(bed: Bed) -> None:
    bed.declare(manifest=PROTECTED)
    bed.stack(mode="apply", deletionPolicy="Delete")
    bed.look()
    bed.cluster.delete("stacks", "search")
    bed.look()
    assert bed.reason() == "GuardRefused"
    assert bed.titles() == ["Search"]
    bed.cluster.change("stacks", "search", deletionPolicy="Retain")
    bed.look()
    assert ("stacks", "team", "search") not in bed.cluster.objects
    assert bed.titles() == ["Search"]


def test_a_mode_that_never_writes_does_not_destroy_either(bed: Bed) -> None:
    bed.stack(mode="apply", deletionPolicy="Delete")
    bed.look()
    bed.cluster.change("stacks", "search", mode="observe")
    bed.cluster.delete("stacks", "search")
    bed.look()
    assert bed.reason() == "DeletionNotPermitted"
    assert bed.titles() == ["Search"]


def test_a_deletion_without_its_organization_waits(bed: Bed) -> None:
    bed.stack(mode="apply", deletionPolicy="Delete")
    bed.look()
    bed.cluster.delete("organizations", "acme")
    bed.cluster.delete("stacks", "search")
    bed.look()
    assert bed.reason() == "OrganizationNotFound"
    bed.organize()
    bed.look()
    assert ("stacks", "team", "search") not in bed.cluster.objects


def test_a_key_that_is_replaced_in_its_secret_is_used_at_the_next_run(bed: Bed) -> None:
    bed.cluster.put_secret("keys", admin="sk-admin-revoked-by-somebody", default="sk-emulator")
    bed.stack(mode="apply")
    bed.look()
    assert bed.reason() == "KeyRefused"
    bed.cluster.put_secret("keys", admin=bed.emulator.admin_key, default="sk-emulator")
    bed.look()
    assert bed.reason() == "Applied"


def test_no_key_reaches_the_cluster_or_the_disk(bed: Bed) -> None:
    key = "sk-admin-revoked-by-somebody"
    bed.cluster.put_secret("keys", admin=key, default="sk-emulator")
    bed.stack(mode="apply", variables={"a": key})
    bed.look()
    sent = b"".join(request.content for request in bed.cluster.writes())
    assert key.encode() not in sent
    files = [path for path in bed.folder.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [({}, "KeyNotFound"), ({"admin": "no key at all", "default": "sk-emulator"}, "KeyNotFound")],
)
def test_a_secret_without_a_usable_key_blocks(bed: Bed, data: dict[str, str], reason: str) -> None:
    bed.cluster.put_secret("keys", **data)
    bed.stack(mode="apply")
    assert bed.look().next is Next.BLOCKED
    assert bed.reason() == reason
    assert "no key at all" not in bed.condition()["message"]


def test_an_organization_says_whether_its_keys_were_found(bed: Bed) -> None:
    bed.stack(mode="observe")
    bed.look()
    (condition,) = bed.cluster.objects[("organizations", "team", "acme")]["status"]["conditions"]
    assert (condition["reason"], condition["status"]) == ("KeysFound", "True")
    bed.cluster.put_secret("keys", admin=bed.emulator.admin_key)
    bed.now += 1000
    bed.look()
    (condition,) = bed.cluster.objects[("organizations", "team", "acme")]["status"]["conditions"]
    assert (condition["reason"], condition["status"]) == ("KeyNotFound", "False")
    assert 'no key "default"' in condition["message"]


@pytest.mark.parametrize("looks", [1, 2], ids=["while it is planned", "before it is applied"])
def test_a_folder_that_is_replaced_during_a_run_is_not_applied(bed: Bed, looks: int) -> None:
    folder = bed.sources / "search"
    folder.mkdir()
    (folder / "reconciler.yaml").write_text("kind: Stack\nmetadata: {name: search}\nspec: {}\n")
    (folder / "main.yaml").write_text(PROJECT)
    bed.stack(mode="apply", source={"path": "search"})
    moving = bed.new_operator(Moving(bed.sources, looks))
    assert bed.look(reconciler=moving).next is Next.SOON
    assert bed.titles() == []
    bed.look()
    assert bed.titles() == ["TITLE"]


class Moving(SourceFolder):
    """A folder of sources whose revision is another one after some looks at it."""

    def __init__(self, root: Path, looks: int) -> None:
        super().__init__(root)
        self.looks = looks

    def resolve(self, path: str, sub_path: str | None = None) -> Checkout:
        checkout = super().resolve(path, sub_path)
        self.looks -= 1
        return checkout if self.looks >= 0 else replace(checkout, revision="git:another")


def test_an_organization_of_another_namespace_has_to_allow_ours(bed: Bed) -> None:
    bed.cluster.put_secret("keys", "platform", admin=bed.emulator.admin_key, default="sk-emulator")
    bed.organize("shared", "platform")
    bed.stack(mode="apply", organizationRef={"name": "shared", "namespace": "platform"})
    bed.look()
    assert (bed.reason(), bed.titles()) == ("OrganizationNotAllowed", [])
    bed.organize("shared", "platform", allowedNamespaces=["team"])
    bed.look()
    assert bed.reason() == "Applied"


def test_the_younger_of_two_stacks_with_one_state_is_blocked(bed: Bed) -> None:
    bed.stack("first", mode="apply")
    bed.stack("second", mode="apply")
    bed.look("first")
    bed.look("second")
    bed.look("first")
    assert bed.reason("first") == "InSync"
    assert bed.reason("second") == "StackNameTaken"
    bed.cluster.delete("stacks", "first")
    bed.look("second")
    assert bed.reason("second") == "InSync"


def test_an_operator_that_restarts_gives_no_state_to_another_stack(bed: Bed) -> None:
    bed.stack("first", mode="apply")
    bed.look("first")
    bed.stack("second", mode="apply")
    bed.registry = Registry()
    restarted = bed.new_operator()
    bed.look("second", reconciler=restarted)
    assert bed.reason("second") == "StackNameTaken"
    bed.look("first", reconciler=restarted)
    assert bed.reason("first") == "InSync"


def test_the_status_names_the_state_before_anything_is_written(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.look()
    writes = [request for request in bed.cluster.writes() if "stacks" in request.parts]
    assert writes[0].body["status"] == {"stack": "search", "environment": "default"}
    assert bed.status()["lastRun"]["result"] == "applied"


def test_a_source_without_a_name_is_refused_because_the_folder_is_another_each_time(
    bed: Bed,
) -> None:
    bed.declare(name="''")
    bed.cluster.objects[("configmaps", "team", "search")]["data"]["reconciler.yaml"] = (
        "kind: Stack\nspec: {}\n"
    )
    bed.stack(mode="apply")
    bed.look()
    assert bed.reason() in ("SourceInvalid", "ConfigurationInvalid")
    assert bed.titles() == []


def test_a_config_map_without_the_label_is_named_with_the_command_that_labels_it(bed: Bed) -> None:
    bed.cluster.objects[("configmaps", "team", "search")]["metadata"]["labels"] = {}
    bed.stack(mode="apply")
    bed.look()
    assert bed.reason() == "SourceNotFound"
    assert "kubectl label configmap search -n team" in bed.condition()["message"]


def test_manifests_with_errors_block_and_name_the_place(bed: Bed) -> None:
    bed.declare(manifest="kind: Project\nmetadata: {name: search}\nspec: {nme: x}\n")
    bed.stack(mode="apply")
    bed.look()
    assert bed.reason() == "ConfigurationInvalid"
    assert "main.yaml:3" in bed.condition()["message"]


def test_applies_that_never_converge_are_noticed_and_become_rarer(bed: Bed) -> None:
    bed.stack(mode="apply")
    delays = []
    for _ in range(5):
        outcome = bed.look()
        delays.append((outcome.next, outcome.repeats))
        bed.rename("By hand")
    assert bed.reason() == "NotConverging"
    assert "Project/search" in bed.condition()["message"]
    assert [repeats for _, repeats in delays] == [0, 0, 1, 2, 3]
    assert delays[-1][0] is Next.LOOPING
    bed.declare("Another")
    assert bed.look().next is Next.DONE


def test_a_stack_cannot_deliver_keys_to_another_namespace(bed: Bed) -> None:
    bed.declare(manifest=DELIVERING.replace("NAMESPACE", "other"))
    bed.stack(mode="apply")
    bed.look()
    assert bed.titles() == []
    assert "kubernetes:other" in bed.condition()["message"]


def test_a_policy_of_the_organization_refuses_a_plan_of_every_stack(bed: Bed) -> None:
    bed.cluster.put(
        "configmaps",
        "rules",
        data={"rules.yaml": POLICY},
        metadata={"labels": {"reconciler.dev/source": "true"}},
    )
    bed.organize(policies=[{"configMap": {"name": "rules"}}])
    bed.stack(mode="apply")
    bed.look()
    assert (bed.reason(), bed.titles()) == ("GuardRefused", [])
    assert "No projects today" in bed.condition()["message"]


def test_an_operator_that_restarts_knows_since_when_there_is_drift(bed: Bed) -> None:
    bed.stack(mode="apply")
    bed.look()
    bed.cluster.change("stacks", "search", mode="observe")
    bed.rename("By hand")
    bed.look()
    since, number = bed.status()["driftSince"], bed.status()["lastRun"]["number"]
    bed.rename("By another hand")
    bed.look(reconciler=bed.new_operator())
    assert bed.status()["driftSince"] == since
    assert bed.status()["lastRun"]["number"] >= number


def _never() -> threading.Event:
    return threading.Event()


DELETED = "kind: VectorStore\nmetadata: {name: docs}\nspec: {name: Docs}\n"
PROTECTED = (
    "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
    "lifecycle: {prevent_destroy: true, on_remove: delete}\n"
)
DELIVERING = (
    "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n---\n"
    "kind: ServiceAccount\nmetadata: {name: indexer, project: search}\nspec:\n  name: indexer\n"
    "  key: {write_to: {kubernetes: {namespace: NAMESPACE, secret: indexer, key: KEY}}}\n"
)
POLICY = (
    "kind: Policy\nmetadata: {name: none}\nspec:\n  match: {kinds: [Project]}\n  on: plan\n"
    '  severity: mandatory\n  rule: "false"\n  message: \'"No projects today"\'\n'
)
