"""The unchanged official client, through the life of every kind of object."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import openai
import pytest

from reconciler.emulator import Emulator
from tests.whole_examples import EXAMPLE, REQUEST

# The client marks its own calls about assistants and threads as deprecated.
retired = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")


def test_a_project_is_created_renamed_and_archived(client: openai.OpenAI) -> None:
    projects = client.admin.organization.projects
    created = projects.create(name="Search")
    renamed = projects.update(created.id, name="Search team")
    archived = projects.archive(created.id)
    assert (created.status, renamed.name, archived.status) == ("active", "Search team", "archived")
    assert projects.retrieve(created.id).archived_at == archived.archived_at


def test_rate_limits_are_listed_and_changed(client: openai.OpenAI) -> None:
    projects = client.admin.organization.projects
    created = projects.create(name="Search")
    limits = {row.model: row for row in projects.rate_limits.list_rate_limits(created.id)}
    changed = projects.rate_limits.update_rate_limit(
        limits["gpt-4.1"].id, project_id=created.id, max_requests_per_1_minute=500
    )
    assert changed.max_requests_per_1_minute == 500
    assert changed.max_tokens_per_1_minute == limits["gpt-4.1"].max_tokens_per_1_minute


def test_a_service_account_gets_a_key_and_another_and_is_deleted(client: openai.OpenAI) -> None:
    projects = client.admin.organization.projects
    project = projects.create(name="Search")
    account = projects.service_accounts.create(project.id, name="indexer")
    second = projects.service_accounts.api_keys.create(
        account.id, project_id=project.id, name="second"
    )
    renamed = projects.service_accounts.update(
        account.id, project_id=project.id, name="crawler", role="owner"
    )
    keys = [key.id for key in projects.api_keys.list(project.id)]
    gone = projects.service_accounts.delete(account.id, project_id=project.id)
    assert account.api_key is not None
    assert keys == [account.api_key.id, second.id]
    assert (renamed.name, renamed.role, gone.deleted) == ("crawler", "owner", True)
    assert list(projects.service_accounts.list(project.id)) == []
    assert list(projects.api_keys.list(project.id)) == []


def test_a_key_that_was_minted_works_in_its_project(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    projects = client.admin.organization.projects
    project = projects.create(name="Search")
    account = projects.service_accounts.create(project.id, name="indexer")
    assert account.api_key is not None
    with openai.OpenAI(base_url=emulator.base_url, api_key=account.api_key.value) as theirs:
        made = theirs.vector_stores.create(name="theirs")
        assert [store.id for store in theirs.vector_stores.list()] == [made.id]
    assert list(client.vector_stores.list()) == []


def test_users_are_found_by_email_changed_and_removed(client: openai.OpenAI) -> None:
    users = client.admin.organization.users
    [cleo] = users.list(emails=["CLEO@example.com"])
    promoted = users.update(cleo.id, role="owner", technical_level="expert")
    gone = users.delete(cleo.id)
    assert (promoted.role, promoted.technical_level, gone.deleted) == ("owner", "expert", True)
    with pytest.raises(openai.NotFoundError):
        users.retrieve(cleo.id)


def test_project_users_are_added_changed_and_removed(client: openai.OpenAI) -> None:
    project = client.admin.organization.projects.create(name="Search")
    users = client.admin.organization.projects.users
    added = users.create(project.id, role="member", email="cleo@example.com")
    changed = users.update(added.id, project_id=project.id, role="owner")
    assert [user.id for user in users.list(project.id)] == [added.id]
    assert changed.role == "owner"
    assert users.delete(added.id, project_id=project.id).deleted
    assert list(users.list(project.id)) == []


def test_a_group_is_added_to_a_project_once_and_removed(client: openai.OpenAI) -> None:
    project = client.admin.organization.projects.create(name="Search")
    group = client.admin.organization.groups.create(name="Support")
    groups = client.admin.organization.projects.groups
    added = groups.create(project.id, group_id=group.id, role="role-api-project-member")
    with pytest.raises(openai.BadRequestError, match="already exists in project"):
        groups.create(project.id, group_id=group.id, role="role-api-project-owner")
    assert [one.group_name for one in groups.list(project.id)] == ["Support"]
    assert groups.retrieve(group.id, project_id=project.id) == added
    assert groups.delete(group.id, project_id=project.id).deleted
    assert list(groups.list(project.id)) == []


def test_model_permissions_are_set_and_taken_away(client: openai.OpenAI) -> None:
    project = client.admin.organization.projects.create(name="Search")
    permissions = client.admin.organization.projects.model_permissions
    made = permissions.update(project.id, mode="deny_list", model_ids=["gpt-4.1"])
    assert permissions.retrieve(project.id) == made
    assert permissions.delete(project.id).deleted
    with pytest.raises(openai.NotFoundError):
        permissions.retrieve(project.id)


def test_hosted_tools_and_service_tiers_are_changed_in_part(client: openai.OpenAI) -> None:
    project = client.admin.organization.projects.create(name="Search")
    projects = client.admin.organization.projects
    tools = projects.hosted_tool_permissions.update(
        project.id, mcp={"enabled": False}, web_search=None
    )
    tiers = projects.service_tier_settings.update(project.id, enabled_tiers=["flex"])
    assert projects.hosted_tool_permissions.retrieve(project.id) == tools
    assert (tools.mcp.enabled, tools.web_search.enabled) == (False, True)
    assert projects.service_tier_settings.retrieve(project.id) == tiers
    assert (tiers.default, tiers.enabled_tiers) == ("standard", ["flex"])


def test_the_audit_log_tells_who_did_what(client: openai.OpenAI) -> None:
    project = client.admin.organization.projects.create(name="Search")
    [entry] = client.admin.organization.audit_logs.list(event_types=["project.created"])
    assert entry.project is not None
    assert entry.actor is not None
    assert entry.actor.api_key is not None
    assert entry.project.id == project.id
    assert entry.actor.api_key.user is not None
    assert entry.actor.api_key.user.email == "ada@example.com"


def test_models_are_listed_and_retrieved(client: openai.OpenAI) -> None:
    assert len(client.models.list().data) >= 40
    assert client.models.retrieve("gpt-4.1").shutdown_date == "2027-01-14"


def test_a_file_is_uploaded_listed_read_and_deleted(client: openai.OpenAI) -> None:
    made = client.files.create(file=("data.jsonl", b'{"a": 1}\n'), purpose="user_data")
    assert [file.id for file in client.files.list(purpose="user_data")] == [made.id]
    assert client.files.content(made.id).read() == b'{"a": 1}\n'
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_file_can_be_told_when_to_expire(client: openai.OpenAI) -> None:
    made = client.files.create(
        file=("notes.md", b"notes"),
        purpose="assistants",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert made.expires_at == made.created_at + 7200


def test_an_upload_in_parts_becomes_a_file(client: openai.OpenAI) -> None:
    upload = client.uploads.create(
        filename="big.jsonl", purpose="user_data", bytes=8, mime_type="text/jsonl"
    )
    parts = [client.uploads.parts.create(upload.id, data=piece).id for piece in (b"1234", b"5678")]
    done = client.uploads.complete(
        upload.id, part_ids=parts, md5="25d55ad283aa400af464c76d713c07ad"
    )
    assert done.file is not None
    assert client.files.content(done.file.id).read() == b"12345678"


def test_an_upload_is_cancelled(client: openai.OpenAI) -> None:
    upload = client.uploads.create(
        filename="big.jsonl", purpose="batch", bytes=8, mime_type="text/jsonl"
    )
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(upload.id, data=b"12345678")


def test_a_vector_store_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    made = client.vector_stores.create(name="Handbook", metadata={"team": "cx"})
    changed = client.vector_stores.update(
        made.id, expires_after={"anchor": "last_active_at", "days": 7}
    )
    assert (changed.name, changed.metadata) == ("Handbook", {"team": "cx"})
    assert changed.expires_at == changed.last_active_at + 7 * 86_400  # type: ignore[operator]
    assert client.vector_stores.delete(made.id).deleted


def test_a_file_is_attached_annotated_read_and_detached(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="Handbook")
    file = client.files.create(file=("notes.md", b"holiday rules"), purpose="assistants")
    files = client.vector_stores.files
    attached = files.create_and_poll(file.id, vector_store_id=store.id, attributes={"year": 2026})
    changed = files.update(
        file.id, vector_store_id=store.id, attributes={"year": 2027, "final": True}
    )
    text = [piece.text for piece in files.content(file.id, vector_store_id=store.id)]
    assert (attached.status, attached.attributes) == ("completed", {"year": 2026})
    assert changed.attributes == {"year": 2027, "final": True}
    assert text == ["holiday rules"]
    assert files.delete(file.id, vector_store_id=store.id).deleted
    assert client.files.retrieve(file.id).id == file.id


def test_files_are_attached_as_a_batch(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="Handbook")
    files = [client.files.create(file=(f"{n}.md", b"x"), purpose="assistants").id for n in range(3)]
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=files)
    listed = client.vector_stores.file_batches.list_files(
        batch.id, vector_store_id=store.id, order="asc", limit=2
    )
    assert (batch.status, batch.file_counts.completed) == ("completed", 3)
    assert [file.id for file in listed] == files


def test_a_search_finds_the_file_that_holds_the_words(client: openai.OpenAI) -> None:
    store = client.vector_stores.create(name="Handbook")
    for name, content in {"a.md": b"about holidays", "b.md": b"about expenses"}.items():
        file = client.files.create(file=(name, content), purpose="assistants")
        client.vector_stores.files.create_and_poll(
            file.id, vector_store_id=store.id, attributes={"name": name}
        )
    found = client.vector_stores.search(store.id, query="holidays")
    filtered = client.vector_stores.search(
        store.id, query="about", filters={"type": "eq", "key": "name", "value": "b.md"}
    )
    assert [result.filename for result in found] == ["a.md"]
    assert [result.filename for result in filtered] == ["b.md"]


def test_a_webhook_is_made_changed_rotated_tried_and_deleted(client: openai.OpenAI) -> None:
    made = client.webhooks.create(
        name="Batches", url="https://example.com/a", event_types=["batch.completed"]
    )
    changed = client.webhooks.update(made.id, event_types=["batch.failed"])
    rotated = client.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
    tried = client.webhooks.test(made.id, event_type="batch.failed")
    assert (changed.name, changed.event_types) == ("Batches", ["batch.failed"])
    assert rotated.signing_secret != made.signing_secret
    assert (tried.success, tried.event_type) == (True, "batch.failed")
    assert client.webhooks.retrieve(made.id).signing_secret_hint is not None
    assert "batch.failed" in client.webhooks.event_types.list().data
    assert [hook.id for hook in client.webhooks.list()] == [made.id]
    assert client.webhooks.delete(made.id).deleted
    assert list(client.webhooks.list()) == []


def test_a_container_is_made_filled_and_deleted(client: openai.OpenAI) -> None:
    made = client.containers.create(
        name="Sandbox", memory_limit="4g", network_policy={"type": "disabled"}
    )
    file = client.containers.files.create(made.id, file=("a.txt", b"words"))
    assert client.containers.retrieve(made.id).status == "running"
    assert [one.path for one in client.containers.files.list(made.id)] == ["/mnt/data/a.txt"]
    assert client.containers.files.retrieve(file.id, container_id=made.id).bytes == 5
    assert (
        client.containers.files.content.retrieve(file.id, container_id=made.id).read() == b"words"
    )
    client.containers.files.delete(file.id, container_id=made.id)
    assert [one.id for one in client.containers.list(name="Sandbox")] == [made.id]
    client.containers.delete(made.id)
    assert list(client.containers.list()) == []


def test_a_conversation_is_begun_continued_labelled_and_deleted(client: openai.OpenAI) -> None:
    conversations = client.conversations
    made = conversations.create(
        items=[{"role": "user", "content": "Hello"}], metadata={"team": "cx"}
    )
    added = conversations.items.create(
        made.id, items=[{"type": "message", "role": "assistant", "content": "Hi"}]
    )
    assert [item.type for item in conversations.items.list(made.id, order="asc")] == [
        "message",
        "message",
    ]
    assert conversations.items.retrieve(added.data[0].id, conversation_id=made.id) == added.data[0]
    assert conversations.items.delete(added.data[0].id, conversation_id=made.id).id == made.id
    assert conversations.update(made.id, metadata={}).metadata == {}
    assert conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        conversations.retrieve(made.id)


@retired
def test_an_assistant_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    assistants = client.beta.assistants
    made = assistants.create(
        model="gpt-4.1", name="Bot", tools=[{"type": "file_search"}], metadata={"team": "cx"}
    )
    changed = assistants.update(made.id, instructions="Be kind.")
    assert (changed.name, changed.instructions, changed.metadata) == (
        "Bot",
        "Be kind.",
        {"team": "cx"},
    )
    assert [assistant.id for assistant in assistants.list()] == [made.id]
    assert assistants.delete(made.id).deleted
    assert list(assistants.list()) == []


def test_an_agent_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    agents = client.beta.agents
    made = agents.create(
        model="gpt-5.5", name="Helper", metadata={"team": "cx"}, tools=[{"type": "web_search"}]
    )
    changed = agents.update(made.id, name=None, metadata={})
    assert (made.service_tier, made.text.verbosity, made.multi_agent.enabled) == (
        "auto",
        "medium",
        False,
    )
    assert (changed.name, changed.metadata, len(changed.tools)) == (None, {}, 1)
    assert [agent.id for agent in agents.list()] == [made.id]
    assert agents.delete(made.id).deleted
    assert list(agents.list()) == []


def test_an_environment_template_is_made_changed_and_deleted(client: openai.OpenAI) -> None:
    templates = client.beta.agents.environments.templates
    env = {"A": "confidential"}
    made = templates.create(
        name="Python", packages={"python": ["httpx"]}, env=env, desktop={"enabled": True}
    )
    changed = templates.update(
        made.id, network={"access": "restricted", "allowed_domains": ["pypi.org"]}, desktop=None
    )
    assert (changed.name, changed.packages.python, changed.network.access) == (
        "Python",
        ["httpx"],
        "restricted",
    )
    assert (made.desktop and made.desktop.enabled, changed.desktop and changed.desktop.enabled) == (
        True,
        False,
    )
    assert "confidential" not in changed.to_json()
    assert templates.retrieve(made.id) == changed
    assert [template.id for template in templates.list()] == [made.id]
    assert templates.delete(made.id).deleted
    assert list(templates.list()) == []


def test_a_vault_is_filled_its_secrets_are_rotated_and_it_goes_with_all_that_is_in_it(
    client: openai.OpenAI,
) -> None:
    vaults, credentials = client.beta.agents.vaults, client.beta.agents.vaults.credentials
    vault = vaults.create(name=" Tools ", metadata={"team": "cx"})
    url = "https://mcp.example.com"
    bearer = {"type": "static_bearer", "token": "first", "mcp_server_url": url}
    made = credentials.create(vault.id, name="Server", auth=bearer)  # type: ignore[arg-type]
    rotated = credentials.update(
        made.id,
        vault_id=vault.id,
        auth={"type": "static_bearer", "token": "second"},
        metadata={"a": "b"},
    )
    assert (vault.name, rotated.auth.to_dict()) == (
        "Tools",
        {"type": "static_bearer", "mcp_server_url": url},
    )
    assert credentials.retrieve(made.id, vault_id=vault.id) == rotated
    assert [one.id for one in credentials.list(vault.id, metadata={"a": "b"})] == [made.id]
    assert list(credentials.list(vault.id, status="archived")) == []
    assert credentials.delete(made.id, vault_id=vault.id).deleted
    credentials.create(vault.id, name="Server", auth=bearer)  # type: ignore[arg-type]
    assert vaults.update(vault.id, name=None, metadata={}).name is None
    assert [one.id for one in vaults.list()] == [vault.id]
    assert vaults.delete(vault.id).deleted
    with pytest.raises(openai.NotFoundError):
        credentials.list(vault.id)


def test_an_automation_is_made_paused_resumed_invoked_and_deleted(client: openai.OpenAI) -> None:
    agent = client.beta.agents.create(model="gpt-5.5")
    automations = client.beta.agents.automations
    said = {"role": "user", "content": [{"type": "input_text", "text": "Go."}]}
    target = {
        "type": "new_session",
        "agent_id": agent.id,
        "environment": {"type": "none"},
        "input": [said],
    }
    made = automations.create(
        type="periodic",
        name="Weekly",
        expression="0 8 * * 1",
        timezone="Europe/Berlin",
        target=target,  # type: ignore[arg-type]
    )
    assert (made.status, made.target.type, automations.pause(made.id).status) == (
        "active",
        "new_session",
        "paused",
    )
    assert (automations.update(made.id, name="Often").name, automations.resume(made.id).status) == (
        "Often",
        "active",
    )
    invoked = automations.invocations.create(made.id)
    assert automations.invocations.retrieve(invoked.id, automation_id=made.id) == invoked
    assert [one.status for one in automations.invocations.list(made.id)] == ["queued"]
    assert [one.id for one in automations.list()] == [made.id]
    assert automations.delete(made.id).deleted
    assert list(automations.list(session_id="none")) == []


@retired
def test_a_thread_and_its_messages_are_made_changed_and_deleted(client: openai.OpenAI) -> None:
    threads = client.beta.threads
    thread = threads.create(
        messages=[{"role": "user", "content": "Hello"}], metadata={"team": "cx"}
    )
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    made = threads.messages.create(thread.id, role="assistant", content=[part])
    changed = threads.messages.update(made.id, thread_id=thread.id, metadata={"seen": "yes"})
    first, second = threads.messages.list(thread.id, order="asc")
    assert [one.text.value for one in first.content if one.type == "text"] == ["Hello"]
    assert [one.image_url.detail for one in second.content if one.type == "image_url"] == ["auto"]
    assert (changed.metadata, second) == (
        {"seen": "yes"},
        threads.messages.retrieve(made.id, thread_id=thread.id),
    )
    assert threads.messages.delete(made.id, thread_id=thread.id).deleted
    assert threads.update(thread.id, metadata=None).metadata == {}
    assert threads.delete(thread.id).deleted
    with pytest.raises(openai.NotFoundError):
        threads.retrieve(thread.id)


@retired
def test_a_file_that_comes_with_a_message_joins_the_thread(client: openai.OpenAI) -> None:
    file = client.files.create(file=("a.md", b"words"), purpose="assistants")
    tools = [{"type": "code_interpreter"}, {"type": "file_search"}]
    message = {
        "role": "user",
        "content": "Look",
        "attachments": [{"file_id": file.id, "tools": tools}],
    }
    thread = client.beta.threads.create(messages=[message])
    shared = client.beta.threads.retrieve(thread.id).tool_resources
    assert shared is not None
    assert shared.code_interpreter is not None
    assert shared.file_search is not None
    (store,) = shared.file_search.vector_store_ids or []
    assert shared.code_interpreter.file_ids == [file.id]
    assert [one.id for one in client.vector_stores.files.list(store)] == [file.id]


@retired
def test_a_run_calls_its_function_and_answers(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "weather"}}
    assistant = client.beta.assistants.create(
        model="gpt-4.1", tools=[tool], instructions="Be brief."
    )
    runs, thread = client.beta.threads.runs, client.beta.threads.create()
    messages = client.beta.threads.messages
    messages.create(thread.id, role="user", content="Rain?")
    asking = runs.create_and_poll(
        thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=1
    )
    assert (asking.status, asking.instructions) == ("requires_action", "Be brief.")
    assert asking.required_action is not None
    outputs = [
        {"tool_call_id": one.id, "output": "No."}
        for one in asking.required_action.submit_tool_outputs.tool_calls
    ]
    with pytest.raises(openai.BadRequestError):
        messages.create(thread.id, role="user", content="Too early")
    done = runs.submit_tool_outputs_and_poll(
        run_id=asking.id,
        thread_id=thread.id,
        tool_outputs=outputs,
        poll_interval_ms=1,
    )
    steps = list(runs.steps.list(done.id, thread_id=thread.id, order="asc"))
    assert (done.status, [step.type for step in steps]) == (
        "completed",
        ["tool_calls", "message_creation"],
    )
    assert runs.steps.retrieve(steps[0].id, thread_id=thread.id, run_id=done.id) == steps[0]
    (answer,) = messages.list(thread.id, run_id=done.id)
    assert [one.text.value for one in answer.content if one.type == "text"] == ["You said: Rain?"]
    assert runs.update(done.id, thread_id=thread.id, metadata={"a": "b"}).metadata == {"a": "b"}
    assert [run.id for run in runs.list(thread.id)] == [done.id]


@retired
def test_a_run_that_makes_its_thread_is_cancelled(client: openai.OpenAI) -> None:
    assistant = client.beta.assistants.create(model="gpt-4.1")
    run = client.beta.threads.create_and_run(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Hello"}]}
    )
    runs = client.beta.threads.runs
    assert runs.cancel(run.id, thread_id=run.thread_id).status == "cancelling"
    assert runs.retrieve(run.id, thread_id=run.thread_id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        runs.cancel(run.id, thread_id=run.thread_id)


SKILL = b"---\nname: greeting\ndescription: %s\n---\nSay hello.\n"


def test_a_skill_has_versions_of_which_one_counts(client: openai.OpenAI) -> None:
    skills = client.skills
    made = skills.create(
        files=[("greeting/SKILL.md", SKILL % b"Says hello."), ("greeting/a/words.txt", b"Hello")]
    )
    assert (made.name, made.description, made.default_version) == ("greeting", "Says hello.", "1")
    second = skills.versions.create(made.id, files=[("greeting/SKILL.md", SKILL % b"Says more.")])
    assert (second.version, skills.retrieve(made.id).default_version) == ("2", "1")
    pointed = skills.update(made.id, default_version="2")
    assert (pointed.description, pointed.default_version, pointed.latest_version) == (
        "Says more.",
        "2",
        "2",
    )
    assert [one.version for one in skills.versions.list(made.id, order="asc")] == ["1", "2"]
    assert skills.versions.retrieve("1", skill_id=made.id).description == "Says hello."
    first = zipfile.ZipFile(
        io.BytesIO(skills.versions.content.retrieve("1", skill_id=made.id).read())
    )
    assert sorted(first.namelist()) == ["greeting/SKILL.md", "greeting/a/words.txt"]
    again = skills.versions.create(
        made.id, files=skills.content.retrieve(made.id).read(), default=True
    )
    assert skills.retrieve(made.id).default_version == again.version == "3"
    with pytest.raises(openai.BadRequestError):
        skills.versions.delete("3", skill_id=made.id)
    assert skills.versions.delete("1", skill_id=made.id).deleted
    assert [one.id for one in skills.list()] == [made.id]
    assert skills.delete(made.id).deleted
    assert list(skills.list()) == []


def test_a_skill_without_its_entry_file_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"SKILL\.md"):
        client.skills.create(files=[("greeting/README.md", b"Hello")])


def test_a_batch_is_worked_off_and_its_answers_are_downloaded(client: openai.OpenAI) -> None:
    wrong = REQUEST.replace('"1"', '"2"').replace("gpt-4.1", "gpt-0")
    file = client.files.create(file=("requests.jsonl", (REQUEST + wrong).encode()), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"a": "b"},
    )
    done = client.batches.retrieve(made.id)
    assert (made.status, done.status, [one.id for one in client.batches.list()]) == (
        "validating",
        "completed",
        [made.id],
    )
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.failed) == (2, 1)
    answer, error = (
        json.loads(client.files.content(id or "").text)
        for id in (done.output_file_id, done.error_file_id)
    )
    assert (answer["custom_id"], error["custom_id"]) == ("1", "2")
    with pytest.raises(openai.BadRequestError):
        client.batches.cancel(made.id)


def test_jobs_go_on_as_time_goes_by(client: openai.OpenAI, emulator: Emulator) -> None:
    emulator.set_options(job_delay_ms=1_000_000)
    file = client.files.create(file=("requests.jsonl", REQUEST.encode()), purpose="batch")
    made = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    (record,) = emulator.store.all("batch")
    seen = []
    for share in (0.0, 0.5, 0.95, 1.0):
        record.hidden["began"] = emulator.store.clock() - share * 1000
        record.hidden["due"] = record.hidden["began"] + 1000
        seen.append(client.batches.retrieve(made.id).status)
    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    other = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert (client.batches.cancel(other.id).status, client.batches.retrieve(other.id).status) == (
        "cancelling",
        "cancelled",
    )


def test_a_model_is_fine_tuned_listed_and_deleted(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    file = client.files.create(file=("examples.jsonl", EXAMPLE.encode()), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    made = jobs.create(
        model="gpt-4.1-mini", training_file=file.id, suffix="tone", metadata={"a": "b"}
    )
    done = jobs.retrieve(made.id)
    assert (made.status, done.status, done.model) == (
        "validating_files",
        "succeeded",
        "gpt-4.1-mini-2025-04-14",
    )
    assert [one.id for one in jobs.list(metadata={"a": "b"})] == [made.id]
    assert list(jobs.list(metadata={"a": "c"})) == []
    assert "Step 10/10: training loss=0.20" in [
        event.message for event in jobs.list_events(made.id)
    ]
    assert [one.step_number for one in jobs.checkpoints.list(made.id)] == [10, 9]
    model = str(done.fine_tuned_model)
    assert model in [one.id for one in client.models.list()]
    assert client.models.delete(model).deleted
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(model)
    emulator.set_options(job_delay_ms=1_000_000)
    other = jobs.create(model="gpt-4.1-mini", training_file=file.id)
    seen = [act(other.id).status for act in (jobs.pause, jobs.resume, jobs.cancel)]
    assert seen == ["validating_files", "validating_files", "cancelled"]


def test_an_eval_is_run_its_items_are_read_and_all_is_deleted(client: openai.OpenAI) -> None:
    check = {"input": "{{sample.output_text}}", "reference": "{{item.a}}", "operation": "eq"}
    made = client.evals.create(
        data_source_config={
            "type": "custom",
            "item_schema": {"type": "object"},
            "include_sample_schema": True,
        },
        testing_criteria=[{"type": "string_check", "name": "same", **check}],  # type: ignore[list-item,typeddict-item]
    )
    rows = [{"item": {"a": "x"}, "sample": {"output_text": "x"}}, {"item": {"a": "y"}}]
    source = {"type": "file_content", "content": rows}
    run = client.evals.runs.create(made.id, data_source={"type": "jsonl", "source": source})  # type: ignore[arg-type]
    done = client.evals.runs.retrieve(run.id, eval_id=made.id)
    assert (run.status, done.status, done.result_counts.passed, done.result_counts.failed) == (
        "queued",
        "completed",
        1,
        1,
    )
    items = list(client.evals.runs.output_items.list(run.id, eval_id=made.id))
    assert [item.status for item in items] == ["pass", "fail"]
    assert (
        client.evals.runs.output_items.retrieve(items[0].id, eval_id=made.id, run_id=run.id)
        is not None
    )
    assert [one.id for one in client.evals.list()] == [made.id]
    assert client.evals.update(made.id, name="Same").name == "Same"
    with pytest.raises(openai.BadRequestError):
        client.evals.runs.cancel(run.id, eval_id=made.id)
    assert client.evals.runs.delete(run.id, eval_id=made.id).deleted
    assert client.evals.delete(made.id).eval_id == made.id
    assert list(client.evals.list()) == []


def test_a_grader_is_validated_and_tried_on_a_sample(client: openai.OpenAI) -> None:
    grader = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "operation": "eq",
    }
    whole: Any = {**grader, "reference": "{{item.answer}}"}
    tried = client.fine_tuning.alpha.graders
    assert tried.validate(grader=whole).grader is not None
    rewards = [
        tried.run(grader=whole, model_sample=text, item={"answer": "yes"}).reward
        for text in ("yes", "no")
    ]
    assert rewards == [1.0, 0.0]


def test_a_run_of_an_eval_is_cancelled_at_either_path(
    client: openai.OpenAI, emulator: Emulator
) -> None:
    emulator.set_options(job_delay_ms=60_000)
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {"type": "object"}},
        testing_criteria=[
            {
                "type": "string_check",
                "name": "same",
                "input": "a",
                "reference": "a",
                "operation": "eq",
            }
        ],
    )
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {}}]}}
    first, second = (client.evals.runs.create(made.id, data_source=source) for _ in range(2))
    published: Any = client.post(f"/evals/{made.id}/runs/{first.id}", cast_to=object)
    assert published["status"] == "canceled"
    assert client.evals.runs.cancel(second.id, eval_id=made.id).status == "canceled"
