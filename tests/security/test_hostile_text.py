"""Untrusted text never acts on a terminal or as markup."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from reconciler.render.escape import hides
from tests.security.conftest import Inside
from tests.security.hostile_api import Liar, listening
from tests.security.platform import Platform, manifest

TERMINAL = "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07\u202egpj\u2066\r\x9b31m\x7f\u200b\u2028"
MARKUP = "``` `t` | <img src=x onerror=a()> </details> [a](http://evil.example) ![i](//evil.example) @everyone #1 $x"
HOSTILE = f"{MARKUP} {TERMINAL}"

STACK = """\
kind: Stack
metadata: {name: acme}
spec:
  manifests: [m/]
  outputs: {said: "${Assistant/bot.description}", bot: "${Assistant/bot}"}
"""
BOT = "{name: Bot, model: gpt-4o, instructions: Be kind.}"


@pytest.fixture
def poisoned(inside: Inside) -> Inside:
    """A stack that was applied, and then strangers wrote into its objects and made others beside them."""
    platform = Platform(inside)
    inside.write({"reconciler.yaml": STACK, "m/bot.yaml": manifest("Assistant/bot", BOT)})
    inside.write({"m/p.yaml": manifest("Project/search", "{name: Search}")}).apply()
    ids = platform.ids()
    theirs = {
        "description": HOSTILE,
        "instructions": f"{HOSTILE}\n" * 3,
        "metadata": {"k": HOSTILE},
        "name": HOSTILE[:200],
    }
    platform.change("Assistant", ids["Assistant/bot"], **theirs)
    platform.change("Project", ids["Project/search"], name=HOSTILE)
    platform.make("Assistant", model="gpt-4o", name=HOSTILE[:200])
    platform.make("Project", name=HOSTILE)
    return inside


COMMANDS = {
    "plan": ("plan", "--unmanaged"),
    "destroy": ("plan", "--destroy"),
    "drift": ("drift", "--unmanaged", "--blame"),
    "talk": ("plan", "-vv"),
    "log": ("plan", "-vv", "--log-format", "json"),
    "failing": ("import", "Assistant/bot", "asst_\x1b[31m"),
}


def acts(text: str) -> list[str]:
    """The characters of a text that act on a terminal, or show nothing of their own."""
    return [char for char in text if char != "\n" and hides(char)]


def rendered(markdown: str) -> str:
    """What is left of a Markdown text for markup to be in: without code blocks and code spans."""
    without_blocks = re.sub(r"(?ms)^ *(`{3,})[^\n]*\n.*?^ *\1 *$", "", markdown)
    return re.sub(r"(?s)(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", without_blocks)


@pytest.mark.parametrize("format", ["text", "json", "markdown"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_nothing_acts_on_a_terminal_or_as_markup(
    poisoned: Inside, command: tuple[str, ...], format: str
) -> None:
    done = poisoned.run(*command, "--format", format)
    assert acts(done.out + done.err) == []
    if format == "markdown":
        assert not re.search(r"<img|\]\(|@everyone|(?<!\\)!\[|#1", rendered(done.out))


def test_nothing_that_the_state_remembers_acts_on_a_terminal(poisoned: Inside) -> None:
    poisoned.write({"m/bot.yaml": manifest("Assistant/bot", BOT, "{ignore_changes: all}")}).apply()
    for command in (
        ("output",),
        ("output", "said"),
        ("output", "--format", "json"),
        ("output", "--format", "env"),
        ("state", "list"),
        ("state", "show", "Assistant/bot"),
        ("state", "export"),
        ("graph",),
        ("graph", "--type", "dot"),
    ):
        done = poisoned.run(*command, expect=0)
        assert acts(done.out + done.err) == [], command
    assert "evil.example" in poisoned.run("output", "said", expect=0).out


def test_a_shell_reads_outputs_as_they_are_and_runs_nothing_of_them(poisoned: Inside) -> None:
    poisoned.write({"m/bot.yaml": manifest("Assistant/bot", BOT, "{ignore_changes: all}")}).apply()
    said = json.loads(poisoned.run("output", "said", "--format", "json", expect=0).out)
    text = poisoned.run("output", "--format", "env", expect=0).out
    script = f'{text}\nprintf %s "$SAID"'
    read = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=10,
    )
    assert (read.stdout.decode(), read.stderr) == (said, b"")


def test_a_result_and_a_saved_plan_do_not_act_either(poisoned: Inside) -> None:
    reports = [
        word for name in ("text", "json", "markdown") for word in ("--report", f"r.{name}:{name}")
    ]
    done = poisoned.run("plan", "--out", "p.json", expect=0)
    shown = poisoned.run("show", "p.json", expect=0)
    Platform(poisoned).change(
        "Assistant", Platform(poisoned).ids()["Assistant/bot"], description=HOSTILE[::-1]
    )
    stale = poisoned.run("apply", "p.json", *reports, expect=10)
    files = [
        (poisoned.folder / name).read_text()
        for name in ("p.json", "r.text", "r.json", "r.markdown")
    ]
    assert [acts(text) for text in (done.out, shown.out, stale.out, stale.err, *files)] == [[]] * 8
    assert not re.search(r"<img|\]\(|@everyone|(?<!\\)!\[", rendered(files[3]))


def test_a_message_of_the_api_does_not_act(inside: Inside) -> None:
    inside.write({"m.yaml": manifest("Assistant/bot", BOT)})
    body = json.dumps(
        {"error": {"message": HOSTILE, "code": TERMINAL, "param": TERMINAL, "type": TERMINAL}}
    )
    with listening(Liar(400, body, {"x-request-id": "req_\x1b[31m"})) as liar:
        done = inside.run(
            "apply", "--yes", "-vv", "--base-url", liar.url, "--report", "r.md:markdown", expect=1
        )
    report = (inside.folder / "r.md").read_text()
    assert "evil.example" in done.out
    assert acts(done.out + done.err + report) == []
    assert not re.search(r"<img|\]\(|@everyone|(?<!\\)!\[", rendered(report))


def test_an_id_of_the_api_does_not_act(inside: Inside) -> None:
    inside.write({"m.yaml": manifest("Assistant/bot", BOT)})
    body = json.dumps(
        {"id": f"asst_{TERMINAL}", "object": "assistant", "name": "Bot", "model": "gpt-4o"}
    )
    with listening(Liar(200, body)) as liar:
        done = inside.run("apply", "--yes", "-vv", "--base-url", liar.url, expect=0)
    shown = [
        inside.run("state", *words, expect=0).out
        for words in (("list",), ("show", "Assistant/bot"))
    ]
    assert all("evil.example" in text for text in shown)
    assert [acts(text) for text in (done.out, done.err, *shown)] == [[]] * 4


def test_a_mistake_of_ours_that_quotes_a_stranger_does_not_act(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError(HOSTILE)

    monkeypatch.setattr("reconciler.app.planning.collect_and_plan", fails)
    done = inside.write({"m.yaml": manifest("Assistant/bot", BOT)}).run("plan", "-vv", expect=1)
    assert "This is a mistake in reconciler" in done.err
    assert acts(done.err) == []
