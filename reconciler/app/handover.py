"""The handover of objects from Terraform: from the import until Terraform releases them.

During the handover, both programs would change the same objects. So the state records it, and every
command that writes to the API refuses.
"""

from __future__ import annotations

from reconciler.errors import GuardError
from reconciler.state import StateStore

_WAITING = "waits for terraform"  # an export of the state carries it: see state/portable.py
_REFUSAL = (
    "Terraform may still manage the objects that were imported from its state.\n"
    "Apply the `removed` blocks in terraform-removed.tf with Terraform first, then run "
    "`reconciler import --terraform-released`."
)


def begin_handover(store: StateStore, source: str) -> None:
    """Record that Terraform still manages objects of this state; `source` names its state."""
    store.remarks.put(_WAITING, source)


def end_handover(store: StateStore) -> None:
    """End the handover: Terraform has released the objects."""
    store.remarks.drop(_WAITING)


def is_waiting(store: StateStore) -> bool:
    """Whether the handover is still recorded."""
    return store.remarks.get(_WAITING) is not None


def refuse_while_waiting(store: StateStore) -> None:
    """Raise GuardError while Terraform still manages objects of this state."""
    if is_waiting(store):
        raise GuardError([_REFUSAL])
