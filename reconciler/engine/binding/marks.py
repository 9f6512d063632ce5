"""Decides what ownership marks prove.

A mark is a metadata pair, and people copy metadata. So a mark alone never makes an object ours: the
state must have held its id, or the journal must know the attempt that created it. Only if nothing
is known of an address, because the state was lost, the single object with its mark counts as its
own.

If the state is outdated, a mark can be newer than a record. A record is wrong about an object that
another stack has marked since, or that carries the mark of another declared address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from reconciler.engine.ownership import Ownership
from reconciler.engine.scope import LiveState
from reconciler.model.address import Address
from reconciler.model.kind import TerminalState
from reconciler.model.resource import LiveObject, Record


class Marks:
    """The marked objects of a snapshot, and what their marks prove."""

    def __init__(
        self,
        live: LiveState,
        records: Mapping[Address, Record],
        ownership: Ownership,
        *,
        declared: Collection[Address],
        state_is_new: bool,
    ) -> None:
        self._live = live
        self._records = records
        self._ownership = ownership
        self._declared = declared
        self._state_is_new = state_is_new
        self._by_address = self._indexed()

    def items(self) -> Iterable[tuple[Address, Sequence[LiveObject]]]:
        """Our marked objects, by the address in the mark."""
        return self._by_address.items()

    def of(self, address: Address) -> Sequence[LiveObject]:
        """The objects with the mark of an address."""
        return self._by_address.get(address, ())

    def is_proved(self, address: Address, live: LiveObject) -> bool:
        """Whether state or journal prove that the marked object was ours."""
        return self._ownership.may_have_made(address, live) or bool(
            self._ownership.holders(live.kind.name, live.id)
        )

    def has_history(self, address: Address) -> bool:
        """Whether the state knows or knew an object of the address."""
        return address in self._records or bool(self._ownership.held_ids(address))

    def is_abandoned(self, address: Address, live: LiveObject) -> bool:
        """Whether an unbound object is ours and no longer needed.

        Only such objects are deleted. For an address in use, the journal must know the attempt.
        """
        # The address is in use, so the marked object may be a copy that somebody works with. Only a
        # known attempt proves otherwise.
        if address in self._declared or address in self._records:
            return self._ownership.may_have_made(address, live)
        # With the state lost, a single object with the mark is the best evidence. Two of them prove
        # nothing, since one is a copy.
        is_only_trace = (
            self._state_is_new and len(self.of(address)) == 1 and not self.has_history(address)
        )
        return is_only_trace or self.is_proved(address, live)

    def taken(self) -> Iterator[tuple[Address, Address | None]]:
        """Recorded addresses whose objects another owner has marked since.

        Each comes with the address in the mark, or None for the mark of another stack. Marks of
        jobs cannot be changed and prove nothing.
        """
        for address, record in self._records.items():
            # Unlisted objects are treated as unchanged: absence of evidence must not release a
            # record.
            live = self._live.find(address.kind, address.project, record.id)
            if live is None or live.kind.job is not None:
                continue
            mark = live.mark
            # Nearly every object carries the mark of its own address, which needs no parsing.
            if mark is None or mark == self._ownership.mark(address):
                continue
            # Another stack adopted the object with our state in place, so our record is outdated.
            if self._ownership.is_foreign(mark):
                yield address, None
                continue
            marked = self._ownership.present_address(mark)
            if marked is not None and marked != address and self._is_newer(marked, record):
                yield address, marked

    def _is_newer(self, marked: Address, record: Record) -> bool:
        """Whether the mark is newer than the record: it names a declared address that never had the
        object before.

        If that address has a living object of its own, the mark is a copy.
        """
        if marked.kind != record.address.kind or marked not in self._declared:
            return False
        other = self._records.get(marked)
        if other is not None and self._live.find(marked.kind, marked.project, other.id) is not None:
            return False
        return marked not in self._ownership.holders(marked.kind, record.id)

    def _indexed(self) -> dict[Address, list[LiveObject]]:
        """The objects per address. Two keys can open one project and show the same object twice."""
        marked: dict[Address, dict[str, LiveObject]] = defaultdict(dict)
        for objects in self._live.listed.values():
            for live in objects.values():
                # Unmarked objects of others can be many, and need no parsing.
                mark = live.mark
                if mark is None:
                    continue
                address = self._ownership.present_address(mark)
                if address is None or address.kind != live.kind.name:
                    continue
                if live.kind.terminal_state(live.attributes) is TerminalState.GONE:
                    continue
                # The copy read through the address's own project wins, because apply would use that
                # key.
                if live.id not in marked[address] or live.project == address.project:
                    marked[address][live.id] = live
        return {address: list(by_id.values()) for address, by_id in marked.items()}
