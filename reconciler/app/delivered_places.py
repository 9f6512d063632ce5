"""Lists where the keys of a stack are, from its state alone: no manifests and no API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

from reconciler.app.deliveries import begun_deliveries, delivered
from reconciler.app.states import ReadsBoth, StateOpener
from reconciler.model.sinks import places_of, receipts_in
from reconciler.secrets.sinks import place_in
from reconciler.state import StateStore
from reconciler.state.address import parse_address
from reconciler.state.encryption import Cipher, NoEncryption, opener_of


def delivered_places(
    backend: str, stack: str, environment: str, env: Mapping[str, str]
) -> frozenset[str]:
    """The places with a key, or where the outcome of a delivery is not known.

    `backend` is an address as in RECONCILER_BACKEND. Raises StateError and UsageError.
    """
    with closing(_opened(backend, stack, environment, env)) as store:
        places: set[str] = set()
        for _, value in delivered(store):
            places.update(map(place_in, receipts_in(value)))
        for _, target in begun_deliveries(store):
            places.update(places_of(target))
    return frozenset(places)


def _opened(backend: str, stack: str, environment: str, env: Mapping[str, str]) -> StateStore:
    opener = StateOpener(stack, environment, env, time.time)
    address = parse_address(backend)
    # Only the stack file says whether the state is encrypted, and there is none here.
    cipher: Cipher = ReadsBoth(lambda: opener_of(env), NoEncryption())
    if address.folder is None:
        return opener.at(address, cipher, writable=False)
    if opener.log_path(address.folder).exists():
        return opener.encrypted_file(address.folder, cipher)
    return opener.plain_file(address.folder, writable=False)
