"""Claims about saved plans and exports of a stack that declares `encryption`, at the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pyrage import x25519

from tests.cli.test_plan_and_apply import ASSISTANT
from tests.conftest import Workspace

INSTRUCTIONS = "Be kind."


def stack(*recipients: str, environments: str = "{}") -> str:
    listed = json.dumps({"age": {"recipients": recipients}}) if recipients else "null"
    return (
        "kind: Stack\nmetadata: {name: acme}\n"
        f"spec: {{encryption: {listed}, environments: {environments}}}\n"
    )


class Person:
    """Somebody with an age identity in a file."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        identity = x25519.Identity.generate()
        self.secret = str(identity)
        self.recipient = str(identity.to_public())
        self.file = workspace.folder.parent / f"{name}.txt"
        self.file.write_text(f"# {name}\n{identity}\n")
        self.file.chmod(0o600)
        self.variables = {"RECONCILER_AGE_IDENTITY": str(self.file)}


@pytest.fixture
def anna(workspace: Workspace) -> Person:
    return Person(workspace, "anna")


@pytest.fixture
def ben(workspace: Workspace) -> Person:
    return Person(workspace, "ben")


@pytest.fixture
def encrypting(workspace: Workspace, anna: Person) -> Workspace:
    """A stack that encrypts for Anna, run by Anna."""
    workspace.variables = dict(anna.variables)
    return workspace.write({"reconciler.yaml": stack(anna.recipient), "a.yaml": ASSISTANT})


@pytest.fixture
def saved(encrypting: Workspace) -> Workspace:
    """An encrypted plan in `p.json`, not applied."""
    encrypting.run("plan", "--out", "p.json", expect=0)
    return encrypting


@pytest.fixture
def exported(encrypting: Workspace) -> Workspace:
    """An encrypted export of an applied stack in `s.json`."""
    encrypting.apply()
    return encrypting.write({"s.json": encrypting.run("state", "export", expect=0).out})


def edit(workspace: Workspace, name: str, **changes: Any) -> None:
    envelope = json.loads((workspace.folder / name).read_text())
    workspace.write({name: json.dumps({**envelope, **changes})})


def assistants(workspace: Workspace) -> int:
    with workspace.emulator.store.lock:
        return sum(1 for _ in workspace.emulator.store.all("assistant"))


# --- saved plans ----------------------------------------------------------------------------------


def test_an_encrypted_plan_shows_its_type_and_no_content(saved: Workspace) -> None:
    text = (saved.folder / "p.json").read_text()
    envelope = json.loads(text)
    data = envelope.pop("data")
    assert envelope == {
        "format": "reconciler-encrypted",
        "version": 1,
        "content": "plan",
        "stack": "acme",
        "environment": "default",
    }
    assert data
    assert "Assistant" not in text
    assert INSTRUCTIONS not in text


def test_a_saved_plan_is_made_without_an_identity(encrypting: Workspace, anna: Person) -> None:
    encrypting.variables = {}
    encrypting.run("plan", "--out", "p.json", expect=0)
    encrypting.variables = anna.variables
    encrypting.run("apply", "p.json", expect=0)
    assert assistants(encrypting) == 1


def test_a_saved_plan_is_applied_with_the_identity_of_any_recipient(
    encrypting: Workspace, anna: Person, ben: Person
) -> None:
    encrypting.write({"reconciler.yaml": stack(anna.recipient, ben.recipient)})
    encrypting.run("plan", "--out", "p.json", expect=0)
    encrypting.variables = ben.variables
    encrypting.run("apply", "p.json", expect=0)
    assert assistants(encrypting) == 1


def test_the_history_has_the_digest_of_the_plan_that_was_applied(saved: Workspace) -> None:
    shown = json.loads(saved.run("show", "p.json", "--format", "json", expect=0).out)
    saved.run("apply", "p.json", expect=0)
    history = saved.run("history", "--format", "json", expect=0).out
    assert shown["reconciler"]["plan_digest"] in history


def test_a_saved_plan_is_shown_like_one_that_is_not_encrypted(
    saved: Workspace, anna: Person
) -> None:
    shown = saved.run("show", "p.json", expect=0).out
    assert "Assistant/bot" in shown
    assert INSTRUCTIONS in shown


def test_a_saved_plan_is_shown_where_there_is_no_stack(saved: Workspace) -> None:
    (saved.folder / "reconciler.yaml").write_text("not a stack: [")
    assert "Assistant/bot" in saved.run("show", "p.json", expect=0).out


@pytest.mark.parametrize("command", ["show", "apply"])
def test_another_identity_reads_no_plan(saved: Workspace, ben: Person, command: str) -> None:
    saved.variables = ben.variables
    refused = saved.run(command, "p.json", expect=1)
    assert f"Error: p.json: no identity in {ben.file} can decrypt the data" in refused.err
    assert "encrypted for another recipient" in refused.err
    assert refused.out == ""
    assert assistants(saved) == 0


