"""Claims about jobs: run once for their inputs, waited for, stopped, found again, and never run by accident.

Most of it happens in virtual time: jobs take half an hour, and whoever waits for one lets the clock go on.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.api.objects.provider import HttpProvider
from reconciler.api.transport.base_url import DEFAULT_BASE_URL
from reconciler.app.exit_codes import exit_code_of
from reconciler.app.plans import retired
from reconciler.emulator import Emulator
from reconciler.emulator.store import ObjectRow
from reconciler.kinds import KINDS
from reconciler.model.address import Address
from reconciler.model.change import Action, ApplyResult, Change, OutcomeStatus, Plan, Reason
from reconciler.model.values import LocalFile
from reconciler.render.planfile import dump_plan, load_plan
from reconciler.render.text import TextRenderer
from tests.cli.test_interrupts import ended, start, until
from tests.cli.test_plan_and_apply import user
from tests.conftest import Workspace
from tests.properties.lifecycle import Clock, Life
from tests.whole_examples import EXAMPLE, REQUEST

FILES = {"data/requests.jsonl": REQUEST, "data/examples.jsonl": EXAMPLE}
REQUESTS = (
    "kind: File\nmetadata: {name: requests}\nspec: {path: data/requests.jsonl, purpose: batch}\n"
)
EXAMPLES = "kind: File\nmetadata: {name: examples}\nspec: {path: data/examples.jsonl, purpose: fine-tune}\n"
BATCH = """\
kind: Batch
metadata: {name: answers}
spec: {input_file_id: "${File/requests}", endpoint: /v1/chat/completions, completion_window: 24h, metadata: {team: cx}}
"""
TRAINING = """\
kind: FineTuningJob
metadata: {name: tone}
spec: {model: gpt-4.1-mini, training_file: "${File/examples}", suffix: tone}
"""
EVAL = """\
kind: Eval
metadata: {name: same}
spec:
  data_source_config: {type: custom, item_schema: {type: object}, include_sample_schema: true}
  testing_criteria:
    - {type: string_check, name: same, input: "{{sample.output_text}}", reference: "{{item.answer}}", operation: eq}
"""
RUN = """\
kind: EvalRun
metadata: {name: today}
spec:
  eval_id: ${Eval/same}
  data_source:
    type: jsonl
    source:
      type: file_content
      content:
        - {item: {answer: "yes"}, sample: {output_text: "yes"}}
        - {item: {answer: "no"}, sample: {output_text: maybe}}
