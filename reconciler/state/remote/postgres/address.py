"""The address of a Postgres database: for libpq, and as messages may show it."""

from __future__ import annotations

import re
from urllib.parse import unquote

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.state.address import query_pairs, split_rest
from reconciler.state.remote.postgres.sql import DEFAULT_SCHEMA, checked_schema

SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(:[0-9]{1,5})?")


class PostgresAddress(Struct, frozen=True):
    """The parts of `postgresql://user:password@host:port/database?schema=…`."""

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
    authority, path, query = split_rest(rest)
    database = path.removeprefix("/")
    user_info, _, hosts = authority.rpartition("@")
    are_hosts = all(_HOST.fullmatch(host) for host in hosts.split(","))
    if scheme not in SCHEMES or not are_hosts or "@" in user_info + database + query:
        raise invalid_address()
    options = {unquote(name): unquote(value) for name, value in query_pairs(query)}
    schema = checked_schema(options.pop("schema", DEFAULT_SCHEMA))
    _, _, password = user_info.partition(":")
    secrets = {password, options.get("password", ""), options.get("sslpassword", "")}
    # `schema` is ours: libpq refuses parameters that it does not know.
    kept = [pair for pair in query.split("&") if pair and pair.partition("=")[0] != "schema"]
    location = f"{scheme}://{authority}{path}"
    shown_hosts = hosts or options.get("host", "")
    shown_database = unquote(database) or options.get("dbname", "")
    suffix = "" if schema == DEFAULT_SCHEMA else f"?schema={schema}"
    return PostgresAddress(
        connection_url=f"{location}?{'&'.join(kept)}" if kept else location,
        shown=f"postgresql://{shown_hosts}/{shown_database}{suffix}",
        database=shown_database,
        schema=schema,
        has_several_hosts="," in shown_hosts,
        options=frozenset(options),
        # Messages from elsewhere can quote a password as it was written or as it was decoded.
        secrets=tuple(sorted((secrets | set(map(unquote, secrets))) - {""})),
    )


def invalid_address() -> StateError:
    """The error of an address that cannot be parsed."""
    return StateError(
        "the address of the Postgres state is not valid",
        hint="write postgresql://user:password@host:5432/database, and in the password %40 for @, "
        "%2F for / and %3F for ?",
    )
