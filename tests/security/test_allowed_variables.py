"""Claims about variables of the process: whoever runs the program decides which of them manifests may read."""

from __future__ import annotations

import pytest

from tests.security.conftest import Inside
from tests.security.platform import manifest

STACK = "kind: Stack\nmetadata: {name: acme}\nspec: "
READS = manifest("Assistant/bot", '{model: m, instructions: "for ${env.PLACE}"}')
SHAPES = {
    "GitHub": "ghp_" + "1234567890abcdefghijKLMNOPqrstuv",
    "GitHub, fine-grained": "github_pat_" + "11ABCDEFG0123456789_abcdefghijklmnop",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "AWS": "AKIA" + "ABCDEFGHIJKLMNOP",
    "Slack": "xoxb-" + "123456789012-abcdefghijkl",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "c2lnbmF0dXJl",
    "Google": "AIza" + "SyA1234567890abcdefghijklmnopqrstuv",
    "GitLab": "glpat-" + "abcdefghij0123456789",
    "DigitalOcean": "dop_v1_" + "0123456789abcdef" * 4,
    "npm": "npm_" + "abcdefghij0123456789abcdefghij012345",
    "OpenAI": "sk-proj-" + "abcdefghij0123456789",
    "database": "postgresql://user:password@db.example.com/x",
}


@pytest.fixture
def stack(inside: Inside) -> Inside:
    inside.variables = {
        "PLACE": "prod",
        "RECONCILER_VAR_PLACE": "prod",
        "GITHUB_TOKEN": SHAPES["GitHub"],
    }
    return inside.write({"m/m.yaml": READS}).write(
        {"reconciler.yaml": f"{STACK}{{manifests: [m/]}}\n"}
    )


@pytest.mark.parametrize("spec", ["{manifests: [m/]}", "{manifests: [m/], env: [PLACE]}"])
def test_no_list_in_a_file_lets_manifests_read_a_variable(stack: Inside, spec: str) -> None:
    done = stack.write({"reconciler.yaml": f"{STACK}{spec}\n"}).run("validate", expect=1)
    assert "m/m.yaml:3:32  Assistant/bot" in done.err
    assert (
        "Run with --allow-env PLACE, or add PLACE to the environment variable RECONCILER_ALLOW_ENV."
        in done.err
    )
    assert "prod" not in done.err


@pytest.mark.parametrize("names", ["PLACE", "OTHER,PLACE", "OTHER PLACE", " PLACE , OTHER "])
def test_the_environment_of_the_run_may_allow_variables(stack: Inside, names: str) -> None:
    stack.variables["RECONCILER_ALLOW_ENV"] = names
    assert "for prod" in stack.run("plan", expect=0).out


def test_the_command_line_may_allow_several_variables(stack: Inside) -> None:
    two = READS.replace("for ${env.PLACE}", "for ${env.PLACE} and ${env.RECONCILER_HOST}")
    stack.variables["RECONCILER_HOST"] = "here"
    stack.write({"m/m.yaml": two})
    arguments = ("--allow-env", "PLACE", "plan", "--allow-env", "RECONCILER_HOST")
    assert "for prod and here" in stack.run(*arguments, expect=0).out


def test_a_variable_that_is_named_for_manifests_needs_no_allowance(stack: Inside) -> None:
    stack.write({"m/m.yaml": READS.replace("env.PLACE", "env.RECONCILER_VAR_PLACE")})
    assert "for prod" in stack.run("plan", expect=0).out


def test_the_list_of_the_stack_narrows_what_is_allowed(stack: Inside) -> None:
    stack.write({"reconciler.yaml": f"{STACK}{{manifests: [m/], env: [ANOTHER]}}\n"})
    done = stack.run("validate", "--allow-env", "PLACE", expect=1)
    assert (
        'Add "PLACE" to spec.env in reconciler.yaml, the list of variables that manifests may read.'
        in done.err
    )
    assert "--allow-env" not in done.err


@pytest.mark.parametrize("name", ["*", "PL*", "PLACE=prod", "A-B", "PLACE;OTHER"])
def test_only_exact_names_are_allowed(stack: Inside, name: str) -> None:
    assert (
        f'"{name}" is not the name of an environment variable'
        in stack.run("validate", "--allow-env", name, expect=1).err
    )


