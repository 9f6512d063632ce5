"""Divides a fleet among jobs, so that stacks of one organization share a job and its reading."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from reconciler.errors import UsageError
from reconciler.fleet.stacks import FoundStack

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


class Shard(Struct, frozen=True):
    """Part `number` of `total`, from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


def parse_shard(text: str) -> Shard:
    """`2/5` as a shard; raises UsageError."""
    parts = _SHARD.fullmatch(text.strip())
    if parts is not None:
        number, total = int(parts[1]), int(parts[2])
        if 1 <= number <= total:
            return Shard(number, total)
    raise UsageError(f'--shard "{text}": write NUMBER/TOTAL, such as 2/5')


def stacks_of(shard: Shard, stacks: Sequence[FoundStack]) -> list[FoundStack]:
    """The stacks of a shard, in order. The same stacks are always divided in the same way."""
    return divided(stacks, shard.total)[shard.number - 1]


def divided(stacks: Sequence[FoundStack], total: int) -> list[list[FoundStack]]:
    """The stacks in `total` shards of similar size; some are empty if there are few groups.

    The stacks of an organization stay together, since splitting them would read it again while its
    pace stays the same. Those of a folder stay together where the stack file names none.
    """
    groups: dict[tuple[str, str], list[FoundStack]] = {}
    for stack in stacks:
        key = (stack.organization, "" if stack.organization else stack.id.folder)
        groups.setdefault(key, []).append(stack)
    positions = {stack.id: index for index, stack in enumerate(stacks)}
    shards: list[list[FoundStack]] = [[] for _ in range(total)]
    # Largest first, so that small groups fill the gaps. The key makes the order deterministic.
    for key in sorted(groups, key=lambda key: (-len(groups[key]), key)):
        smallest = min(range(total), key=lambda index: (len(shards[index]), index))
        shards[smallest] += groups[key]
    for shard in shards:
        shard.sort(key=lambda stack: positions[stack.id])
    return shards
