"""Addresses as users name them in options: one address, or a pattern for several."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from reconciler.errors import UsageError
from reconciler.model.address import Address
from reconciler.model.diagnostic import nearest
from reconciler.model.patterns import WILDCARDS, compiled, is_wild


def is_pattern(text: str) -> bool:
    """Whether a text names several addresses: with `*` or `?`, or as a prefix that ends with `/`."""
    return text.endswith("/") or is_wild(text)


def matching(text: str, known: Iterable[Address]) -> list[Address]:
    """The addresses that a text names. Wildcards match slashes too; `VectorStore/search/` is short
    for `VectorStore/search/*`."""
    if not is_pattern(text):
        return [address for address in known if str(address) == text]
    pattern = f"{text}*" if text.endswith("/") else text
    expression = compiled((pattern,))
    return [address for address in known if expression.fullmatch(str(address))]


def renamed(source: str, target: str, known: Iterable[Address]) -> dict[Address, Address]:
    """The new address of each known address that `source` names.

    The wildcards of `target` take the texts that those of `source` matched, in order. Raises
    UsageError if the two have different wildcards, and ValueError if a new address is malformed.
    """
    if target.endswith("/") != source.endswith("/"):
        raise UsageError(f'"{source}" and "{target}" must both end with "/", or neither')
    if source.endswith("/"):
        source, target = f"{source}*", f"{target}*"
    if _wildcards_of(source) != _wildcards_of(target):
        raise UsageError(
            f'"{source}" and "{target}" must have the same wildcards in the same order'
        )
    groups = {name: f"({expression})" for name, expression in WILDCARDS.items()}
    expression = compiled((source,), groups)
    moves = {}
    for address in sorted(known):
        match = expression.fullmatch(str(address))
        if match:
            parts = iter(match.groups())
            text = "".join(next(parts) if part in WILDCARDS else part for part in target)
            moves[address] = Address.parse(text)
    return moves


def _wildcards_of(pattern: str) -> list[str]:
    return [character for character in pattern if character in WILDCARDS]


def parse_addresses(texts: Iterable[str], option: str) -> tuple[Address, ...]:
    """The addresses that an option names; raises UsageError naming the option."""
    addresses = []
    for text in texts:
        try:
            addresses.append(Address.parse(text))
        except ValueError as error:
            raise UsageError(f"{option}: {error}") from error
    return tuple(addresses)


def select_addresses(
    texts: Iterable[str], option: str, known: Collection[Address]
) -> tuple[Address, ...]:
    """The addresses that an option names, with patterns replaced by the known addresses that match.

    Raises UsageError for a malformed address and for a pattern that matches nothing. Whether a
    single address is known is left to the caller.
    """
    selected: dict[Address, None] = {}
    for text in texts:
        if not is_pattern(text):
            selected.update(dict.fromkeys(parse_addresses((text,), option)))
            continue
        matches = matching(text, known)
        if not matches:
            hint = nearest(text.rstrip("*/?"), map(str, known))
            raise UsageError(f'{option}: no address matches "{text}".{hint}')
        selected.update(dict.fromkeys(sorted(matches)))
    return tuple(selected)
