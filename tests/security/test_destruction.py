"""Nothing is destroyed without permission, and refusals name the narrowest option."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import Finished
from tests.security.conftest import Inside
from tests.security.platform import MANIFESTS, Platform, manifest, write

BOT, DOCS, PROJECT = "Assistant/bot", "VectorStore/docs", "Project/search"
LIMIT, ACCOUNT = "RateLimit/search/main", "ServiceAccount/search/ci"
PROTECTED = "{prevent_destroy: true}"
GOES = "{on_remove: delete}"
EACH = """\
kind: Assistant
metadata: {name: "${each.key}"}
for_each: [bot, other]
spec: {model: gpt-4o}
lifecycle: {prevent_destroy: true}
"""


def declare(inside: Inside, *documents: str) -> Inside:
    """Make the manifests of the folder these documents, and no others."""
    return inside.write({"m.yaml": "---\n".join(documents), "notes.txt": "one"})


def bot(lifecycle: str = "") -> str:
    return manifest(BOT, MANIFESTS[BOT], lifecycle)


QUIET = manifest("Assistant/quiet", MANIFESTS["Assistant/quiet"])


def offered(refused: Finished) -> list[str]:
    """The options that a refusal offers, each once."""
    found = re.findall(r"--allow-delete ([\w./-]+\w)", refused.err)
    return [word for address in dict.fromkeys(found) for word in ("--allow-delete", address)]


def refused_until_allowed(inside: Inside, address: str, reason: str, *command: str) -> None:
    """The claim of most tests here: refused by address and reason; allowed by what is offered, and by less not."""
    refused = inside.run(*command, expect=11)
    sentence = next(line for line in refused.err.splitlines() if line.startswith("Refused: "))
    assert address in sentence
    assert reason in sentence
    assert offered(refused) == ["--allow-delete", address]
    other = "Assistant/quiet" if address != "Assistant/quiet" else BOT
    if other in Platform(inside).ids():
        inside.run(*command, "--allow-delete", other, expect=11)
    inside.run(*command, *offered(refused), expect=0)


REMOVALS = {
    "the block": ((bot(PROTECTED), QUIET), (bot(), QUIET), BOT),
    "the manifest": ((bot(PROTECTED), QUIET), (QUIET,), BOT),
    "an item of for_each": ((EACH, QUIET), (EACH.replace("bot, ", ""), QUIET), BOT),
    "a limit's manifest": (
        (manifest(PROJECT, "{name: Search}"), manifest(LIMIT, MANIFESTS[LIMIT], PROTECTED)),
        (manifest(PROJECT, "{name: Search}"),),
        LIMIT,
    ),
}


@pytest.mark.parametrize(("before", "after", "address"), REMOVALS.values(), ids=REMOVALS.keys())
def test_protection_outlives_the_declaration(
    inside: Inside, before: tuple[str, ...], after: tuple[str, ...], address: str
) -> None:
    declare(inside, *before).apply()
    declare(inside, *after)
    is_declared = after[0].startswith("kind: Assistant\nmetadata: {name: bot}")
    command = ("destroy", "--yes", "--target", address) if is_declared else ("apply", "--yes")
    refused_until_allowed(inside, address, "protected by lifecycle.prevent_destroy", *command)
    assert address not in Platform(inside).ids()


def test_protection_holds_for_a_replacement(inside: Inside) -> None:
    declare(inside, bot(PROTECTED), QUIET).apply()
    refused_until_allowed(inside, BOT, "would be replaced", "apply", "--yes", "--replace", BOT)


def test_protection_that_is_taken_back_and_applied_is_gone(inside: Inside) -> None:
    declare(inside, bot(PROTECTED), QUIET).apply()
    declare(inside, bot("{prevent_destroy: false}"), QUIET).apply()
    declare(inside, QUIET).apply()
    assert [item["name"] for item in Platform(inside).all("Assistant")] == ["Quiet"]


def test_a_protected_object_is_found_again_protected_where_the_state_is_lost(
    inside: Inside,
) -> None:
    declare(inside, bot(PROTECTED), QUIET).apply()
    for path in (inside.folder / ".reconciler").rglob("*.db"):
        path.unlink()
    inside.run("destroy", "--yes", expect=11)


def test_deletes_of_what_only_its_mark_tells_us_can_be_allowed_one_by_one(inside: Inside) -> None:
    names = [f"b{number}" for number in range(7)]
    declare(
        inside,
        QUIET,
        *(manifest(f"Assistant/{name}", f"{{name: {name}, model: m}}") for name in names),
    ).apply()
    for path in (inside.folder / ".reconciler").rglob("*.db"):
        path.unlink()
    declare(inside, QUIET)
    assert "7 of 8 objects" in inside.run("plan", expect=11).err
    inside.run(
        "apply",
        "--yes",
        *(word for name in names for word in ("--allow-delete", f"Assistant/{name}")),
        expect=0,
    )
    assert [item["name"] for item in Platform(inside).all("Assistant")] == ["Quiet"]


def test_a_project_that_is_to_be_retained_is_not_archived_to_be_replaced(inside: Inside) -> None:
    declare(inside, manifest(PROJECT, "{name: Search}")).apply()
    refused = inside.run("plan", "--replace", PROJECT, expect=11)
    assert (
        "would be archived, which cannot be undone; set lifecycle: {on_remove: delete}"
        in refused.err
    )
    assert offered(refused) == ["--allow-delete", PROJECT]


INSIDE = {
    "protected": (PROTECTED, "is protected by lifecycle.prevent_destroy"),
    "retained": ("{on_remove: retain}", "is to be kept"),
}


@pytest.mark.parametrize(("lifecycle", "reason"), INSIDE.values(), ids=INSIDE.keys())
@pytest.mark.parametrize("address", [LIMIT, ACCOUNT])
def test_no_project_is_archived_over_what_is(
    inside: Inside, address: str, lifecycle: str, reason: str
) -> None:
    declare(
        inside,
        manifest(PROJECT, "{name: Search}", GOES),
        manifest(address, MANIFESTS[address], lifecycle),
        QUIET,
    )
    inside.apply()
    declare(inside, QUIET)
    reason = "protected by lifecycle" if address == ACCOUNT and lifecycle == PROTECTED else reason
    refused_until_allowed(inside, address, reason, "apply", "--yes")


def test_no_project_is_archived_over_what_a_manifest_still_declares(inside: Inside) -> None:
    account = manifest(ACCOUNT, MANIFESTS[ACCOUNT])
    declare(inside, manifest(PROJECT, "{name: Search}", GOES), account, QUIET).apply()
    id = Platform(inside).ids()[PROJECT]
    inside.write({"reconciler.yaml": f"kind: Stack\nspec: {{projects: {{search: {id}}}}}\n"})
    refused = declare(inside, account, QUIET).run("apply", "--yes", expect=11)
    assert f"{PROJECT} would be archived, and {ACCOUNT} would be lost with it" in refused.err


def keyed(stack: str, file: str = "k.key") -> dict[str, str]:
    return {
        "reconciler.yaml": f"kind: Stack\nmetadata: {{name: acme}}\nspec: {{manifests: [m/], credentials: {stack}}}\n",
        "m/p.yaml": manifest(PROJECT, "{name: Search}"),
        "m/a.yaml": manifest(ACCOUNT, f"{{name: ci, key: {{write_to: {{file: {file}}}}}}}"),
        "m/v.yaml": manifest("VectorStore/search/docs", "{name: Docs}"),
    }


FILES = {
    "project": '{projects: {search: "${file:k.key}"}}',
    "default": '{default: "${file:k.key}"}',
}


@pytest.mark.parametrize("stack", FILES.values(), ids=FILES.keys())
def test_the_account_whose_key_file_is_in_use_stays(inside: Inside, stack: str) -> None:
    inside.write(keyed(stack)).apply()
    (inside.folder / "m" / "a.yaml").unlink()
    refused = inside.run("apply", "--yes", expect=11)
    assert f"{ACCOUNT} would be deleted, and its key is the one in use (k.key" in refused.err
    assert offered(refused) == ["--allow-delete", ACCOUNT]


@pytest.mark.parametrize("stack", FILES.values(), ids=FILES.keys())
def test_the_key_file_in_use_stays_when_another_destination_gets_a_key(
    inside: Inside, stack: str
) -> None:
    inside.write(keyed(stack)).apply()
    inside.write(keyed(stack, "elsewhere.key")).apply()
    assert (inside.folder / "k.key").exists()
    assert inside.run("plan", "--detailed-exitcode", expect=0).code == 0


@pytest.mark.parametrize("stack", FILES.values(), ids=FILES.keys())
def test_the_account_whose_key_file_is_in_use_goes_with_all_that_it_opens(
    inside: Inside, stack: str
) -> None:
    inside.write(keyed(stack)).apply()
    inside.run("destroy", "--yes", expect=0)
    assert Platform(inside).all("ServiceAccount") == []


@pytest.mark.parametrize(
    "command", [("apply", "--yes", "--replace", ACCOUNT), ("destroy", "--yes")]
)
def test_the_account_whose_key_came_out_of_a_variable_stays(
    inside: Inside, command: tuple[str, ...]
) -> None:
    inside.write(keyed("{}")).apply("--target", ACCOUNT)
    inside.variables = {"OPENAI_API_KEY": (inside.folder / "k.key").read_text().strip()}
    refused_until_allowed(inside, ACCOUNT, "the one in use (OPENAI_API_KEY)", *command)


def test_a_key_may_move_to_another_file_together_with_its_use(inside: Inside) -> None:
    inside.write(keyed(FILES["project"])).apply()
    inside.write(keyed(FILES["project"].replace("k.key", "l.key"), "l.key")).apply(
        "--target", ACCOUNT
    )
    inside.apply()
    assert inside.plan().code == 0


@pytest.mark.parametrize(
    ("address", "lost"),
    [
        (DOCS, "its index is deleted and must be rebuilt"),
        ("File/notes", "removed from every vector store"),
    ],
)
def test_a_replacement_that_destroys_data_says_so_in_every_format(
    inside: Inside, address: str, lost: str
) -> None:
    write(inside, {address: MANIFESTS[address]}).apply()
    done = inside.run(
        "plan",
        "--replace",
        address,
        "--report",
        "p.json:json",
        "--report",
        "p.md:markdown",
        expect=0,
    )
    (change,) = json.loads((inside.folder / "p.json").read_text())["resource_changes"]
    assert lost in change["reconciler"]["destroys"]
    assert re.search(rf"destroys: .*{lost}", done.out)
    assert re.search(rf"\*\*Destroys:\*\* .*{lost}", (inside.folder / "p.md").read_text())
