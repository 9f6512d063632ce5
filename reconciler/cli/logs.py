"""Log messages on stderr, as text or as JSON lines. Results go to stdout."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from reconciler.cli.options import GlobalOptions
from reconciler.cli.redaction import redactor
from reconciler.render.escape import json_safe, terminal

_LEVELS = {0: logging.WARNING, 1: logging.INFO}


def listen(options: GlobalOptions) -> None:
    """Send log messages to stderr: warnings; with -v also steps, with -vv also every call."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Text())
    if options.log_format == "json":
        handler.setFormatter(_Json())
    logger = logging.getLogger("reconciler")
    # Replaced and not added: an embedding program may run several commands in one process.
    logger.handlers = [handler]
    logger.setLevel(_LEVELS.get(options.verbose, logging.DEBUG))
    logger.propagate = False


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Names of the live API are untrusted, and addresses may hold passwords.
        return terminal(redactor(record.getMessage()))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message = redactor(record.getMessage())
        entry = {
            "at": at,
            "level": record.levelname.lower(),
            "from": record.name,
            "message": message,
        }
        return json_safe(json.dumps(entry, ensure_ascii=True))
