"""Eval runs: samples are generated or given, scored by the criteria, and counted."""

from __future__ import annotations

import json
from typing import Any

from reconciler.emulator import graders, ids, jobs
from reconciler.emulator.errors import ErrorAnswer, bad_request, not_found
from reconciler.emulator.files import find_file
from reconciler.emulator.paging import envelope, page_of
from reconciler.emulator.routes.evals import find_eval
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ObjectRow
from reconciler.emulator.validation import (
    anything,
    choice,
    fields,
    integer,
    listed,
    mapping,
    metadata,
    nullable,
    number,
    tagged,
    text,
)

STATUSES = ("queued", "in_progress", "completed", "canceled", "failed")
_ROW = fields({"item": mapping}, {"sample": mapping})
_CONTENT = fields({"type": anything, "content": listed(_ROW)})
_FILE = fields({"type": anything, "id": text(minimum=1)})
_COMMON = {
    "metadata": nullable(mapping),
    "model": nullable(text()),
    "created_after": nullable(integer()),
    "created_before": nullable(integer()),
}
_STORED = fields({"type": anything}, {**_COMMON, "limit": nullable(integer(1))})
_RESPONSES = fields(
    {"type": anything},
    {
        **_COMMON,
        "instructions_search": nullable(text()),
        "reasoning_effort": nullable(text()),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "users": nullable(listed(text())),
        "tools": nullable(listed(text())),
    },
)
_INPUT = tagged(
    {
        "template": fields({"type": anything, "template": listed(mapping)}),
        "item_reference": fields({"type": anything, "item_reference": text()}),
    }
)
_SAMPLED = {"input_messages": _INPUT, "sampling_params": mapping, "model": text(minimum=1)}
_DATA = tagged(
    {
        "jsonl": fields(
            {"type": anything, "source": tagged({"file_content": _CONTENT, "file_id": _FILE})}
        ),
        "completions": fields(
            {
                "type": anything,
                "source": tagged(
                    {"file_content": _CONTENT, "file_id": _FILE, "stored_completions": _STORED}
                ),
            },
            _SAMPLED,
        ),
        "responses": fields(
            {
                "type": anything,
                "source": tagged(
                    {"file_content": _CONTENT, "file_id": _FILE, "responses": _RESPONSES}
                ),
            },
            _SAMPLED,
        ),
    }
)
_CREATE = fields({"data_source": _DATA}, {"name": nullable(text()), "metadata": nullable(metadata)})


def list_runs(call: Call) -> dict[str, Any]:
    runs, wanted = call.store.collection("eval_run", find_eval(call).id), call.query.get("status")
    if wanted is not None:
        choice(*STATUSES)(wanted, "status")
    now = call.store.clock()
    return call.list_answer(
        runs,
        page_of(call.query, order="asc", before=False),
        render=lambda run: show(run, now),
        keep=lambda run: wanted in (None, show(run, now)["status"]),
    )


def create_run(call: Call) -> dict[str, Any]:
    eval = find_eval(call)
    sent = call.json(_CREATE)
    rows, error = _rows(call, sent["data_source"]["source"])
    id = ids.fresh("eval_run")
    model = sent["data_source"].get("model")
    body = {
        "object": "eval.run",
        "id": id,
        "eval_id": eval.id,
        "model": model,
        "name": sent.get("name") or f"Run {id[-6:]}",
        "created_at": call.now,
        "report_url": f"https://platform.openai.com/evaluations/{eval.id}?run_id={id}",
        "data_source": sent["data_source"],
        "metadata": sent.get("metadata"),
    }
    items = [_item(eval, body, number, row) for number, row in enumerate(rows)]
    timing = jobs.timing(call.store, call.options)
    run = call.store.add("eval_run", eval.id, body, **timing, items=items, error=error)
    return show(run, timing["began"], is_new=True)


def retrieve_run(call: Call) -> dict[str, Any]:
    return show(_run(call), call.store.clock())


def cancel_run(call: Call) -> dict[str, Any]:
    run = _run(call)
    jobs.stop(call.store, run, "run", show(run, call.store.clock())["status"])
    return show(run, call.store.clock())


def delete_run(call: Call) -> dict[str, Any]:
    run = _run(call)
    call.store.remove(run)
    return {"object": "eval.run.deleted", "deleted": True, "run_id": run.id}


def list_items(call: Call) -> dict[str, Any]:
    run, wanted = _run(call), call.query.get("status")
    if wanted is not None:
        choice("fail", "pass")(wanted, "status")
    page = page_of(call.query, order="asc", before=False)
    items = [item for item in _done(run, call.store.clock()) if wanted in (None, item["status"])]
    items = items[::-1] if page.descending else items
    known = [item["id"] for item in items]
    if page.after is not None and page.after not in known:
        raise bad_request(
            f"Invalid 'after': no object with id '{page.after}' in this list.", param="after"
        )
    rest = items[known.index(page.after) + 1 :] if page.after is not None else items
    return envelope(rest[: page.limit], len(rest) > page.limit)


