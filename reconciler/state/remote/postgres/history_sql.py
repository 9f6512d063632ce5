"""The table of the history of a fleet, beside the tables of states, and its statements."""

from __future__ import annotations

HISTORY_MIGRATION = """\
-- What the runs of a fleet found: one small document for each stack, without values and secrets.
CREATE TABLE SCHEMA.fleet_history (
    stack text NOT NULL,
    environment text NOT NULL,
    body bytea NOT NULL DEFAULT '',
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stack, environment)
);
"""

HISTORY_GRANTS = """\
GRANT SELECT, INSERT, UPDATE ON SCHEMA.fleet_history TO ROLE;
"""
"""The grants of every role: plans and drift runs record their results too."""

ENSURE_HISTORY = """
INSERT INTO SCHEMA.fleet_history (stack, environment) VALUES (%(stack)s, %(environment)s)
ON CONFLICT (stack, environment) DO NOTHING
"""

LOCK_HISTORY = """
SELECT body FROM SCHEMA.fleet_history
WHERE stack = %(stack)s AND environment = %(environment)s FOR UPDATE
"""

WRITE_HISTORY = """
UPDATE SCHEMA.fleet_history SET body = %(body)b, written_at = clock_timestamp()
WHERE stack = %(stack)s AND environment = %(environment)s
"""

READ_HISTORIES = """
SELECT body FROM SCHEMA.fleet_history WHERE length(body) > 0 ORDER BY stack, environment
"""