"""
AGENT = "kind: Agent\nmetadata: {name: bot}\nspec: {name: bot, model: '${FineTuningJob/tone.fine_tuned_model}'}\n"
OTHER_REQUEST = REQUEST.replace('"1"', '"2"')
HALF_AN_HOUR = 30 * 60


def waiting(job: str, minutes: int | None = None) -> str:
    """The same job, waited for."""
    more = "wait: true" + (f", timeout_minutes: {minutes}" if minutes else "")
    return (
        job.replace("spec: {", f"spec: {{{more}, ")
        if "spec: {" in job
        else job.replace("spec:\n", "spec:\n  wait: true\n")
    )


class Stack(Life):
    """A stack on an emulator where jobs take half an hour of virtual time."""

    def declare(self, *documents: str) -> Stack:
        """Declare these documents, and nothing else."""
        self.write({"manifests.yaml": "---\n".join(documents)})
        return self

    def change(self, address: str, **options: Any) -> Change:  # type: ignore[override]
        """What is planned for an address."""
        return next(one for one in self.plan(**options).changes if str(one.address) == address)

    def time_passes(self) -> None:
        """Until every job is done that can be."""
        self.clock.sleep(HALF_AN_HOUR + 1)

    def jobs(self, kind: str) -> list[ObjectRow]:
        """The objects of a kind that there are, oldest first."""
        return list(self.emulator.store.all(kind))

    def stopped(self, kind: str) -> int:
        """How many of these jobs were cancelled."""
        return sum(job.hidden["stopped"] is not None for job in self.jobs(kind))


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[Emulator]:
    with Emulator(clock=clock) as running:
        running.set_options(job_delay_ms=HALF_AN_HOUR * 1000)
        yield running


@pytest.fixture
def stack(server: Emulator, clock: Clock, tmp_path: Path) -> Stack:
    stack = Stack(KINDS["Batch"], server, clock, tmp_path / "stack")
    stack.write(FILES)
    return stack


def shown(plan: Plan) -> str:
    return TextRenderer(color=False).plan(plan)


def failures(result: ApplyResult) -> dict[str, str]:
    return {
        str(one.change.address): one.message
        for one in result.outcomes
        if one.status is not OutcomeStatus.APPLIED
    }


# --- once for given inputs -------------------------------------------------------------------------------------------


def test_a_batch_runs_once_and_again_when_its_requests_change(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    stack.time_passes()
    stack.applied()
    assert len(stack.jobs("batch")) == 1
    stack.write({"data/requests.jsonl": OTHER_REQUEST})
    plan = shown(stack.plan())
    assert "will be run again: its inputs changed since it last ran" in plan
    assert "the earlier job is kept" in plan
    stack.applied()
    assert (len(stack.jobs("batch")), stack.stopped("batch")) == (2, 0)


def test_a_changed_input_cancels_what_runs_before_it_starts_anew(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    stack.write({"data/requests.jsonl": OTHER_REQUEST})
    assert "the running job is cancelled first" in shown(stack.plan())
    stack.applied()
    assert [job.hidden["stopped"] is not None for job in stack.jobs("batch")] == [True, False]


def test_the_same_requests_uploaded_again_start_nothing(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    stack.vanish(stack.records()[Address.parse("File/requests")].id)  # as it is after thirty days
    assert (stack.change("File/requests").action, stack.change("Batch/answers").action) == (
        Action.CREATE,
        Action.NO_OP,
    )
    stack.applied()
    assert (len(stack.jobs("batch")), stack.plan().drift) == (1, ())


def test_words_beside_the_inputs_start_nothing(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    change = stack.declare(REQUESTS, BATCH.replace("team: cx", "team: dx")).change("Batch/answers")
    assert (change.action, change.warnings) == (
        Action.NO_OP,
        ("metadata can only be set at creation: the API keeps the earlier value",),
    )


@pytest.mark.parametrize("is_over", [False, True])
def test_without_state_a_job_is_found_by_mark_and_digest(stack: Stack, is_over: bool) -> None:
    stack.declare(EVAL, RUN, RUN.replace("today", "later")).applied()
    if is_over:
        stack.time_passes()
    stack.forget()
    stack.applied()
    assert len(stack.jobs("eval_run")) == 2
    stack.forget()
    stack.declare(EVAL, RUN.replace('"no"', '"never"')).applied()
    # Those for other inputs, and of addresses that nothing declares, are stopped where they still run.
    assert (len(stack.jobs("eval_run")), stack.stopped("eval_run")) == (3, 0 if is_over else 2)


def test_a_digest_tells_inputs_that_the_api_does_not_show(stack: Stack) -> None:
    stack.declare(EVAL, RUN).applied()
    stack.forget()
    assert stack.change("EvalRun/today").action is Action.NO_OP
    change = stack.declare(EVAL, RUN.replace("maybe", "surely")).change("EvalRun/today")
    assert (change.action, change.reason) == (Action.REPLACE, Reason.OTHER_INPUTS)


def test_digests_stay_what_they_are_in_every_version_or_all_jobs_would_run_again() -> None:
    file = LocalFile("data/x.jsonl", "ab" * 32, 12)
    batch = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    beside = {"metadata": {"a": "b"}, "wait": True}
    assert KINDS["Batch"].inputs_digest({**batch, **beside}) == "df997a16d687a82fd91b2f161397effa"
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    training = {
        "model": "gpt-4.1-mini",
        "training_file": "file-1",
        "integrations": [],
        "method": method,
    }
    assert KINDS["FineTuningJob"].inputs_digest(training) == "452271fa4d16fad5f51bd77107b7c77b"
    source = {"type": "file_content", "content": [{"item": {"a": 1.0}}]}
    run = {"eval_id": "eval_1", "name": "x", "data_source": {"type": "jsonl", "source": source}}
    assert KINDS["EvalRun"].inputs_digest(run) == "038f678deb8a379c35caf1a5251466cc"


def test_a_renamed_job_is_found_again_without_state(stack: Stack) -> None:
    stack.declare(EVAL, RUN).applied()
    renamed = RUN.replace("today", "tonight")
    stack.declare(EVAL, f"{renamed}lifecycle: {{renamed_from: EvalRun/today}}\n").applied()
    stack.forget()
    stack.declare(EVAL, renamed).applied()
    assert (len(stack.jobs("eval_run")), stack.stopped("eval_run")) == (1, 0)


def test_what_is_declared_again_after_it_was_removed_does_not_run_again(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    stack.time_passes()
    stack.declare(REQUESTS).applied()
    stack.declare(REQUESTS, BATCH).applied()
    assert len(stack.jobs("batch")) == 1


def test_a_lost_answer_to_a_rerun_finds_the_new_job_and_not_the_one_before(stack: Stack) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    stack.time_passes()
    stack.emulator.add_fault("on=POST:/batches,do=error:503,when=after")
    stack.apply(replace=(Address.parse("Batch/answers"),))
    first, second = stack.jobs("batch")
    assert stack.records()[Address.parse("Batch/answers")].id == second.id != first.id


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_failed_job_is_told_of_and_runs_again_only_when_asked(stack: Stack) -> None:
    stack.write({"data/requests.jsonl": "no json\n"})
    stack.declare(REQUESTS, BATCH).applied()
    stack.time_passes()
    stack.applied()
    assert "did not succeed (failed: This line is not parseable as valid JSON.)" in shown(
        stack.plan()
    )
    assert "--replace Batch/answers" in shown(stack.plan())
    assert len(stack.jobs("batch")) == 1
    stack.apply(replace=(Address.parse("Batch/answers"),))
    assert len(stack.jobs("batch")) == 2


def test_a_job_that_fails_while_it_is_waited_for_is_an_error_and_stops_what_needs_it(
    stack: Stack,
) -> None:
    stack.write({"data/examples.jsonl": "no json\n"})
    result = stack.declare(EXAMPLES, waiting(TRAINING), AGENT).apply()
    assert exit_code_of(result) == 13
    assert failures(result) == {
        "Agent/bot": "FineTuningJob/tone did not go through",
        "FineTuningJob/tone": "it did not succeed: failed: Invalid file format. Line 1 of examples.jsonl is not a JSON "
        "object.",
    }
    again = stack.apply()
    assert "FineTuningJob/tone has ended without a fine_tuned_model" in failures(again)["Agent/bot"]
    assert (len(stack.jobs("fine_tuning_job")), stack.jobs("agent")) == (1, [])


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_a_result_that_is_not_there_yet_is_an_error_and_later_none(stack: Stack) -> None:
    result = stack.declare(EXAMPLES, TRAINING, AGENT).apply()
    message = (
        "FineTuningJob/tone still runs (validating_files), so its fine_tuned_model is not known yet"
    )
    assert (failures(result), exit_code_of(result)) == ({"Agent/bot": message}, 13)
    stack.time_passes()
    stack.applied()
    assert (len(stack.jobs("fine_tuning_job")), len(stack.jobs("agent"))) == (1, 1)


def test_counts_of_a_run_that_goes_on_are_no_results_yet(stack: Stack) -> None:
    text = "passed ${EvalRun/today.result_counts.passed}"
    bot = f"kind: Agent\nmetadata: {{name: bot}}\nspec: {{name: '{text}', model: m}}\n"
    assert (
        "EvalRun/today still runs" in failures(stack.declare(EVAL, RUN, bot).apply())["Agent/bot"]
    )
    stack.time_passes()
    stack.applied()
    assert [agent.body["name"] for agent in stack.jobs("agent")] == ["passed 1"]


def test_what_runs_is_waited_for_by_the_next_apply_and_not_started_again(stack: Stack) -> None:
    stack.declare(EVAL, RUN).applied()
    assert "note: EvalRun/today: still running (queued" in shown(stack.plan())
    change = stack.declare(EVAL, waiting(RUN)).change("EvalRun/today")
    assert (change.action, change.reason) == (Action.UPDATE, Reason.RUNNING)
    stack.applied()
    assert (len(stack.jobs("eval_run")), stack.stopped("eval_run")) == (1, 0)


def test_a_wait_that_takes_too_long_ends_the_apply_and_not_the_job(stack: Stack) -> None:
    result = stack.declare(
        EXAMPLES, waiting(TRAINING, minutes=10), AGENT, REQUESTS, waiting(BATCH)
    ).apply()
    assert exit_code_of(result) == 13
    assert "after 10 minutes, and continues" in failures(result)["FineTuningJob/tone"]
    assert "Batch/answers" not in failures(result)  # which was waited for all the same
    again = stack.declare(EXAMPLES, waiting(TRAINING), AGENT, REQUESTS, waiting(BATCH))
    again.applied()
    assert (len(stack.jobs("fine_tuning_job")), len(stack.jobs("agent"))) == (1, 1)


def test_jobs_are_waited_for_beside_all_other_work(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    create = HttpProvider.create

    def noted(self: HttpProvider, kind: Any, *rest: Any, **more: Any) -> Any:
        seen.append(kind.name)
        return create(self, kind, *rest, **more)

    monkeypatch.setattr(HttpProvider, "create", noted)
    stores = [
        f"kind: VectorStore\nmetadata: {{name: z{n}}}\nspec: {{name: z{n}}}\n" for n in range(3)
    ]
    began = stack.clock()
    stack.declare(
        REQUESTS, waiting(BATCH), EXAMPLES, waiting(TRAINING), *stores
    ).applied()  # one worker for all of it
    assert seen.count("VectorStore") == 3
    assert stack.clock() - began < 2 * HALF_AN_HOUR  # both were waited for at once


# --- going away ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_over", [False, True])
def test_a_removed_batch_is_cancelled_while_it_runs_and_forgotten_afterwards(
    stack: Stack, is_over: bool
) -> None:
    stack.declare(REQUESTS, BATCH).applied()
    if is_over:
        stack.time_passes()
    plan = shown(stack.declare(REQUESTS).plan())
    assert ("will be forgotten: no manifest declares it, and the job has ended" in plan) == is_over
    assert ("will be cancelled" in plan) == (not is_over)
    stack.applied()
    assert (stack.stopped("batch"), len(stack.records())) == (0 if is_over else 1, 1)


def test_a_removed_training_is_cancelled_while_it_runs(stack: Stack) -> None:
    stack.declare(EXAMPLES, TRAINING).applied()
    stack.declare(EXAMPLES).applied()
    assert stack.stopped("fine_tuning_job") == 1


def test_a_removed_run_is_deleted_with_its_results(stack: Stack) -> None:
    stack.declare(EVAL, RUN).applied()
    stack.time_passes()
    stack.declare(EVAL).applied()
    assert stack.jobs("eval_run") == []


@pytest.mark.parametrize("lifecycle", ["", "lifecycle: {on_remove: delete}\n"])
def test_a_fine_tuned_model_goes_with_its_job_only_where_that_is_said(
    stack: Stack, lifecycle: str
) -> None:
    stack.declare(EXAMPLES, TRAINING + lifecycle).applied()
    stack.time_passes()
    assert ("destroys: the trained model" in shown(stack.declare(EXAMPLES).plan())) == bool(
        lifecycle
    )
    stack.applied()
    assert len(stack.jobs("model")) == (0 if lifecycle else 1)


def test_a_rerun_keeps_the_model_that_the_job_made_before(stack: Stack) -> None:
    stack.declare(EXAMPLES, TRAINING + "lifecycle: {on_remove: delete}\n").applied()
    stack.time_passes()
    stack.apply(replace=(Address.parse("FineTuningJob/tone"),))
    stack.time_passes()
    stack.applied()
    assert len(stack.jobs("model")) == 2


# --- plans and endings -----------------------------------------------------------------------------------------------


def test_a_saved_plan_of_jobs_is_read_again_as_it_was(stack: Stack) -> None:
    stack.declare(EVAL, RUN, EXAMPLES, TRAINING).applied()
    stack.time_passes()
    plan = stack.declare(
        EVAL, waiting(RUN), EXAMPLES, TRAINING.replace("suffix: tone", "suffix: tune")
    ).plan()
    assert plan.counts()[Action.REPLACE] == 1
    assert load_plan(dump_plan(plan)) == plan


def test_what_the_live_platform_has_ended_is_said_once_and_only_of_that_platform() -> None:
    kinds = [KINDS["Eval"], KINDS["EvalRun"], KINDS["Batch"]]
    (sentence,) = retired(kinds, base_url=DEFAULT_BASE_URL, today="2026-10-31")
    assert "read-only on 2026-10-31" in sentence
    assert retired(kinds, base_url=DEFAULT_BASE_URL, today="2026-10-30") == []
    assert retired(kinds, base_url="http://127.0.0.1:8085/v1", today="2026-11-01") == []


def test_a_server_that_takes_no_new_evals_is_explained(stack: Stack) -> None:
    stack.emulator.add_fault("on=POST:/evals,do=error:404,times=0")
    message = failures(stack.declare(EVAL).apply())["Eval/same"]
    stack.emulator.clear_faults()
    assert message.startswith("The live platform made evals read-only on 2026-10-31")


# --- at the command line ---------------------------------------------------------------------------------------------


def test_an_apply_waits_shows_how_far_it_is_and_hands_the_results_on(workspace: Workspace) -> None:
    workspace.emulator.set_options(job_delay_ms=300)
    outputs = (
        "{passed: '${EvalRun/today.result_counts.passed}', file: '${Batch/answers.output_file_id}'}"
    )
    workspace.write(
        FILES
        | {"reconciler.yaml": f"kind: Stack\nmetadata: {{name: s}}\nspec: {{outputs: {outputs}}}\n"}
    )
    workspace.declare(
        EXAMPLES, waiting(TRAINING), AGENT, REQUESTS, waiting(BATCH), EVAL, waiting(RUN)
    )
    applied = workspace.apply()
    assert "FineTuningJob/tone: Step 10/10: training loss=0.20" in applied.err
    assert "Batch/answers: completed, total 1, completed 1, failed 0" in applied.err
    (agent,) = workspace.emulator.store.all("agent")
    (model,) = workspace.emulator.store.all("model")
    assert agent.body["model"] == model.id
    with user(workspace) as client:
        found = json.loads(workspace.run("output", "--format", "json", expect=0).out)
        answers = client.get(f"/files/{found['file']}/content").text
    assert (found["passed"], json.loads(answers)["custom_id"]) == (1, "1")


def test_an_interrupted_wait_leaves_the_job_to_the_next_apply(workspace: Workspace) -> None:
    workspace.emulator.set_options(job_delay_ms=3_600_000)
    workspace.write(FILES).declare(REQUESTS, waiting(BATCH))
    process = start(workspace, "apply", "--yes")
    until(
        process,
        lambda: any(
            r.method == "GET" and "/batches/" in r.path for r in workspace.emulator.requests
        ),
    )
    code, out, err = ended(process, signal.SIGINT)
    assert (code, "Batch/answers: validating" in err) == (130, True)
    assert "interrupted while it was under way" in " ".join(out.split())
    (batch,) = workspace.emulator.store.all("batch")
    batch.hidden["due"] = time.time()
    workspace.apply()
    assert len(list(workspace.emulator.store.all("batch"))) == 1


def test_a_protected_job_keeps_its_model_and_is_not_run_again(workspace: Workspace) -> None:
    protected = TRAINING + "lifecycle: {on_remove: delete, prevent_destroy: true}\n"
    workspace.write(FILES).declare(EXAMPLES, protected).apply()
    for document in (
        EXAMPLES,
        f"{EXAMPLES}---\n{protected.replace('suffix: tone', 'suffix: tune')}",
    ):
        assert "protected" in workspace.declare(document).run("apply", "--yes", expect=11).err
    assert len(list(workspace.emulator.store.all("model"))) == 1


def test_a_rollback_stops_what_the_run_started_and_starts_nothing(workspace: Workspace) -> None:
    workspace.emulator.set_options(job_delay_ms=3_600_000)
    workspace.write(FILES).declare(EVAL).apply()
    workspace.declare(EVAL, RUN).apply()
    workspace.declare(EVAL, RUN.replace("maybe", "surely")).apply()
    workspace.run("rollback", "3", "--yes", expect=0)
    assert [
        run.hidden["stopped"] is not None for run in workspace.emulator.store.all("eval_run")
    ] == [True, False]
    workspace.run("rollback", "2", "--yes", expect=0)
    assert [
        run.hidden["stopped"] is not None for run in workspace.emulator.store.all("eval_run")
    ] == [True, True]
