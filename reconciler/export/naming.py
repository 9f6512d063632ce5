"""Addresses for objects that have none: slugs of their natural keys.

A name depends on the objects alone and not on their order, so a second export gives the same
names. If several objects of one scope would share a name, each name includes its parent's name and,
if that is not enough, the end of its id.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

from msgspec import Struct

from reconciler.model.address import Address

MAX_NAME = 63
"""The most characters of a name, so that names fit into file names and lines."""

FEW_CHARACTERS = 4
"""How many characters of the id tell two objects of one name apart."""

ObjectKey = tuple[str, str | None, str]
"""An object: its kind, the name of its project in the configuration, and its id."""

# fmt: off
_LATIN = {
    "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h",
    "ı": "i", "ŋ": "n", "ŧ": "t", "ĸ": "k", "&": " and ", "+": " plus ", "'": "", "’": "", "ʼ": "",
}
_CYRILLIC = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i",
    "й": "i", "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s",
    "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch",
    "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu", "я": "ya", "є": "ye", "і": "i", "ґ": "g",
}
_GREEK = {
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i",
    "κ": "k", "λ": "l", "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s",
    "ς": "s", "τ": "t", "υ": "y", "φ": "f", "χ": "ch", "ψ": "ps", "ω": "o",
}
# fmt: on
_LETTERS = str.maketrans({**_LATIN, **_CYRILLIC, **_GREEK})
"""Letters without a decomposition, and the scripts whose transliteration is common."""

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._]+")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Unnamed(Struct, frozen=True):
    """An object that needs a name."""

    kind: str
    project: str | None
    """The name of its project in the configuration; None for the organization."""
    id: str
    label: str
    """The label for people, such as the value of its natural key. May be empty."""
    parent: str = ""
    """The text that tells it from an object with the same label: its owner, group or domain."""

    @property
    def key(self) -> ObjectKey:
        """Identifies the object in the results."""
        return self.kind, self.project, self.id


def addresses(
    objects: Iterable[Unnamed], known: Mapping[ObjectKey, Address] | None = None
) -> dict[ObjectKey, Address]:
    """An address for each object. `known` addresses are kept, and nothing else takes them.

    Name projects first: the addresses of what they contain use their names.
    """
    known = known or {}
    scopes: dict[tuple[str, str | None], list[Unnamed]] = defaultdict(list)
    for unnamed in objects:
        scopes[unnamed.kind, unnamed.project].append(unnamed)
    taken: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    # Without regard to case: file systems can ignore it, and names become file names.
    for address in known.values():
        taken[address.kind, address.project].add(address.name.casefold())
    chosen: dict[ObjectKey, Address] = {}
    for (kind, project), members in scopes.items():
        nameless = []
        for member in members:
            if member.key in known:
                chosen[member.key] = Address(kind, known[member.key].name, project)
            else:
                nameless.append(member)
        for key, name in _distinct(nameless, taken[kind, project]).items():
            chosen[key] = Address(kind, name, project)
    return chosen


def slug(text: str) -> str:
    """A text as a name: lower case, ASCII, words joined by hyphens. Empty if nothing remains."""
    # The tables come before the decomposition, which would make "a" of "ä".
    lowered = unicodedata.normalize("NFC", text).casefold().translate(_GERMAN).translate(_LETTERS)
    decomposed = unicodedata.normalize("NFKD", lowered)
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    plain = _NOT_IN_NAMES.sub("-", letters.translate(_LETTERS))
    return _cut(re.sub(r"-*([._])-*|--+", lambda match: match[1] or "-", plain)).strip("._-")


def kebab(kind: str) -> str:
    """The name of a kind in file names: `RateLimit` becomes `rate-limit`."""
    return _WORD_START.sub("-", kind).lower()


def _distinct(members: list[Unnamed], taken: set[str]) -> dict[ObjectKey, str]:
    """Names that differ from each other and from those that are taken."""
    names: dict[ObjectKey, str] = {}
    rest = sorted(members, key=lambda member: member.id)
    for spelling in (_by_label, _by_parent, _by_end_of_id, _by_id):
        groups: dict[str, list[Unnamed]] = defaultdict(list)
        for unnamed in rest:
            groups[spelling(unnamed)].append(unnamed)
        rest = []
        for name, alike in groups.items():
            if name and len(alike) == 1 and name not in taken:
                names[alike[0].key] = name
            else:
                rest += alike
        # Add names only after the round, so that no name depends on the order within it.
        taken.update(names.values())
    for unnamed in rest:
        names[unnamed.key] = _numbered(_by_id(unnamed), taken)
    return names


def _by_label(unnamed: Unnamed) -> str:
    return slug(unnamed.label)


def _by_parent(unnamed: Unnamed) -> str:
    base, parent = slug(unnamed.label), slug(unnamed.parent)
    return _joined(base, parent) if base and parent else ""


def _by_end_of_id(unnamed: Unnamed) -> str:
    base = _by_parent(unnamed) or _by_label(unnamed) or kebab(unnamed.kind)
    return _joined(base, _end_of_id(unnamed, FEW_CHARACTERS))


def _by_id(unnamed: Unnamed) -> str:
    base = _by_parent(unnamed) or _by_label(unnamed) or kebab(unnamed.kind)
    return _joined(base, _end_of_id(unnamed, 12))


def _end_of_id(unnamed: Unnamed, count: int) -> str:
    characters = re.sub(r"[^a-z0-9]", "", unnamed.id.rpartition("/")[2].lower())
    return characters[-count:]


def _numbered(name: str, taken: set[str]) -> str:
    """The name with the first free number: the last resort for ids that differ in case alone."""
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    taken.add(f"{name}-{number}")
    return f"{name}-{number}"


def _joined(base: str, end: str) -> str:
    if not end:
        return base
    return f"{base[: MAX_NAME - len(end) - 1].strip('._-')}-{end}"


def _cut(name: str) -> str:
    """The name without its excess words."""
    if len(name) <= MAX_NAME:
        return name
    shorter = name[: MAX_NAME + 1].rpartition("-")[0]
    return shorter if len(shorter) > MAX_NAME // 2 else name[:MAX_NAME]
