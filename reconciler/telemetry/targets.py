"""Targets of notices: the URLs of apprise, which name a service and contain its token."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import Counter
from collections.abc import Sequence
from urllib.parse import unquote

import apprise

from reconciler.errors import UsageError
from reconciler.model.secret import Redactor, Secret
from reconciler.telemetry.notices import Notice

SEND_SECONDS = 15.0
"""How long a target may take. The library waits four seconds for each connection and answer."""
_ID_LENGTH = 16
_SEPARATORS = re.compile(r"[/:@?&=,;#]+")
_TOKEN = re.compile(r"[0-9]|[a-z].*[A-Z]|[A-Z].*[a-z]")
_HOST = re.compile(r"[0-9.]+|[a-z0-9-]+(\.[a-z0-9-]+)+")
_BETWEEN = re.compile(r"[\s,]+(?=[a-zA-Z0-9]+://)")


def urls_in(text: str) -> list[str]:
    """The URLs in a variable, separated by spaces, newlines or commas."""
    return [url for url in _BETWEEN.split(text.strip().strip(",")) if url]


def targets_of(urls: Sequence[str], redactor: Redactor) -> list[AppriseTarget]:
    """The targets of URLs. The redactor learns their parts first. Raises UsageError."""
    # Without a handler, Python would print what the library logs, in the middle of our output.
    logging.getLogger("apprise").addHandler(logging.NullHandler())
    targets: list[AppriseTarget] = []
    ids: Counter[str] = Counter()
    for number, url in enumerate(urls, 1):
        _learn(url, redactor)
        # The text of a notice is ours: no file is attached, and no plugin is loaded from disk.
        asset = apprise.AppriseAsset(app_id="reconciler", app_desc="reconciler")
        service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            raise UsageError(
                f"notice URL number {number} names no service that is known",
                hint="Write URLs as https://github.com/caronc/apprise/wiki describes them.",
            )
        # With its secrets masked: a hash of a password would let people try passwords.
        masked = str(service.url(privacy=True))  # type: ignore[no-untyped-call]
        id = hashlib.sha256(masked.encode()).hexdigest()[:_ID_LENGTH]
        ids[id] += 1
        targets.append(AppriseTarget(service, f"{id}-{ids[id]}", number))
    return targets


class AppriseTarget:
    """One service; a `Target`."""

    def __init__(self, service: apprise.NotifyBase, id: str, number: int) -> None:
        self._service = service
        self._id = id
        self.number = number
        """The position of its URL, for messages."""

    @property
    def id(self) -> str:
        """The identity of the target, without any secret."""
        return self._id

    def send(self, notice: Notice) -> bool:
        """Deliver a message; whether the service has accepted it in time."""
        delivered = threading.Event()

        # The library waits for each connection and each answer, and some services take several. A
        # thread that is late is left behind.
        def send() -> None:
            sender = apprise.Apprise()
            sender.add(self._service)
            if sender.notify(
                body=notice.body,
                title=notice.title,
                notify_type=notice.severity.value,
                # The library escapes plain text for the service.
                body_format=apprise.NotifyFormat.TEXT,
            ):
                delivered.set()

        thread = threading.Thread(target=send, name="notice", daemon=True)
        thread.start()
        thread.join(SEND_SECONDS)
        return delivered.is_set()


def _learn(url: str, redactor: Redactor) -> None:
    """Teach the redactor the URL and the parts of it that look like tokens."""
    redactor.add(Secret(url))
    _, _, rest = url.partition("://")
    account, separator, _ = rest.rpartition("@")
    if separator:
        password = account.partition(":")[2]
        redactor.add(Secret(password))
        redactor.add(Secret(unquote(password)))
    # Hosts, channels and addresses of mail are no secrets, and blanking them would spoil reports.
    for part in _SEPARATORS.split(rest):
        if _TOKEN.search(part) and not _HOST.fullmatch(part):
            redactor.add(Secret(part))
            redactor.add(Secret(unquote(part)))
