"""Runs in processes of their own share the pace of a throttled server, as its own log shows it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.emulator import Emulator, EmulatorOptions
from reconciler.model.pace import PaceRequest, PaceUser
from reconciler.state.remote.postgres.pace import PostgresPace
from tests.conftest import Workspace
from tests.reliability.pace_runner import LATE_SECONDS
from tests.servers.postgres import Database, PgBouncer, PostgresServer
from tests.state.remote.simulated_pace import pass_time, prepare
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

LIMIT = 7
SPEED = 20
"""How fast time goes for the server and the runs of these tests."""
WINDOW_SECONDS = 61 / SPEED + LATE_SECONDS
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def server() -> Iterator[Emulator]:
    """A server that allows seven requests a minute, for which time goes twenty times as fast."""
    began = time.time()
    with Emulator(
        EmulatorOptions(admin_rpm=LIMIT), clock=lambda: began + (time.time() - began) * SPEED
    ) as running:
        yield running


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: Emulator, database: Database) -> Iterator[Start]:
    """Starts runs that are ready and begin at `begin`."""
    prepare(database)
    log_tokens(database)
    started: list[subprocess.Popen[str]] = []

    def start_one(**task: Any) -> subprocess.Popen[str]:
        task = {
            "base_url": server.base_url,
            "key": server.admin_key,
            "database": database.url(),
            "speed": SPEED,
            "threads": 4,
            "calls": 4,
            "name": f"run {len(started)}",
            **task,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.pace_runner", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def begin(*runs: subprocess.Popen[str]) -> None:
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()


def ends(*runs: subprocess.Popen[str]) -> list[str]:
    """The last lines of runs that end."""
    return [run.communicate(timeout=180)[0].splitlines()[-1] for run in runs]


def log_tokens(database: Database) -> None:
    """Let the database note when each token was given, by its own clock."""
    database.execute(
        "CREATE TABLE reconciler.given_tokens (at double precision)",
        """
        CREATE FUNCTION reconciler.note_token() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            -- Who gets a token appends the present moment to those of the window.
            IF NEW.taken_at[cardinality(NEW.taken_at)] = NEW.used_at THEN
                INSERT INTO reconciler.given_tokens VALUES (NEW.used_at);
            END IF;
            RETURN NULL;
        END $$
        """,
        "CREATE TRIGGER note_token AFTER UPDATE ON reconciler.paces "
        "FOR EACH ROW EXECUTE FUNCTION reconciler.note_token()",
    )


def most_tokens_in_a_window(database: Database) -> int:
    """The most tokens that were given in any window. No load of the machine can change it."""
    moments = [
        row[0] for row in database.execute("SELECT at FROM reconciler.given_tokens ORDER BY at")
    ]
    return max(
        # Moments are unix seconds, which a number holds with a precision of a microsecond.
        sum(first <= moment < first + WINDOW_SECONDS - 1e-5 for moment in moments[index:])
        for index, first in enumerate(moments)
    )


ARRIVAL_MINUTE_SECONDS = 60 - 5
"""A minute, less the time for which a request may be on its way.

