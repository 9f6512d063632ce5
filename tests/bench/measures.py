"""The measurements, one function for each subject; each adds its figures to the results.

Times of a shared machine say little by themselves, so what can be a ratio is one, and of several runs the best counts:
whatever else the machine does only ever adds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import workloads
from tests.bench.results import Figure, Results
from tests.bench.stage import ADMIN_KEY, PROJECT_KEY, Stage, Usage, measured

LATENCY_MS = 20
PARALLELISM = 10
LISTS_OF_THE_REFERENCE = 205
_BETA = {"OpenAI-Beta": "assistants=v2"}
_IN_BETA = ("/assistants", "/vector_stores")
_WRITES = ("POST", "DELETE")


def best(runs: int, run: Callable[[], Usage]) -> Usage:
    """The run that took the least of the processor."""
    return min((run() for _ in range(runs)), key=lambda usage: usage.cpu_seconds)


def start_up(folder: Path, results: Results, *, runs: int = 15) -> None:
    """`--version` against the import of the one library that it cannot do without, in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    version = [sys.executable, "-m", "reconciler", "--version"]
    click = [sys.executable, "-c", "import click"]
    pairs = [(measured(version, cwd=folder), measured(click, cwd=folder)) for _ in range(runs)][1:]
    ours, theirs = (min(pair[side].wall_seconds for pair in pairs) for side in (0, 1))
    note = f"{ours * 1000:.0f} ms against {theirs * 1000:.0f} ms"
    results.add(Figure("reconciler --version against import click", ours / theirs, "×", 2.0, note))


def rehearsals(folder: Path, results: Results) -> None:
    """Rehearsals of making the reference organization, and of one change in it."""
    with Stage(folder / "rehearsals") as stage:
        stage.write(workloads.reference_organization())
        made = stage.run("rehearse")
        stage.apply()
        stage.write({"manifests/more.yaml": workloads.one_more_project()})
        changed = stage.run("rehearse", "--record", "organization.json")
        again = stage.run("rehearse", "--from", "organization.json")
        size_mb = (stage.folder / "organization.json").stat().st_size / 1e6
    seconds = 90
    results.add(
        Figure("rehearse making the reference organization: wall", made.wall_seconds, "s", seconds),
        Figure("rehearse one change in it, recording it: wall", changed.wall_seconds, "s", seconds),
        Figure(
            "rehearse one change from a recording: wall",
            again.wall_seconds,
            "s",
            seconds,
            f"{size_mb:.1f} MB",
        ),
        Figure("rehearse one change from a recording: peak memory", again.peak_mb, "MB"),
    )


def sizes(folder: Path, results: Results, counts: tuple[int, ...] = (100, 1_000, 10_000)) -> None:
    """First apply, and then a plan that finds nothing to do, of so many assistants."""
    bars = {1_000: 0.5, 10_000: 3.0}
    for count in counts:
        with Stage(folder / f"assistants-{count}") as stage:
            stage.write(workloads.assistants(count))
            made = stage.apply()
            stage.forget_requests()
            planned = best(5, stage.plan)
            pages = len(stage.requests()) // 5
        about = f"{count:,} assistants"
        results.add(
            Figure(f"plan, {about}: client CPU", planned.cpu_seconds, "s", bars.get(count)),
            Figure(
                f"plan, {about}: peak memory", planned.peak_mb, "MB", 150 if count in bars else None
            ),
            Figure(f"plan, {about}: calls", pages, "calls"),
            Figure(f"plan, {about}: wall", planned.wall_seconds, "s"),
            Figure(f"apply, {about}: client CPU", made.cpu_seconds, "s"),
            Figure(f"apply, {about}: wall", made.wall_seconds, "s"),
            Figure(f"apply, {about}: peak memory", made.peak_mb, "MB"),
        )


def linearity(folder: Path, results: Results, *, few: int = 500, many: int = 5_000) -> None:
    """What a resource costs among many, against what it costs among few; start-up and what is fixed taken off."""
    costs = {}
    for count in (few, many):
        # Few are quickly made, and a single short run says little.
        costs[count] = min(
            _cost_each(folder / f"creates-{count}-{turn}", count)
            for turn in range(3 if count == few else 1)
        )
    note = f"{costs[few] * 1000:.1f} ms and {costs[many] * 1000:.1f} ms of CPU each"
    ratio = costs[many] / costs[few]
    results.add(
        Figure(f"apply, {many:,} creates against {few:,}: cost of each", ratio, "×", 1.3, note)
    )


def _cost_each(folder: Path, count: int) -> float:
    with Stage(folder) as stage:
        stage.write(workloads.assistants(1))
        fixed = stage.apply().cpu_seconds
    with Stage(folder / "all") as stage:
        stage.write(workloads.assistants(count))
        return (stage.apply().cpu_seconds - fixed) / count


def reference(folder: Path, results: Results) -> None:
    """The reference organization: calls, time against a bare loop, client CPU."""
    with Stage(folder / "reference") as stage:
        stage.write(workloads.reference_organization())
        stage.apply()
        stage.forget_requests()
        quick = best(3, stage.plan)
        requests = stage.requests()
        calls = len(requests) // 3
        stage.forget_requests()
        stage.run("plan", "--detailed-exitcode")
        admin = sum(request["key_class"] == "admin" for request in stage.requests())
        lists = _lists(requests)
        stage.latency(LATENCY_MS)
        pairs = [(_bare(stage, lists), stage.plan()) for _ in range(5)]
    plain = min(bare.wall_seconds for bare, _ in pairs)
    ours = min(planned.wall_seconds for _, planned in pairs)
    singles = sum(
        1
        for request in requests[:calls]
        if "limit" not in request["query"] and request["method"] == "GET"
    )
    results.add(
        Figure(
            "plan, reference organization: calls",
            calls,
            "calls",
            LISTS_OF_THE_REFERENCE,
            f"{singles} without pages",
        ),
        Figure(
            "plan, reference organization, incremental: calls of the admin half", admin, "calls", 8
        ),
        Figure(
            f"plan, reference organization: wall at {LATENCY_MS} ms against a bare loop",
            ours / plain,
            "×",
            1.5,
            f"{ours:.2f} s against {plain:.2f} s, {PARALLELISM} at a time",
        ),
        Figure("plan, reference organization: client CPU", quick.cpu_seconds, "s"),
        Figure("plan, reference organization: peak memory", quick.peak_mb, "MB"),
        Figure("bare loop, the same pages: CPU", min(bare.cpu_seconds for bare, _ in pairs), "s"),
    )


