"""The address of a backend: what it names, what is wrong with it, and what is never printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.errors import StateError
from reconciler.model.secret import Redactor
from reconciler.state.address import local_address, parse_address, secret_parts

PASSWORD = "kahvi-tauko-77"

READ = {
    "postgresql": ("postgresql://ci@db.example:5432/states", "postgresql",
                   "postgresql://db.example:5432/states"),
    "postgres": ("postgres://db/states", "postgresql", "postgresql://db/states"),
    "scheme in capitals": ("POSTGRESQL://db/states", "postgresql", "postgresql://db/states"),
    "several hosts": ("postgresql://a:5432,b:5433/states", "postgresql",
                      "postgresql://a:5432,b:5433/states"),
    "address of version 6": ("postgresql://[::1]:5432/states", "postgresql",
                             "postgresql://[::1]:5432/states"),
    "socket": ("postgresql:///states?host=/run/postgresql", "postgresql",
               "postgresql:///states?host=/run/postgresql"),
    "database as a parameter": ("postgresql://db?dbname=states", "postgresql",
                                "postgresql://db?dbname=states"),
    "s3": ("s3://bucket/teams/shop", "s3", "s3://bucket/teams/shop"),
    "bucket alone": ("s3://bucket", "s3", "s3://bucket"),
    "slash at the end": ("s3://bucket/shop/", "s3", "s3://bucket/shop"),
    "azure": ("az://container/shop", "az", "az://container/shop"),
    "google": ("gs://bucket/shop", "gs", "gs://bucket/shop"),
    "white space around": (" s3://bucket/shop\n", "s3", "s3://bucket/shop"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "scheme", "shown"), READ.values(), ids=READ.keys())
def test_an_address_is_parsed_and_shown(text: str, scheme: str, shown: str) -> None:
    address = parse_address(text)
    assert (address.scheme, address.shown, address.folder) == (scheme, shown, None)
    assert address.is_remote


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("local:.reconciler", Path(".reconciler")),
        ("local:/var/lib/shop states", Path("/var/lib/shop states")),
        ("local:a@b", Path("a@b")),
        ("file:///var/lib/shop%20states", Path("/var/lib/shop states")),
        ("file://localhost/var/lib/states", Path("/var/lib/states")),
    ],
)
def test_a_local_address_is_a_folder(text: str, folder: Path) -> None:
    assert parse_address(text) == local_address(folder)
    assert parse_address(text).folder == folder


def test_a_driver_gets_the_address_with_its_credentials() -> None:
    text = f"postgresql://ci:{PASSWORD}@db/states?sslmode=require"
    assert parse_address(text).text == text


MALFORMED = ["[x/y", "[x", "x]/y", "[x]/y", "[::1/y", "[x:1/y", "x:y/z", "x:99999/y"]
SCHEMES = ["postgresql", "postgres", "s3", "az", "gs", "file", "mysql"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rest", MALFORMED)
def test_a_malformed_address_of_any_scheme_is_refused(scheme: str, rest: str) -> None:
    text = f"{scheme}://{rest}"
    with pytest.raises(StateError, match=r"address|backend"):
        parse_address(text)
    assert secret_parts(text) == ()


@pytest.mark.parametrize("scheme", ["postgresql", "s3", "az", "gs", "file"])
def test_a_malformed_address_is_named_if_it_cannot_hold_a_password(scheme: str) -> None:
    with pytest.raises(StateError) as caught:
        parse_address(f"{scheme}://[x/y")
    assert f'The address was "{scheme}://[x/y".' in caught.value.hint


@pytest.mark.parametrize("rest", [f"[ci:{PASSWORD}/y", f"[ci%3A{PASSWORD}/y", f"[x/y={PASSWORD}"])
@pytest.mark.parametrize("scheme", ["postgresql", "s3", "az", "gs", "file"])
def test_a_malformed_address_that_may_hold_a_password_is_not_quoted(scheme: str, rest: str) -> None:
    with pytest.raises(StateError) as caught:
        parse_address(f"{scheme}://{rest}")
    assert "tauko" not in str(caught.value) + caught.value.hint


def test_a_prefix_that_leads_out_is_named_with_its_address() -> None:
    with pytest.raises(StateError) as caught:
        parse_address("s3://bucket/a/../b")
    assert 'The address was "s3://bucket/a/../b".' in caught.value.hint


WRONG = {
    "empty": ("  ", "is empty", "Write one of postgresql://"),
    "misspelt scheme": ("postgresq://db/states", 'begin with "postgresq://"', "mean postgresql://"),
    "name of another program": ("gcs://bucket/x", 'begin with "gcs://"', "mean gs://BUCKET"),
    "unknown scheme": ("https://example.com/x", 'begin with "https://"', "Write one of"),
    "no slashes": ("s3:bucket/x", 'no "//" after "s3:"', "mean s3://BUCKET/PREFIX"),
    "path": ("./states", 'The address of the backend, "./states", has no scheme',
             'mean "local:./states"'),
    "word": ("states", "has no scheme", "mean local:PATH"),
    "remote": ("remote", "what a stack file says", "Write one of"),
    "no bucket": ("s3:///prefix", "names no bucket", "Write s3://BUCKET/PREFIX"),
    "no container": ("az://", "names no container", "Write az://CONTAINER/PREFIX"),
    "server as a bucket": ("s3://localhost:8333/b", "a name of the form s3://BUCKET", "without a port"),
    "prefix that leads out": ("s3://bucket/a/../b", "must not contain", "Write s3://"),
    "prefix with an empty part": ("s3://bucket/a//b", "must not contain", "Write s3://"),
    "fragment": ("s3://bucket/a#b", "must not contain #", "Write s3://"),
    "no host": ("postgresql:///states", "names no host: postgresql:///states", "Write postgresql://"),
    "no database": ("postgresql://db", "names no database: postgresql://db", "Write postgresql://"),
    "two databases": ("postgresql://db/a/b", "is one name", "Write postgresql://"),
    "port beyond all": ("postgresql://db:99999/a", "after a host comes a port", "HOST:PORT"),
    "settings": ("host=db dbname=states", "is a list of settings", "Write it as a URL: postgresql://"),
    "white space": ("postgresql://db/my states", "contains white space", "Write one of"),
    "control character": ("s3://bucket/a\x00b", "contains control characters", "Write one of"),
    "no folder": ("local:", "names no folder", "Write local:PATH"),
    "local with slashes": ("local://states", "names no folder", "Write local:PATH"),
    "home": ("local:~/states", "No shell expands the ~", "in full"),
    "file without slashes": ("file:states", "names no folder", "or local:PATH"),
    "file of another host": ("file://server/states", "names no folder", "Write file:///PATH"),
    "file with a control character": ("file:///a%00b", "contains control characters", "Write one of"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_address_says_what_is_wrong_and_what_to_write(
    text: str, message: str, hint: str
) -> None:
    with pytest.raises(StateError) as caught:
        parse_address(text)
    assert message in str(caught.value)
    assert hint in caught.value.hint


VALID_WITH_PASSWORD = {
    "user information": f"postgresql://ci:{PASSWORD}@db/states",
    "encoded": "postgresql://ci:kahvi%2Dtauko%2D77@db/states",
    "parameter": f"postgresql://ci@db/states?sslmode=require&password={PASSWORD}",
    "password of a key": f"postgresql://ci@db/states?sslpassword={PASSWORD}",
    "signature": f"az://container/x?sv=2024&sig={PASSWORD}",
}
INVALID_WITH_PASSWORD = {
    "slash in the password": f"postgresql://ci:a/{PASSWORD}@db/states",
    "question mark in the password": f"postgresql://ci:a?{PASSWORD}@db/states",
    "number sign in the password": f"postgresql://ci:a#{PASSWORD}@db/states",
    "at sign in the password": f"postgresql://ci:a@{PASSWORD}@db/states",
    "forgotten host": f"postgresql://ci:{PASSWORD}/states",
    "no database": f"postgresql://ci:{PASSWORD}@db",
    "no host": f"postgresql://ci:{PASSWORD}@/states",
    "unknown scheme": f"mysql://ci:{PASSWORD}@db/states",
    "no scheme": f"ci:{PASSWORD}@db/states",
    "no slashes": f"postgresql:ci:{PASSWORD}@db/states",
    "settings": f"host=db user=ci password={PASSWORD} dbname=states",
    "white space": f"postgresql://ci:{PASSWORD}@db/my states",
    "keys of an object store": f"s3://AKIA:{PASSWORD}@bucket/shop",
}


@pytest.mark.parametrize("text", VALID_WITH_PASSWORD.values(), ids=VALID_WITH_PASSWORD.keys())
def test_a_password_is_neither_shown_nor_in_the_representation(text: str) -> None:
    address = parse_address(text)
    for written in (address.shown, repr(address), str(address)):
        assert "tauko" not in written
        assert "ci" not in written


@pytest.mark.parametrize("text", INVALID_WITH_PASSWORD.values(), ids=INVALID_WITH_PASSWORD.keys())
def test_a_wrong_address_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(StateError) as caught:
        parse_address(text)
    assert "tauko" not in str(caught.value) + caught.value.hint


WITH_PASSWORD = {
    name: text
    for name, text in (VALID_WITH_PASSWORD | INVALID_WITH_PASSWORD).items()
    if name != "forgotten host"  # without an @ nothing tells a password from a host and its port
}


@pytest.mark.parametrize("text", WITH_PASSWORD.values(), ids=WITH_PASSWORD.keys())
def test_the_redactor_learns_the_password_of_any_text(text: str) -> None:
    redactor = Redactor(secret_parts(text))
    assert "tauko" not in redactor(f"cannot connect to {text}")


def test_the_redactor_learns_a_password_encoded_and_decoded() -> None:
    redactor = Redactor(secret_parts("postgresql://ci:kahvi%2Ftauko@db/states"))
    assert redactor("kahvi/tauko or kahvi%2Ftauko") == "••• or •••"


@pytest.mark.parametrize("part", ["ci:tauko@db:5432", "postgresql://ci:tauko@db/states"])
def test_a_short_password_is_hidden_with_its_user(part: str) -> None:
    redactor = Redactor(secret_parts("postgresql://ci:tauko@db/states"))
    assert "tauko" not in redactor(f"cannot connect to {part}")


def test_a_short_password_of_a_parameter_is_hidden_in_its_address() -> None:
    text = "postgresql://ci@db/states?password=tauko"
    assert "tauko" not in Redactor(secret_parts(text))(f"cannot connect to {text}")


def test_a_password_that_is_shown_as_a_name_does_not_spoil_messages() -> None:
    address = "postgresql://postgres:postgres@db/states"
    redactor = Redactor(secret_parts(address))
    assert redactor(f"{address}: postgresql://db/states") == "•••: postgresql://db/states"


@pytest.mark.parametrize(
    "text",
    ["postgresql://ci@db/states", "s3://bucket/x", "local:/a:b@c", "", "states",
     "postgresql://db/states?passfile=/run/secrets/pgpass&sslkey=/run/secrets/client.key"],
)  # fmt: skip
def test_an_address_without_a_password_has_nothing_to_hide(text: str) -> None:
    assert secret_parts(text) == ()
