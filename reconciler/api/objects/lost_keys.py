"""Finds keys of service accounts that a run created and never delivered.

The API shows a key only in the answer to its create. If that answer is lost, or the run dies before
a destination has the key, nobody can use the key, and it has to be found and deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reconciler.api.objects.account_keys import key_id_of, keys_of
from reconciler.api.objects.change_context import ChangeContext
from reconciler.model.address import Address
from reconciler.model.consistency import KEY_WITH_ACCOUNT_SECONDS, CreationWindow, pauses
from reconciler.model.provider import CREATE, MINT
from reconciler.model.resource import LiveObject
from reconciler.model.values import Spec


class LostKeys:
    """The lost keys of this and earlier runs. Safe to use from threads.

    A key is searched for until `settle_seconds` after its create, when lists show it.
    """

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._began: dict[Address | None, float] = {}
        """The start of a create of an account that has no answer yet, in server time."""
        self._lock = threading.Lock()

    def begin_account(self, context: ChangeContext) -> None:
        """Note that an account is about to be created, with a key."""
        with self._lock:
            # The first of several attempts counts: its account may be the one that is found later.
            self._began.setdefault(context.address, context.client.http.server_clock())

    def end_account(self, context: ChangeContext) -> float | None:
        """The start of a create of an account that has been answered; None without any."""
        with self._lock:
            return self._began.pop(context.address, None)

    def with_account(
        self, context: ChangeContext, live: LiveObject, names: set[str], began: float
    ) -> Iterator[str]:
        """The ids of lost keys with these names, and of the one that came with the account."""
        yield from _find(context, live, names, [CreationWindow(began)], self._settle_seconds)

    def ids(self, context: ChangeContext, live: LiveObject, names: set[str]) -> Iterator[str]:
        """The ids of all lost keys of an account, as far as names and the journal show.

        `names` are those of keys whose answers this run lost.
        """
        steps = context.steps
        # What was answered has an id. The rest is searched for by name, or by age for keys that
        # came with an account.
        yield from _ids_in(steps.finished(MINT), "id")
        yield from _ids_in(steps.finished(CREATE), "key_id")
        mints = steps.unfinished(MINT)
        creates = steps.unfinished(CREATE)
        now = context.client.http.server_clock()
        all_names = names | {str(entry.get("key_name")) for entry in mints}
        windows = [
            CreationWindow.of(float(entry["began_at"]), entry.get("ended_at")) for entry in creates
        ]
        times = [float(entry.get("ended_at") or entry["began_at"]) for entry in (*mints, *creates)]
        began = self.end_account(context)
        if began is not None:
            windows.append(CreationWindow(began))
            times.append(began)
        if names:
            times.append(now)
        if all_names or windows:
            # An older key would be listed by now, so the wait is shorter.
            left_seconds = max(times) + self._settle_seconds - now
            seconds = min(self._settle_seconds, left_seconds)
            yield from _find(context, live, all_names, windows, seconds)


def _ids_in(steps: Iterable[Spec], name: str) -> Iterator[str]:
    """The ids that finished steps have under a name; a key without one was never answered."""
    for step in steps:
        if step.get(name):
            yield step[name]


def _find(
    context: ChangeContext,
    live: LiveObject,
    names: set[str],
    windows: Sequence[CreationWindow],
    seconds: float,
) -> Iterator[str]:
    """The ids of lost keys by name or age: searched for until lists must show them.

    Each name stands for one key, and the account for one more if its create was interrupted.
    """
    growing_pauses = pauses(seconds)
    expected = len(names) + bool(windows)

    def search() -> list[dict[str, Any]]:
        return [key for key in keys_of(context, live) if _is_lost(key, live, names, windows)]

    def is_complete(keys: list[dict[str, Any]]) -> bool:
        # Lists lag, so the absence of a key proves nothing before the time is up.
        return names <= {key.get("name") for key in keys} and len(keys) >= expected

    lost_keys = context.client.http.waits.poll(
        search,
        is_done=is_complete,
        next_pause=lambda _: next(growing_pauses, None),
        reason=f"looking for keys of {live.id} that nobody received",
    )
    yield from map(key_id_of, lost_keys)


def _is_lost(
    key: Spec, live: LiveObject, names: set[str], windows: Sequence[CreationWindow]
) -> bool:
    if key.get("name") in names:
        return True
    # The key that comes with an account has no name of ours, and is created in the same moment.
    account_time, key_time = live.attributes.get("created_at"), key.get("created_at")
    if not isinstance(account_time, int | float) or not isinstance(key_time, int | float):
        return False
    # The account itself must come from that create. Another one of that name has foreign keys.
    is_ours = any(window.holds(account_time) for window in windows)
    return is_ours and key_time - account_time <= KEY_WITH_ACCOUNT_SECONDS
