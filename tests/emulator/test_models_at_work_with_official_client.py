"""The unchanged official client at model routes: chats, responses, audio, images, embeddings, sessions."""

from __future__ import annotations

import base64
import io
import math
import wave
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from reconciler.emulator import Emulator

# The client marks some calls as deprecated, by a warning that says just that.
old_calls = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

USER = {"role": "user", "content": "How long may I keep a coat?"}


def test_a_chat_tells_back_what_the_user_said(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="gpt-5.1", messages=[{"role": "system", "content": "Be kind."}, USER]
    )
    assert answer.choices[0].message.content == "You said: How long may I keep a coat?"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_chat_answers_in_the_shape_that_was_asked_for(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"days": {"type": "integer", "minimum": 3}, "sure": {"type": "boolean"}},
    }
    shape: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    answer = client.chat.completions.create(model="gpt-5.1", messages=[USER], response_format=shape)
    assert answer.choices[0].message.content == '{"days": 3, "sure": false}'


def test_a_chat_is_cut_where_its_tokens_end(client: openai.OpenAI) -> None:
    [choice] = client.chat.completions.create(
        model="gpt-5.1", messages=[USER], max_completion_tokens=2
    ).choices
    assert (choice.message.content, choice.finish_reason) == ("You said", "length")


def test_a_tool_that_has_to_be_called_is_called(client: openai.OpenAI) -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
    }
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    [choice] = client.chat.completions.create(
        model="gpt-5.1", messages=[USER], tools=[tool], tool_choice="required"
    ).choices
    assert choice.message.tool_calls is not None
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Oslo"}')
    assert choice.finish_reason == "tool_calls"


def test_a_stored_chat_is_listed_changed_and_deleted(client: openai.OpenAI) -> None:
    chats = client.chat.completions
    made = chats.create(model="gpt-5.1", messages=[USER], store=True, metadata={"team": "cx"})
    chats.create(model="gpt-5.1", messages=[USER])
    chats.create(model="gpt-5.1", messages=[USER], store=True)
    assert [one.id for one in chats.list(metadata={"team": "cx"})] == [made.id]
    assert len(list(chats.list(model="gpt-5.1"))) == 2
    assert list(chats.list(model="gpt-4.1")) == []
    assert chats.update(made.id, metadata={"team": "ops"}).metadata == {"team": "ops"}  # type: ignore[attr-defined]
    assert [one.content for one in chats.messages.list(made.id)] == [USER["content"]]
    assert chats.retrieve(made.id).choices == made.choices
    assert chats.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        chats.retrieve(made.id)


def test_a_completion_goes_on_after_its_prompt(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=["Once", "Twice"], echo=True
    )
    assert [choice.text for choice in answer.choices] == [
        "OnceYou said: Once",
        "TwiceYou said: Twice",
    ]


def test_a_response_is_stored_unless_it_must_not_be(client: openai.OpenAI) -> None:
    kept = client.responses.create(model="gpt-5.1", input="Hello")
    lost = client.responses.create(model="gpt-5.1", input="Hello", store=False)
    assert kept.output_text == lost.output_text == "You said: Hello"
    assert client.responses.retrieve(kept.id).output_text == kept.output_text
    [item] = client.responses.input_items.list(kept.id)
    assert item.content[0].text == "Hello"  # type: ignore[union-attr]
    client.responses.delete(kept.id)
    for id in (kept.id, lost.id):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(id)


def test_a_response_goes_on_from_an_earlier_one(client: openai.OpenAI) -> None:
    first = client.responses.create(model="gpt-5.1", input="Hello")
    second = client.responses.create(
        model="gpt-5.1", input=[{"role": "user", "content": "Bye"}], previous_response_id=first.id
    )
    assert second.output_text == "You said: Bye"
    assert len(list(client.responses.input_items.list(second.id))) == 3


def test_a_response_searches_the_stores_that_it_may(
    client: openai.OpenAI, upload: Callable[..., dict[str, Any]]
) -> None:
    file = upload("refunds.md", b"A coat may be returned within 30 days.")
    store = client.vector_stores.create(name="Handbook", file_ids=[file["id"]])
    tool: Any = {"type": "file_search", "vector_store_ids": [store.id]}
    answer = client.responses.create(model="gpt-5.1", input="May a coat be returned?", tools=[tool])
    assert [item.type for item in answer.output] == ["file_search_call", "message"]
    assert answer.output_text == "refunds.md says: A coat may be returned within 30 days."


def test_a_response_in_the_background_moves_on_and_can_be_cancelled(client: openai.OpenAI) -> None:
    done = client.responses.create(model="gpt-5.1", input="Hello", background=True)
    seen = [done.status, *(client.responses.retrieve(done.id).status for _ in range(2))]
    ended = client.responses.create(model="gpt-5.1", input="Hello", background=True)
    assert seen == ["queued", "in_progress", "completed"]
    assert client.responses.cancel(ended.id).status == "cancelled"
    assert client.responses.retrieve(ended.id).output_text == ""


