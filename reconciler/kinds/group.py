"""Groups: sets of users that roles and projects are given to."""

from __future__ import annotations

from reconciler.kinds.user import SCIM
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="Group",
    doc="A group of users. Groups that the identity provider manages can be referred to and not changed.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/groups",
    natural_key=("name",),
    page_limit=1000,
    read_only_when=SCIM,
    destroys="its members lose what they could do through it",
    audit_events=("group.", "scim."),
    fields=(Field("name", Text(min_length=1, max_length=255), "The name people see.", required=True),),
    example="""\
kind: Group
metadata:
  name: support
spec:
  name: Support
""",
)
