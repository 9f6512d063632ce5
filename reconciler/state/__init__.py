"""The memory between runs: the object that each address is bound to, a journal of calls, the runs,
and the lock.

`StateStore` is the whole interface; the other names are types that it returns.
"""

from reconciler.state.identity import Identity
from reconciler.state.journal import ChangeJournal, EntryStatus, Journal, JournalEntry
from reconciler.state.lock import Holder
from reconciler.state.origin import current_origin
from reconciler.state.runs import PreImage, RunRecord
from reconciler.state.store import StateStore

__all__ = [
    "ChangeJournal",
    "EntryStatus",
    "Holder",
    "Identity",
    "Journal",
    "JournalEntry",
    "PreImage",
    "RunRecord",
    "StateStore",
    "current_origin",
]
