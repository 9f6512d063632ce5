"""A tour of reconciler: plan, apply, check, drift, repair, a reviewed change, destroy.

Works on a copy of `examples/acme` against its own emulator, so it needs no key and leaves nothing
behind.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import httpx

from reconciler.emulator import Emulator

ACME = Path(__file__).parent / "acme"
COLOR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(title: str, text: str) -> None:
    """Print a heading and a paragraph."""
    line = f"━━ {title} " + "━" * max(0, 96 - len(title))
    print(f"\n\033[1;36m{line}\033[0m" if COLOR else f"\n{line}")
    print(textwrap.fill(" ".join(text.split()), width=100) + "\n", flush=True)


class Demo:
    """A copy of the example, and the emulator to run it against."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
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

    def reconciler(self, *arguments: str, expect: int = 0, plan_was_shown: bool = False) -> None:
        """Run a command, show its output, and stop the demo on an unexpected exit code.

        With `plan_was_shown`, only the output after the plan is printed.
        """
        shown = " ".join(("reconciler", *arguments))
        print(f"\033[1m$ {shown}\033[0m" if COLOR else f"$ {shown}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "reconciler", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE if plan_was_shown else None,
            text=True,
            check=False,
        )
        if plan_was_shown:
            _, _, after_plan = done.stdout.partition("\nPlan: ")
            _, _, rest = after_plan.partition("\n")
            print(f"  … the plan, as above …\n{rest}", end="")
        print(f"(exit code {done.returncode})\n", flush=True)
        if done.returncode != expect:
            sys.exit(f"Unexpected exit code: the demo expected {expect}.\n{done.stdout or ''}")

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


def main() -> None:
    """Run the demo in a temporary folder."""
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as parent:
        folder = Path(parent) / "acme"
        shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("secrets", ".reconciler"))
        tell(Demo(emulator, folder))


def tell(demo: Demo) -> None:
    """Run the steps in order."""
    say(
        "Plan",
        """The manifests in examples/acme describe an organization: projects, rate limits, service
        accounts, assistants, an agent, and vector stores synchronized with folders. None of it
        exists yet. The plan reads the live state and lists what apply would create.""",
    )
    demo.reconciler("-e", "dev", "plan")
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
    say(
        "Check",
        """Checks test that the result works: each makes an API call with the project's key and
        compares the response. They leave nothing behind.""",
    )
    demo.reconciler("-e", "dev", "check")
    say("Changes by hand", "Somebody raises a rate limit and deletes a service account.")
    demo.change_by_hand()
    say(
        "Drift",
        """A nightly CI job runs this. Exit code 2 means that live objects changed; the report
        shows which fields, and who changed them.""",
    )
    demo.reconciler("-e", "dev", "drift", "--blame", expect=2)
    say("Repair", "Apply restores the changed limit and creates the deleted account again.")
    demo.reconciler("-e", "dev", "apply", "--yes")
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
        """Apply runs exactly the saved plan. It refuses if manifests or live objects changed
        since.""",
    )
    demo.reconciler("-e", "dev", "apply", "plan.json", plan_was_shown=True)
    say("Outputs", "Ids for applications, as text, JSON or environment variables.")
    demo.reconciler("-e", "dev", "output", "--format", "env")
    say(
        "Destroy",
        """Destroy removes everything managed, dependents first. The projects set on_remove:
        delete, so they are archived.""",
    )
    demo.reconciler("-e", "dev", "destroy", "--yes")
    say("The end", "The emulator and the copy of the example are gone. Continue with README.md.")


if __name__ == "__main__":
    main()