def test_tokens_are_counted_and_conversations_compacted(client: openai.OpenAI) -> None:
    assert (
        client.responses.input_tokens.count(model="gpt-5.1", input="one two three").input_tokens
        == 3
    )
    compacted = client.responses.compact(model="gpt-5.1", input="one two three")
    assert [item.type for item in compacted.output] == ["message", "compaction"]


@pytest.mark.parametrize(
    ("model", "size"), [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072)]
)
def test_vectors_have_the_size_of_their_model_and_length_one(
    client: openai.OpenAI, model: str, size: int
) -> None:
    [one] = client.embeddings.create(model=model, input="a coat").data
    [cut] = client.embeddings.create(
        model=model, input="a coat", dimensions=4, encoding_format="float"
    ).data
    assert (len(one.embedding), len(cut.embedding)) == (size, 4)
    assert math.isclose(sum(value * value for value in one.embedding), 1.0, abs_tol=1e-4)


def test_texts_that_share_words_have_vectors_that_are_near(client: openai.OpenAI) -> None:
    texts = ["return a coat", "return a hat", "seven purple elephants"]
    one, near, far = (
        item.embedding
        for item in client.embeddings.create(model="text-embedding-3-small", input=texts).data
    )
    dots = [sum(a * b for a, b in zip(one, other, strict=True)) for other in (near, far)]
    assert dots[0] > 0.5 > dots[1]


def test_a_text_is_flagged_for_what_it_names(client: openai.OpenAI) -> None:
    bad, good = client.moderations.create(input=["sheer violence", "a coat"]).results
    assert (bad.flagged, bad.categories.violence, bad.categories.hate) == (True, True, False)
    assert not good.flagged


@old_calls
def test_speech_is_sound_that_can_be_heard_again(client: openai.OpenAI) -> None:
    said = client.audio.speech.create(
        model="tts-1", voice="alloy", input="Hello", response_format="wav"
    ).read()
    with wave.open(io.BytesIO(said)) as sound:
        assert sound.getnframes() > 0
    file = ("hello.wav", said)
    heard = client.audio.transcriptions.create(
        model="whisper-1", file=file, timestamp_granularities=["segment"]
    )
    assert heard.text == f"This is hello.wav, with {len(said)} bytes of sound."
    assert (
        client.audio.transcriptions.create(model="whisper-1", file=file, response_format="text")
        == heard.text + "\n"
    )
    assert client.audio.translations.create(model="whisper-1", file=file).text == heard.text


@old_calls
def test_generated_images_are_valid_images(client: openai.OpenAI) -> None:
    made = client.images.generate(model="gpt-image-1", prompt="A dot", n=2)
    assert made.data is not None
    pictures = [base64.b64decode(item.b64_json or "") for item in made.data]
    assert [picture[:8] for picture in pictures] == [b"\x89PNG\r\n\x1a\n"] * 2
    both = [("a.png", pictures[0]), ("b.png", pictures[1])]
    edited = client.images.edit(model="gpt-image-1", image=both, mask=both[0], prompt="A line")
    varied = client.images.create_variation(image=both[0])
    assert edited.usage is not None
    assert varied.data is not None
    assert varied.data[0].url


def test_keys_for_browsers_are_made_and_are_never_the_same(client: openai.OpenAI) -> None:
    session: Any = {"type": "realtime", "model": "gpt-realtime"}
    translated: Any = {"model": "gpt-realtime"}
    keys = [
        client.realtime.client_secrets.create(session=session).value,
        client.realtime.translations.client_secrets.create(session=translated).value,
        client.beta.chatkit.sessions.create(user="ada", workflow={"id": "wf_1"}).client_secret,
    ]
    assert len({*keys}) == 3
    assert all(key.startswith("ek_") for key in keys)


def test_a_session_for_a_browser_can_be_cancelled(client: openai.OpenAI) -> None:
    sessions = client.beta.chatkit.sessions
    made = sessions.create(
        user="ada", workflow={"id": "wf_1"}, expires_after={"anchor": "created_at", "seconds": 60}
    )
    assert (made.status, sessions.cancel(made.id).status) == ("active", "cancelled")


def test_a_session_of_an_agent_calls_its_function_and_answers(client: openai.OpenAI) -> None:
    weather: Any = {
        "type": "function",
        "name": "weather",
        "description": "Tells it.",
        "parameters": {"type": "object"},
    }
    agent = client.beta.agents.create(model="gpt-5.5", tools=[weather])
    sessions = client.beta.agents.sessions
    made = sessions.create(agent_id=agent.id, environment={"type": "none"}, input="Is it warm?")
    asks = sessions.retrieve(made.id)
    [action] = asks.required_actions
    assert (made.status, asks.status, action.type) == (
        "in_progress",
        "requires_action",
        "function_call",
    )
    result: Any = {"type": "agent.session.input.tool_result", "success": True, "output": "20"}
    sessions.events.create(
        made.id, events=[{**result, "call_id": action.call_id, "turn_id": action.turn_id}]
    )  # type: ignore[union-attr]
    assert sessions.retrieve(made.id).status == "idle"
    said, asked = sessions.items.list(made.id)
    assert said.output_text == "You said: Is it warm?"  # type: ignore[union-attr]
    assert asked.role == "user"  # type: ignore[union-attr]
    assert [one.id for one in sessions.list()] == [made.id]
    assert sessions.update(made.id, metadata={"team": "cx"}).metadata == {"team": "cx"}
    assert sessions.delete(made.id).deleted


