"""The address of a backend: which storage holds the state.

An address can hold a password. Messages show `BackendAddress.shown`, never the text itself. An
invalid address is quoted only if it has no character that could set a password apart: a part that
looks like a path may be half a password.

`parse_address` accepts what a user types, for every backend, and explains mistakes. The storages
parse the accepted text once more for their own use, with `split_rest` and `query_pairs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from msgspec import Struct

from reconciler.errors import StateError
from reconciler.model.secret import Secret

LOCAL = "local"
POSTGRES = "postgresql"
OBJECT_STORES = ("s3", "az", "gs")

_FORMS = {
    POSTGRES: "postgresql://USER@HOST/DATABASE",
    "s3": "s3://BUCKET/PREFIX",
    "az": "az://CONTAINER/PREFIX",
    "gs": "gs://BUCKET/PREFIX",
    LOCAL: "local:PATH",
}
_OTHER_NAMES = {
    "abfs": "az",
    "abfss": "az",
    "azblob": "az",
    "azure": "az",
    "dir": LOCAL,
    "file": LOCAL,
    "gcs": "gs",
    "minio": "s3",
    "path": LOCAL,
    "pg": POSTGRES,
    "pgsql": POSTGRES,
    "postgres": POSTGRES,
    "psql": POSTGRES,
    "s3a": "s3",
}
"""Other names of our schemes, such as those of other programs."""

_HINT = f"Write one of {', '.join(_FORMS.values())}."
_ENCODE = "Percent-encode special characters of user and password: / as %2F, @ as %40, ? as %3F, # as %23."
_PUBLIC_PARAMETERS = frozenset(
    {"connect_timeout", "dbname", "endpoint", "host", "hostaddr", "port", "region", "sslmode"}
)
# Texts rather than patterns: most runs need none of them, and compiling takes time.
_TELLING_NAME = r"(?i)pass|pwd|secret|token|sig|credential|key"
_SECRET_FILES = frozenset({"passfile", "sslkey"})
"""Parameters whose names suggest a secret, and whose values are paths."""
_SETTING = r"([A-Za-z0-9_.-]+)\s*=\s*('[^']*'|[^&\s]+)"
_SERVER = r"(?:\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(?::([0-9]{0,5}))?"
_LAST_PORT = 65535
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SETS_PASSWORDS_APART = frozenset(":@?=&#%")


class BackendAddress(Struct, frozen=True):
    """A checked address. `text` is the whole of it, with credentials; `shown` is for messages.

    `scheme` is `postgresql`, `s3`, `az`, `gs` or `local`. `folder` is that of a local state, as it
    was written: a relative path is relative to the current folder.
    """

    scheme: str
    text: str
    shown: str
    folder: Path | None = None

    def __repr__(self) -> str:
        return f"BackendAddress({self.shown})"

    @property
    def is_remote(self) -> bool:
        """Whether the state is not in a folder of this machine."""
        return self.scheme != LOCAL


def local_address(folder: Path) -> BackendAddress:
    """The address of a folder."""
    text = f"{LOCAL}:{folder}"
    return BackendAddress(LOCAL, text, text, folder)


def parse_address(text: str) -> BackendAddress:
    """Parse an address of any backend; raises StateError."""
    # Variables that are set from files often end with a line break.
    text = text.strip()
    try:
        return _parsed(text)
    except StateError as error:
        raise _with_address(error, text) from None


def _with_address(error: StateError, text: str) -> StateError:
    """The error with the address, unless its message has it or the address may hold a password."""
    _, separator, rest = text.partition("://")
    if not separator:
        rest = text
    may_hold_password = bool(_SETS_PASSWORDS_APART & set(rest))
    if not text or not text.isprintable() or may_hold_password or text in str(error):
        return error
    return StateError(str(error), hint=f'{error.hint} The address was "{text}".')


def _parsed(text: str) -> BackendAddress:
    if not text:
        raise StateError("The address of the backend is empty.", hint=_HINT)
    if not text.isprintable():
        raise StateError("The address of the backend contains control characters.", hint=_HINT)
    scheme, separator, rest = text.partition(":")
    scheme = scheme.lower()
    if separator and scheme == LOCAL:
        return _local(rest)
    if separator and scheme == "file":
        return _file(rest)
    _refuse_settings(text)
    # Only after the folders, whose names may contain spaces.
    if any(map(str.isspace, text)):
        raise StateError("The address of the backend contains white space.", hint=_HINT)
    if not rest.startswith("//"):
        raise _without_scheme(text, scheme)
    if scheme in ("postgres", POSTGRES):
        return _postgres(f"{scheme}:{rest}", rest[2:])
    if scheme in OBJECT_STORES:
        return _object_store(scheme, rest[2:])
    raise _unknown(scheme)


def secret_parts(text: str) -> tuple[Secret, ...]:
    """The secrets in an address, for the redactor. Takes any text, valid or not."""
    shown = ""
    with suppress(StateError):
        address = parse_address(text)
        if not address.is_remote:
            return ()
        shown = address.shown
    values = list(dict.fromkeys(_secret_values(text)))
    if not values:
        return ()
    # A password such as "postgres" is also a part of the address that is shown. Masking it would
    # hide nothing, and would spoil every message.
    hidden = [value for value in values if value not in shown]
    return tuple(map(Secret, (text.strip(), *hidden)))


def _secret_values(text: str) -> Iterator[str]:
    # Up to the last @: an unencoded / or ? in a password ends the authority too early.
    before, separator, _ = text.partition("://")[2 if "://" in text else 0].rpartition("@")
    password = before.partition(":")[2]
    if separator and password:
        yield before
        yield password
        yield unquote(password)
    for name, value in re.findall(_SETTING, text):
        if re.search(_TELLING_NAME, name) and name.lower() not in _SECRET_FILES:
            yield value.strip("'")
            yield unquote(value.strip("'"))


def _refuse_settings(text: str) -> None:
    """Refuse libpq's other form, `host=… password=…`, by its name."""
    if "://" not in text and re.match(r"[a-z_]+\s*=", text):
        message = "The address of the backend is a list of settings."
        raise StateError(message, hint=f"Write it as a URL: {_FORMS[POSTGRES]}.")


