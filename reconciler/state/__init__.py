"""What we remember between runs: which object each address is bound to, a journal of calls, the
runs, and the lock.

`StateStore` is the whole interface; the other names are what it hands out.
"""

from reconciler.state.identity import Identity
from reconciler.state.journal import ChangeJournal, Journal, JournalEntry, Status
from reconciler.state.lock import Holder
from reconciler.state.origin import current_origin
from reconciler.state.runs import PreImage, Run
from reconciler.state.store import StateStore

__all__ = [
    "ChangeJournal",
    "Holder",
    "Identity",
    "Journal",
    "JournalEntry",
    "PreImage",
    "Run",
    "StateStore",
    "Status",
    "current_origin",
]
