"""A tour of reconciler in chapters: all of them, or one with `demo.py drift`.

Works on a copy of `examples/acme` against its own emulator, so it needs no key and leaves nothing
behind.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from reconciler.emulator import Emulator

ACME = Path(__file__).parent / "acme"
COLOR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def styled(text: str, style: str) -> str:
    """A text in a style of ANSI terminals, if colors are shown."""
    if not COLOR:
        return text
    return f"\033[{style}m{text}\033[0m"


def say(title: str, text: str) -> None:
    """Print a heading and a paragraph."""
    line = f"━━ {title} " + "━" * max(0, 96 - len(title))
    print("\n" + styled(line, "1;36"))
    print(textwrap.fill(" ".join(text.split()), width=100) + "\n", flush=True)


class Demo:
    """A copy of the example, and the emulator to run it against."""

    def __init__(self, emulator: Emulator, folder: Path, *, is_quiet: bool = False) -> None:
        self.is_quiet = is_quiet
        self.emulator = emulator
        self.folder = folder
        # Credentials of the shell must not reach the commands.
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")
        }
        self.environment = {
            **inherited,
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_ADMIN_KEY": emulator.admin_key,
            "OPENAI_API_KEY": emulator.api_key,
        }

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Hide the output of everything in the block."""
        self.is_quiet = True
        try:
            with redirect_stdout(io.StringIO()):
                yield
        finally:
            self.is_quiet = False

    def reconciler(
        self, *arguments: str, expect: int = 0, plan_was_shown: bool = False, messages: bool = True
    ) -> None:
        """Run a command, show its output, and stop the demo on an unexpected exit code.

        With `plan_was_shown`, only the output after the plan is printed. Without `messages`, standard
        error is hidden.
        """
        command = " ".join(("reconciler", *arguments))
        print(styled(f"$ {command}", "1"), flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE if plan_was_shown or self.is_quiet else None,
            stderr=None if messages and not self.is_quiet else subprocess.PIPE,
            text=True,
            check=False,
        )
        if plan_was_shown:
            _, _, after_plan = done.stdout.partition("\nPlan: ")
            _, _, rest = after_plan.partition("\n")
            print(f"  … the plan, as above …\n{rest}", end="")
        print(f"(exit code {done.returncode})\n", flush=True)
        if done.returncode != expect:
            sys.exit(
                f"Unexpected exit code: the demo expected {expect}.\n{done.stdout or ''}{done.stderr or ''}"
            )

    def edit(self, path: str, pattern: str, replacement: str) -> None:
        """Edit one file, as a pull request would, and show the changed line."""
        file = self.folder / path
        before = file.read_text(encoding="utf-8")
        after, count = re.subn(pattern, replacement, before, count=1)
        if count != 1:
            sys.exit(f"The demo cannot edit {path}: the text to replace is missing.")
        file.write_text(after, encoding="utf-8")
        for old, new in zip(before.splitlines(), after.splitlines(), strict=False):
            if old != new:
                print(f"  {path}\n  - {old.strip()}\n  + {new.strip()}\n", flush=True)

    def show(self, path: str) -> None:
        """Print a file."""
        text = (self.folder / path).read_text(encoding="utf-8")
        print(f"  {path}\n" + textwrap.indent(text, "  │ "), flush=True)

    def call(self, method: str, path: str, *, admin: bool = False, **body: Any) -> dict[str, Any]:
        """Make a call to the API by hand."""
        key = self.emulator.admin_key if admin else self.emulator.api_key
        headers = {"Authorization": f"Bearer {key}", "OpenAI-Beta": "agents=v1"}
        answer = httpx.request(
            method, f"{self.emulator.base_url}{path}", headers=headers, json=body or None
        )
        answer.raise_for_status()
        return dict(answer.json())

    def make_by_hand(self) -> str:
        """Make a small organization; the id of its agent."""
        project = self.call("POST", "/organization/projects", admin=True, name="Newsroom")["id"]
        base = f"/organization/projects/{project}"
        self.call("POST", f"{base}/service_accounts", admin=True, name="Print desk")
        limit = {"max_requests_per_1_minute": 80}
        self.call("POST", f"{base}/rate_limits/rl-gpt-5.4", admin=True, **limit)
        agent = {"name": "Headline writer", "model": "gpt-5.4", "instructions": "Be brief."}
        return str(self.call("POST", "/agents", **agent)["id"])

    def rename_by_hand(self, agent: str) -> None:
        """Give the agent other instructions."""
        self.call("POST", f"/agents/{agent}", instructions="Be brief, and never shout.")
        print("  POST /agents/…   instructions: Be brief, and never shout.\n", flush=True)

    def change_by_hand(self) -> None:
        """Raise a rate limit and delete a service account directly at the API."""
        headers = {"Authorization": f"Bearer {self.emulator.admin_key}"}
        with httpx.Client(base_url=self.emulator.base_url, headers=headers) as client:
            projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
            support = next(project["id"] for project in projects if "support" in project["name"])
            base = f"/organization/projects/{support}"
            client.post(f"{base}/rate_limits/rl-gpt-5.4", json={"max_requests_per_1_minute": 450})
            limit = "POST /organization/projects/…/rate_limits/rl-gpt-5.4"
            print(f"  {limit}   max_requests_per_1_minute: 450")
            accounts = client.get(f"{base}/service_accounts", params={"limit": 100}).json()["data"]
            victim = next(account for account in accounts if "deploy" not in account["name"])
            client.delete(f"{base}/service_accounts/{victim['id']}")
            account = "DELETE /organization/projects/…/service_accounts/…"
            print(f"  {account}     {victim['name']}\n", flush=True)