One that is late reaches the server just before the first of the next window. How late it is depends
on the machine, and each real millisecond is twenty here.
"""


def most_in_a_minute(server: Emulator) -> int:
    """The most requests that reached the server in any minute, by its log."""
    moments = [record.at for record in server.requests]
    return max(
        sum(first <= moment < first + ARRIVAL_MINUTE_SECONDS for moment in moments[index:])
        for index, first in enumerate(moments)
    )


def refusals(server: Emulator) -> int:
    return sum(record.status == 429 for record in server.requests)


@pytest.mark.parametrize("way", ["directly", "through PgBouncer"])
def test_processes_that_race_never_exceed_the_limit(
    way: str,
    server: Emulator,
    start: Start,
    database: Database,
    request: pytest.FixtureRequest,
) -> None:
    port = 0
    if way == "through PgBouncer":
        bouncer: PgBouncer = request.getfixturevalue("pgbouncer")
        port = bouncer.port
    url = database.url(port=port)
    runs = [start(limit=LIMIT, threads=2, calls=2, database=url) for _ in range(5)]
    begin(*runs)
    assert ends(*runs) == ["answered 4"] * 5
    assert most_tokens_in_a_window(database) == LIMIT
    assert (most_in_a_minute(server), refusals(server)) == (LIMIT, 0)


def test_clocks_of_machines_an_hour_off_make_no_difference(
    server: Emulator, start: Start, database: Database
) -> None:
    runs = [start(limit=LIMIT, calls=2, ahead=ahead) for ahead in (-3600.0, 0.0, 3600.0)]
    begin(*runs)
    assert ends(*runs) == ["answered 8"] * 3
    assert most_tokens_in_a_window(database) == LIMIT
    assert (most_in_a_minute(server), refusals(server)) == (LIMIT, 0)


def test_runs_after_the_first_know_its_limit_and_are_hardly_refused(
    server: Emulator, start: Start
) -> None:
    first = start(calls=5)
    begin(first)
    ends(first)
    server.clear_requests()
    runs = [start(calls=3), start(calls=3)]
    begin(*runs)
    assert ends(*runs) == ["answered 12"] * 2
    shared = refusals(server)
    server.clear_requests()
    begin(*(alone := [start(calls=3, database="") for _ in range(2)]))
    for run in alone:
        run.communicate(timeout=180)
    assert shared <= 2
    assert refusals(server) >= 10


def test_a_killed_run_frees_its_share(server: Emulator, start: Start, database: Database) -> None:
    killed, other = start(limit=LIMIT, calls=100), start(limit=LIMIT, calls=4)
    begin(killed, other)
    wait_for(lambda: len(server.requests) >= 2 * LIMIT, seconds=120)
    killed.kill()
    killed_at = time.time()
    before = len(server.requests)
    assert ends(other) == ["answered 16"]
    windows = (time.time() - killed_at) / WINDOW_SECONDS
    left = len(server.requests) - before
    assert windows <= left / LIMIT + 2
    assert most_tokens_in_a_window(database) == LIMIT
    assert (most_in_a_minute(server), refusals(server)) == (LIMIT, 0)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may stop."""
    running = PostgresServer()
    try:
        running.initialize()
        running.start()
        yield running
    finally:
        running.remove()


def test_runs_go_on_while_postgres_is_away_and_share_again_when_it_is_back(
    server: Emulator, start: Start, own_postgres: PostgresServer
) -> None:
    database = own_postgres.create_database()
    prepare(database)
    runs = [start(limit=LIMIT, calls=8, database=database.url()) for _ in range(2)]
    begin(*runs)
    wait_for(lambda: len(server.requests) >= LIMIT, seconds=120)
    own_postgres.stop()
    wait_for(lambda: len(server.requests) >= 3 * LIMIT, seconds=120)
    own_postgres.start()
    outputs = [run.communicate(timeout=180)[0].splitlines() for run in runs]
    assert [lines[-1] for lines in outputs] == ["answered 32"] * 2
    assert [sum(line.startswith("notice") for line in lines) for lines in outputs] == [1, 1]
    assert (most_in_a_minute(server), refusals(server)) == (LIMIT, 0)
    taken = database.execute("SELECT cardinality(taken_at) FROM reconciler.paces")
    assert taken[0][0] > 0


# --- the command line ------------------------------------------------------------------------------

MANIFEST = "kind: Project\nmetadata: {name: search}\nspec: {name: Search}\n"
OCTOCAT = "octocat (ci, apply payments/production)"


@pytest.fixture
def stack(workspace: Workspace, database: Database) -> Workspace:
    """An applied stack whose state is in Postgres."""
    workspace.variables["RECONCILER_BACKEND"] = database.url()
    workspace.write({"reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\n"})
    workspace.declare(MANIFEST).apply()
    pass_time(database, 120)
    return workspace


def use(
    stack: Workspace, database: Database, times: int, *, seconds_ago: float, label: str = OCTOCAT
) -> None:
    """Let another run take tokens of the route that plans read."""
    pace = PostgresPace(database.url())
    scope = f"{stack.emulator.base_url.split('/')[2]}/org-emulator"
    for _ in range(times):
        pace.take(PaceRequest(scope, "GET /organization/projects", PaceUser("x", label), limit=99))
    pace.close()
    pass_time(database, seconds_ago)


def limited(stack: Workspace, limit: int) -> None:
    stack.write(
        {
            "reconciler.yaml": "kind: Stack\nmetadata: {name: acme}\n"
            f"spec: {{pace: {{admin_requests_per_minute: {limit}}}}}\n"
        }
    )