def _lists(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lists among requests, each once, as the bare loop takes them."""
    found: dict[str, dict[str, Any]] = {}
    for request in requests:
        query = {name: value for name, value in request["query"].items() if name != "after"}
        headers = {
            "Authorization": f"Bearer {ADMIN_KEY if request['key_class'] == 'admin' else PROJECT_KEY}"
        }
        headers |= _BETA if request["path"].startswith(_IN_BETA) else {}
        found[request["path"]] = {"path": request["path"], "query": query, "headers": headers}
    return list(found.values())


def _bare(stage: Stage, lists: list[dict[str, Any]]) -> Usage:
    told = stage.folder.parent / "bare-loop.json"
    told.write_text(
        json.dumps({"base_url": stage.base_url, "at_a_time": PARALLELISM, "lists": lists})
    )
    loop = Path(__file__).with_name("bare_loop.py")
    return measured(["sh", "-c", f'exec "{sys.executable}" "{loop}" <"{told}"'])


def folders(folder: Path, results: Results, *, files: int = 10_000, changed: int = 10) -> None:
    """A store kept in step with a folder: the first sync, and one after a few files changed."""
    with Stage(folder / f"folder-{files}") as stage:
        stage.write(workloads.folder_sync(files))
        first = stage.apply()
        stage.write(workloads.folder("handbook", changed, edition=2))
        stage.forget_requests()
        planned = stage.plan(expect=2)
        stage.forget_requests()
        synced = stage.apply()
        calls = Counter(_sort_of(request) for request in stage.requests())
    about = f"folder sync, {files:,} files"
    bars = (100, 200) if files == 10_000 else (None, None)
    results.add(
        Figure(
            f"{about}, {changed} changed: list calls of plan and apply",
            calls["list"],
            "calls",
            bars[0],
        ),
        Figure(
            f"{about}, {changed} changed: peak memory",
            max(planned.peak_mb, synced.peak_mb),
            "MB",
            bars[1],
        ),
        Figure(f"{about}, {changed} changed: uploads", calls["upload"], "calls", changed),
        Figure(f"{about}, {changed} changed: attaches", calls["attach"], "calls", 1),
        Figure(f"{about}, {changed} changed: detaches", calls["detach"], "calls", changed),
        Figure(f"{about}, {changed} changed: deletes", calls["delete"], "calls", changed),
        Figure(
            f"{about}, {changed} changed: single reads of plan and apply", calls["read"], "calls"
        ),
        Figure(f"{about}, {changed} changed: client CPU of the plan", planned.cpu_seconds, "s"),
        Figure(f"{about}, {changed} changed: peak memory of the plan", planned.peak_mb, "MB"),
        Figure(f"{about}, first sync: wall", first.wall_seconds, "s"),
        Figure(f"{about}, first sync: peak memory", first.peak_mb, "MB"),
    )


def _sort_of(request: dict[str, Any]) -> str:
    if request["method"] not in _WRITES:
        return "list" if "limit" in request["query"] else "read"
    if request["method"] == "DELETE":
        return "delete" if request["path"].startswith("/files/") else "detach"
    return "upload" if request["path"] == "/files" else "attach"


def peer(folder: Path, results: Results, *, records: int = 10_000) -> None:
    """octoDNS on as many records: it too compares what YAML files declare with what a provider has."""
    name = "octoDNS"
    if subprocess.run(
        [sys.executable, "-c", "import octodns"], capture_output=True, check=False
    ).returncode:
        results.skip(name, "it is not installed here (pip install octodns)")
        return
    folder = folder / "octodns"
    for side in ("declared", "live"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        rows = (
            f"'{n:05}': {{ttl: 300, type: A, value: 10.0.{n // 250}.{n % 250}}}"
            for n in range(records)
        )
        (folder / side / "example.com.yaml").write_text("---\n" + "\n".join(rows) + "\n")
    (folder / "config.yaml").write_text(
        "providers:\n"
        + "".join(
            f"  {side}: {{class: octodns.provider.yaml.YamlProvider, directory: ./{side}, default_ttl: 300}}\n"
            for side in ("declared", "live")
        )
        + "zones:\n  example.com.: {sources: [declared], targets: [live]}\n"
    )
    command = [str(Path(sys.executable).with_name("octodns-sync")), "--config-file", "config.yaml"]
    theirs = best(2, lambda: measured(command, cwd=folder))
    results.add(
        Figure(
            f"{name}, no-op plan of {records:,} records: CPU of each",
            theirs.cpu_seconds / records * 1000,
            "ms",
        ),
        Figure(f"{name}, no-op plan of {records:,} records: peak memory", theirs.peak_mb, "MB"),
    )
    for one in [*results.figures]:
        if one.name == f"plan, {records:,} assistants: client CPU":
            each = one.value / records * 1000
            results.add(
                Figure(f"reconciler, no-op plan of {records:,} assistants: CPU of each", each, "ms")
            )
