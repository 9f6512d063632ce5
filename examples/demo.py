"""The whole story: plan, apply, nothing to do, a change behind our back, drift, repair, a review, the end.

Runs on a copy of `examples/acme` against an emulator of its own, so it needs no key and leaves nothing behind.
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
    """A heading and a paragraph between two commands."""
    line = f"━━ {title} " + "━" * max(0, 96 - len(title))
    print(f"\n\033[1;36m{line}\033[0m" if COLOR else f"\n{line}")
    print(textwrap.fill(" ".join(text.split()), width=100) + "\n", flush=True)


class Demo:
    """A working copy of the example, and an emulator to run it against."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.emulator = emulator
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
            "OPENAI_BASE_URL": emulator.base_url,
            "OPENAI_ADMIN_KEY": emulator.admin_key,
            "OPENAI_API_KEY": emulator.api_key,
        }

    def reconciler(self, *arguments: str, expect: int = 0, plan_was_shown: bool = False) -> None:
        """Run a command as a user would, show what it prints, and insist on its exit code."""
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
            print("  … the plan, as above …\n" + done.stdout.partition("\nPlan: ")[2].partition("\n")[2], end="")
        print(f"(exit code {done.returncode})\n", flush=True)
        if done.returncode != expect:
            sys.exit(f"The demo expected exit code {expect}, so something is wrong.\n{done.stdout or ''}")

    def edit(self, path: str, pattern: str, replacement: str) -> None:
        """Change one manifest as a pull request would, and show the line."""
        file = self.folder / path
        before = file.read_text(encoding="utf-8")
        after, count = re.subn(pattern, replacement, before, count=1)
        if count != 1:
            sys.exit(f"The demo found nothing to edit in {path}.")
        file.write_text(after, encoding="utf-8")
        for old, new in zip(before.splitlines(), after.splitlines(), strict=False):
            if old != new:
                print(f"  {path}\n  - {old.strip()}\n  + {new.strip()}\n", flush=True)

    def behind_our_back(self) -> None:
        """What somebody does in a hurry: a limit raised by hand, and an account deleted."""
        with httpx.Client(
            base_url=self.emulator.base_url, headers={"Authorization": f"Bearer {self.emulator.admin_key}"}
        ) as client:
            projects = client.get("/organization/projects", params={"limit": 100}).json()["data"]
            support = next(project["id"] for project in projects if "support" in project["name"])
            base = f"/organization/projects/{support}"
            client.post(f"{base}/rate_limits/rl-gpt-4.1", json={"max_requests_per_1_minute": 450})
            print("  POST /organization/projects/…/rate_limits/rl-gpt-4.1   max_requests_per_1_minute: 450")
            accounts = client.get(f"{base}/service_accounts", params={"limit": 100}).json()["data"]
            victim = next(account for account in accounts if "deploy" not in account["name"])
            client.delete(f"{base}/service_accounts/{victim['id']}")
            print(f"  DELETE /organization/projects/…/service_accounts/…     {victim['name']}\n", flush=True)


def main() -> None:
    """Tell the story."""
    with Emulator() as emulator, tempfile.TemporaryDirectory(prefix="reconciler-demo-") as temporary:
        folder = Path(temporary) / "acme"
        shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("secrets", ".reconciler"))
        tell(Demo(emulator, folder))


def tell(demo: Demo) -> None:
    """The steps, in order."""
    say(
        "Plan",
        """The manifests of examples/acme describe an organization: projects, rate limits, service accounts,
        assistants, an agent, and vector stores kept in step with folders. Nothing of it exists yet. The plan reads what
        is there and says what would be made.""",
    )
    demo.reconciler("-e", "dev", "plan")
    say(
        "Apply",
        """The same plan, carried out: dependents after what they need, and the keys of new service accounts
        straight into files that only their owner can read.""",
    )
    demo.reconciler("-e", "dev", "apply", "--yes", plan_was_shown=True)
    say("Plan again", "An empty plan means equal. It costs a list call a scope, not a call an object.")
    demo.reconciler("-e", "dev", "plan", "--detailed-exitcode")
    say(
        "Check",
        """What must be true besides: calls that the manifests declare, with the key of their project, and what the
        answers must be. A check makes nothing that stays.""",
    )
    demo.reconciler("-e", "dev", "check")
    say("A change behind our back", "Somebody raises a limit by hand and deletes a service account.")
    demo.behind_our_back()
    say("Drift", "What CI runs at night. Exit code 2 means that live objects moved, and the report says which field.")
    demo.reconciler("-e", "dev", "drift", "--blame", expect=2)
    say("Repair", "Apply puts back what was changed and makes what was deleted.")
    demo.reconciler("-e", "dev", "apply", "--yes")
    say(
        "A pull request",
        """A manifest is edited. The plan has just that; --report writes the same plan as Markdown, for a
        comment on the pull request.""",
    )
    demo.edit("manifests/support/support-bot.yaml", r"temperature: 0.3", "temperature: 0.6")
    demo.edit("prompts/support-bot.md", r"# Who you are\n", "# Who you are and what you know\n")
    demo.reconciler("-e", "dev", "plan", "--out", "plan.json", "--report", "plan.md:markdown")
    say(
        "Apply the reviewed plan", "Exactly the plan that was saved, or nothing: it is refused if its ground has moved."
    )
    demo.reconciler("-e", "dev", "apply", "plan.json", plan_was_shown=True)
    say("Outputs", "Ids for applications, as text, JSON or variables.")
    demo.reconciler("-e", "dev", "output", "--format", "env")
    say("Destroy", "Everything managed, dependents first. The projects say on_remove: delete, so they are archived.")
    demo.reconciler("-e", "dev", "destroy", "--yes")
    say("The end", "The emulator stops and the copy of the example is removed. README.md goes on from here.")


if __name__ == "__main__":
    main()