def retrieve_item(call: Call) -> dict[str, Any]:
    id = call.params["output_item_id"]
    found = next((item for item in _done(_run(call), call.store.clock()) if item["id"] == id), None)
    if found is None:
        raise not_found(f"No output item found with id '{id}'.", param="output_item_id")
    return found


def _rows(call: Call, source: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str] | None]:
    """The items of a source and its errors; there are no logs to take items from."""
    if source["type"] == "file_content":
        return source["content"], None
    if source["type"] != "file_id":
        return [], None
    file = find_file(call.store, call.project_id, source["id"])
    rows = []
    for at, line in enumerate(
        file.hidden["content"].decode("utf-8", "replace").splitlines(), start=1
    ):
        try:
            rows.append(_ROW(json.loads(line), "item"))
        except (ValueError, ErrorAnswer):
            return [], {
                "code": "invalid_file",
                "message": f"Line {at} of the file is not a valid item.",
            }
    return rows, None


def _item(eval: ObjectRow, run: dict[str, Any], number: int, row: dict[str, Any]) -> dict[str, Any]:
    """One sample with its scores; a model echoes the end of its input."""
    source = run["data_source"]
    said = row.get("sample", {}).get("output_text", "")
    messages = []
    for message in (source.get("input_messages") or {}).get("template", ()):
        said = graders.filled(graders.content_text(message.get("content")), {"item": row["item"]})
        messages.append({"role": message.get("role", "user"), "content": said})
    known = {"item": row["item"], "sample": {**row.get("sample", {}), "output_text": said}}
    results = [
        {
            "name": criterion["id"],
            "type": criterion["type"],
            "score": graders.score(criterion, known),
            "passed": graders.passes(criterion, known),
            "sample": None,
        }
        for criterion in eval.body["testing_criteria"]
    ]
    usage = {"total_tokens": 0, "completion_tokens": 0, "prompt_tokens": 0, "cached_tokens": 0}
    return {
        "object": "eval.run.output_item",
        "id": ids.fresh("output_item"),
        "run_id": run["id"],
        "eval_id": eval.id,
        "created_at": run["created_at"],
        "status": "pass" if all(result["passed"] for result in results) else "fail",
        "datasource_item_id": number,
        "datasource_item": row["item"],
        "results": results,
        "sample": {
            "input": messages,
            "output": [{"role": "assistant", "content": said}],
            "finish_reason": "stop",
            "model": run["model"],
            "usage": usage,
            "error": None,
            "temperature": 1.0,
            "max_completion_tokens": 2048,
            "top_p": 1.0,
            "seed": 42,
        },
    }


def _done(run: ObjectRow, now: float) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = run.hidden["items"]
    return items[: int(len(items) * jobs.share(run, now))]


def show(run: ObjectRow, now: float, *, is_new: bool = False) -> dict[str, Any]:
    """Return the run in its current state, as clients see it."""
    loaded = jobs.shown_as_loaded(run, "canceled")
    if loaded is not None:
        return loaded
    share = 0.0 if is_new else jobs.share(run, now)
    done = [] if is_new else _done(run, now)
    passed = sum(item["status"] == "pass" for item in done)
    status = _status(run, share)
    verdicts: dict[str, list[bool]] = {}
    for item in done:
        for result in item["results"]:
            verdicts.setdefault(result["name"], []).append(result["passed"])
    return {
        **run.body,
        "status": status,
        "result_counts": {
            "total": len(run.hidden["items"]),
            "errored": 0,
            "failed": len(done) - passed,
            "passed": passed,
        },
        "per_model_usage": [],
        "per_testing_criteria_results": [
            {"testing_criteria": name, "passed": sum(found), "failed": len(found) - sum(found)}
            for name, found in verdicts.items()
        ],
        "error": run.hidden["error"] if status == "failed" else None,
    }


def _status(run: ObjectRow, share: float) -> str:
    if run.hidden["stopped"] is not None:
        return "canceled"
    if share >= 0.1 and run.hidden["error"] is not None:
        return "failed"
    if share >= 1:
        return "completed"
    return "queued" if share < 0.1 else "in_progress"


def _run(call: Call) -> ObjectRow:
    return call.path_record(
        "eval_run", find_eval(call).id, "run_id", "No run found with id '{id}'."
    )


_ALL = "/evals/{eval_id}/runs"
_ONE = f"{_ALL}/{{run_id}}"
ROUTES = (
    Route("GET", _ALL, list_runs, Access.PROJECT),
    Route("POST", _ALL, create_run, Access.PROJECT, status=201),
    Route("GET", _ONE, retrieve_run, Access.PROJECT),
    # The API description cancels at this path, the official client at the one below.
    Route("POST", _ONE, cancel_run, Access.PROJECT),
    Route("POST", f"{_ONE}/cancel", cancel_run, Access.PROJECT),
    Route("DELETE", _ONE, delete_run, Access.PROJECT),
    Route("GET", f"{_ONE}/output_items", list_items, Access.PROJECT),
    Route("GET", f"{_ONE}/output_items/{{output_item_id}}", retrieve_item, Access.PROJECT),
)
