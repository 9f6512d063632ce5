"""Project keys: API keys that people created for themselves.

reconciler cannot create or read them, but it can set their scopes and lifetimes and revoke them. A
key is retained when its declaration is removed, unless the manifest says otherwise.
"""

from __future__ import annotations

from reconciler.kinds.service_account_key import HELD, LIFETIME, SCOPES, owned_by
from reconciler.kinds.user import EMAIL
from reconciler.model.calls import Calls
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ProjectKey",
    doc=
        "An API key that a person created in a project, identified by its name and, if the name "
        "is ambiguous, its owner.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/api_keys",
    natural_key=("name", "owner"),
    # Most names are unique in a project, so a manifest need not name the owner.
    other_keys=(("name",),),
    # The list of a project has the keys of its service accounts too.
    calls=Calls(listed=lambda key: owned_by(key, "user")),
    # The default is a view by membership that hides some keys.
    list_query={"owner_project_access": "any"},
    always_exists=True,
    on_remove=OnRemove.RETAIN,
    read_only_when=HELD,
    absent=
        "Only its owner can create such a key, and it disappears when the owner leaves. Remove "
        "this document, or declare a ServiceAccount or a ServiceAccountKey.",
    shows_key="redacted_value",
    destroys="the key stops working immediately",
    fields=(
        Field("name", Text(min_length=1), "The name of the key, chosen by its owner.", required=True,
              mutability=Mutability.REPLACES),
        Field("owner", EMAIL, "The e-mail address of the key's owner.", reset=KEEP,
              mutability=Mutability.REPLACES, response_key="owner.user.email"),
        SCOPES,
        LIFETIME,
    ),
    example="""\
kind: ProjectKey
metadata:
  name: laptop
  project: legacy
spec:
  name: Laptop
  owner: ada@example.com
  scopes: [api.all.read]
""",
)  # fmt: skip
