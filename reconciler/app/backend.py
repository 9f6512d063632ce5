"""Where the state of a stack is kept: the given address, else the folder of the stack file."""

from __future__ import annotations

from reconciler.errors import StateError
from reconciler.manifests import Settings, Stack
from reconciler.manifests.shared_state import ADDRESS_VARIABLE, given_address
from reconciler.state.address import BackendAddress, local_address, parse_address, secret_parts


def location_of(stack: Stack, settings: Settings) -> BackendAddress:
    """The address of a stack's state. `settings.learn` learns its secret parts.

    Raises StateError for an address that cannot be read, and for a missing one if the stack needs
    a remote backend: with an empty local state, everything would be created again.
    """
    text = given_address(settings)
    if text:
        for secret in secret_parts(text):
            settings.learn(secret)
        return parse_address(text)
    if stack.needs_remote:
        place = stack.backend_place or stack.file
        raise StateError(
            f"{place}: the stack has `backend: remote`, and no address of a backend is given.",
            hint=f"Set {ADDRESS_VARIABLE}, or pass --backend ADDRESS.",
        )
    return local_address(stack.backend_path)
