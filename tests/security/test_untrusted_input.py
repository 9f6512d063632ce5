"""Pull requests of untrusted authors can neither reach secrets nor cause harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished, Workspace
from tests.security.conftest import Inside
from tests.security.hostile_api import Liar, listening
from tests.security.platform import MANIFESTS, Platform, manifest

TOKEN = "ghp_1234567890abcdefghijKLMNOP"
OTHER_KEY = "sk-proj-anotherProjectsKeyThatIsNotInUse_0123456789"
OUTSIDE = "the secret of another folder"
STACK = "kind: Stack\nmetadata: {name: acme}\nspec: "
ACCOUNT = {
    "m/p.yaml": manifest("Project/search", "{name: Search}"),
    "m/a.yaml": manifest(
        "ServiceAccount/search/ci", "{name: ci, key: {write_to: {file: secrets/ci.key}}}"
    ),
}


@pytest.fixture
def stack(inside: Inside, tmp_path: Path) -> Inside:
    """A stack beside a file that is none of its business, in a process that holds other people's secrets."""
    (tmp_path / "outside.txt").write_text(OUTSIDE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text(OUTSIDE)
    inside.variables = {"GITHUB_TOKEN": TOKEN, "SEARCH_API_KEY": OTHER_KEY, "DEPLOY_ENV": "prod"}
    return inside.write({"reconciler.yaml": f"{STACK}{{manifests: [m/]}}\n", "docs/a.txt": "a"})


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with its size and the time of its last change."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def everything(inside: Inside, done: Finished) -> str:
    """All that a command said, and all that it left or uploaded anywhere."""
    said = [done.out, done.err, *(str(item.request_body) for item in inside.emulator.requests)]
    return "\n".join(
        [
            *said,
            *(path.read_bytes().decode(errors="replace") for path in inside.folder.glob("*.json")),
        ]
    )


# --- files -----------------------------------------------------------------------------------------------------------

LINKS: dict[str, Callable[[Path], object]] = {
    "parent": lambda _: None,
    "file link": lambda folder: (folder / "l.txt").symlink_to("../outside.txt"),
    "folder link": lambda folder: (folder / "linked").symlink_to("../outside"),
    "link to a link": lambda folder: (
        (folder / "k").symlink_to("../outside"),
        (folder / "l.txt").symlink_to("k/a.txt"),
    ),
    "process": lambda folder: (folder / "l.txt").symlink_to("/proc/self/environ"),
    "pipe": lambda folder: os.mkfifo(folder / "l.txt"),
    "device": lambda folder: (folder / "l.txt").symlink_to("/dev/stdin"),
    "git": lambda folder: (
        (folder / ".git").mkdir(),
        (folder / ".git" / "config").write_text(OUTSIDE),
    ),
}
PATHS = {
    "parent": [
        "../outside.txt",
        "docs/../../outside.txt",
        "../*.txt",
        "{absolute}",
        "/proc/self/environ",
    ],
    "file link": ["l.txt", "*.txt", "./l.txt"],
    "folder link": ["linked/a.txt", "linked/*.txt"],
    "link to a link": ["l.txt", "k/a.txt"],
    "process": ["l.txt"],
    "pipe": ["l.txt"],
    "device": ["l.txt"],
    "git": [".git/config", "docs/../.git/config", ".GIT/config", ".git/*"],
}
ATTEMPTS = [(link, path) for link, paths in PATHS.items() for path in paths]
USES = {
    "text": lambda path: manifest(
        "Assistant/bot", f'{{model: m, instructions: "${{file:{path}}}"}}'
    ),
    "upload": lambda path: manifest("File/f", f'{{path: "{path}", purpose: assistants}}'),
    "folder": lambda path: manifest("VectorStore/v", f'{{name: v, files: [{{path: "{path}"}}]}}'),
    "manifests": lambda _: manifest("Assistant/bot", "{model: m}"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("link", "path"), ATTEMPTS, ids=[f"{link} {path}" for link, path in ATTEMPTS]
)
def test_no_file_outside_is_read(
    stack: Inside, tmp_path: Path, use: str, link: str, path: str
) -> None:
    LINKS[link](stack.folder)
    path = path.format(absolute=tmp_path / "outside.txt")
    stack.write({"m/m.yaml": USES[use](path)})
    if use == "manifests":
        stack.write({"reconciler.yaml": f'{STACK}{{manifests: ["{path}"]}}\n'})
    done = stack.run("validate", expect=1)
    assert OUTSIDE not in done.out + done.err
    assert "OPENAI" not in done.out + done.err


def test_a_linked_folder_is_not_walked_into(stack: Inside) -> None:
    (stack.folder / "docs" / "linked").symlink_to("../../outside")
    stack.write({"m/m.yaml": USES["folder"]("docs/**/*.txt")}).apply()
    assert OUTSIDE not in everything(stack, stack.plan())


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
@pytest.mark.parametrize(
    "path", ["secrets/ci.key", "secrets/*.key", "link.txt", "secrets/.ci.key.reconciler"]
)
def test_a_key_that_was_delivered_is_not_read_by_manifests_that_no_longer_know_of_it(
    stack: Inside, use: str, path: str
) -> None:
    stack.write(ACCOUNT).apply()
    (stack.folder / "m" / "a.yaml").unlink()
    (stack.folder / "link.txt").symlink_to("secrets/ci.key")
    stack.write({"m/m.yaml": USES[use](path)})
    if "*" in path and use != "folder":
        path = "secrets/ci.key"
    done = stack.run("plan", "--out", "p.json", expect=1)
    assert "A credential does not belong in a manifest" in done.err
    assert (stack.folder / "secrets" / "ci.key").read_text().strip() not in everything(stack, done)


@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_the_state_is_no_file_for_a_resource(stack: Inside, use: str) -> None:
    stack.write({"m/b.yaml": manifest("Assistant/quiet", MANIFESTS["Assistant/quiet"])}).apply()
    (state,) = (
        path.relative_to(stack.folder) for path in (stack.folder / ".reconciler").glob("*.db")
    )
    done = stack.write({"m/m.yaml": USES[use](str(state))}).run("validate", expect=1)
    assert "belongs to the state" in done.err


# Nobody waits for reads in flight once the plan has failed, so one may still hold its connection.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("use", ["text", "upload", "folder"])
def test_a_file_with_a_key_in_use_goes_nowhere(stack: Inside, use: str) -> None:
    stack.write({"docs/env.txt": f"{'x' * (1 << 20)}OPENAI_API_KEY={stack.emulator.api_key}\n"})
    done = stack.write({"m/m.yaml": USES[use]("docs/env.txt")}).run(
        "plan", "--out", "p.json", expect=1
    )
    assert "A credential does not belong in a manifest" in done.err
    assert stack.emulator.api_key not in everything(stack, done)


VARIABLES = ["OPENAI_ADMIN_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "SEARCH_API_KEY"]
SPENT = {
    "value": lambda name: manifest(
        "Assistant/bot", f'{{model: m, instructions: "a ${{env.{name}}} b"}}'
    ),
    "name": lambda name: manifest("Assistant/bot", "{model: m}").replace(
        "bot", f'"${{env.{name}}}"'
    ),
    "metadata": lambda name: manifest(
        "Assistant/bot", f'{{model: m, metadata: {{k: "${{env.{name}}}"}}}}'
    ),
    "for_each": lambda name: (
        manifest("Assistant/bot", "{model: m}") + f'for_each: ["${{env.{name}}}"]\n'
    ),
    "path": lambda name: manifest("File/f", f'{{path: "${{env.{name}}}", purpose: assistants}}'),
    "glob": lambda name: manifest(
        "VectorStore/v", f'{{name: v, files: [{{path: "${{env.{name}}}/*"}}]}}'
    ),
    "key file": lambda name: (
        ACCOUNT["m/p.yaml"] + "---\n" + ACCOUNT["m/a.yaml"].replace("ci.key", f"${{env.{name}}}")
    ),
    "command": lambda name: ACCOUNT["m/a.yaml"].replace(
        "{file: secrets/ci.key}", f'{{command: ["${{env.{name}}}"]}}'
    ),
    "adopt": lambda name: manifest("Assistant/bot", "{model: m}", f'{{adopt: "${{env.{name}}}"}}'),
}


@pytest.mark.parametrize("spend", SPENT)
@pytest.mark.parametrize("name", VARIABLES)
def test_no_secret_of_the_process_gets_into_a_manifest(
    stack: Inside, name: str, spend: str
) -> None:
    allowing = f"{{manifests: [m/], env: [{name}], credentials: {{default: null, admin: null}}}}"
    stack.write({"reconciler.yaml": f"{STACK}{allowing}\n", "m/m.yaml": SPENT[spend](name)})
    done = stack.run("validate", expect=1)
    assert "Manifests must not read credentials" in done.err
    assert stack.environment[name] not in done.out + done.err
    assert stack.environment[name][:12] not in done.out + done.err


STACKS = {
    "output": 'outputs: {x: "${env.NAME}"}, env: [NAME]',
    "project": 'projects: {x: "${env.NAME}"}, env: [NAME]',
    "absolute backend": 'backend: {local: {path: "/${env.NAME}"}}',
    "backend": 'backend: {local: {path: "state-${env.NAME}"}}',
    "bare backend": 'backend: {local: {path: "${env.NAME}"}}',
    "variable": 'env: [NAME], variables: {x: {default: "${env.NAME}"}}',
    "manifests": 'env: [NAME], manifests: ["${env.NAME}"]',
    "environment": 'env: [NAME], environments: {default: {outputs: {x: "${env.NAME}"}}}',
}


@pytest.mark.parametrize("spec", STACKS.values(), ids=STACKS.keys())
@pytest.mark.parametrize("name", VARIABLES)
def test_no_secret_of_the_process_is_told_by_a_stack_file(
    stack: Inside, name: str, spec: str
) -> None:
    stack.write(
        {
            "reconciler.yaml": f"{STACK}{{{spec.replace('NAME', name)}}}\n",
            "m.yaml": USES["manifests"](""),
        }
    )
    done = stack.run("plan", expect=1)
    assert stack.environment[name][:12] not in done.out + done.err
    assert not any(stack.environment[name][:12] in path for path in listing(stack.folder))


def test_a_variable_that_is_no_secret_may_be_read_once_the_caller_allows_it(stack: Inside) -> None:
    stack.write({"reconciler.yaml": f"{STACK}{{manifests: [m/], env: [DEPLOY_ENV]}}\n"})
    stack.write(
        {"m/m.yaml": manifest("Assistant/bot", '{model: m, instructions: "for ${env.DEPLOY_ENV}"}')}
    )
    assert "for prod" in stack.run("plan", "--allow-env", "DEPLOY_ENV", expect=0).out


def test_a_key_that_somebody_put_into_an_object_is_in_no_output_plan_or_state(
    stack: Inside,
) -> None:
    key = stack.emulator.api_key
    stack.write(
        {"m/m.yaml": manifest("Assistant/bot", "{model: m, instructions: Be kind.}")}
    ).apply()
    platform = Platform(stack)
    leak = f"{'x' * 40} {key} {key}"
    platform.change(
        "Assistant", platform.ids()["Assistant/bot"], instructions=leak, description=leak
    )
    stack.emulator.clear_requests()
    for format in ("text", "json", "markdown"):
        stack.run("drift", "--format", format, expect=2)
        stack.run(
            "plan", "--out", f"p-{format}.json", "--report", f"r-{format}.json:{format}", expect=0
        )
    done = stack.run("apply", "p-text.json", "--format", "json", expect=0)
    state = b"".join(path.read_bytes() for path in (stack.folder / ".reconciler").iterdir())
    assert key not in everything(stack, done)
    assert key.encode() not in state


# --- hosts, commands, writes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec", ["{base_url: http://e.vil/v1}", "{credentials: {base_url: http://e.vil/v1}}"]
)
def test_no_file_says_where_keys_are_sent(stack: Inside, spec: str) -> None:
    stack.write({"reconciler.yaml": f"{STACK}{spec}\n"})
    assert (
        "never from a file" in stack.run("plan", expect=1).err
        or "base_url" in stack.run("plan", expect=1).err
    )


def test_no_redirect_carries_a_key_to_another_host(stack: Inside) -> None:
    stack.write({"m/m.yaml": manifest("Assistant/bot", "{model: m}")})
    with listening(Liar()) as thief:
        redirect = {"location": f"{thief.url}/assistants"}
        with listening(Liar(307, "{}", redirect, reads_too=True)) as liar:
            done = stack.run("plan", "--base-url", liar.url, expect=1)
    assert "not followed" in done.err
    assert len(liar.shown) > 0
    assert thief.shown == []


def test_a_plan_runs_nothing_and_writes_nothing_whatever_the_manifests_say(stack: Inside) -> None:
    touched = stack.folder / "ran"
    command = f'[sh, -c, "touch {touched}"]'
    account = ACCOUNT["m/a.yaml"].replace("{file: secrets/ci.key}", f"{{command: {command}}}")
    bot = manifest("Assistant/bot", MANIFESTS["Assistant/bot"])
    stack.write({"m/p.yaml": ACCOUNT["m/p.yaml"], "m/b.yaml": bot}).apply()
    stack.write(
        {
            "m/a.yaml": account,
            "m/b.yaml": bot.replace("kind.", "rude."),
            "m/f.yaml": USES["folder"]("docs/*"),
        }
    )
    stack.write(
        {"reconciler.yaml": f"{STACK}{{manifests: [m/], outputs: {{x: '${{Assistant/bot}}'}}}}\n"}
    )
    before = listing(stack.folder)
    stack.emulator.clear_requests()
    for command_line in (
        ("validate",),
        ("plan",),
        ("plan", "--destroy"),
        ("plan", "--adopt", "--unmanaged"),
        ("drift", "--blame", "--unmanaged"),
        ("graph",),
        ("output",),
        ("state", "list"),
        ("state", "export"),
    ):
        assert stack.run(*command_line).code in (0, 2)
    assert listing(stack.folder) == before
    assert {item.method for item in stack.emulator.requests} == {"GET"}


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch ran]",
        "!!python/name:os.system",
        "!ENV x",
        "!include /etc/passwd",
    ],
)
def test_no_tag_of_yaml_makes_anything_happen(stack: Inside, text: str) -> None:
    stack.write({"m/m.yaml": f"kind: Assistant\nmetadata: {{name: bot}}\nspec: {text}\n"}).run(
        "plan", expect=1
    )
    assert not (stack.folder / "ran").exists()


def test_a_module_of_a_checkout_is_not_what_the_program_imports(stack: Inside) -> None:
    stack.write({"m/m.yaml": manifest("Assistant/bot", "{model: m}")})
    for name in ("yaml", "httpx", "click", "json", "sitecustomize"):
        stack.write({f"{name}.py": "open('ran', 'w').close()\nraise SystemExit(3)\n"})
    Workspace(stack.folder, stack.emulator).run("validate", expect=0)
    assert not (stack.folder / "ran").exists()