class Chapter(NamedTuple):
    """A part of the tour. `needs` names the chapters that have to run before it."""

    name: str
    title: str
    needs: tuple[str, ...]
    tell: Callable[[Demo], None]


def plan(demo: Demo) -> None:
    """Show the plan of an organization that does not exist yet."""
    say(
        "Plan",
        """The manifests in examples/acme describe an organization: projects, rate limits, service
        accounts, assistants, an agent, and vector stores synchronized with folders. None of it
        exists yet. The plan reads the live state and lists what apply would create.""",
    )
    demo.reconciler("-e", "dev", "plan")


def apply(demo: Demo) -> None:
    """Create all objects, and show that the next plan is empty."""
    say(
        "Apply",
        """Apply runs the same plan in dependency order. The keys of new service accounts go
        straight into files that only their owner can read.""",
    )
    demo.reconciler("-e", "dev", "apply", "--yes", plan_was_shown=True)
    say(
        "Plan again",
        """Live objects now match the manifests, so the plan is empty. It takes one list call per
        scope, not one call per object.""",
    )
    demo.reconciler("-e", "dev", "plan", "--detailed-exitcode")


def check(demo: Demo) -> None:
    """Run the checks of the result."""
    say(
        "Check",
        """Checks test that the result works: each makes an API call with the project's key and
        compares the response. They delete the objects that they create.""",
    )
    demo.reconciler("-e", "dev", "check")


def drift(demo: Demo) -> None:
    """Find and repair changes by hand."""
    say("Changes by hand", "Someone raises a rate limit and deletes a service account.")
    demo.change_by_hand()
    say(
        "Drift",
        """A nightly CI job runs this. Exit code 2 means that live objects changed; the report
        shows which fields, and who changed them.""",
    )
    demo.reconciler("-e", "dev", "drift", "--blame", expect=2)
    say("Repair", "Apply restores the changed limit and creates the deleted account again.")
    demo.reconciler("-e", "dev", "apply", "--yes")


def review(demo: Demo) -> None:
    """Apply exactly the reviewed plan."""
    say(
        "A pull request",
        """A pull request edits a manifest and a prompt. The plan shows exactly that. --out saves
        it, and --report writes it as Markdown for a comment on the pull request.""",
    )
    demo.edit("manifests/support/support-bot.yaml", r"temperature: 0.3", "temperature: 0.6")
    demo.edit("prompts/support-bot.md", r"# Who you are\n", "# Who you are and what you know\n")
    demo.reconciler("-e", "dev", "plan", "--out", "plan.json", "--report", "plan.md:markdown")
    say(
        "Apply the reviewed plan",
        """Apply carries out exactly the saved plan. It refuses if manifests or live objects have
        changed since.""",
    )
    demo.reconciler("-e", "dev", "apply", "plan.json", plan_was_shown=True)


def outputs(demo: Demo) -> None:
    """Ids for applications."""
    say("Outputs", "Ids for applications, as text, JSON or environment variables.")
    demo.reconciler("-e", "dev", "output", "--format", "env")