def test_a_plan_waits_for_the_tokens_of_another_run_and_says_whose_they_are(
    stack: Workspace, database: Database
) -> None:
    limited(stack, 7)
    use(stack, database, 7, seconds_ago=57)
    done = stack.run("plan", "--refresh", "full", expect=0)
    assert (
        f"rate limit of GET /organization/projects: 7 requests a minute, shared with {OCTOCAT}"
    ) in done.err


def test_labels_of_others_cannot_write_to_the_terminal(
    stack: Workspace, database: Database
) -> None:
    limited(stack, 7)
    use(stack, database, 7, seconds_ago=57, label="\x1b[2J\u202e\n::error::x")
    done = stack.run("plan", "--refresh", "full", expect=0)
    assert "[2J" in done.err
    assert not {"\x1b", "\u202e"} & set(done.err)
    assert not any(line.startswith("::") for line in done.err.splitlines())


def labels(database: Database) -> set[str]:
    rows = database.execute(
        "SELECT entry ->> 'label' FROM reconciler.paces, jsonb_each(runs) AS runs (id, entry)"
    )
    return {row[0] for row in rows}


def test_a_run_in_ci_takes_tokens_in_the_name_of_its_actor(
    stack: Workspace, database: Database
) -> None:
    ci = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", "GITHUB_REPOSITORY": "acme/infra"}
    stack.variables |= ci
    stack.run("plan", "--refresh", "full", expect=0)
    assert "octocat (ci, plan acme/default)" in labels(database)


def test_neither_keys_nor_parts_of_them_are_stored(stack: Workspace, database: Database) -> None:
    secret = stack.emulator.admin_key
    stack.variables["GITHUB_ACTIONS"] = "true"
    stack.variables["GITHUB_ACTOR"] = secret
    stack.run("plan", "--refresh", "full", expect=0)
    rows = database.execute("SELECT paces::text FROM reconciler.paces")
    texts = " ".join(row[0] for row in rows).replace("org-emulator", "")
    assert secret not in texts
    assert not any(secret[start : start + 8] in texts for start in range(len(secret) - 7))


def test_a_plan_works_without_the_tables_of_the_pace_and_says_so_only_when_asked(
    stack: Workspace, database: Database
) -> None:
    database.execute("DROP FUNCTION reconciler.take_token")
    assert stack.run("plan", "--refresh", "full", expect=0).err == ""
    assert "has no table of paces" in stack.run("plan", "--refresh", "full", "-v", expect=0).err


def doctor(stack: Workspace) -> tuple[Sequence[str], Sequence[dict[str, Any]]]:
    report = json.loads(stack.run("doctor", "--format", "json", expect=0).out)
    sentences = [
        finding["sentence"] for finding in report["findings"] if finding["topic"] == "pace"
    ]
    return sentences, report["pace"]


def test_doctor_shows_who_uses_the_pace(stack: Workspace, database: Database) -> None:
    use(stack, database, 3, seconds_ago=10)
    sentences, pace = doctor(stack)
    assert (
        f"GET /organization/projects: 3 requests in the last minute came from {OCTOCAT}."
        in sentences
    )
    [route] = [route for route in pace if route["route"] == "GET /organization/projects"]
    assert {"run": OCTOCAT, "requests": 3} in route["used_by"]


def test_doctor_says_why_the_pace_is_not_shared(stack: Workspace, database: Database) -> None:
    database.execute("DROP FUNCTION reconciler.take_token")
    sentences, pace = doctor(stack)
    assert any("has no table of paces" in sentence for sentence in sentences)
    assert pace == []


def test_all_stacks_of_a_fleet_take_tokens_as_one_run(
    workspace: Workspace, database: Database
) -> None:
    prepare(database)
    workspace.variables["RECONCILER_BACKEND"] = database.url()
    for name in ("red", "green", "blue"):
        workspace.write(
            {
                f"stacks/{name}/reconciler.yaml": f"kind: Stack\nmetadata: {{name: {name}}}\n",
                f"stacks/{name}/m.yaml": MANIFEST.replace("earch", f"earch-{name}"),
            }
        )
    workspace.run("fleet", "plan", "--stacks", "stacks/*", expect=0)
    [(runs, label)] = database.execute(
        "SELECT count(DISTINCT id), min(entry ->> 'label') "
        "FROM reconciler.paces, jsonb_each(runs) AS runs (id, entry)"
    )
    assert runs == 1
    assert label.endswith("(fleet plan of 3 stacks)")