@pytest.mark.parametrize("value", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "source", ["variable", "open variable", "listed", "file", "--var", "output"]
)
def test_what_looks_like_a_credential_is_refused_whoever_allows_it(
    stack: Inside, value: str, source: str
) -> None:
    text, spec, name = "${env.PLACE}", "manifests: [m/], variables: {x: {default: null}}", "PLACE"
    arguments = ["--allow-env", "PLACE"]
    stack.variables["PLACE"] = value
    if source == "open variable":
        stack.variables["RECONCILER_VAR_X"] = value
        text = name = "RECONCILER_VAR_X"
        text = f"${{env.{text}}}"
    elif source == "listed":
        spec += ", env: [PLACE]"
    elif source == "file":
        stack.variables["PLACE"], text, name = "prod", "${file:docs/a.txt}", "docs/a.txt"
        stack.write({"docs/a.txt": f"use this\n{value}\n"})
    elif source == "--var":
        stack.variables["PLACE"], text, name = "prod", "${var.x}", "x"
        arguments += ["--var", f"x={value}"]
    elif source == "output":
        spec += ', outputs: {y: "${env.PLACE}"}'
        text = "nothing"
    if source in ("file", "--var") and value == SHAPES["database"]:
        pytest.skip("only the variables of other programs are looked through for addresses")
    stack.write({"reconciler.yaml": f"{STACK}{{{spec}}}\n"})
    stack.write({"m/m.yaml": READS.replace("${env.PLACE}", text)})
    done = stack.run("plan", *arguments, expect=1)
    assert f'"{name}"' in done.err
    assert "credential" in done.err
    assert value[:12] not in done.out + done.err


CREDENTIALS = {
    "a token": ("GITHUB_TOKEN", SHAPES["GitHub"]),
    "a key of another service": ("ANTHROPIC_API_KEY", "sk-ant-api03-abcdefghijklmnop"),
    "a word": ("PASSWORD", "hunter2hunter2"),
    "a secret that is to be sent": ("RECONCILER_SECRET_X", "sk-something-to-be-sent"),
}


@pytest.mark.parametrize(("name", "value"), CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("entry", ["admin: %s", "default: %s", "projects: {search: %s}"])
def test_no_other_credential_is_sent_to_the_api(
    stack: Inside, name: str, value: str, entry: str
) -> None:
    stack.variables[name] = value
    credentials = entry % f'"${{env.{name}}}"'
    stack.write(
        {"reconciler.yaml": f"{STACK}{{manifests: [m/], credentials: {{{credentials}}}}}\n"}
    )
    stack.emulator.clear_requests()
    done = stack.write({"m/m.yaml": manifest("Assistant/bot", "{model: m}")}).run("plan", expect=1)
    assert f"reads {name}" in done.err
    assert value not in done.out + done.err
    assert not stack.emulator.requests


def test_a_credential_of_another_shape_is_sent_once_the_caller_allows_it(stack: Inside) -> None:
    stack.variables["GATEWAY_KEY"] = "gateway_key_without_a_shape"
    stack.write(
        {
            "reconciler.yaml": f'{STACK}{{manifests: [m/], credentials: {{default: "${{env.GATEWAY_KEY}}"}}}}\n'
        }
    )
    stack.write({"m/m.yaml": manifest("Assistant/bot", "{model: m}")})
    assert "--allow-env GATEWAY_KEY" in stack.run("validate", expect=1).err
    stack.run("validate", "--allow-env", "GATEWAY_KEY", expect=0)


def test_no_other_file_is_sent_as_a_credential(stack: Inside) -> None:
    stack.write(
        {
            "secrets/t.token": "a token of the issues",
            "m/m.yaml": manifest("Assistant/bot", "{model: m}"),
        }
    )
    credentials = '{default: "${file:secrets/t.token}"}'
    stack.write({"reconciler.yaml": f"{STACK}{{manifests: [m/], credentials: {credentials}}}\n"})
    stack.emulator.clear_requests()
    assert (
        'reads "secrets/t.token", which does not contain an OpenAI key'
        in stack.run("plan", expect=1).err
    )
    assert not stack.emulator.requests


def test_the_folder_of_the_state_is_read_from_a_variable_that_the_caller_allows(
    stack: Inside,
) -> None:
    state = stack.folder.parent / "state"
    stack.variables["STATE_FOLDER"] = str(state)
    stack.write(
        {"reconciler.yaml": f'{STACK}{{backend: {{local: {{path: "${{env.STATE_FOLDER}}"}}}}}}\n'}
    )
    stack.write({"m/m.yaml": manifest("Assistant/bot", "{model: m}")})
    assert "--allow-env STATE_FOLDER" in stack.run("validate", expect=1).err
    stack.run("apply", "--yes", "--allow-env", "STATE_FOLDER", expect=0)
    assert [path.suffix for path in state.glob("*.db")] == [".db"]
