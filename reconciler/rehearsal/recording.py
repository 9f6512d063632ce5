"""Recordings: the answers from reading the live organization, as a file.

A recording holds answers of the API and the records of the state. It contains no secret: keys have
the redacted form that the API shows, and hidden fields are left out. It does contain names and
e-mail addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from reconciler.errors import UsageError
from reconciler.manifests.shapes import without_credentials
from reconciler.model.secret import MASK

FORMAT = "reconciler-recording"
VERSION = 1
"""Raised with every change that another version would misread."""

_Header = tuple[str, str]
"""The name and value of an HTTP header."""
_Word = Annotated[str, Meta(pattern="^[!-~]*$")]
"""The characters of a header: printable ASCII without spaces. Recordings are untrusted."""
_LATEST = 32_503_680_000
"""The year 3000, in unix seconds."""
_RECORD_AGAIN = "Record again with `reconciler rehearse --record FILE`."


class RecordedList(Struct, frozen=True):
    """The items of a list. `project` is the id of the project whose key read it, otherwise empty."""

    path: str
    items: list[dict[str, Any]]
    project: str = ""
    query: dict[str, str] = field(default_factory=dict)
    is_partial: bool = False
    """Whether the list has more items, which no reader needed."""


class RecordedObject(Struct, frozen=True):
    """One object that was read singly."""

    path: str
    body: dict[str, Any]
    project: str = ""


class RecordedRefusal(Struct, frozen=True):
    """A path that the API refused."""

    path: str
    status: int
    message: str
    code: str | None = None
    project: str = ""


class RecordedKey(Struct, frozen=True):
    """A key that could be used. `shown` is its redacted form, if a list showed the key."""

    project_id: _Word = ""
    shown: _Word = ""


class RecordedKeys(Struct, frozen=True):
    """The credentials of the stack that had a key."""

    admin: RecordedKey | None = None
    default: RecordedKey | None = None
    projects: dict[str, RecordedKey] = field(default_factory=dict)
    """By the project's name in the configuration."""


class RecordedCalls(Struct, frozen=True):
    """The calls of one route that the reading took."""

    method: str
    path: str
    calls: int
    is_admin: bool


class Recording(Struct, frozen=True):
    """An organization and the state of a stack, as they were at one moment."""

    read_at: Annotated[float, Meta(ge=0, le=_LATEST)]
    """By the clock of the server, in unix seconds."""
    server: str
    organization: _Word
    stack: str
    environment: str
    state: dict[str, Any]
    """An export of the state."""
    was_searched: bool
    """Whether an apply has searched every list for marked objects before."""
    is_whole: bool
    """Whether everything that the keys open was read, not only what one plan needs."""
    keys: RecordedKeys
    lists: list[RecordedList]
    objects: list[RecordedObject]
    refusals: list[RecordedRefusal]
    unread: list[str]
    calls: list[RecordedCalls]
    has_unfinished_work: bool = False
    """Whether an interrupted run had left unfinished work, which the recording lacks."""


class _RecordingEnvelope(Struct):
    format: str = ""
    version: Any = None


class _File(Struct):
    recording: Recording
    format: str = FORMAT
    version: int = VERSION


def dump(recording: Recording) -> str:
    """The recording as a file.

    Texts with the form of a credential are masked. So are headers, apart from those that the state
    knows from manifests, which plans compare.
    """
    declared: dict[str, frozenset[_Header]] = {}
    for resource in recording.state.get("resources", ()):
        declared[str(resource.get("id"))] = frozenset(_headers_in(resource.get("applied")))
    lists = []
    for entry in recording.lists:
        items = [_masked(item, declared) for item in entry.items]
        lists.append(replace(entry, items=items))
    masked = replace(
        recording,
        state=without_credentials(recording.state, MASK),
        lists=lists,
        objects=[replace(each, body=_masked(each.body, declared)) for each in recording.objects],
    )
    packed = msgspec.json.encode(_File(masked))
    return msgspec.json.format(packed, indent=1).decode() + "\n"