def _without_scheme(text: str, scheme: str) -> StateError:
    if text == "remote":
        message = "`remote` is what a stack file says; the address itself is needed here."
        return StateError(message, hint=_HINT)
    known = _scheme_like(scheme)
    if known in _FORMS:
        message = f'The address of the backend has no "//" after "{scheme}:".'
        return StateError(message, hint=f"Did you mean {_FORMS[known]}?")
    if text.startswith(("/", "./", "../")) and "@" not in text:
        return StateError(
            f'The address of the backend, "{text}", has no scheme.',
            hint=f'Did you mean "{LOCAL}:{text}"?',
        )
    if "@" in text:
        hint = f"Did you mean {_FORMS[POSTGRES]}?"
        return StateError("The address of the backend has no scheme.", hint=hint)
    hint = f"{_HINT} For a folder, did you mean {_FORMS[LOCAL]}?"
    return StateError("The address of the backend has no scheme.", hint=hint)


def _unknown(scheme: str) -> StateError:
    known = _scheme_like(scheme)
    hint = f"Did you mean {_FORMS[known]}? {_HINT}" if known else _HINT
    if not re.fullmatch(r"[a-z][a-z0-9+.-]{0,20}", scheme):
        return StateError("The address of the backend begins with no scheme.", hint=hint)
    return StateError(f'No backend has addresses that begin with "{scheme}://".', hint=hint)


def _scheme_like(scheme: str) -> str:
    """The scheme that was probably meant; empty where none comes close."""
    import difflib  # only where something is misspelt

    known = {**{name: name for name in _FORMS}, **_OTHER_NAMES}
    close = difflib.get_close_matches(scheme, known, n=1)
    return known[close[0]] if close else ""


