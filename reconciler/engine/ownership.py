"""The identity of this stack: its marks, and the unfinished creates in its journal.

A mark is a metadata pair, `reconciler: stack/environment/address`. `binding/marks.py` decides what
a mark proves; this module only reads and writes marks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct, field

from reconciler.engine.binding.attempts import CreateAttempt
from reconciler.engine.binding.deliveries import Deliveries
from reconciler.model.address import Address
from reconciler.model.resource import LiveObject


class Ownership(Struct):
    """The identity of the stack, and what its state and journal know of objects."""

    stack: str
    environment: str
    unfinished: Mapping[Address, float] = field(default_factory=dict)
    """When each unfinished change began, in unix seconds."""
    create_attempts: Mapping[Address, Sequence[CreateAttempt]] = field(default_factory=dict)
    """The creates among the unfinished changes."""
    created_ids: Mapping[str, Address] = field(default_factory=dict)
    """Ids that unfinished changes received from the API, parts of objects included, with their
    addresses."""
    former: Collection[str] = ()
    """The stacks, as `stack/environment`, that this state was imported from."""
    held_ids: Callable[[Address], Collection[str]] = lambda _: ()
    """Every id that an address was ever bound to."""
    holders: Callable[[str, str], Collection[Address]] = lambda _, __: ()
    """Every address that was ever bound to an id of a kind."""
    deliveries: Deliveries = field(default_factory=dict)
    """Deliveries of keys in unfinished changes, which the records do not know."""
    renamed_projects: Mapping[str, str] = field(default_factory=dict)
    """Former project names, each with the present one."""

    def mark(self, address: Address) -> str:
        """The mark of our object for an address."""
        return f"{self.stack}/{self.environment}/{address}"

    def address(self, mark: str | None) -> Address | None:
        """The address in our mark; None for no mark and for foreign marks."""
        owner, address = parse_mark(mark)
        return address if owner == f"{self.stack}/{self.environment}" else None

    def present_address(self, mark: str | None) -> Address | None:
        """The address in our mark, with the present name of its project."""
        address = self.address(mark)
        if address is None:
            return None
        # Marks are written once and not rewritten for a renamed project, so an old name in a mark
        # is normal.
        project = self.renamed_projects.get(address.project or "")
        return address if project is None else Address(address.kind, address.name, project)

    def is_foreign(self, mark: str | None) -> bool:
        """Whether a mark names another stack or environment that this state was not imported from."""
        # Text of another form is nobody's mark, so it makes no object foreign.
        owner, address = parse_mark(mark)
        return address is not None and owner not in (
            f"{self.stack}/{self.environment}",
            *self.former,
        )

    def may_have_made(self, address: Address, live: LiveObject) -> bool:
        """Whether the journal knows an attempt for the address that created the object, or may
        have."""
        # An id from the journal is proof; the times of attempts are only a possibility.
        if self.created_ids.get(live.id) == address:
            return True
        # Attempts with an id are in `created_ids`. The others can only be matched by time.
        attempts = self.create_attempts.get(address, ())
        return any(attempt.id is None and attempt.can_have_made(live) for attempt in attempts)


def parse_mark(mark: str | None) -> tuple[str, Address | None]:
    """Owner as `stack/environment`, and address; None for text that is not a mark."""
    # Metadata is free text that anyone can edit, so accept any text here.
    parts = (mark or "").split("/", 2)
    if len(parts) != 3 or not all(parts):
        return "", None
    try:
        return f"{parts[0]}/{parts[1]}", Address.parse(parts[2])
    except ValueError:
        return "", None
