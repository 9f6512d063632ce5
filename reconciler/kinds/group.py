"""Groups: sets of users that can be assigned roles and projects."""

from __future__ import annotations

from reconciler.kinds.user import SCIM
from reconciler.model.kind import Field, Kind, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="Group",
    doc="A group of users. Groups managed by the identity provider can be referred to but not changed.",
    scope=ScopeType.ORGANIZATION,
    collection="/organization/groups",
    natural_key=("name",),
    page_limit=1000,
    # Only the directory service can change such groups.
    read_only_when=SCIM,
    destroys="its members lose the access that it gives them",
    audit_events=("group.", "scim."),
    fields=(Field("name", Text(min_length=1, max_length=255), "The display name.", required=True),),
    example="""\
kind: Group
metadata:
  name: support
spec:
  name: Support
""",
)