@pytest.mark.parametrize("command", ["show", "apply"])
def test_a_missing_identity_is_asked_for(saved: Workspace, command: str) -> None:
    saved.variables = {}
    refused = saved.run(command, "p.json", expect=1).err
    assert "p.json: the data is encrypted, and RECONCILER_AGE_IDENTITY is not set" in refused
    assert assistants(saved) == 0


def test_a_plan_of_another_environment_is_refused_and_both_are_named(
    encrypting: Workspace, anna: Person
) -> None:
    environments = "{prod: {}, dev: {}}"
    encrypting.write({"reconciler.yaml": stack(anna.recipient, environments=environments)})
    encrypting.run("-e", "dev", "plan", "--out", "p.json", expect=0)
    refused = encrypting.run("-e", "prod", "apply", "p.json", expect=10).err
    assert "the plan is of acme/dev, and this is acme/prod" in refused
    assert assistants(encrypting) == 0


@pytest.mark.parametrize("changes", [{"environment": "prod"}, {"stack": "other"}], ids=str)
def test_a_plan_whose_file_names_another_place_does_not_open(
    saved: Workspace, changes: Mapping[str, str]
) -> None:
    edit(saved, "p.json", **changes)
    refused = saved.run("apply", "p.json", expect=1).err
    assert "it was changed, or belongs to another state or position" in refused
    assert assistants(saved) == 0


def test_an_export_does_not_pass_for_a_plan(exported: Workspace) -> None:
    refused = exported.run("apply", "s.json", expect=1).err
    assert "s.json: this is an encrypted state export, not a saved plan" in refused
    edit(exported, "s.json", content="plan")
    refused = exported.run("apply", "s.json", expect=1).err
    assert "it was changed, or belongs to another state or position" in refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "newer version of reconciler (file format 2; this version supports"),
        ({"data": "%%%"}, "the encrypted file is damaged"),
        ({"data": ""}, "the encrypted file is damaged"),
        ({"data": "e30="}, "the encrypted file is damaged"),
        ({"data": None}, "the encrypted file is damaged"),
        ({"content": "secret"}, "the encrypted file is damaged"),
        ({"format": "other", "stack": "reconciler-encrypted"}, "the file is not a saved plan"),
        ({"version": "x"}, "the file is not a saved plan"),
    ],
    ids=str,
)
def test_a_damaged_file_is_refused_in_a_sentence(
    saved: Workspace, changes: Mapping[str, Any], message: str
) -> None:
    edit(saved, "p.json", **changes)
    assert message in saved.run("show", "p.json", expect=1).err


def test_characters_that_do_not_belong_into_the_data_are_not_skipped(saved: Workspace) -> None:
    data = json.loads((saved.folder / "p.json").read_text())["data"]
    edit(saved, "p.json", data=f"{data[:40]}\n{data[40:]}")
    assert "the encrypted file is damaged" in saved.run("show", "p.json", expect=1).err


def test_a_plan_stays_readable_when_the_stack_declares_no_encryption_any_more(
    saved: Workspace,
) -> None:
    saved.write({"reconciler.yaml": stack()})
    saved.run("apply", "p.json", expect=0)
    assert assistants(saved) == 1


def test_a_plan_from_before_the_encryption_is_still_applied(
    encrypting: Workspace, anna: Person
) -> None:
    encrypting.write({"reconciler.yaml": stack()})
    encrypting.run("plan", "--out", "p.json", expect=0)
    encrypting.write({"reconciler.yaml": stack(anna.recipient)})
    encrypting.run("apply", "p.json", expect=0)
    assert assistants(encrypting) == 1


def test_a_plan_with_variables_is_applied_without_giving_them_again(
    encrypting: Workspace, anna: Person
) -> None:
    declared = stack(anna.recipient).replace("spec: {", "spec: {variables: {model: {}}, ")
    encrypting.write({"reconciler.yaml": declared})
    encrypting.write({"a.yaml": ASSISTANT.replace("gpt-4o", "${var.model}")})
    encrypting.run("plan", "--var", "model=gpt-4.1", "--out", "p.json", expect=0)
    encrypting.run("apply", "p.json", expect=0)
    assert assistants(encrypting) == 1


def test_a_saved_rollback_is_encrypted_and_applied(encrypting: Workspace) -> None:
    encrypting.apply()
    allow = ("--allow-delete", "Assistant/bot")
    encrypting.run("rollback", "1", "--out", "r.json", *allow, expect=0)
    assert "Assistant" not in (encrypting.folder / "r.json").read_text()
    encrypting.run("apply", "r.json", *allow, expect=0)
    assert assistants(encrypting) == 0


