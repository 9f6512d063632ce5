"""Project keys: the keys that people have made for themselves.

Nobody can make them here and nobody can read them, but their scopes and lifetimes can be set, and they can be revoked.
A key stays when its declaration goes, unless the manifest asks for more.
"""

from __future__ import annotations

from reconciler.kinds.service_account_key import HELD, LIFETIME, SCOPES, owned_by
from reconciler.kinds.user import EMAIL
from reconciler.model.calls import Calls
from reconciler.model.kind import KEEP, Field, Kind, Mutability, OnRemove, ScopeType
from reconciler.model.types import Text

KIND = Kind(
    name="ProjectKey",
    doc="A key that a person made in a project, recognised by its name and, where several have that name, its owner.",
    scope=ScopeType.PROJECT,
    collection="/organization/projects/{project}/api_keys",
    natural_key=("name", "owner"),
    other_keys=(("name",),),
    calls=Calls(listed=lambda key: owned_by(key, "user")),
    list_query={"owner_project_access": "any"},
    always_exists=True,
    on_remove=OnRemove.RETAIN,
    read_only_when=HELD,
    absent="Only its owner can make such a key, and a person who leaves takes the keys along. Remove this document, or "
    "declare a ServiceAccount or a ServiceAccountKey.",
    shows_key="redacted_value",
    destroys="the key stops working at once",
    fields=(
        Field("name", Text(min_length=1), "The name that its owner gave the key.", required=True,
              mutability=Mutability.REPLACES),
        Field("owner", EMAIL, "The e-mail address of the person whose key it is.", reset=KEEP,
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
