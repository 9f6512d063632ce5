"""The address of a Postgres database, as people write it and as messages may show it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.remote.postgres.sql import DEFAULT_SCHEMA, checked_schema

SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(:[0-9]{1,5})?")


class PostgresAddress(Struct, frozen=True):
    """`postgresql://user:password@host:port/database?schema=…`, taken apart."""

    connection_url: str = ""
    """What libpq connects to. Contains the password."""
    shown: str = ""
    """The same without user, password and parameters."""
    database: str = ""
    schema: str = DEFAULT_SCHEMA
    has_several_hosts: bool = False
    options: frozenset[str] = frozenset()
    """The names of the parameters that the address sets."""
    secrets: tuple[str, ...] = ()

    def redact(self, text: str) -> str:
        """A text from elsewhere, without the secrets of the address."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def parse(url: str) -> PostgresAddress:
    """Take an address apart. Raises StateError, which never quotes it, as it may hold a password.

    libpq would understand a password with a raw "@" or "/" as part of the host or the database, and
    messages would show it. Such an address is refused.
    """
    scheme, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    authority, _, database = location.partition("/")
    user_info, _, hosts = authority.rpartition("@")
    are_hosts = all(_HOST.fullmatch(host) for host in hosts.split(","))
    if scheme not in SCHEMES or not are_hosts or "@" in user_info + database + query:
        raise invalid_address()
    options = dict(_options(query))
    schema = checked_schema(options.pop("schema", DEFAULT_SCHEMA))
    _, _, password = user_info.partition(":")
    secrets = {password, options.get("password", ""), options.get("sslpassword", "")}
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != "schema"]
    shown_hosts = hosts or options.get("host", "")
    shown_database = unquote(database) or options.get("dbname", "")
    suffix = "" if schema == DEFAULT_SCHEMA else f"?schema={schema}"
    return PostgresAddress(
        connection_url=f"{scheme}://{location}" + ("?" + "&".join(kept) if kept else ""),
        shown=f"postgresql://{shown_hosts}/{shown_database}{suffix}",
        database=shown_database,
        schema=schema,
        has_several_hosts="," in shown_hosts,
        options=frozenset(options),
        secrets=tuple(sorted((secrets | {unquote(secret) for secret in secrets}) - {""})),
    )


def invalid_address() -> StateError:
    """The address cannot be understood."""
    return StateError(
        "the address of the Postgres state is not valid",
        hint="write postgresql://user:password@host:5432/database, and in the password %40 for @, "
        "%2F for / and %3F for ?",
    )


def _options(query: str) -> list[tuple[str, str]]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return [(unquote(name), unquote(value)) for name, _, value in pairs]
