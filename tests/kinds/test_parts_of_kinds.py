"""Parts of specs that the API takes in more than one form, each sent as it was written and equal to what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Workspace

AGENT = "kind: Agent\nmetadata: {name: a}\nspec: {name: a, model: gpt-5.1}\n"


def sent_to(workspace: Workspace, path: str) -> Any:
    (found,) = [
        one.request_body
        for one in workspace.emulator.requests
        if (one.method, one.path) == ("POST", path)
    ]
    return found


def converges(workspace: Workspace) -> None:
    workspace.apply()
    assert workspace.plan().code == 0


# --- conversations


def conversation(content: str, role: str = "user") -> str:
    return f"kind: Conversation\nmetadata: {{name: c}}\nspec: {{items: [{{role: {role}, content: {content}}}]}}\n"


@pytest.mark.parametrize(
    ("role", "content"),
    [
        ("user", "Hi"),
        (
            "user",
            "[{type: input_text, text: Hi}, {type: input_image, image_url: 'https://e.x/a.png', detail: low}]",
        ),
        ("user", "[{type: input_file, file_url: 'https://e.x/a.pdf', filename: a.pdf}]"),
        ("assistant", "[{type: output_text, text: Hello}]"),
    ],
)
def test_the_first_items_of_a_conversation_are_texts_or_parts(
    workspace: Workspace, role: str, content: str
) -> None:
    converges(workspace.declare(conversation(content, role)))
    (item,) = sent_to(workspace, "/conversations")["items"]
    assert isinstance(item["content"], str if content == "Hi" else list)


def test_an_unknown_part_of_a_conversation_is_refused_offline(workspace: Workspace) -> None:
    workspace.declare(conversation("[{type: input_video, text: Hi}]"))
    assert "input_video" in workspace.run("validate", expect=1).err


# --- graders


@pytest.mark.parametrize(
    "content",
    [
        "Judge {{sample.output_text}}",
        "[Judge, {type: input_text, text: this}]",
        "[{type: output_text, text: this}, {type: input_image, image_url: 'https://e.x/a.png'}]",
        "[{type: input_audio, input_audio: {data: AAAA, format: wav}}]",
    ],
)
def test_the_message_of_a_grader_is_a_text_or_parts(workspace: Workspace, content: str) -> None:
    text = f'"{content}"' if content.startswith("Judge") else content
    workspace.declare(
        "kind: Eval\nmetadata: {name: e}\nspec:\n"
        "  data_source_config: {type: custom, item_schema: {type: object}, include_sample_schema: true}\n"
        "  testing_criteria:\n  - type: score_model\n    name: judge\n    model: gpt-4.1\n"
        f"    input: [{{role: user, content: {text}}}]\n"
    )
    converges(workspace)
    (message,) = sent_to(workspace, "/evals")["testing_criteria"][0]["input"]
    assert isinstance(message["content"], str if content.startswith("Judge") else list)


# --- automations


def automation(target: str) -> str:
    return (
        "kind: Automation\nmetadata: {name: w}\nspec:\n"
        "  type: periodic\n  expression: 0 8 * * 1\n  timezone: Europe/Berlin\n"
        f"  target: {{type: new_session, input: [], {target}}}\n"
    )


def test_an_automation_may_have_an_agent_of_its_own(workspace: Workspace) -> None:
    workspace.declare(
        automation("environment: {type: none}, agent: {model: gpt-5.1, instructions: Be brief.}")
    )
    converges(workspace)
    assert sent_to(workspace, "/agents/automations")["target"]["agent"] == {
        "model": "gpt-5.1",
        "instructions": "Be brief.",
    }


def test_an_agent_of_an_automation_changes_in_place(workspace: Workspace) -> None:
    workspace.declare(automation("environment: {type: none}, agent: {model: gpt-5.1}")).apply()
    workspace.declare(
        automation("environment: {type: none}, agent: {model: gpt-5.1, service_tier: flex}")
    )
    assert "will be updated" in workspace.plan().out
    converges(workspace)


def test_an_automation_may_work_in_an_environment_that_exists(workspace: Workspace) -> None:
    environment = "environment: {type: openai_hosted, environment_id: env_1}"
    workspace.declare(AGENT, automation(f"{environment}, agent_id: '${{Agent/a}}'"))
    converges(workspace)
    assert (
        sent_to(workspace, "/agents/automations")["target"]["environment"]["environment_id"]
        == "env_1"
    )


@pytest.mark.parametrize(
    "agents",
    ["", ", agent_id: a1, agent: {model: gpt-5.1}", ", agent_id: '${Agent/a}', agent: {model: m}"],
)
def test_an_automation_has_exactly_one_agent(workspace: Workspace, agents: str) -> None:
    workspace.declare(AGENT, automation(f"environment: {{type: none}}{agents}"))
    assert 'Write exactly one of "agent" or "agent_id"' in workspace.run("validate", expect=1).err


def test_a_null_in_place_of_the_other_agent_is_accepted(workspace: Workspace) -> None:
    workspace.declare(
        AGENT, automation("environment: {type: none}, agent: null, agent_id: '${Agent/a}'")
    )
    converges(workspace)


# --- containers


def test_a_skill_of_a_container_may_be_an_archive(workspace: Workspace) -> None:
    source = "{type: base64, media_type: application/zip, data: UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==}"
    skill = f"{{type: inline, name: s, description: d, source: {source}}}"
    workspace.declare(f"kind: Container\nmetadata: {{name: c}}\nspec: {{skills: [{skill}]}}\n")
    converges(workspace)
    assert sent_to(workspace, "/containers")["skills"][0]["name"] == "s"


# --- files


def test_a_file_name_may_contain_a_slash(workspace: Workspace) -> None:
    workspace.write({"a.csv": "x"})
    spec = "{path: a.csv, purpose: user_data, filename: text/csv}"
    workspace.declare(f"kind: File\nmetadata: {{name: f}}\nspec: {spec}\n")
    converges(workspace)
    (file,) = workspace.emulator.store.all("file")
    assert file.body["filename"] == "text/csv"
