"""Batches: a file of requests, and the resulting files of responses and errors."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from reconciler.emulator import ids, jobs
from reconciler.emulator.errors import bad_request
from reconciler.emulator.files import find_file, make_file
from reconciler.emulator.models import BY_ID
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import choice, fields, integer, metadata, nullable, text

ENDPOINTS = (
    "/v1/responses", "/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/moderations",
    "/v1/images/generations", "/v1/images/edits", "/v1/videos",
)  # fmt: skip
_MOST_LINES = 50_000
_DAY = 86_400
_CREATE = fields(
    {
        "input_file_id": text(minimum=1),
        "endpoint": choice(*ENDPOINTS),
        "completion_window": choice("24h"),
    },
    {
        "metadata": nullable(metadata),
        "output_expires_after": fields(
            {"anchor": choice("created_at"), "seconds": integer(3600, 2_592_000)}
        ),
    },
)
_NO_USAGE = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


_NOTHING_DONE: dict[str, Any] = {"mistakes": [], "answers": [], "errors": []}
"""The outcome of a file whose content is not known."""


def list_batches(call: Call) -> dict[str, Any]:
    batches = call.store.collection("batch", call.project_id)
    for batch in list(batches.ordered()):
        _settle(call, batch)
    page = page_of(call.query, order=None, before=False, descending=True)
    return call.list_answer(batches, page, render=lambda batch: show(batch, call.store.clock()))


def create_batch(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    file = find_file(call.store, call.project_id, sent["input_file_id"], param="input_file_id")
    if file.body["purpose"] != "batch":
        raise bad_request("The input file must have the purpose 'batch'.", param="input_file_id")
    now = call.now
    body = {
        "id": ids.fresh("batch"),
        "object": "batch",
        "endpoint": sent["endpoint"],
        "input_file_id": file.id,
        "completion_window": sent["completion_window"],
        "created_at": now,
        "expires_at": now + _DAY,
        "output_file_id": None,
        "error_file_id": None,
        "metadata": sent.get("metadata"),
    }
    outcome = _NOTHING_DONE
    if not file.hidden.get("is_unread"):
        outcome = _worked_off(file.hidden["content"], sent["endpoint"])
    seconds = sent.get("output_expires_after", {}).get("seconds", 30 * _DAY)
    timing = jobs.timing(call.store, call.options)
    batch = call.store.add(
        "batch", call.project_id, body, **timing, outcome=outcome, seconds=seconds
    )
    answer = show(batch, timing["began"], is_new=True)
    _settle(call, batch)
    return answer


def retrieve_batch(call: Call) -> dict[str, Any]:
    return show(_batch(call), call.store.clock())


def cancel_batch(call: Call) -> dict[str, Any]:
    batch = _batch(call)
    jobs.stop(call.store, batch, "batch", show(batch, call.store.clock())["status"])
    return {**show(batch, call.store.clock()), "status": "cancelling", "cancelled_at": None}


def _worked_off(content: bytes, endpoint: str) -> dict[str, Any]:
    """The outcome of a file: errors that fail the whole batch, or the lines of the two result files."""
    mistakes: list[dict[str, Any]] = []
    answers: list[str] = []
    errors: list[str] = []
    model, seen = None, set[str]()
    lines = content.decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        request, mistake = _request(line, endpoint, seen)
        if mistake is not None:
            mistakes.append({**mistake, "line": number})
            continue
        model = request["body"].get("model", model)
        known = isinstance(model, str) and (model in BY_ID or model.startswith("ft:"))
        (answers if known else errors).append(json.dumps(_answer(request, endpoint, is_good=known)))
    if not lines or len(lines) > _MOST_LINES:
        code = "too_many_tasks" if lines else "empty_file"
        mistakes = [
            {
                "code": code,
                "message": f"The file has {len(lines)} requests.",
                "param": None,
                "line": None,
            }
        ]
    return {"mistakes": mistakes, "answers": answers, "errors": errors, "model": model}


def _request(
    line: str, endpoint: str, seen: set[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    try:
        request = json.loads(line)
    except ValueError:
        return {}, _mistake("invalid_json_line", "This line is not parseable as valid JSON.", None)
    for name, sort in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if not isinstance(request, dict) or not isinstance(request.get(name), sort):
            return {}, _mistake(
                "missing_required_parameter", f"Missing required parameter: '{name}'.", name
            )
    if request["url"] != endpoint:
        message = f"The URL provided for this request does not match the batch endpoint. Expected: {endpoint}."
        return {}, _mistake("mismatched_endpoint", message, "url")
    if request["custom_id"] in seen:
        return {}, _mistake("duplicate_custom_id", "This custom_id was used before.", "custom_id")
    seen.add(request["custom_id"])
    return request, None


def _mistake(code: str, message: str, param: str | None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param}


def _answer(request: dict[str, Any], endpoint: str, *, is_good: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "object": endpoint.removeprefix("/v1/"),
        "model": request["body"].get("model"),
    }
    if endpoint == "/v1/chat/completions":
        said = {"role": "assistant", "content": "An answer of the emulator."}
        body = {**body, "object": "chat.completion", "choices": [{"index": 0, "message": said}]}
    if not is_good:
        message = f"The model '{request['body'].get('model')}' does not exist"
        error = {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": "model_not_found",
        }
        body = {"error": error}
    # The same requests give identical responses.
    mark = sha256(request["custom_id"].encode()).hexdigest()[:32]
    response = {"status_code": 200 if is_good else 404, "request_id": f"req_{mark}", "body": body}
    return {
        "id": f"batch_req_{mark}",
        "custom_id": request["custom_id"],
        "response": response,
        "error": None,
    }


def show(batch: ObjectRow, now: float, *, is_new: bool = False) -> dict[str, Any]:
    """Return the batch in its current state, as clients see it."""
    loaded = jobs.shown_as_loaded(batch, "cancelled")
    if loaded is not None:
        return loaded
    hidden, outcome = batch.hidden, batch.hidden["outcome"]
    share = 0.0 if is_new else jobs.share(batch, now)
    status = _status(batch, share)
    total = (
        0
        if status in ("validating", "failed")
        else len(outcome["answers"]) + len(outcome["errors"])
    )
    errors = min(len(outcome["errors"]), int(total * share)) if total else 0
    moments = _moments(hidden, status, share)
    return {
        **batch.body,
        "status": status,
        "model": outcome["model"] if total else None,
        "errors": {"object": "list", "data": outcome["mistakes"]} if status == "failed" else None,
        **moments,
        "request_counts": {
            "total": total,
            "completed": int(total * share) - errors,
            "failed": errors,
        },
        "usage": _NO_USAGE,
    }


def _status(batch: ObjectRow, share: float) -> str:
    if batch.hidden["stopped"] is not None:
        return "cancelled"
    if share < 0.1:
        return "validating"
    if batch.hidden["outcome"]["mistakes"]:
        return "failed"
    if share >= 1:
        return "completed"
    return "finalizing" if share >= 0.9 else "in_progress"


def _moments(hidden: dict[str, Any], status: str, share: float) -> dict[str, int | None]:
    def at(part: float) -> int | None:
        moment = hidden["began"] + part * (hidden["due"] - hidden["began"])
        return int(moment) if share >= part and status not in ("validating", "failed") else None

    stopped = None if hidden["stopped"] is None else int(hidden["stopped"])
    return {
        "in_progress_at": at(0.1),
        "finalizing_at": at(0.9),
        "completed_at": at(1.0) if stopped is None else None,
        "failed_at": int(hidden["began"]) if status == "failed" else None,
        "expired_at": None,
        "cancelling_at": stopped,
        "cancelled_at": stopped,
    }


def _settle(call: Call, batch: ObjectRow) -> None:
    """Create the result files of a completed batch."""
    outcome = batch.hidden["outcome"]
    if not jobs.is_to_be_settled(batch, call.store.clock()):
        return
    for name, lines in (
        ("output_file_id", outcome["answers"]),
        ("error_file_id", outcome["errors"]),
    ):
        if lines and not outcome["mistakes"]:
            batch.body[name] = make_file(
                call.store,
                call.project_id,
                filename=f"{batch.id}_{name.partition('_')[0]}.jsonl",
                purpose="batch_output",
                content="".join(f"{line}\n" for line in lines).encode(),
                seconds=batch.hidden["seconds"],
            ).id
    batch.hidden["settled"] = True
    call.store.changed(batch)


def _batch(call: Call) -> ObjectRow:
    batch = call.path_record("batch", call.project_id, "batch_id", "No batch found with id '{id}'.")
    _settle(call, batch)
    return batch


_ONE = "/batches/{batch_id}"
ROUTES = (
    Route("GET", "/batches", list_batches, Access.PROJECT),
    Route("POST", "/batches", create_batch, Access.PROJECT),
    Route("GET", _ONE, retrieve_batch, Access.PROJECT),
    Route("POST", f"{_ONE}/cancel", cancel_batch, Access.PROJECT),
)
