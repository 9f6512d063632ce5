"""Names of organizations.

Requests name an organization by id (`org-…`). Answers name it in the header `openai-organization`,
where the live API puts a short name (`acme`, `user-…`). The two forms cannot be compared.
"""

from __future__ import annotations

ID_PREFIX = "org-"


def comparable(left: str, right: str) -> bool:
    """Whether two names have the same form: both ids, or both short names."""
    # An id and a short name can belong to the same organization, and no call tells.
    if not left or not right:
        return False
    return left.startswith(ID_PREFIX) == right.startswith(ID_PREFIX)
