"""Fine-tuning jobs with their events, checkpoints and models; graders to try out."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from reconciler.emulator import graders, ids, jobs
from reconciler.emulator.errors import bad_request, not_found
from reconciler.emulator.files import find_file, make_file
from reconciler.emulator.models import FINE_TUNABLE
from reconciler.emulator.paging import page_of
from reconciler.emulator.routing import Access, Call, Route
from reconciler.emulator.store import ORGANIZATION, ObjectRow
from reconciler.emulator.validation import (
    Check,
    anything,
    choice,
    fields,
    integer,
    listed,
    mapping,
    metadata,
    nullable,
    number,
    text,
)

_STEPS = 10


def _auto_or(other: Check) -> Check:
    return lambda value, place: value if value == "auto" else other(value, place)


_SUPERVISED = {
    "batch_size": _auto_or(integer(1, 256)),
    "learning_rate_multiplier": _auto_or(number(0, 1e300)),
    "n_epochs": _auto_or(integer(1, 50)),
}
_HYPERPARAMETERS = {
    "supervised": _SUPERVISED,
    "dpo": {"beta": _auto_or(number(0, 2)), **_SUPERVISED},
    "reinforcement": {
        **_SUPERVISED,
        "reasoning_effort": choice("default", "low", "medium", "high"),
        "compute_multiplier": _auto_or(number(0.00001, 10)),
        "eval_interval": _auto_or(integer(1)),
        "eval_samples": _auto_or(integer(1)),
    },
}
_SETTLED = {
    "n_epochs": 3,
    "batch_size": 1,
    "learning_rate_multiplier": 2.0,
    "beta": 0.1,
    "compute_multiplier": 1.0,
}
_METHOD = fields(
    {"type": choice(*_HYPERPARAMETERS)},
    {
        name: fields(
            {"grader": graders.GRADER} if name == "reinforcement" else {},
            {"hyperparameters": fields({}, known)},
        )
        for name, known in _HYPERPARAMETERS.items()
    },
)
_WANDB = fields(
    {"project": text(minimum=1)},
    {"name": nullable(text()), "entity": nullable(text()), "tags": listed(text())},
)
_CREATE = fields(
    {"model": text(minimum=1), "training_file": text(minimum=1)},
    {
        "validation_file": nullable(text()),
        "suffix": nullable(text(minimum=1, maximum=64)),
        "seed": nullable(integer(0, 2_147_483_647)),
        "method": _METHOD,
        "hyperparameters": fields({}, _SUPERVISED),
        "integrations": nullable(
            listed(fields({"type": choice("wandb"), "wandb": _WANDB}), maximum=5)
        ),
        "metadata": nullable(metadata),
    },
)


def list_jobs(call: Call) -> dict[str, Any]:
    found = call.store.collection("fine_tuning_job", call.project_id)
    for job in list(found.ordered()):
        _settle(call, job)
    wanted = {
        key[9:-1]: value
        for key, value in call.query.as_dict().items()
        if key.startswith("metadata[")
    }
    answer = call.list_answer(
        found,
        page_of(call.query, order=None, before=False, descending=True),
        render=lambda job: show(job, call.store.clock()),
        keep=lambda job: wanted.items() <= (job.body["metadata"] or {}).items(),
    )
    return {name: answer[name] for name in ("object", "data", "has_more")}


def create_job(call: Call) -> dict[str, Any]:
    sent = call.json(_CREATE)
    model = FINE_TUNABLE.get(
        sent["model"], sent["model"] if sent["model"].startswith("ft:") else None
    )
    if model is None:
        message = f"Model {sent['model']} is not available for fine-tuning or does not exist."
        raise bad_request(message, code="model_not_available")
    files = [
        _training_data(call, name, sent[name])
        for name in ("training_file", "validation_file")
        if sent.get(name)
    ]
    method = sent.get("method") or {
        "type": "supervised",
        "supervised": {"hyperparameters": sent.get("hyperparameters")},
    }
    body = {
        "object": "fine_tuning.job",
        "id": ids.fresh("fine_tuning_job"),
        "model": model,
        "created_at": call.now,
        "fine_tuned_model": None,
        "organization_id": call.options.organization,
        "result_files": [],
        "validation_file": sent.get("validation_file"),
        "training_file": sent["training_file"],
        "user_provided_suffix": sent.get("suffix"),
        "seed": crc32(files[0].hidden["content"]) // 2
        if sent.get("seed") is None
        else sent["seed"],
        "integrations": sent.get("integrations") or [],
        "metadata": sent.get("metadata"),
        "usage_metrics": None,
        "shared_with_openai": False,
        "eval_id": None,
    }
    mistakes = [mistake for mistake in (_mistake(file) for file in files) if mistake]
    tokens = sum(len(file.hidden["content"]) for file in files)
    timing = jobs.timing(call.store, call.options)
    error = next(iter(mistakes), None)
    job = call.store.add(
        "fine_tuning_job",
        call.project_id,
        body,
        **timing,
        method=_with_all(method),
        error=error,
        tokens=tokens,
    )
    answer = show(job, timing["began"], is_new=True)
    _settle(call, job)
    return answer


def retrieve_job(call: Call) -> dict[str, Any]:
    return show(_job(call), call.store.clock())


def cancel_job(call: Call) -> dict[str, Any]:
    job = _job(call)
    jobs.stop(call.store, job, "fine-tuning job", show(job, call.store.clock())["status"])
    return show(job, call.store.clock())


def pause_job(call: Call) -> dict[str, Any]:
    job = _job(call)
    jobs.pause(call.store, job, show(job, call.store.clock())["status"])
    return show(job, call.store.clock())


def resume_job(call: Call) -> dict[str, Any]:
    job = _job(call)
    jobs.resume(call.store, job, show(job, call.store.clock())["status"])
    return show(job, call.store.clock())


def list_events(call: Call) -> dict[str, Any]:
    """Return the events of the job so far, newest first."""
    job = _job(call)
    page = page_of(call.query, order=None, before=False, descending=True)
    events = _events(job, call.store.clock())[::-1]
    found, more = _after(events, page.after, page.limit)
    return {"object": "list", "data": found, "has_more": more}


def list_checkpoints(call: Call) -> dict[str, Any]:
    job = _job(call)
    page = page_of(call.query, default=10, order=None, before=False, descending=True)
    checkpoints = (
        [_checkpoint(job, step) for step in (_STEPS, _STEPS - 1)]
        if job.body["fine_tuned_model"]
        else []
    )
    found, more = _after(checkpoints, page.after, page.limit)
    ends = (
        {"first_id": found[0]["id"], "last_id": found[-1]["id"]}
        if found
        else {"first_id": None, "last_id": None}
    )
    return {"object": "list", "data": found, **ends, "has_more": more}


def _after(
    items: list[dict[str, Any]], cursor: str | None, limit: int
) -> tuple[list[dict[str, Any]], bool]:
    known = [item["id"] for item in items]
    if cursor is not None and cursor not in known:
        raise bad_request(
            f"Invalid 'after': no object with id '{cursor}' in this list.", param="after"
        )
    rest = items[known.index(cursor) + 1 :] if cursor is not None else items
    return rest[:limit], len(rest) > limit


def _events(job: ObjectRow, now: float) -> list[dict[str, Any]]:
    share, began, due = jobs.share(job, now), job.hidden["began"], job.hidden["due"]
    said: list[tuple[float, str, str, dict[str, Any]]] = [
        (0.0, "info", "Created fine-tuning job", {}),
        (0.0, "info", f"Validating training file: {job.body['training_file']}", {}),
    ]
    if job.hidden["error"] is not None:
        said.append((0.1, "error", job.hidden["error"]["message"], {}))
    else:
        said.append((0.2, "info", "Fine-tuning job started", {}))
        for step in range(1, _STEPS + 1):
            loss = round(2.0 / step, 2)
            metrics = {"step": step, "total_steps": _STEPS, "train_loss": loss}
            said.append(
                (
                    0.2 + 0.08 * step,
                    "info",
                    f"Step {step}/{_STEPS}: training loss={loss:.2f}",
                    metrics,
                )
            )
        said.append((1.0, "info", "The job has successfully completed", {}))
    reached = [one for one in said if one[0] <= share + 1e-9]
    if job.hidden["stopped"] is not None:
        reached.append((share, "info", "The job has been cancelled", {}))
    return [
        {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{job.id.removeprefix('ftjob-')}{number:02}",
            "created_at": int(began + part * (due - began)),
            "level": level,
            "message": message,
            "data": data,
            "type": "metrics" if data else "message",
        }
        for number, (part, level, message, data) in enumerate(reached)
    ]


def _checkpoint(job: ObjectRow, step: int) -> dict[str, Any]:
    model = job.body["fine_tuned_model"]
    return {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftckpt_{job.id.removeprefix('ftjob-')}{step:02}",
        "created_at": int(job.hidden["due"]),
        "fine_tuned_model_checkpoint": model if step == _STEPS else f"{model}:ckpt-step-{step}",
        "fine_tuning_job_id": job.id,
        "metrics": {
            "step": step,
            "train_loss": round(2.0 / step, 2),
            "train_mean_token_accuracy": 0.9,
        },
        "step_number": step,
    }


def show(job: ObjectRow, now: float, *, is_new: bool = False) -> dict[str, Any]:
    """Return the job in its current state, as clients see it."""
    loaded = jobs.shown_as_loaded(job, "cancelled")
    if loaded is not None:
        return loaded
    share = 0.0 if is_new else jobs.share(job, now)
    status = _status(job, share)
    over = status in ("succeeded", "failed", "cancelled")
    method = (
        job.hidden["method"]
        if status in ("validating_files", "queued")
        else _resolved(job.hidden["method"])
    )
    ended = job.hidden["stopped"] if job.hidden["stopped"] is not None else job.hidden["due"]
    hyperparameters = method[method["type"]]["hyperparameters"]
    return {
        **job.body,
        "status": status,
        "finished_at": int(ended) if over else None,
        "estimated_finish": int(job.hidden["due"]) if status == "running" else None,
        "trained_tokens": job.hidden["tokens"] if status == "succeeded" else None,
        "error": job.hidden["error"] if status == "failed" else {},
        "hyperparameters": {name: hyperparameters.get(name, "auto") for name in _SUPERVISED},
        "method": method,
    }


def _status(job: ObjectRow, share: float) -> str:
    if job.hidden["stopped"] is not None:
        return "cancelled"
    if share >= 0.1 and job.hidden["error"] is not None:
        return "failed"
    if share >= 1:
        return "succeeded"
    # A paused job keeps the status that it had when its clock stopped.
    if share < 0.1:
        return "validating_files"
    return "queued" if share < 0.2 else "running"


def _with_all(method: dict[str, Any]) -> dict[str, Any]:
    """The method, with `auto` for every hyperparameter that was not sent."""
    kind = method["type"]
    own = method.get(kind) or {}
    known = {name: "auto" for name in _HYPERPARAMETERS[kind] if name != "reasoning_effort"}
    return {
        "type": kind,
        kind: {**own, "hyperparameters": {**known, **(own.get("hyperparameters") or {})}},
    }


def _resolved(method: dict[str, Any]) -> dict[str, Any]:
    kind = method["type"]
    own = method[kind]
    settled = {
        name: _SETTLED.get(name, 1) if value == "auto" else value
        for name, value in own["hyperparameters"].items()
    }
    return {"type": kind, kind: {**own, "hyperparameters": settled}}


def _training_data(call: Call, name: str, id: str) -> ObjectRow:
    file = call.store.get("file", call.project_id, id)
    if file is None or find_file(call.store, call.project_id, id).body["purpose"] != "fine-tune":
        raise bad_request(f"invalid {name}: {id}", param=name)
    return file


def _mistake(file: ObjectRow) -> dict[str, Any] | None:
    """The error in a file of examples, in the wording of the job."""
    if file.hidden.get("is_unread"):
        return None
    for at, line in enumerate(
        file.hidden["content"].decode("utf-8", "replace").splitlines(), start=1
    ):
        try:
            is_good = isinstance(json.loads(line), dict)
        except ValueError:
            is_good = False
        if not is_good:
            message = (
                f"Invalid file format. Line {at} of {file.body['filename']} is not a JSON object."
            )
            return {"code": "invalid_training_file", "message": message, "param": "training_file"}
    return None


def _settle(call: Call, job: ObjectRow) -> None:
    """Create the model and the result file of a completed job."""
    if not jobs.is_to_be_settled(job, call.store.clock()):
        return
    job.hidden["settled"] = True
    call.store.changed(job)
    if job.hidden["error"] is not None:
        return
    name = f"ft:{job.body['model']}:emulator:{job.body['user_provided_suffix'] or ''}:{job.id[-8:]}"
    job.body["fine_tuned_model"] = name
    body = {
        "id": name,
        "object": "model",
        "created": call.now,
        "owned_by": ORGANIZATION,
        "shutdown_date": None,
    }
    call.store.add("model", call.project_id, body)
    rows = "".join(f"{step},{2.0 / step:.2f}\n" for step in range(1, _STEPS + 1))
    results = make_file(
        call.store,
        call.project_id,
        filename="step_metrics.csv",
        purpose="fine-tune-results",
        content=f"step,train_loss\n{rows}".encode(),
    )
    job.body["result_files"] = [results.id]


def _job(call: Call) -> ObjectRow:
    id = call.params["fine_tuning_job_id"]
    job = call.store.get("fine_tuning_job", call.project_id, id)
    if job is None:
        raise not_found(
            f"Could not find fine tune: {id}", param="fine_tune_id", code="fine_tune_not_found"
        )
    _settle(call, job)
    return job


_VALIDATE = fields({"grader": graders.GRADER})
_RUN = fields({"grader": graders.GRADER, "model_sample": text()}, {"item": mapping})
_MISHAPS = (
    "formula_parse_error", "sample_parse_error", "truncated_observation_error", "unresponsive_reward_error",
    "invalid_variable_error", "other_error", "python_grader_server_error", "python_grader_runtime_error",
    "model_grader_server_error", "model_grader_refusal_error", "model_grader_parse_error",
)  # fmt: skip
_DETAILS = (
    "python_grader_server_error_type", "python_grader_runtime_error_details", "model_grader_server_error_details"
)  # fmt: skip


def validate_grader(call: Call) -> dict[str, Any]:
    return {"grader": call.json(_VALIDATE)["grader"]}


def run_grader(call: Call) -> dict[str, Any]:
    sent = call.json(_RUN)
    grader = sent["grader"]
    known = {"item": sent.get("item") or {}, "sample": {"output_text": sent["model_sample"]}}
    parts = anything(grader["graders"], "grader") if grader["type"] == "multi" else {}
    rewards = {name: graders.score(part, known) for name, part in parts.items()}
    reward = sum(rewards.values()) / len(rewards) if rewards else graders.score(grader, known)
    return {
        "reward": reward,
        "metadata": {
            "name": grader["name"],
            "type": grader["type"],
            "errors": {**dict.fromkeys(_MISHAPS, False), **dict.fromkeys(_DETAILS)},
            "execution_time": 0.001,
            "scores": rewards,
            "token_usage": None,
            "sampled_model_name": None,
        },
        "sub_rewards": rewards,
        "model_grader_token_usage_per_model": {},
    }


_ALL = "/fine_tuning/jobs"
_ONE = f"{_ALL}/{{fine_tuning_job_id}}"
ROUTES = (
    Route("GET", _ALL, list_jobs, Access.PROJECT),
    Route("POST", _ALL, create_job, Access.PROJECT),
    Route("GET", _ONE, retrieve_job, Access.PROJECT),
    Route("POST", f"{_ONE}/cancel", cancel_job, Access.PROJECT),
    Route("POST", f"{_ONE}/pause", pause_job, Access.PROJECT),
    Route("POST", f"{_ONE}/resume", resume_job, Access.PROJECT),
    Route("GET", f"{_ONE}/events", list_events, Access.PROJECT),
    Route("GET", f"{_ONE}/checkpoints", list_checkpoints, Access.PROJECT),
    Route("POST", "/fine_tuning/alpha/graders/validate", validate_grader, Access.PROJECT),
    Route("POST", "/fine_tuning/alpha/graders/run", run_grader, Access.PROJECT),
)
