"""Objects of kinds that the organization made by hand lacks: exported, or listed with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.emulator import Emulator
from reconciler.kinds import KINDS
from tests.conftest import Workspace
from tests.export.organization import Api
from tests.export.test_export import changes_nothing, everything
from tests.whole_examples import FILES, make_a_persons_key, whole_example

EXPORTED = (
    "Automation",
    "CertificateActivation",
    "Container",
    "DataRetention",
    "EnvironmentTemplate",
    "ExternalKey",
    "ExternalStorage",
    "FederationRule",
    "HostedTools",
    "ProjectKey",
    "ServiceTier",
    "SpendLimit",
    "Vault",
)
NOT_DECLARABLE = {
    "AdminKey": "a key is shown only once",
    "Certificate": "the API does not show certificate",
    "Credential": "it holds secrets",
    "Eval": "the API does not show data_source_config",
    "EvalRun": "the API does not show data_source",
    "File": "the API does not show path",
    "FineTuningJob": "the API does not show model",
    "ProjectGroup": "the API does not show role",
    "ServiceAccountKey": "a key is shown only once",
    "Skill": "the API does not show files",
}


def stranger(tmp_path: Path, emulator: Emulator, kind: str) -> Workspace:
    """An empty folder, after somebody else made what the example of a kind declares."""
    maker, stack = Workspace(tmp_path / "maker", emulator), Workspace(tmp_path / "stack", emulator)
    for workspace in (maker, stack):
        workspace.folder.mkdir()
    make_a_persons_key(emulator)
    maker.write({"manifests.yaml": whole_example(KINDS[kind]), **FILES}).apply()
    without_marks(emulator)
    return stack


def without_marks(emulator: Emulator) -> None:
    """Remove the marks, as if a person had made the objects."""
    with emulator.store.lock:
        for sort in list(emulator.store.counts()):
            for record in emulator.store.all(sort):
                pairs = record.body.get("metadata")
                if isinstance(pairs, dict):
                    pairs.pop("reconciler", None)


@pytest.mark.parametrize("kind", EXPORTED)
def test_an_object_of_the_kind_is_exported(tmp_path: Path, emulator: Emulator, kind: str) -> None:
    folder = stranger(tmp_path, emulator, kind)
    named = ("--kind", kind) if kind in ("Container", "ProjectKey") else ()
    folder.run("export", *named, expect=0)
    assert f"kind: {kind}\n" in everything(folder)
    assert changes_nothing(folder.run("plan"))


@pytest.mark.parametrize("kind", sorted(NOT_DECLARABLE))
def test_an_object_that_no_manifest_can_describe_is_listed_with_the_reason(
    tmp_path: Path, emulator: Emulator, kind: str
) -> None:
    folder = stranger(tmp_path, emulator, kind)
    done = folder.run("export", "--kind", kind, expect=0)
    line = next(line for line in done.err.splitlines() if f" {kind}" in line)
    assert line.startswith("Left out: ")
    assert NOT_DECLARABLE[kind] in line


def test_what_another_stack_marks_is_left_to_it(tmp_path: Path, emulator: Emulator) -> None:
    maker, folder = Workspace(tmp_path / "maker", emulator), Workspace(tmp_path / "s", emulator)
    for workspace in (maker, folder):
        workspace.folder.mkdir()
    maker.declare(KINDS["Agent"].example).apply()
    done = folder.run("export", expect=0)
    assert "kind: Agent" not in everything(folder)
    assert "the stack maker manages it" in done.err


def test_what_the_api_does_not_show_is_said(tmp_path: Path, emulator: Emulator) -> None:
    folder = stranger(tmp_path, emulator, "ProjectKey")
    folder.run("export", "--kind", "ProjectKey", expect=0)
    sentence = "# The API does not show scopes and expires_in_seconds: what is set there stays"
    assert sentence in everything(folder)


def test_a_job_is_exported_if_its_kind_is_named(organization: Api, folder: Workspace) -> None:
    line = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n'
    file = organization.upload("requests.jsonl", line, "batch")
    body = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    id = organization.data("POST", "/batches", **body)["id"]
    folder.run("export", "--kind", "Batch", expect=0)
    assert f"metadata: {{name: batch-{id[-4:]}}}" in everything(folder)
    assert folder.plan().code == 0
