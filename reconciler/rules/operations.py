"""The API operations that a check can call, as data.

An operation is an entry of `OPERATIONS`, which holds all peculiarities: headers, what the call
creates and how to remove it, how long to wait for results, which parts of the answer are secret. No
operation changes a managed object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

ASSISTANTS = "assistants=v2"
AGENTS = "agents=v1"
CHATKIT = "chatkit_beta=v1"

_PATH_PARAMETER = re.compile(r"\{(\w+)\}")


class Leftover(Struct, frozen=True):
    """An object that an operation creates, and the call that removes it.

    Path parameters of the call are filled from the answer. `stored` if the object exists only where
    the body says `store: true`.
    """

    call: str
    stored: bool = False


class PollPlan(Struct, frozen=True):
    """How to follow work that continues after the answer: read it, cancel it, and supply the
    outputs that it requests.
    """

    read: str
    cancel: str
    running: tuple[str, ...] = ("queued", "in_progress")
    """The states of unfinished work."""
    asks: str | None = None
    """The state in which it waits for the outputs of functions."""
    answer: str | None = None
    dialect: Literal["run", "session"] = "run"
    """The format of these outputs."""
    marked: str | None = None
    """The call that stores the name of the check in the metadata, for objects that cannot be
    removed."""


class Operation(Struct, frozen=True):
    """One endpoint. `call` is method and path, whose path parameters are parameters of the check."""

    name: str
    group: str
    call: str
    query: tuple[str, ...] = ()
    admin: bool = False
    beta: str | None = None
    takes_body: bool = True
    fills: Mapping[str, Any] = field(default_factory=dict)
    """Defaults for the body."""
    stores: str | None = None
    """The body field that asks to store the answer."""
    files: tuple[str, ...] = ()
    """The form fields that hold files; the first is required. The body then travels as a form."""
    leaves: Leftover | None = None
    waiting: PollPlan | None = None
    shows: Mapping[str, str] = field(default_factory=dict)
    """Lists to add to the answer, by the name that they get there."""
    adds_to: str | None = None
    """A list to which the call adds entries, which are removed again."""
    secrets: tuple[str, ...] = ()
    """Keys, anywhere in the answer, whose text is secret."""
    costly: bool = False
    """Whether one call costs noticeably."""
    answers_text: bool = False
    """Whether the answer may be something other than JSON."""
    ended: str = ""
    """Since when the live platform lacks the operation, and its successor."""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.call.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path below the base URL, with path parameters."""
        return self.call.partition(" ")[2]

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The path parameters."""
        return tuple(_PATH_PARAMETER.findall(self.path))


_RUN = PollPlan(
    read="GET /threads/{thread_id}/runs/{id}",
    cancel="POST /threads/{thread_id}/runs/{id}/cancel",
    running=("queued", "in_progress", "cancelling"),
    asks="requires_action",
    answer="POST /threads/{thread_id}/runs/{id}/submit_tool_outputs",
)
_RUN_SHOWS = {
    "messages": "/threads/{thread_id}/messages",
    "steps": "/threads/{thread_id}/runs/{id}/steps",
}
_SESSION = PollPlan(
    read="GET /agents/sessions/{id}",
    cancel="POST /agents/sessions/{id}/events",
    running=("in_progress",),
    asks="requires_action",
    answer="POST /agents/sessions/{id}/events",
    dialect="session",
)
_RESPONSE = PollPlan(read="GET /responses/{id}", cancel="POST /responses/{id}/cancel")
_ENDED = "The live platform retired threads and runs on 2026-08-26; createAgentSession checks their successor."
_CLIENT_SECRET = ("client_secret", "value")


def _read(name: str, group: str, path: str, **more: Any) -> Operation:
    return Operation(name, group, f"GET {path}", takes_body=False, **more)


_ALL = (
    Operation("createSpeech", "Audio", "POST /audio/speech", answers_text=True),
    Operation(
        "createTranscription",
        "Audio",
        "POST /audio/transcriptions",
        files=("file",),
        answers_text=True,
    ),
    Operation(
        "createTranslation", "Audio", "POST /audio/translations", files=("file",), answers_text=True
    ),
    Operation(
        "createChatCompletion",
        "Chat",
        "POST /chat/completions",
        leaves=Leftover("DELETE /chat/completions/{id}", stored=True),
    ),
    _read(
        "listChatCompletions",
        "Chat",
        "/chat/completions",
        query=("model", "limit", "order", "after"),
    ),
    _read("getChatCompletion", "Chat", "/chat/completions/{completion_id}"),
    _read(
        "getChatCompletionMessages",
        "Chat",
        "/chat/completions/{completion_id}/messages",
        query=("limit", "order"),
    ),
    Operation("createCompletion", "Completions", "POST /completions"),
    Operation("createEmbedding", "Embeddings", "POST /embeddings"),
    Operation("createImage", "Images", "POST /images/generations", costly=True),
    Operation(
        "createImageEdit", "Images", "POST /images/edits", files=("image", "mask"), costly=True
    ),
    Operation(
        "createImageVariation", "Images", "POST /images/variations", files=("image",), costly=True
    ),
    _read("listModels", "Models", "/models"),
    _read("retrieveModel", "Models", "/models/{model}"),
    Operation("createModeration", "Moderations", "POST /moderations"),
    Operation(
        "createRealtimeSession", "Realtime", "POST /realtime/sessions", secrets=_CLIENT_SECRET
    ),
    Operation(
        "createRealtimeTranscriptionSession",
        "Realtime",
        "POST /realtime/transcription_sessions",
        secrets=_CLIENT_SECRET,
    ),
    Operation(
        "createRealtimeClientSecret",
        "Realtime",
        "POST /realtime/client_secrets",
        secrets=_CLIENT_SECRET,
    ),
    Operation(
        "createRealtimeTranslationClientSecret",
        "Realtime",
        "POST /realtime/translations/client_secrets",
        secrets=_CLIENT_SECRET,
    ),
    Operation(
        "createResponse",
        "Responses",
        "POST /responses",
        fills={"store": False},
        stores="background",
        leaves=Leftover("DELETE /responses/{id}", stored=True),
        waiting=_RESPONSE,
    ),
    _read("getResponse", "Responses", "/responses/{response_id}"),
    _read(
        "listInputItems",
        "Responses",
        "/responses/{response_id}/input_items",
        query=("limit", "order", "after"),
    ),
    Operation(
        "cancelResponse", "Responses", "POST /responses/{response_id}/cancel", takes_body=False
    ),
    Operation("compactResponse", "Responses", "POST /responses/compact"),
    Operation("countInputTokens", "Responses", "POST /responses/input_tokens"),
    Operation(
        "createThreadAndRun",
        "Threads",
        "POST /threads/runs",
        beta=ASSISTANTS,
        ended=_ENDED,
        leaves=Leftover("DELETE /threads/{thread_id}"),
        waiting=_RUN,
        shows=_RUN_SHOWS,
    ),
    Operation(
        "createRun",
        "Threads",
        "POST /threads/{thread_id}/runs",
        beta=ASSISTANTS,
        ended=_ENDED,
        waiting=replace(_RUN, marked="POST /threads/{thread_id}/runs/{id}"),
        shows=_RUN_SHOWS,
        adds_to="/threads/{thread_id}/messages",
    ),
    _read("getRun", "Threads", "/threads/{thread_id}/runs/{run_id}", beta=ASSISTANTS, ended=_ENDED),
    _read(
        "listRuns",
        "Threads",
        "/threads/{thread_id}/runs",
        query=("limit", "order"),
        beta=ASSISTANTS,
        ended=_ENDED,
    ),
    _read(
        "listRunSteps",
        "Threads",
        "/threads/{thread_id}/runs/{run_id}/steps",
        query=("limit",),
        beta=ASSISTANTS,
        ended=_ENDED,
    ),
    _read(
        "getRunStep",
        "Threads",
        "/threads/{thread_id}/runs/{run_id}/steps/{step_id}",
        beta=ASSISTANTS,
        ended=_ENDED,
    ),
    Operation(
        "createAgentSession",
        "Agents",
        "POST /agents/sessions",
        beta=AGENTS,
        fills={"environment": {"type": "none"}},
        leaves=Leftover("DELETE /agents/sessions/{id}"),
        waiting=_SESSION,
        shows={"items": "/agents/sessions/{id}/items"},
    ),
    Operation("searchVectorStore", "Vector stores", "POST /vector_stores/{vector_store_id}/search"),
    _read(
        "retrieveVectorStoreFileContent",
        "Vector stores",
        "/vector_stores/{vector_store_id}/files/{file_id}/content",
    ),
    Operation(
        "testWebhookEndpoint", "Webhooks", "POST /webhook_endpoints/{webhook_endpoint_id}/test"
    ),
    Operation(
        "createChatKitSession",
        "ChatKit",
        "POST /chatkit/sessions",
        beta=CHATKIT,
        leaves=Leftover("POST /chatkit/sessions/{id}/cancel"),
        secrets=_CLIENT_SECRET,
    ),
    Operation("createDecision", "Decisions", "POST /decisions"),
    Operation("runGrader", "Fine-tuning", "POST /fine_tuning/alpha/graders/run"),
    Operation("validateGrader", "Fine-tuning", "POST /fine_tuning/alpha/graders/validate"),
    Operation(
        "validateExternalKey",
        "External keys",
        "POST /organization/external_keys/{external_key_id}/validate",
        admin=True,
        takes_body=False,
    ),
    Operation(
        "validateExternalStorage",
        "External storage",
        "POST /organization/external_storage/{external_storage_id}/validate",
        admin=True,
        takes_body=False,
    ),
)

OPERATIONS: Mapping[str, Operation] = {operation.name: operation for operation in _ALL}
"""All operations by name, in the order of the API reference."""
