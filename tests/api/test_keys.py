"""Each call uses the key of its project, and a missing key is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.api.keys import KeyRing
from reconciler.errors import CredentialError
from reconciler.model.address import Address
from reconciler.model.secret import Secret
from tests.api.conftest import Given

DEFAULT = Given("OPENAI_API_KEY", Secret("sk-default-000000000000"))
OWN = Given("SEARCH_KEY", Secret("sk-search-0000000000000"))
MINTED = Secret("sk-minted-0000000000000")


def ring(root: Path, **given: Any) -> KeyRing:
    return KeyRing(**{"admin": None, "default": None, "projects": {}, **given}, root=root)


def test_a_project_uses_its_own_key(tmp_path: Path) -> None:
    keys = ring(tmp_path, default=DEFAULT, projects={"search": OWN})
    assert (keys.for_project("search").secret, keys.for_project("search").source) == (
        OWN.secret,
        "SEARCH_KEY",
    )


def test_a_project_without_a_credential_uses_the_default_key(tmp_path: Path) -> None:
    assert ring(tmp_path, default=DEFAULT).for_project("search").secret == DEFAULT.secret


def test_a_missing_admin_key_is_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        ring(tmp_path, admin=Given("${env.ADMIN}")).admin()
    assert "${env.ADMIN} is empty" in str(caught.value)
    assert "OPENAI_ADMIN_KEY" in caught.value.hint


def test_a_missing_project_key_names_the_entry_of_the_stack_file(tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        ring(tmp_path).for_project("search")
    assert "credentials.projects.search" in caught.value.hint


def test_a_key_file_is_read_when_it_appears(tmp_path: Path) -> None:
    keys = ring(
        tmp_path, default=DEFAULT, projects={"search": Given("the key file", file="search.key")}
    )
    before = keys.has_project("search")
    (tmp_path / "search.key").write_text("  sk-from-file-00000000\n")
    assert (before, keys.for_project("search").secret) == (False, Secret("sk-from-file-00000000"))


def test_a_project_whose_key_file_is_missing_never_uses_the_default_key(tmp_path: Path) -> None:
    keys = ring(
        tmp_path, default=DEFAULT, projects={"search": Given("the key file", file="search.key")}
    )
    with pytest.raises(CredentialError, match="not there yet"):
        keys.for_project("search")


def test_a_minted_key_serves_a_project_that_has_none(tmp_path: Path) -> None:
    keys = ring(tmp_path)
    keys.learn("search", MINTED)
    assert keys.for_project("search").secret == MINTED


def test_a_minted_key_does_not_replace_a_configured_one(tmp_path: Path) -> None:
    keys = ring(tmp_path, projects={"search": OWN})
    keys.learn("search", MINTED)
    assert keys.for_project("search").secret == OWN.secret


@pytest.mark.parametrize("content", ["two words", "two\nlines", "schlüssel", "a\x00b"])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "search.key").write_text(content)
    keys = ring(tmp_path, projects={"search": Given("the key file", file="search.key")})
    with pytest.raises(CredentialError, match="does not hold a key"):
        keys.for_project("search")


@pytest.mark.parametrize("name", ["../outside.key", "/etc/hostname", "link/outside.key"])
def test_a_key_file_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "stack"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    (tmp_path / "outside.key").write_text("sk-outside")
    with pytest.raises(CredentialError, match="outside"):
        ring(root, projects={"search": Given("the key file", file=name)}).for_project("search")


def test_no_key_shows_in_a_repr(tmp_path: Path) -> None:
    assert "sk-" not in repr(ring(tmp_path, default=DEFAULT).for_project(None))


def test_white_space_around_a_key_is_dropped(tmp_path: Path) -> None:
    keys = ring(tmp_path, default=Given("OPENAI_API_KEY", Secret(" sk-default-000000000000\r\n")))
    assert keys.for_project(None).secret == DEFAULT.secret


def test_a_variable_that_holds_no_key_is_named_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(CredentialError) as caught:
        ring(tmp_path, default=Given("OPENAI_API_KEY", Secret("sk-a\nsk-b"))).for_project(None)
    assert "OPENAI_API_KEY does not hold a key" in str(caught.value)
    assert "sk-" not in str(caught.value)


ACCOUNT = Address.parse("ServiceAccount/search/deployer")
OTHER_ACCOUNT = Address.parse("ServiceAccount/search/reader")
IN_SINK = Given("the sink", from_sink=ACCOUNT)


def test_a_sink_that_does_not_show_its_key_is_asked_once(tmp_path: Path) -> None:
    asked: list[Address] = []
    keys = ring(tmp_path, projects={"search": IN_SINK}, recall=asked.append)
    assert [keys.has_project("search") for _ in range(3)] == [False] * 3
    assert asked == [ACCOUNT]


def test_a_new_key_replaces_the_one_that_was_read_from_its_sink(tmp_path: Path) -> None:
    keys = ring(tmp_path, projects={"search": IN_SINK}, recall=lambda _: OWN.secret)
    before = keys.for_project("search").secret
    keys.learn("search", MINTED, writer=ACCOUNT)
    assert (before, keys.for_project("search").secret) == (OWN.secret, MINTED)


def test_the_new_key_of_another_account_does_not_replace_the_one_in_a_sink(tmp_path: Path) -> None:
    keys = ring(tmp_path, projects={"search": IN_SINK}, recall=lambda _: OWN.secret)
    keys.learn("search", MINTED, writer=OTHER_ACCOUNT)
    assert keys.for_project("search").secret == OWN.secret


def test_the_key_that_a_credential_names_outranks_one_that_was_created_before_it(
    tmp_path: Path,
) -> None:
    keys = ring(tmp_path, projects={"search": IN_SINK})
    keys.learn("search", OWN.secret, writer=OTHER_ACCOUNT)
    keys.learn("search", MINTED, writer=ACCOUNT)
    assert keys.for_project("search").secret == MINTED