def _masked(body: dict[str, Any], declared: Mapping[str, Collection[_Header]]) -> dict[str, Any]:
    # The value of a header has no form by which a credential is recognized.
    kept = declared.get(str(body.get("id")), ())
    masked: dict[str, Any] = without_credentials(_without_headers(body, kept), MASK)
    return masked


def _headers_in(value: Any) -> Iterator[_Header]:
    """The pairs in each map named `headers` in a JSON value."""
    if isinstance(value, list):
        for element in value:
            yield from _headers_in(element)
    elif isinstance(value, dict):
        for name, element in value.items():
            if name == "headers" and isinstance(element, dict):
                for header, text in element.items():
                    yield header, str(text)
            else:
                yield from _headers_in(element)


def _without_headers(value: Any, kept: Collection[_Header]) -> Any:
    """A JSON value with masked values in each map named `headers`, apart from some."""
    if isinstance(value, list):
        return [_without_headers(element, kept) for element in value]
    if not isinstance(value, dict):
        return value
    masked = {}
    for name, element in value.items():
        if name == "headers" and isinstance(element, dict):
            masked[name] = _masked_headers(element, kept)
        else:
            masked[name] = _without_headers(element, kept)
    return masked


def _masked_headers(headers: dict[str, Any], kept: Collection[_Header]) -> dict[str, Any]:
    return {name: text if (name, str(text)) in kept else MASK for name, text in headers.items()}


def load(text: str, *, name: str) -> Recording:
    """Parse a recording; raises UsageError that names the file."""
    try:
        envelope = msgspec.json.decode(text, type=_RecordingEnvelope)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        envelope = _RecordingEnvelope()
    # The envelope first: a file of another version may have other fields.
    if envelope.format != FORMAT:
        raise UsageError(f"{name} is not a recording", hint=_RECORD_AGAIN)
    if envelope.version != VERSION:
        raise UsageError(
            f"{name} is a recording of format {envelope.version}, and this version of reconciler "
            f"reads format {VERSION}",
            hint=_RECORD_AGAIN,
        )
    try:
        return msgspec.json.decode(text, type=_File).recording
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise UsageError(f"{name} is damaged: {error}", hint=_RECORD_AGAIN) from error


def check_belongs(recording: Recording, *, stack: str, environment: str, name: str) -> None:
    """Raise UsageError for the recording of another stack or environment."""
    theirs, ours = (recording.stack, recording.environment), (stack, environment)
    if theirs != ours:
        raise UsageError(
            f"{name} was recorded for {'/'.join(theirs)}, and this is {'/'.join(ours)}",
            hint="Choose the environment with -e, or record this stack.",
        )


def check_age(recording: Recording, *, now: float, max_days: float, name: str) -> None:
    """Raise UsageError for a recording that is too old to represent the organization."""
    days = (now - recording.read_at) / 86_400
    if days > max_days:
        raise UsageError(
            f"{name} is {days:,.0f} days old, more than the {max_days:,.0f} days of --max-age",
            hint=f"{_RECORD_AGAIN} To use it nevertheless, raise --max-age.",
        )


def as_organization(recording: Recording, keys: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The organization as the emulator loads it; `keys` are those that the copy accepts."""
    return {
        "organization": recording.organization,
        "lists": msgspec.to_builtins(recording.lists),
        "objects": msgspec.to_builtins(recording.objects),
        "refusals": list(map(_refusal, recording.refusals)),
        "keys": list(keys),
    }


def _refusal(refusal: RecordedRefusal) -> dict[str, Any]:
    error = {
        "message": refusal.message,
        "type": "invalid_request_error",
        "param": None,
        "code": refusal.code,
    }
    return {
        "path": refusal.path,
        "status": refusal.status,
        "project": refusal.project,
        "body": {"error": error},
    }
