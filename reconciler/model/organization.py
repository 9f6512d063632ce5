"""Names of organizations, as the API gives them.

Requests name an organization by its id (`org-…`). Answers name it in `openai-organization`, and
the live API puts a short name there (`acme`, `user-…`). The two forms cannot be compared.
"""

from __future__ import annotations

ID_PREFIX = "org-"


def comparable(one: str, other: str) -> bool:
    """Whether two names have the same form: both ids, or both short names."""
    if not one or not other:
        return False
    return one.startswith(ID_PREFIX) == other.startswith(ID_PREFIX)
