"""Keys in files: private from the first instant, whole at any instant, and never over what is not ours."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import reconciler
from reconciler.errors import SinkError
from reconciler.model.address import Address
from reconciler.model.provider import Sinks
from reconciler.model.secret import Redactor, Secret
from reconciler.secrets import SinkSet

INDEXER = Address.parse("ServiceAccount/search/indexer")
TOKEN = "0" * 32
KEY = Secret("sk-svcacct-0123456789abcdef")
OTHER = Secret("sk-svcacct-fedcba9876543210")
TARGET = {"file": "secrets/indexer.key"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "stack"
    root.mkdir()
    return root


@pytest.fixture
def sinks(root: Path) -> SinkSet:
    return SinkSet(root, Redactor(), owner="acme/prod")


@pytest.fixture
def file(root: Path) -> Path:
    return root / "secrets" / "indexer.key"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def theirs(file: Path, content: str = "precious\n") -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)


def test_a_sink_set_implements_the_protocol_of_providers(sinks: SinkSet) -> None:
    protocol: Sinks = sinks
    protocol.check(TARGET, address=INDEXER)


def test_the_file_holds_the_key_and_a_newline(sinks: SinkSet, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    assert file.read_text() == f"{KEY.reveal()}\n"


def test_nobody_else_can_read_the_key(sinks: SinkSet, root: Path) -> None:
    before = os.umask(0)
    try:
        sinks.put({"file": "deep/er/indexer.key"}, KEY, address=INDEXER, token=TOKEN)
    finally:
        os.umask(before)
    assert (mode(root / "deep"), mode(root / "deep/er")) == (0o700, 0o700)
    assert {mode(path) for path in (root / "deep/er").iterdir()} == {0o600}


def test_the_receipt_says_where_the_key_went_and_does_not_hold_it(sinks: SinkSet) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    assert (receipt["sink"], receipt["file"]) == ("file", "secrets/indexer.key")
    assert KEY.reveal() not in json.dumps(receipt)


def test_equal_keys_have_different_receipts(sinks: SinkSet) -> None:
    one = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    two = sinks.put({"file": "other.key"}, KEY, address=INDEXER, token=TOKEN)
    assert one["digest"] != two["digest"]


def test_files_beside_a_key_do_not_hold_it(sinks: SinkSet, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    others = [path.read_text() for path in file.parent.iterdir() if path != file]
    assert len(others) == 1
    assert KEY.reveal() not in others[0]


def test_checking_writes_nothing(sinks: SinkSet, root: Path) -> None:
    sinks.check(TARGET, address=INDEXER)
    assert list(root.iterdir()) == []


def test_a_file_of_somebody_else_is_not_overwritten(sinks: SinkSet, file: Path) -> None:
    theirs(file)
    with pytest.raises(
        SinkError, match=r"secrets/indexer\.key.*not written by reconciler"
    ) as caught:
        sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    assert file.read_text() == "precious\n"
    assert "move it away" in caught.value.hint


def test_a_check_refuses_the_file_of_somebody_else(sinks: SinkSet, file: Path) -> None:
    theirs(file)
    with pytest.raises(SinkError, match="not written by reconciler"):
        sinks.check(TARGET, address=INDEXER)


def test_a_refusal_does_not_show_the_content_of_the_file(sinks: SinkSet, file: Path) -> None:
    theirs(file)
    with pytest.raises(SinkError) as caught:
        sinks.check(TARGET, address=INDEXER)
    assert "precious" not in str(caught.value) + caught.value.hint


def test_an_empty_file_is_filled(sinks: SinkSet, file: Path) -> None:
    theirs(file, "")
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    assert (file.read_text(), mode(file)) == (f"{KEY.reveal()}\n", 0o600)


def test_our_own_key_is_replaced(sinks: SinkSet, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    sinks.put(TARGET, OTHER, address=INDEXER, token=TOKEN)
    assert file.read_text() == f"{OTHER.reveal()}\n"


def test_our_own_key_is_known_without_any_state(sinks: SinkSet, root: Path, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    SinkSet(root, Redactor(), owner="acme/prod").put(TARGET, OTHER, address=INDEXER, token=TOKEN)
    assert file.read_text() == f"{OTHER.reveal()}\n"


def test_our_own_key_is_known_by_its_receipt_alone(sinks: SinkSet, root: Path, file: Path) -> None:
    delivered = {
        "api_key": {"id": "key_1", "receipt": sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)}
    }
    (file.parent / ".indexer.key.reconciler").unlink()
    with pytest.raises(SinkError):
        SinkSet(root, Redactor()).check(TARGET, address=INDEXER)
    SinkSet(root, Redactor(), deliveries=lambda: [(INDEXER, delivered)]).check(
        TARGET, address=INDEXER
    )


def test_a_key_that_was_edited_is_not_ours_any_more(sinks: SinkSet, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    file.write_text("edited\n")
    with pytest.raises(SinkError, match="not written by reconciler"):
        sinks.put(TARGET, OTHER, address=INDEXER, token=TOKEN)


def test_a_proof_that_makes_no_sense_proves_nothing(sinks: SinkSet, file: Path) -> None:
    theirs(file)
    for proof in ("", "{", "[]", '{"digests": [1, "", "x", "hmac-sha256:a:b"]}'):
        (file.parent / ".indexer.key.reconciler").write_text(proof)
        with pytest.raises(SinkError, match="not written by reconciler"):
            sinks.check(TARGET, address=INDEXER)


@pytest.mark.parametrize(
    ("owner", "address"),
    [("acme/prod", "ServiceAccount/search/worker"), ("acme/dev", str(INDEXER))],
)
def test_the_key_of_another_resource_or_environment_is_not_overwritten(
    sinks: SinkSet, root: Path, owner: str, address: str
) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    with pytest.raises(SinkError, match="holds the key of acme/prod/ServiceAccount/search/indexer"):
        SinkSet(root, Redactor(), owner=owner).put(
            TARGET, OTHER, address=Address.parse(address), token=TOKEN
        )


@pytest.mark.parametrize(
    "path", ["../out.key", "/etc/out.key", "secrets/../../out.key", "away/out.key"]
)
def test_a_file_outside_of_the_root_is_refused(
    sinks: SinkSet, root: Path, tmp_path: Path, path: str
) -> None:
    (root / "away").symlink_to(tmp_path)
    with pytest.raises(SinkError, match="is outside "):
        sinks.check({"file": path}, address=INDEXER)
    with pytest.raises(SinkError, match="is outside "):
        sinks.put({"file": path}, KEY, address=INDEXER, token=TOKEN)
    assert sorted(tmp_path.iterdir()) == [root]


def test_a_path_inside_of_the_root_may_be_absolute(sinks: SinkSet, root: Path, file: Path) -> None:
    sinks.put({"file": str(file)}, KEY, address=INDEXER, token=TOKEN)
    assert file.exists()


def test_a_link_to_a_folder_inside_of_the_root_is_followed(sinks: SinkSet, root: Path) -> None:
    (root / "real").mkdir()
    (root / "secrets").symlink_to("real")
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    assert (root / "real/indexer.key").exists()


def test_a_link_in_place_of_the_file_is_refused(sinks: SinkSet, root: Path, file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(root / "elsewhere")
    for act in (
        lambda: sinks.check(TARGET, address=INDEXER),
        lambda: sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN),
    ):
        with pytest.raises(SinkError, match="symbolic link"):
            act()
    assert not (root / "elsewhere").exists()


def test_links_in_a_loop_are_refused(sinks: SinkSet, root: Path) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(SinkError):
        sinks.check({"file": "loop/indexer.key"}, address=INDEXER)


def test_a_pipe_in_place_of_the_file_is_refused_without_waiting_for_it(
    sinks: SinkSet, root: Path
) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(SinkError, match="not a regular file"):
        sinks.check({"file": "pipe"}, address=INDEXER)


def test_a_file_where_a_folder_should_be_is_refused(sinks: SinkSet, root: Path) -> None:
    (root / "secrets").touch()
    for act in (
        lambda: sinks.check(TARGET, address=INDEXER),
        lambda: sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN),
    ):
        with pytest.raises(SinkError):
            act()


@pytest.mark.parametrize("path", [".", "..", "secrets/", "a\0b", "\ud800.key", "n" * 240])
def test_a_path_that_is_no_file_name_is_refused(sinks: SinkSet, path: str) -> None:
    with pytest.raises(SinkError):
        sinks.check({"file": path}, address=INDEXER)


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"file": ""},
        {"file": 7},
        {"file": "a", "command": ["b"]},
        {"command": []},
        {"command": [1]},
        {"url": "x"},
    ],
    ids=str,
)
def test_a_value_that_is_no_target_is_refused(sinks: SinkSet, target: dict[str, Any]) -> None:
    with pytest.raises(SinkError, match=r"exactly one sink|no sink|not of its form"):
        sinks.check(target, address=INDEXER)


def test_a_withdrawal_removes_our_key(sinks: SinkSet, file: Path) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    assert list(file.parent.iterdir()) == []


def test_a_withdrawal_goes_where_the_receipt_says(sinks: SinkSet, file: Path) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    sinks.withdraw({"file": "moved.key"}, receipt, address=INDEXER)
    assert not file.exists()


def test_a_withdrawal_leaves_a_file_that_others_changed(sinks: SinkSet, file: Path) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    file.write_text("edited\n")
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    assert file.read_text() == "edited\n"


def test_a_withdrawal_of_a_missing_file_is_no_error(sinks: SinkSet, file: Path) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    file.unlink()
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    sinks.withdraw({"file": "../outside"}, {**receipt, "file": "../outside"}, address=INDEXER)


def test_a_withdrawal_that_was_cut_short_is_finished(sinks: SinkSet, file: Path) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    file.unlink()
    sinks.withdraw(TARGET, receipt, address=INDEXER)
    assert list(file.parent.iterdir()) == []


def test_a_delivery_that_was_cut_short_is_taken_back_without_a_receipt(
    sinks: SinkSet, file: Path
) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    (file.parent / ".indexer.key.reconciler-new").write_text("half")
    (file.parent / "..indexer.key.reconciler.reconciler-new").write_text("half")
    sinks.withdraw(TARGET, {}, address=INDEXER)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("owner", ["acme/production", "other/prod"])
def test_without_a_receipt_nothing_of_others_is_taken_back(
    sinks: SinkSet, root: Path, file: Path, owner: str
) -> None:
    SinkSet(root, Redactor(), owner=owner).put(TARGET, KEY, address=INDEXER, token=TOKEN)
    sinks.withdraw(TARGET, {}, address=INDEXER)
    assert file.read_text() == f"{KEY.reveal()}\n"


def test_many_keys_are_delivered_at_once(sinks: SinkSet, root: Path) -> None:
    def deliver(number: int) -> None:
        sinks.put(
            {"file": f"keys/{number}"},
            Secret(f"sk-{number}"),
            address=Address("ServiceAccount", f"n{number}"),
            token=TOKEN,
        )

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(deliver, range(30)))
    assert [(root / "keys" / str(number)).read_text() for number in range(30)] == [
        f"sk-{n}\n" for n in range(30)
    ]


@pytest.mark.parametrize("first", ["", "over the first"])
def test_a_death_at_any_call_leaves_a_whole_key_that_can_be_replaced(
    first: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.secrets.dying_put", tmp_path, first],
        capture_output=True,
        text=True,
        cwd=Path(reconciler.__file__).parent.parent,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert int(ended.stdout) > 10


def test_a_key_can_be_recalled_for_its_address_alone(root: Path, sinks: SinkSet) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    fresh = SinkSet(root, Redactor(), owner="acme/prod")
    other = Address.parse("ServiceAccount/search/other")
    assert [fresh.recall(TARGET, address=address) for address in (INDEXER, other)] == [KEY, None]


def test_a_foreign_file_is_not_recalled(sinks: SinkSet, file: Path) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    theirs(file)
    assert sinks.recall(TARGET, address=INDEXER) is None


class Replaced(Exception):
    """Raised by `permit` in these tests: another run has replaced this one."""


def refuse() -> None:
    raise Replaced


def test_a_run_that_was_replaced_keeps_the_key_of_its_successor(
    root: Path, sinks: SinkSet, file: Path
) -> None:
    sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    replaced = SinkSet(root, Redactor(), owner="acme/prod", permit=refuse)
    with pytest.raises(Replaced):
        replaced.put(TARGET, OTHER, address=INDEXER, token=TOKEN)
    assert file.read_text() == f"{KEY.reveal()}\n"
    assert sinks.recall(TARGET, address=INDEXER) == KEY


@pytest.mark.parametrize("has_receipt", [True, False])
def test_a_run_that_was_replaced_withdraws_nothing(
    root: Path, sinks: SinkSet, file: Path, has_receipt: bool
) -> None:
    receipt = sinks.put(TARGET, KEY, address=INDEXER, token=TOKEN)
    replaced = SinkSet(root, Redactor(), owner="acme/prod", permit=refuse)
    with pytest.raises(Replaced):
        replaced.withdraw(TARGET, receipt if has_receipt else {}, address=INDEXER)
    assert file.exists()