def _postgres(text: str, rest: str) -> BackendAddress:
    authority, path, query = split_rest(rest)
    user_info, _, host = authority.rpartition("@")
    # libpq ends the user information at the first @, others at the last.
    if "@" in user_info or "@" in path or "@" in query or "#" in rest:
        message = "The address of the database cannot be read: it contains a stray @ or #."
        raise StateError(message, hint=_ENCODE)
    if not all(map(_is_server, host.split(","))):
        message = "The address of the database cannot be read: after a host comes a port."
        hint = f"Write {_FORMS[POSTGRES]}, where HOST can be HOST:PORT. {_ENCODE}"
        raise StateError(message, hint=hint)
    parameters = _parameters(query)
    database = path.strip("/")
    if not host.partition(":")[0] and not {"host", "hostaddr"} & parameters.keys():
        message = f"The address of the database names no host: {_shown(POSTGRES, host, path, '')}"
        raise StateError(message, hint=f"Write {_FORMS[POSTGRES]}.")
    if not database and "dbname" not in parameters:
        message = f"The address names no database: {_shown(POSTGRES, host, '', '')}"
        raise StateError(message, hint=f"Write {_FORMS[POSTGRES]}.")
    if "/" in database:
        message = "The path of the address of a database is one name, that of the database."
        raise StateError(message, hint=f"Write {_FORMS[POSTGRES]}. {_ENCODE}")
    return BackendAddress(POSTGRES, text, _shown(POSTGRES, host, path, query))


def _is_server(text: str) -> bool:
    """Whether a text is a host with an optional port. Any other text may be half a password."""
    server = re.fullmatch(_SERVER, text)
    return server is not None and int(server[1] or 0) <= _LAST_PORT


def _object_store(scheme: str, rest: str) -> BackendAddress:
    bucket, path, query = split_rest(rest)
    form = _FORMS[scheme]
    if "@" in bucket or "@" in path:
        message = f"The address of an object store contains no credentials: write {form}."
        hint = "Credentials come from the environment, as for the provider's own tools."
        raise StateError(message, hint=hint)
    if not bucket:
        noun = "container" if scheme == "az" else "bucket"
        raise StateError(f"The address of the backend names no {noun}.", hint=f"Write {form}.")
    prefix = path.strip("/")
    if not re.fullmatch(_BUCKET, bucket):
        message = f"The address of the backend does not begin with a name of the form {form}."
        hint = "A name consists of letters, digits, '.', '_' and '-', without a port."
        raise StateError(message, hint=hint)
    segments = prefix.split("/") if prefix else []
    # A part such as `..` would name objects of another prefix on servers that normalize paths.
    if "#" in rest or any(segment in ("", ".", "..") for segment in segments):
        message = f"The prefix in {form} must not contain #, empty parts, '.' or '..' as a part."
        raise StateError(message, hint=f"Write {form}.")
    plain = "/".join([bucket, *segments])
    whole = f"{scheme}://{plain}" + (f"?{query}" if query else "")
    return BackendAddress(scheme, whole, _shown(scheme, plain, "", query))


def _local(path: str) -> BackendAddress:
    if not path or path.startswith("//"):
        message = "The address of the backend names no folder."
        raise StateError(message, hint="Write local:PATH, as in local:/var/lib/reconciler.")
    # A folder with the name "~" in the current folder is never what the user means.
    if path.startswith("~"):
        message = "No shell expands the ~ in the address of the backend."
        raise StateError(message, hint="Write the folder in full, as in local:/home/me/state.")
    return local_address(Path(path))


def _file(rest: str) -> BackendAddress:
    path = unquote(rest.removeprefix("//").removeprefix("localhost"))
    if not rest.startswith("//") or not path.startswith("/") or {"?", "#"} & set(rest):
        message = "The address of the backend names no folder of this machine."
        raise StateError(message, hint="Write file:///PATH, or local:PATH for a relative path.")
    if not path.isprintable():
        raise StateError("The address of the backend contains control characters.", hint=_HINT)
    return local_address(Path(path))


def split_rest(rest: str) -> tuple[str, str, str]:
    """Authority, path and query of what follows `//`; the path keeps its slash."""
    before, _, query = rest.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, query


def query_pairs(query: str) -> Iterator[tuple[str, str]]:
    """Names and values of a query, still percent-encoded."""
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            yield name, value


def _parameters(query: str) -> dict[str, str]:
    return {name: value for name, value in query_pairs(query) if value}


def _shown(scheme: str, host: str, path: str, query: str) -> str:
    """An address without user information and without parameters that may be secret."""
    public = []
    for name, value in _parameters(query).items():
        # An allow list: a parameter that this version does not know may be a password.
        if name in _PUBLIC_PARAMETERS and "@" not in value:
            public.append(f"{name}={value}")
    location = f"{scheme}://{host}{path}"
    return f"{location}?{'&'.join(public)}" if public else location
