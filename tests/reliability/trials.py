"""Trials: the same start, a death at a given place, the same command once more, and a look at what is left.

What is left is compared with what a run leaves that nobody killed. That one yardstick shows duplicates, orphans, lost
keys, keys that nobody has, forgotten objects and a state that does not fit, without a rule for any of them.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.emulator import Emulator
from reconciler.emulator.store import StoreCopy
from reconciler.model.change import Action
from reconciler.render.planfile import load_plan
from tests.reliability.after_crash import Aftermath, aftermath
from tests.reliability.backends import LOCAL, Backend
from tests.reliability.processes import Ended, Mortals, Stopped
from tests.reliability.scenarios import Files, Scenario
from tests.whole_examples import make_a_persons_key

_TWO_DAYS = 2 * 86_400
WAITING = ("--lock-wait", "60")
"""What a run is given that may find the lease of a dead one."""


@dataclass
class Stage:
    """A scenario at the moment before its apply, to which every trial returns."""

    scenario: Scenario
    mortals: Mortals
    emulator: Emulator
    base: Path
    backend: Backend = LOCAL
    start: StoreCopy = field(init=False)
    reference: Aftermath = field(init=False)
    origin: Aftermath = field(init=False)
    boundaries: tuple[str, ...] = field(init=False)
    settle_seconds: float = 0.1
    list_lag_ms: int = 0

    def __post_init__(self) -> None:
        self._template, self._folder = self.base / "template", self.base / "stack"
        _write(self._template, self.backend.adapt(self.scenario.before))
        self._invite_strangers()
        shutil.copytree(self._template, self._folder)
        self._must(self.run("apply", "--yes", watched=False))
        self.start = self.emulator.snapshot()
        self.origin = self.aftermath()
        self._saved = self.backend.save()
        shutil.rmtree(self._template)
        shutil.copytree(self._folder, self._template)
        for name in self.scenario.before:
            (self._template / name).unlink()
        _write(self._template, self.backend.adapt(self.scenario.after))

    def rehearse(self) -> None:
        """Run once without a death, for the yardstick and the boundaries."""
        self.begin()
        done = self.run(*self.scenario.arguments)
        self._must(done)
        self.boundaries = done.passed
        self.reference = self.aftermath()
        self._must_be_in_sync()

    def boundary(self, name: str) -> int:
        """The number of the first boundary of that name."""
        return self.boundaries.index(name)

    def planned(self) -> set[tuple[str, Action]]:
        """Kind and action of each change that the scenario's plan has."""
        self.begin()
        flags = self.scenario.arguments[2:]
        self._must(self.run("plan", "--out", "plan.json", *flags, watched=False))
        plan = load_plan((self._folder / "plan.json").read_text())
        return {(change.address.kind, change.action) for change in plan.changes}

    def begin(self) -> None:
        """Return to the start."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._template, self._folder)
        self.emulator.restore(self.start)
        self.backend.restore(self._saved)
        self.emulator.set_options(list_lag_ms=self.list_lag_ms)

    def die(self, fatal: int) -> Ended:
        """Run until the boundary of that number, and no further."""
        return self.run(*self.scenario.arguments, fatal=fatal)

    def meet(self, fatal: int, event: Callable[[Stopped], None]) -> Ended:
        """Run, and let something happen at the boundary of that number."""
        return self.run(*self.scenario.arguments, fatal=fatal, at_fatal=event)

    def repair(self) -> list[str]:
        """Run the same command again, as anybody would; what is wrong afterwards."""
        return self._finish(self.scenario.arguments, self.reference)

    def withdraw(self) -> list[str]:
        """Take the edit back, and apply that; what is then not as it was before."""
        for name in self.scenario.after:
            (self._folder / name).unlink()
        _write(self._folder, self.backend.adapt(self.scenario.before))
        return self._finish(("apply", "--yes", *self.scenario.permits), self.origin)

    def _finish(self, arguments: Sequence[str], expected: Aftermath) -> list[str]:
        dead = self._dead_holder()
        done = self.run(*arguments, *WAITING, watched=False)
        self.emulator.set_options(
            list_lag_ms=0
        )  # what lags is what the repair had to do with; the look is at what is
        problems = [] if done.code == 0 else [str(done)]
        if dead and "Taking over the lock" not in done.err:
            problems.append("no notice of the lock of a dead holder")
        return problems + self.wrong(expected)

    @property
    def folder(self) -> Path:
        """The stack of the present trial."""
        return self._folder

    def copy_folder(self, name: str) -> Path:
        """The stack as it is at the start, in a folder of another machine."""
        folder = self.base / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._template, folder)
        return folder

    def run(
        self, *arguments: str, by: Mortals | None = None, folder: Path | None = None, **more: Any
    ) -> Ended:
        """Run a command line, in the folder and by the process of the stage unless told otherwise."""
        return (by or self.mortals).run(
            arguments,
            folder=folder or self._folder,
            variables={
                "OPENAI_BASE_URL": self.emulator.base_url,
                "OPENAI_ADMIN_KEY": self.emulator.admin_key,
                "OPENAI_API_KEY": self.emulator.api_key,
                "RECONCILER_SETTLE_SECONDS": str(self.settle_seconds),
                **self.backend.variables(),
            },
            whole_bytes=self.scenario.whole_bytes,
            **more,
        )

    def lose_state(self) -> None:
        shutil.rmtree(self._folder / ".reconciler", ignore_errors=True)

    def aftermath(self) -> Aftermath:
        """What there is now."""
        return aftermath(self.emulator.store, self._folder, self.backend)

    def wrong(self, expected: Aftermath) -> list[str]:
        """What there is and should not be, or the other way round."""
        found = self.aftermath().differences(expected)
        found += [
            f"{path.name} is readable to others"
            for path in self._states()
            if path.stat().st_mode & 0o077
        ]
        if any(b"sk-" in content for content in self.backend.contents(self._folder)):
            found.append("the state holds a key")
        if self.scenario.arguments[0] == "apply":
            plan = self.run("plan", "--detailed-exitcode", watched=False)
            found += [] if plan.code == 0 else [f"the next plan is not empty: {plan}"]
        return found

    def _must_be_in_sync(self) -> None:
        wrong = self.wrong(self.reference)
        if wrong:
            raise AssertionError("\n".join(wrong))

    def _states(self) -> list[Path]:
        return sorted((self._folder / ".reconciler").glob("*.db*"))

    def _dead_holder(self) -> bool:
        if self.backend.name != LOCAL.name:
            with self.backend.open(self._folder) as state:
                return state.holder() is not None
        path = self._folder / ".reconciler" / "shop.default.db"
        if not path.exists():
            return False
        copy = self.base / "copy.db"
        for suffix in (
            "",
            "-journal",
        ):  # opened for writing, it would be mended: that is for the next run to do
            copy.with_name(f"copy.db{suffix}").unlink(missing_ok=True)
            if path.with_name(path.name + suffix).exists():
                shutil.copyfile(
                    path.with_name(path.name + suffix), copy.with_name(f"copy.db{suffix}")
                )
        with closing(sqlite3.connect(copy)) as connection:
            has_lock = connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'lock'"
            ).fetchone()
            return bool(has_lock and connection.execute("SELECT 1 FROM lock").fetchone())

    def _invite_strangers(self) -> None:
        beta = {"OpenAI-Beta": "assistants=v2,agents=v1"}
        with httpx.Client(base_url=self.emulator.base_url, headers=beta, verify=False) as client:
            for request in self.scenario.strangers:
                is_admin = request["url"].startswith("/organization")
                key = self.emulator.admin_key if is_admin else self.emulator.api_key
                client.post(
                    **request, headers={"Authorization": f"Bearer {key}"}
                ).raise_for_status()

    def _must(self, done: Ended) -> None:
        if done.code != 0:
            raise AssertionError(str(done))


@contextmanager
def staged(
    scenario: Scenario,
    mortals: Mortals,
    base: Path,
    *,
    backend: Backend = LOCAL,
    rehearse: bool = True,
) -> Iterator[Stage]:
    """A stage of its own for a scenario, whose past is two days ago."""
    ago = [float(_TWO_DAYS)]
    with Emulator(clock=lambda: time.time() - ago[0]) as emulator:
        make_a_persons_key(emulator)  # which some example takes over, and no call could make
        stage = Stage(scenario, mortals, emulator, base, backend)
        ago[0] = 0.0
        if rehearse:
            stage.rehearse()
        yield stage


def spread(count: int, most: int) -> Sequence[int]:
    """At most so many numbers below `count`, evenly spread."""
    return (
        range(count) if most >= count else sorted({round(at * count / most) for at in range(most)})
    )


def _write(folder: Path, files: Files) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
