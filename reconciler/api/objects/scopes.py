"""Scopes: which key and which project id a call for a kind and a project takes."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from msgspec.structs import replace

from reconciler.api.keys import KeyRing
from reconciler.api.objects.collection import CollectionClient, Reveal
from reconciler.api.objects.scoped_client import ScopedClient
from reconciler.api.transport.client import Client
from reconciler.api.transport.request import Reuse
from reconciler.errors import CredentialError
from reconciler.model.calls import Parent
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.resource import LiveObject


class Scopes:
    """The clients of all scopes of one run.

    `project_ids` maps project names of the configuration to ids. `default_project` is the id to
    send along with the default key, if one is configured. `reveal` reads the secrets in bodies.
    """

    def __init__(
        self,
        http: Client,
        keys: KeyRing,
        project_ids: Mapping[str, str],
        *,
        default_project: str | None = None,
        reveal: Reveal | None = None,
    ) -> None:
        self.http = http
        self._keys = keys
        self._project_ids = dict(project_ids)
        self._default_project = default_project
        self._reveal = reveal
        self._reuse = Reuse.NEVER

    def for_planning(self) -> Scopes:
        """The same scopes, with clients whose reads may be answered by those of other stacks."""
        # A shallow copy, because both must learn the ids of new projects.
        planning = copy.copy(self)
        planning._reuse = Reuse.ALLOWED
        return planning

    def bind_project(self, name: str, project_id: str) -> None:
        """Set the API project of a project name."""
        self._project_ids[name] = project_id

    def is_ready(self, kind: Kind, project: str | None) -> bool:
        """False while the project or its key does not exist yet.

        A missing admin or default key raises CredentialError when a client is asked for.
        """
        if project is None or kind.scope is ScopeType.ORGANIZATION:
            return True
        if project not in self._project_ids:
            return False
        return kind.scope.needs_admin_key or self._keys.has_project(project)

    def client(self, kind: Kind, project: str | None) -> ScopedClient:
        """The client for objects of a kind; raises CredentialError."""
        if kind.scope is ScopeType.ORGANIZATION:
            return self._admin_client(kind)
        # Such an object of the organization has the same fields as one of a project, at another path.
        if kind.scope is ScopeType.EITHER and project is None:
            return self._admin_client(kind)
        project_id = self._project_id(project)
        if not kind.scope.needs_admin_key:
            return self.project_client(project, beta=kind.beta)
        if project_id is None:
            raise CredentialError(f"A {kind.name} lives in a project, and none is named.")
        return replace(self._admin_client(kind), ids={"project": project_id})

    def project_client(self, project: str | None, *, beta: str | None = None) -> ScopedClient:
        """The client for the data of a project, None for that of the default key.

        Raises CredentialError.
        """
        # Sent along, so that the API refuses a key of another project.
        project_id = self._project_id(project)
        key = replace(self._keys.for_project(project), project_id=project_id)
        return ScopedClient(self.http, key, beta=beta, reuse=self._reuse)

    def collection(self, kind: Kind, project: str | None, parent: Parent = ()) -> CollectionClient:
        """The client for the collection of a kind in a scope; raises CredentialError."""
        client = self.client(kind, project)
        collection = CollectionClient(kind, client, project, parent, self._keys.is_in_use)
        if self._reveal is None:
            return collection
        return replace(collection, reveal=self._reveal)

    def collection_of(self, live: LiveObject) -> CollectionClient:
        """The client for the collection that an object is in."""
        parent, _ = live.kind.parent_and_id(live.id)
        return self.collection(live.kind, live.project, parent)

    def _admin_client(self, kind: Kind) -> ScopedClient:
        key = self._keys.admin()
        return ScopedClient(self.http, key, beta=kind.beta, reuse=self._reuse)

    def _project_id(self, project: str | None) -> str | None:
        if project is None:
            return self._default_project
        project_id = self._project_ids.get(project)
        if project_id is None:
            raise CredentialError(f'The project "{project}" is not known at the API yet.')
        return project_id
