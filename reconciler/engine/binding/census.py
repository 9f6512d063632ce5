"""The owner of each object that was read: this stack, nobody, or the platform itself.

It is decided once every resource is bound, because bound objects are managed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from reconciler.engine.binding.claims import member_ids
from reconciler.engine.binding.leftovers import Leftovers
from reconciler.engine.binding.matcher import Matcher
from reconciler.engine.overview import Overview, Survey
from reconciler.engine.scope import Scope
from reconciler.model.address import Address
from reconciler.model.ignoring import IgnoreRules
from reconciler.model.inventory import InventoryObject, ObjectRelation, UnreadList
from reconciler.model.kind import Removal, ScopeType
from reconciler.model.resource import LiveObject

_Sighting = tuple[Scope, LiveObject]
_LONGEST = 80
"""The longest part of a natural key that serves as a label, in characters."""


def overview_of(
    matcher: Matcher, leftovers: Leftovers, survey: Survey, *, ignore: IgnoreRules
) -> Overview:
    """Every object that was read, once the matcher has bound every resource."""
    census = _Census(matcher, leftovers, survey, ignore)
    objects = sorted(census.objects(), key=lambda entry: entry.sort_key)
    unread = sorted(census.unread(), key=lambda entry: entry.sort_key)
    return Overview(tuple(objects), tuple(unread))


class _Census:
    def __init__(
        self, matcher: Matcher, leftovers: Leftovers, survey: Survey, ignore: IgnoreRules
    ) -> None:
        self._matcher = matcher
        self._ignore = ignore
        self._survey = survey
        # By kind and id: the object of a copied mark may have been read in two scopes.
        self._copies = {(live.kind.name, live.id) for _, live in leftovers.copies}
        claims, listed = matcher.claims, matcher.live.listed
        # Files in a managed store and keys that we delivered are managed without an address of
        # their own.
        self._members = set(claims.members | claims.delivered_keys)
        self._labels: dict[str, str] = {}
        self._sightings: dict[tuple[str, str | None, str], list[_Sighting]] = {}
        for scope, objects in listed.items():
            for live in objects.values():
                self._members.update(member_ids(live.own_calls.values()))
                # The labels come first and are complete before any entry is made: a membership is
                # named after its user and its group, which another list shows.
                self._labels.setdefault(live.own_id, _name(live) or live.own_id)
                self._sightings.setdefault(_identity(scope, live), []).append((scope, live))

    def objects(self) -> Iterator[InventoryObject]:
        for sightings in self._sightings.values():
            yield self._entry(sightings)
        for scope in self._survey.settings:
            yield self._setting(scope)

    def unread(self) -> Iterator[UnreadList]:
        reasons: dict[tuple[str, str | None], str] = {}
        for scope, reason in self._survey.unread.items():
            reasons.setdefault((scope.kind, scope.project), reason)
        for (kind, project), reason in reasons.items():
            yield UnreadList(kind, self._shown(project), reason, self._project_id(project))

    def _entry(self, sightings: Sequence[_Sighting]) -> InventoryObject:
        # Every sighting counts. The default key may show an object before the key of its project
        # does, and only the second sighting carries the project that the address names.
        # A sighting with a project says where the object is; one through the default key does not.
        scope, live = next((pair for pair in sightings if pair[0].project), sightings[0])
        owner = self._owner(sightings)
        is_managed = owner is not None or any(self._is_ours(*pair) for pair in sightings)
        entry = InventoryObject(
            kind=live.kind.name,
            id=live.id,
            label=self._label(live),
            relation=ObjectRelation.MANAGED if is_managed else _unclaimed(live),
            project=self._shown(scope.project),
            project_id=self._project_id(scope.project),
            address=owner,
        )
        # Managed objects are never ignored: a rule must not hide what this stack would change.
        if entry.relation is ObjectRelation.UNMANAGED and self._is_ignored(entry, scope):
            return replace(entry, relation=ObjectRelation.IGNORED)
        return entry

    def _owner(self, sightings: Sequence[_Sighting]) -> Address | None:
        """The address that an object is bound or recorded for."""
        for _, live in sightings:
            owner = self._matcher.claims.owner(live)
            if owner is not None:
                return owner
        return None

    def _setting(self, scope: Scope) -> InventoryObject:
        """A setting that always exists and that nobody manages, so that it was not read."""
        kind = self._matcher.live.kinds[scope.kind]
        id = kind.collection_for(in_project=scope.project is not None).rpartition("/")[2]
        return InventoryObject(
            kind=kind.name,
            id=id,
            label=id,
            relation=ObjectRelation.BUILT_IN,
            project=self._shown(scope.project),
            project_id=self._project_id(scope.project),
        )

    def _is_ours(self, scope: Scope, live: LiveObject) -> bool:
        """Whether an unbound object belongs to a bound one, or is a leftover of one.

        The plan judged marks where it read; elsewhere a mark proves nothing.
        """
        if live.id in self._members:
            return True
        is_copy = (live.kind.name, live.id) in self._copies
        is_judged = scope not in self._survey.scopes
        # Files in our collections and keys that we delivered have no mark, hence the check of
        # members above.
        has_our_mark = self._matcher.ownership.address(live.mark) is not None
        return has_our_mark and is_judged and not is_copy

    def _is_ignored(self, entry: InventoryObject, scope: Scope) -> bool:
        # A rule may name a project by any of its names, and an object by id, by label, or by the
        # last part of a composed id.
        projects = {entry.project, entry.project_id, scope.project} - {None}
        names = {entry.id, entry.label, entry.id.rpartition("/")[2]}
        return self._ignore.match(entry.kind, names, filter(None, projects))

    def _label(self, live: LiveObject) -> str:
        name, key = _name(live), live.kind.natural_key
        # An object that connects others, such as a membership, is named after them.
        is_connection = bool(key) and all(field.endswith("_id") for field in key)
        if name and not is_connection:
            return name
        parts: list[str] = []
        for field in key:
            value = live.attributes.get(field)
            if isinstance(value, str):
                parts.append(self._labels.get(value, value))
        # Some natural keys are whole prompts, which no table can show.
        if not parts or max(map(len, parts)) > _LONGEST:
            return live.id
        return "/".join(parts)

    def _shown(self, project: str | None) -> str | None:
        # The project of the default key has no name.
        if project is None:
            return None
        return self._survey.project_names.get(project, project)

    def _project_id(self, project: str | None) -> str | None:
        if project is None:
            return None
        return self._survey.project_ids.get(project)


def _identity(scope: Scope, live: LiveObject) -> tuple[str, str | None, str]:
    """The identity shared by sightings of one object: a key opens its project with and without a
    name.
    """
    if live.kind.scope is ScopeType.PROJECT_KEY:
        return live.kind.name, None, live.id
    return live.kind.name, scope.project, live.id


def _unclaimed(live: LiveObject) -> ObjectRelation:
    """The relation of an object that is not ours."""
    if live.kind.terminal_state(live.attributes) is not None:
        return ObjectRelation.ENDED
    # Nobody creates or deletes these, so nobody can be asked to manage or to remove them.
    is_setting = live.kind.always_exists and live.kind.removal is Removal.RESTORE
    if is_setting or live.kind.read_only_reason(live.attributes) is not None:
        return ObjectRelation.BUILT_IN
    return ObjectRelation.UNMANAGED


def _name(live: LiveObject) -> str:
    """The first part of the natural key, or else the attribute `name`; empty if there is neither."""
    for field in (*live.kind.natural_key[:1], "name"):
        value = live.attributes.get(field)
        # An id in the natural key identifies the object and says nothing to a reader.
        if not field.endswith("_id") and isinstance(value, str) and value:
            return value
    return ""