def adopt(demo: Demo) -> None:
    """Bring an existing organization under management."""
    say(
        "Adopt",
        """Most organizations exist already. This one was created by hand: a project, its service
        account, a limit, and an agent. In an empty folder, export writes manifests and binds them
        to the existing objects. It writes nothing to the API.""",
    )
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as parent:
        folder = Path(parent) / "newsroom"
        folder.mkdir()
        newsroom = Demo(emulator, folder, is_quiet=demo.is_quiet)
        agent = newsroom.make_by_hand()
        newsroom.reconciler("export", "--stack", "newsroom", messages=False)
        newsroom.show("manifests/newsroom/service-accounts.yaml")
        say("Plan", "The manifests match the live objects, so their plan is empty.")
        newsroom.reconciler("plan", "--refresh", "full", "--detailed-exitcode")
        say(
            "Accept",
            """Someone changes the agent by hand, and you want to keep the change. accept writes the
            live value into the manifest.""",
        )
        newsroom.rename_by_hand(agent)
        newsroom.reconciler("accept", "--all", "--yes")


def fleet(demo: Demo) -> None:
    """Plan, apply and check three stacks in two environments in one run."""
    say(
        "Fleet",
        """A platform team has many stacks. One run plans and applies all of them. Two stacks read
        an output of the stack platform, so that stack is applied first.""",
    )
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as parent:
        folder = Path(parent) / "fleet"
        shutil.copytree(ACME.parent / "fleet", folder)
        platform = Demo(emulator, folder, is_quiet=demo.is_quiet)
        platform.environment["RECONCILER_BACKEND"] = "local:.reconciler"
        platform.reconciler("fleet", "list")
        platform.reconciler("fleet", "apply", "--yes")
        say(
            "Drift", "Someone renames a group by hand. The report shows the stack that has drifted."
        )
        [group, *_] = platform.call("GET", "/organization/groups", admin=True)["data"]
        path = f"/organization/groups/{group['id']}"
        platform.call("POST", path, admin=True, name="Renamed by hand")
        platform.reconciler("fleet", "drift", "--blame", expect=2)
        platform.reconciler("fleet", "report")


def destroy(demo: Demo) -> None:
    """Destroy all objects."""
    say(
        "Destroy",
        """Destroy deletes all managed objects, dependents first. The projects set on_remove:
        delete, so they are archived.""",
    )
    demo.reconciler("-e", "dev", "destroy", "--yes")


CHAPTERS = (
    Chapter("plan", "what apply would create", (), plan),
    Chapter("apply", "create it, and plan again", (), apply),
    Chapter("check", "test that the result works", ("apply",), check),
    Chapter("drift", "find and repair changes by hand", ("apply",), drift),
    Chapter("review", "apply exactly the reviewed plan", ("apply",), review),
    Chapter("outputs", "ids for applications", ("apply",), outputs),
    Chapter("adopt", "manage an existing organization", (), adopt),
    Chapter("fleet", "many stacks in one run", (), fleet),
    Chapter("destroy", "delete everything", ("apply",), destroy),
)


def main() -> None:
    """Run all chapters, or the named one, in a temporary folder."""
    names = [chapter.name for chapter in CHAPTERS]
    step = sys.argv[1] if len(sys.argv) > 1 else ""
    if step and step not in names:
        sys.exit(f'There is no chapter "{step}". Chapters: {", ".join(names)}.')
    list_chapters(step)
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as parent:
        folder = Path(parent) / "acme"
        shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("secrets", ".reconciler"))
        tell(Demo(emulator, folder), step)


def list_chapters(step: str) -> None:
    """Print the chapters, and how to run one alone."""
    width = max(len(chapter.name) for chapter in CHAPTERS)
    for chapter in CHAPTERS:
        mark = "▸" if step in ("", chapter.name) else " "
        print(f" {mark} {chapter.name:<{width}}  {chapter.title}")
    print("\nOne chapter alone: make demo STEP=drift", flush=True)


def tell(demo: Demo, step: str = "") -> None:
    """Run the chapters in order; with `step`, only one, after a silent run of those it needs."""
    by_name = {chapter.name: chapter for chapter in CHAPTERS}
    if step:
        needs = by_name[step].needs
        if needs:
            print(f"\nFirst, without its output: {', '.join(needs)} …", flush=True)
        for name in needs:
            with demo.silence():
                by_name[name].tell(demo)
        by_name[step].tell(demo)
    else:
        for chapter in CHAPTERS:
            chapter.tell(demo)
    say(
        "The end",
        "The demo has removed the emulator and its copy of the example. Continue with README.md.",
    )


if __name__ == "__main__":
    main()