@pytest.mark.parametrize("command", [("plan",), ("rollback", "1")], ids=" ".join)
def test_a_recipient_that_is_no_key_ends_a_run_before_its_first_call(
    encrypting: Workspace, anna: Person, command: tuple[str, ...]
) -> None:
    encrypting.apply()
    encrypting.emulator.clear_requests()
    mistyped = anna.recipient[:-1] + ("q" if anna.recipient[-1] != "q" else "p")
    encrypting.write({"reconciler.yaml": stack(anna.recipient, mistyped)})
    refused = encrypting.run(*command, "--out", "p.json", expect=1).err
    assert "recipient 2 of `encryption` is not a public key that is supported" in refused
    assert encrypting.emulator.requests == []
    assert not (encrypting.folder / "p.json").exists()


# --- exports --------------------------------------------------------------------------------------


def test_an_export_is_encrypted_and_brings_back_what_was_forgotten(exported: Workspace) -> None:
    text = (exported.folder / "s.json").read_text()
    assert json.loads(text)["content"] == "state"
    assert "Assistant" not in text
    exported.run("state", "rm", "Assistant/bot", expect=0)
    done = exported.run("state", "import", "s.json", "--force-older", expect=0)
    assert done.out == "1 resource imported.\n"
    assert exported.plan().code == 0


def test_an_export_is_readable_on_request_and_is_imported_as_well(exported: Workspace) -> None:
    text = exported.run("state", "export", "--decrypt", expect=0).out
    assert json.loads(text)["resources"][0]["address"] == "Assistant/bot"
    exported.write({"plain.json": text})
    exported.run("state", "import", "plain.json", expect=0)


def test_an_export_without_encryption_is_readable(workspace: Workspace) -> None:
    workspace.write({"reconciler.yaml": stack(), "a.yaml": ASSISTANT}).apply()
    readable = workspace.run("state", "export", expect=0).out
    assert json.loads(readable)["format"] == "reconciler-state"
    assert workspace.run("state", "export", "--decrypt", expect=0).out == readable


def test_another_identity_imports_nothing_and_the_state_stays(
    exported: Workspace, anna: Person, ben: Person
) -> None:
    before = exported.run("state", "export", "--decrypt", expect=0).out
    exported.variables = ben.variables
    refused = exported.run("state", "import", "s.json", expect=1).err
    assert f"s.json: no identity in {ben.file} can decrypt the data" in refused
    exported.variables = anna.variables
    assert exported.run("state", "export", "--decrypt", expect=0).out == before


def test_the_encrypted_export_of_another_environment_has_to_be_meant(
    encrypting: Workspace, anna: Person
) -> None:
    environments = "{prod: {}, dev: {}}"
    encrypting.write({"reconciler.yaml": stack(anna.recipient, environments=environments)})
    encrypting.apply("-e", "dev")
    encrypting.write({"s.json": encrypting.run("-e", "dev", "state", "export", expect=0).out})
    refused = encrypting.run("-e", "prod", "state", "import", "s.json", expect=1).err
    assert "the export belongs to acme/dev, not to acme/prod" in refused
    encrypting.run("-e", "prod", "state", "import", "s.json", "--from-elsewhere", expect=0)


def test_an_export_whose_file_names_another_environment_does_not_open(exported: Workspace) -> None:
    edit(exported, "s.json", environment="prod")
    refused = exported.run("state", "import", "s.json", "--from-elsewhere", expect=1).err
    assert "it was changed, or belongs to another state or position" in refused


def test_a_plan_does_not_pass_for_an_export(saved: Workspace) -> None:
    refused = saved.run("state", "import", "p.json", expect=1).err
    assert "p.json: this is an encrypted saved plan, not a state export" in refused


# --- identities in messages -----------------------------------------------------------------------


def test_an_identity_given_in_the_variable_itself_is_in_no_message(
    saved: Workspace, anna: Person
) -> None:
    saved.variables = {"RECONCILER_AGE_IDENTITY": anna.secret}
    refused = saved.run("-vv", "show", "p.json", expect=1)
    assert "RECONCILER_AGE_IDENTITY contains an identity, and not the path of a file" in refused.err
    assert anna.secret not in refused.out + refused.err


def test_a_plan_with_the_text_of_the_identity_is_shown_without_it(
    encrypting: Workspace, anna: Person
) -> None:
    encrypting.write({"a.yaml": ASSISTANT.replace("Be kind.", f"Say {anna.secret}.")})
    encrypting.variables = {}
    made = encrypting.run("plan", "--out", "p.json", expect=0).out
    assert anna.secret in made  # nothing has read the identity
    encrypting.variables = anna.variables
    shown = encrypting.run("show", "p.json", expect=0).out
    assert "Say •••." in shown
    assert anna.secret not in shown