def test_decisions_answer_in_the_order_of_the_questions(client: openai.OpenAI) -> None:
    questions: Any = [
        {"type": "predicate", "instructions": "Is it about coats?", "name": "coats"},
        {
            "type": "choice",
            "instructions": "Who?",
            "choices": [{"value": "sales"}, {"value": "support"}],
        },
        {
            "type": "score",
            "instructions": "How bad?",
            "levels": [{"label": "fine"}, {"label": "awful"}],
        },
    ]
    decision = client.decisions.create(
        model="gpt-5.1", input="support: coats are awful", questions=questions
    )
    coats, team, bad = decision.answers
    assert (coats.name, coats.probability > 0.5) == ("coats", True)  # type: ignore[union-attr]
    assert (team.choice, bad.score) == ("support", 1.0)  # type: ignore[union-attr]


CHAT = {"model": "gpt-5.1", "messages": [USER]}


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/chat/completions", {"model": "gpt-5.1", "messages": []}, 400, "messages"),
        ("/chat/completions", {**CHAT, "temprature": 1}, 400, "temprature"),
        ("/chat/completions", {**CHAT, "stream": True}, 400, "stream"),
        ("/chat/completions", {**CHAT, "metadata": {"a": "b"}}, 400, "metadata"),
        (
            "/chat/completions",
            {**CHAT, "messages": [{"role": "chef", "content": "x"}]},
            400,
            "messages[0].role",
        ),
        ("/chat/completions", {**CHAT, "model": "gpt-0"}, 404, None),
        ("/chat/completions", {**CHAT, "model": "whisper-1"}, 400, "model"),
        ("/responses", {"input": "x"}, 400, "model"),
        ("/responses", {"model": "gpt-5.1", "background": True, "store": False}, 400, "background"),
        ("/responses", {"model": "gpt-5.1", "max_output_tokens": 1}, 400, "max_output_tokens"),
        (
            "/responses",
            {"model": "gpt-5.1", "previous_response_id": "resp_0"},
            400,
            "previous_response_id",
        ),
        (
            "/embeddings",
            {"model": "text-embedding-ada-002", "input": "x", "dimensions": 3},
            400,
            "dimensions",
        ),
        ("/embeddings", {"model": "text-embedding-3-small", "input": ""}, 400, "input"),
        ("/moderations", {}, 400, "input"),
        (
            "/audio/speech",
            {"model": "tts-1", "input": "x", "voice": "alloy", "speed": 9},
            400,
            "speed",
        ),
        (
            "/images/generations",
            {"model": "gpt-image-1", "prompt": "x", "response_format": "url"},
            400,
            "response_format",
        ),
        ("/realtime/sessions", {"model": "gpt-5.1"}, 400, "model"),
        (
            "/realtime/client_secrets",
            {"expires_after": {"seconds": 5}},
            400,
            "expires_after.seconds",
        ),
    ],
)
def test_what_models_cannot_do_is_refused(
    http: httpx.Client, path: str, body: dict[str, Any], status: int, param: str | None
) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


def test_forms_want_files_where_files_belong(http: httpx.Client) -> None:
    plain = http.post(
        "/audio/transcriptions",
        data={"model": "whisper-1", "file": "x"},
        files={"prompt": ("a", b"b")},
    )
    assert (plain.status_code, plain.json()["error"]["param"]) == (400, "file")


def test_a_model_that_a_project_may_not_use_is_refused_there(
    client: openai.OpenAI, admin: httpx.Client, emulator: Emulator
) -> None:
    project = client.admin.organization.projects.create(name="Search")
    key = client.admin.organization.projects.service_accounts.create(
        project.id, name="indexer"
    ).api_key
    admin.post(
        f"/organization/projects/{project.id}/model_permissions",
        json={"mode": "allow_list", "model_ids": ["gpt-4.1"]},
    )
    assert key is not None
    with openai.OpenAI(base_url=emulator.base_url, api_key=key.value, max_retries=0) as theirs:
        assert theirs.responses.create(model="gpt-4.1", input="Hello").output_text
        with pytest.raises(
            openai.PermissionDeniedError, match=r"does not have access to model `gpt-5\.1`"
        ):
            theirs.responses.create(model="gpt-5.1", input="Hello")
