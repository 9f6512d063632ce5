"""Values of a spec that are more than JSON: references, unknowns, local files.

A spec as written is JSON. After resolution it may also contain a `Reference` (the id or another
field of a resource), a `Template` (text with references inside), a `LocalFile`, a `FileSet` or a
`SecretValue`. Planning replaces references by their values or by `Unknown`. `encode` and `decode`
convert all of them to JSON and back, for saved plans and state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from msgspec import Struct, convert
from msgspec.structs import replace

from reconciler.model.address import Address

T = TypeVar("T")

# One reserved key marks an encoded value; a plain map that happens to use it is wrapped as `literal`.
TAG = "$reconciler"
"""The key that marks a model type in JSON."""
_TAG = TAG

Spec = Mapping[str, Any]
_PLAIN = frozenset((str, int, float, bool, type(None)))
"""Types of leaves that are JSON."""

MAP = (dict, Mapping)
"""Types for `isinstance` checks of maps. The abstract class alone is ten times slower, and nearly
all maps are dicts."""


class Reference(Struct, frozen=True, tag_field=_TAG, tag="reference"):
    """A field of another resource. `path` is empty for the id, else the keys and indexes below the
    spec."""

    address: Address
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "${" + ".".join((str(self.address), *self.path)) + "}"


class Template(Struct, frozen=True, tag_field=_TAG, tag="template"):
    """Text with references: strings and references, in order."""

    parts: tuple[str | Reference, ...]

    def __str__(self) -> str:
        return "".join(str(part) for part in self.parts)


class Unknown(Struct, frozen=True, tag_field=_TAG, tag="unknown"):
    """A value that only an earlier step of the same apply provides. `source` is the expression that
    it comes from."""

    source: str = ""

    def __str__(self) -> str:
        return "(known after apply)"


class LocalFile(Struct, frozen=True, tag_field=_TAG, tag="file"):
    """A file of the stack: its path below the stack's folder with `/`, and its content when it was
    read.

    `sha256` is hexadecimal, `size` is in bytes.
    """

    path: str
    sha256: str
    size: int

    def __str__(self) -> str:
        return f"{self.path} ({self.size} bytes, sha256 {self.sha256[:12]})"


class Member(Struct, frozen=True, tag_field=_TAG, tag="member"):
    """A file in a collection: a local file or the id of an uploaded one.

    `key` identifies the member in diffs and across runs: the relative path of a local file, else
    the id or the expression. In a bundle, `file_id` is the id of the version that contains the
    file.
    """

    key: str
    content: LocalFile | None
    file_id: Any = None
    attributes: Any = None
    chunking_strategy: Any = None
    refused: str = ""
    """The API's message if it refused the file, at upload or when it was attached.

    Such a member is not in the collection, and is not sent again until it changes.
    """

    @property
    def upload(self) -> LocalFile:
        """The local file. Raises TypeError if there is none."""
        if self.content is None:
            raise TypeError(f"{self.key} has no content to upload")
        return self.content


class FileSet(Struct, frozen=True, tag_field=_TAG, tag="files"):
    """The members that a collection should contain, sorted by key."""

    members: tuple[Member, ...]

    @property
    def by_key(self) -> dict[str, Member]:
        """The members by the key that identifies each across runs."""
        return {member.key: member for member in self.members}


class SecretValue(Struct, frozen=True, tag_field=_TAG, tag="secret"):
    """A value that is sent to the API and stored nowhere: its source and a digest.

    `source` is `env NAME`, `file PATH` or the text of a place (`model/sources.py`). `digest` uses a
    key from the state, so that nobody else can test guesses; it is empty if the value could not be
    read. Values from different sources always differ: someone who may name sources and see plans
    must not learn whether two are equal.
    """

    source: str
    digest: str = ""

    def __str__(self) -> str:
        return f"(secret from {self.source})"


def walk(value: Any) -> list[Any]:
    """All leaves below `value`, in order of appearance, without the keys of maps.

    The parts of a template are leaves, and so are local files, references, unknowns and secret
    values. Of the members of a file set, only parts that may contain references are visited.
    """
    # A list and not a generator: planning walks every spec several times, and a generator at each
    # level of nesting is measurably slower.
    leaves: list[Any] = []
    _append_leaves((value,), leaves)
    return leaves


def _append_leaves(parts: Iterable[Any], leaves: list[Any]) -> None:
    for part in parts:
        # Nearly all parts are plain; a lookup of their type is cheaper than the checks below.
        if type(part) in _PLAIN:
            leaves.append(part)
        elif isinstance(part, MAP):
            _append_leaves(part.values(), leaves)
        elif isinstance(part, (list, tuple)):
            _append_leaves(part, leaves)
        elif isinstance(part, FileSet):
            _append_leaves(_open_parts(part.members), leaves)
        elif isinstance(part, Template):
            leaves.extend(part.parts)
        else:
            leaves.append(part)


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to everything that is neither a map, a list nor text."""
    if isinstance(value, str):
        return value
    if isinstance(value, MAP):
        return {key: map_leaves(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [map_leaves(part, change) for part in value]
    return change(value)


def texts_in(value: Any) -> Iterator[str]:
    """All texts below `value`, in order of appearance."""
    return _leaves_of_type(value, str)


def secrets_in(value: Any) -> Iterator[SecretValue]:
    """All secret values below `value`, in order of appearance."""
    return _leaves_of_type(value, SecretValue)


def with_secrets(value: Any, change: Callable[[SecretValue], Any]) -> Any:
    """`value` with `change` applied to every secret value; the value itself if there is none."""
    # Most values have no secret, and copying them would cost more than this search.
    if next(secrets_in(value), None) is None:
        return value
    return map_leaves(value, lambda leaf: change(leaf) if isinstance(leaf, SecretValue) else leaf)


def references_in(value: Any) -> Iterator[Reference]:
    """All references below `value`, in order of appearance, with repeats."""
    return _leaves_of_type(value, Reference)


def _leaves_of_type(value: Any, type_: type[T]) -> Iterator[T]:
    return (leaf for leaf in walk(value) if isinstance(leaf, type_))


def _open_parts(members: Iterable[Member]) -> Iterator[Any]:
    """The parts of members that can be unknown. Most of many local files have none."""
    for member in members:
        for part in (member.file_id, member.attributes, member.chunking_strategy):
            if part is not None:
                yield part


def substitute(value: Any, lookup: Callable[[Reference], Any]) -> Any:
    """`value` with every reference replaced by what `lookup` returns, which may be an `Unknown`.

    Text around an unknown becomes unknown as a whole. A member named by a reference takes the
    resolved value as its key, so that it is recognised in the live collection.
    """

    def substituted(leaf: Any) -> Any:
        if isinstance(leaf, Reference):
            return lookup(leaf)
        if isinstance(leaf, Template):
            parts = [lookup(part) if isinstance(part, Reference) else part for part in leaf.parts]
            # A text with one unknown part cannot be compared or shown in parts.
            if any(isinstance(part, Unknown) for part in parts):
                return Unknown(str(leaf))
            return "".join(str(part) for part in parts)
        if isinstance(leaf, FileSet):
            members = [_substitute_member(member, lookup) for member in leaf.members]
            # Keys can have changed, and sets are compared in the order of keys.
            return FileSet(tuple(sorted(members, key=lambda member: member.key)))
        return leaf

    return map_leaves(value, substituted)


def _substitute_member(member: Member, lookup: Callable[[Reference], Any]) -> Member:
    file_id = substitute(member.file_id, lookup)
    if member.content:
        key = member.key
    else:
        # The id becomes the key once it is known, so that the member is found in the live collection.
        key = file_id.source if isinstance(file_id, Unknown) else str(file_id)
    return Member(
        key=key,
        content=member.content,
        file_id=file_id,
        attributes=substitute(member.attributes, lookup),
        chunking_strategy=substitute(member.chunking_strategy, lookup),
        refused=member.refused,
    )


def by_content(
    specs: Mapping[Address, Spec], lookup: Callable[[Reference], Any]
) -> Callable[[Reference], Any]:
    """A lookup that returns the file instead of the id of its upload, so that content is compared
    instead of names."""

    def content_or_value(reference: Reference) -> Any:
        # Only the id stands for the content; other fields of the upload are compared as values.
        if not reference.path:
            for value in specs.get(reference.address, {}).values():
                if isinstance(value, LocalFile):
                    return value
        return lookup(reference)

    return content_or_value


def value_at(value: Any, path: Iterable[str]) -> Any:
    """The value below `value` at a path of keys and indexes; None if there is none, an Unknown if
    the path ends at one."""
    for part in path:
        if isinstance(value, MAP):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return value if isinstance(value, Unknown) else None
    return value


def has_unknown(value: Any) -> bool:
    """Whether anything below `value` is known only after apply."""
    return any(isinstance(leaf, Unknown) for leaf in walk(value))


def encode(value: Any) -> Any:
    """Any value of a spec as JSON. Raises TypeError for a Secret, which no spec contains."""
    if type(value) in _PLAIN:
        return value
    match value:
        case bool() | int() | float() | str():
            return value
        case list() | tuple():
            return [encode(element) for element in value]
        case Member(key, content, file_id, attributes, chunking_strategy, refused):
            return {
                _TAG: "member",
                "key": key,
                "content": encode(content),
                "file_id": encode(file_id),
                "attributes": encode(attributes),
                "chunking_strategy": encode(chunking_strategy),
                **({"refused": refused} if refused else {}),
            }
        case LocalFile(path, sha256, size):
            return {_TAG: "file", "path": path, "sha256": sha256, "size": size}
        case FileSet(members):
            return {_TAG: "files", "members": [encode(member) for member in members]}
        case Reference(address, path):
            return {_TAG: "reference", "address": str(address), "path": list(path)}
        case Template(parts):
            return {_TAG: "template", "parts": [encode(part) for part in parts]}
        case Unknown(source):
            return {_TAG: "unknown", "source": source}
        case SecretValue(source, digest):
            return {_TAG: "secret", "source": source, "digest": digest}
        case Mapping():
            plain = {str(key): encode(element) for key, element in value.items()}
            # A manifest may use our key. Unwrapped, its map would be decoded as a model type.
            if _TAG in plain:
                return {_TAG: "literal", "value": plain}
            return plain
    raise TypeError(f"a {type(value).__name__} cannot be part of a plan or a state")


def decode(value: Any) -> Any:
    """The inverse of `encode`. Raises ValueError on a tag that this version does not know."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return [decode(element) for element in value]
    if not isinstance(value, dict):
        return value
    match value.get(_TAG):
        case None:
            return {key: decode(element) for key, element in value.items()}
        case "member":
            return _with_decoded_parts(convert(value, Member))
        case "file":
            return LocalFile(value["path"], value["sha256"], value["size"])
        case "literal":
            return {key: decode(element) for key, element in value["value"].items()}
        case "reference":
            return Reference(Address.parse(value["address"]), tuple(value["path"]))
        case "template":
            return Template(tuple(decode(part) for part in value["parts"]))
        case "unknown":
            return Unknown(value["source"])
        case "secret":
            return SecretValue(value["source"], value["digest"])
        case "files":
            # A set can have ten thousand members, so msgspec makes them from their tags.
            files = convert(value, FileSet)
            return FileSet(tuple(map(_with_decoded_parts, files.members)))
        case tag:
            raise ValueError(f'unknown value tag "{tag}"')


def _with_decoded_parts(member: Member) -> Member:
    """The member with its free parts decoded, which msgspec leaves as they are."""
    # Nearly all of ten thousand members have none.
    if type(member.file_id) in _PLAIN and not member.attributes and not member.chunking_strategy:
        return member
    return replace(
        member,
        file_id=decode(member.file_id),
        attributes=decode(member.attributes),
        chunking_strategy=decode(member.chunking_strategy),
    )
