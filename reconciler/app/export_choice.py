"""Chooses the live objects that an export writes, gives reasons for the others, and names them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from msgspec import Struct

from reconciler.app.live_organization import Reading
from reconciler.export.naming import ObjectKey, Unnamed, addresses
from reconciler.export.specs import is_chosen_by_api, never_declarable
from reconciler.kinds import KINDS
from reconciler.kinds.parts import short_role_id
from reconciler.model.address import Address
from reconciler.model.json_codec import sorted_json
from reconciler.model.kind import Kind, ScopeType
from reconciler.model.resource import LiveObject, Record

DEFAULT_PROJECT = "Default project"
"""The name of the project that every organization has from the start."""

FEWEST_PROJECTS = 2
"""With fewer projects, nothing shows which values are the API's own."""

_TRANSIENT: Mapping[str, str] = {
    "Container": "containers expire when they are idle",
    "ProjectKey": "people's own keys come and go with their owners",
}
_KEYS = frozenset({"AdminKey", "ServiceAccountKey"})


def configuration_kinds() -> frozenset[str]:
    """The kinds that set up an organization, without the kinds of work that was done in it."""
    return frozenset(
        kind.name
        for kind in KINDS.values()
        if kind.job is None and kind.name not in _TRANSIENT and kind.calls.listable
    )


def kinds_left_out() -> list[str]:
    """A sentence about each group of kinds that is written only if it is named."""
    jobs = ", ".join(kind.name for kind in KINDS.values() if kind.job is not None)
    reasons = {jobs: "work that was done once", **_TRANSIENT}
    return [f"{names}: {reason}. --kind writes them." for names, reason in reasons.items()]


class SkippedObjects(Struct, frozen=True):
    """Objects that are not written, for one reason."""

    kind: str
    project: str | None
    reason: str
    ids: tuple[str, ...]


class SkipReasons:
    """Collects why objects are not written."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str | None, str], list[str]] = defaultdict(list)

    def add(self, kind: str, project: str | None, id: str, reason: str) -> None:
        """Note why an object is not written."""
        self._ids[kind, project, reason].append(id)

    def grouped(self) -> list[SkippedObjects]:
        """The objects by kind, project and reason, in the order in which reasons came up."""
        return [SkippedObjects(*key, tuple(ids)) for key, ids in self._ids.items()]


def key_of(live: LiveObject) -> ObjectKey:
    """The key that identifies an object."""
    return live.kind.name, live.project, live.id


def bound_addresses(records: Mapping[Address, Record]) -> dict[ObjectKey, Address]:
    """The address of each object that a state binds."""
    return {(at.kind, at.project, record.id): at for at, record in records.items()}


class Chooser:
    """Chooses among all objects that were read, limited to `kinds`."""

    def __init__(
        self,
        reading: Reading,
        kinds: Collection[str],
        *,
        all_limits: bool,
        records: Mapping[ObjectKey, Record],
        is_foreign: Callable[[str | None], bool] = lambda _: False,
    ) -> None:
        """`records` are those of bound objects. `is_foreign` tells the marks of other stacks."""
        self._records = records
        self._reading = reading
        self._is_foreign = is_foreign
        self._kinds = frozenset(kinds)
        self._all_limits = all_limits
        self.norms: dict[ObjectKey, Mapping[str, Any]] = {}
        """By object: the values that most others like it have."""
        self._in_projects: dict[str, frozenset[str]] = {}
        self._skipped = SkipReasons()
        self.rules: list[str] = []

    def chosen(self) -> Iterator[LiveObject]:
        """The objects to write, in the order of kinds and lists."""
        for kind in KINDS.values():
            if kind.name not in self._kinds:
                continue
            objects = self._chosen_of(kind)
            if _is_created_by_api(kind):
                objects = self._differing_from_norm(kind, objects)
            yield from objects

    def left_out(self) -> list[SkippedObjects]:
        """The objects that are not written, by reason."""
        return self._skipped.grouped()

    def _chosen_of(self, kind: Kind) -> list[LiveObject]:
        kept = []
        for live in self._reading.objects(kind.name):
            reason = self._reason(live)
            if reason is None:
                kept.append(live)
            elif reason:
                self._skipped.add(kind.name, live.project, live.id, reason)
        return kept

    def _reason(self, live: LiveObject) -> str | None:
        """Why an object is not written; None if it is, empty if that is not worth a report."""
        kind = live.kind
        if kind.terminal_state(live.attributes) is not None:
            return f"its status is {live.attributes.get('status', 'ended')}"
        if self._is_foreign(live.mark) and kind.job is None:
            owner = str(live.mark).rpartition("/")[0].partition("/")[0]
            return f"the stack {owner} manages it, as the mark in its metadata says"
        reason = never_declarable(kind)
        if reason:
            return reason
        if kind.name in _KEYS:
            return "a key is shown only once, when it is created"
        # The API makes predefined roles, and the list of a project shows its objects as well.
        is_predefined = live.attributes.get("predefined_role") is True
        if is_predefined or (live.project is None and live.id in self._ids_in_projects(kind.name)):
            return ""
        return self._reason_of_members(live)

    def _ids_in_projects(self, kind: str) -> frozenset[str]:
        """The ids of objects in named projects: the default key can be that of one of them."""
        if KINDS[kind].scope is not ScopeType.PROJECT_KEY:
            return frozenset()
        if kind not in self._in_projects:
            objects = self._reading.objects(kind)
            self._in_projects[kind] = frozenset(live.id for live in objects if live.project)
        return self._in_projects[kind]

    def _reason_of_members(self, live: LiveObject) -> str | None:
        """Why a membership is not written: another list shows the same grant."""
        parent = dict(live.kind.parent_and_id(live.id)[0])
        if live.kind.name == "GroupMember":
            group = self._reading.live.find("Group", None, parent.get("group_id", ""))
            if group is not None and group.attributes.get("is_scim_managed") is True:
                return "the identity provider manages the group's members"
        if live.kind.name == "RoleAssignment" and self._is_shown_role(live, parent):
            return ""
        return None

    def _is_shown_role(self, live: LiveObject, parent: Mapping[str, str]) -> bool:
        """Whether the grant is the role that the user has in the list of users."""
        user_id = parent.get("user_id")
        if user_id is None:
            return False
        kind = "User" if live.project is None else "ProjectUser"
        where = "organization" if live.project is None else "project"
        user = self._reading.live.find(kind, live.project, user_id)
        role = user.attributes.get("role") if user is not None else None
        return short_role_id(live.own_id) == f"role-api-{where}-{role}"

    # Values that the API itself gives

    def _differing_from_norm(self, kind: Kind, objects: list[LiveObject]) -> list[LiveObject]:
        """The objects that differ from what most projects have."""
        if kind.name == "RateLimit" and self._all_limits:
            return objects
        alike: dict[str, list[LiveObject]] = defaultdict(list)
        for live in objects:
            alike[_norm_key(live)].append(live)
        kept: list[LiveObject] = []
        for group in alike.values():
            norm = _norm(kind, group)
            if norm is None:
                kept += group
                continue
            usual = _settings(norm)
            for live in group:
                record = self._records.get(key_of(live))
                if record is None and _settings(live) == usual:
                    continue
                kept.append(live)
                # A managed value stays declared, even if it is a usual one.
                managed = record.applied if record is not None else {}
                self.norms[key_of(live)] = _values(norm, without=managed)
        count = len(objects) - len(kept)
        if count:
            self.rules.append(_rule(kind, count, len(self._reading.projects)))
        return kept


def _is_created_by_api(kind: Kind) -> bool:
    """Whether the API itself creates the objects, one for each project."""
    return kind.always_exists and kind.name not in ("User", "ProjectKey")


def _norm_key(live: LiveObject) -> str:
    identity = live.kind.identity(live.attributes)
    return sorted_json(
        {"of": dict(identity or {}), "in_project": live.project is not None}
    ).decode()


def _values(live: LiveObject, *, without: Collection[str] = ()) -> dict[str, Any]:
    names = [declared.name for declared in live.kind.fields]
    return {name: live.value(name) for name in names if name not in without}


def _settings(live: LiveObject) -> str:
    return sorted_json(_values(live)).decode()


def _norm(kind: Kind, group: list[LiveObject]) -> LiveObject | None:
    """An object with the most common settings; None if no settings have a majority."""
    if group[0].project is None:
        return _known_norm(kind, group[0])
    alike: dict[str, list[LiveObject]] = defaultdict(list)
    for live in group:
        alike[_settings(live)].append(live)
    largest = max(alike.values(), key=len)
    return largest[0] if len(largest) * 2 > len(group) else None


def _known_norm(kind: Kind, live: LiveObject) -> LiveObject | None:
    """The object itself if it has the initial settings of an organization, where those are known."""
    is_plain = kind.name == "DataRetention" and live.value("retention_type") in (None, "none")
    return live if is_plain else None


def _rule(kind: Kind, count: int, projects: int) -> str:
    sharing = "for the same model " if kind.name == "RateLimit" else ""
    sentence = (
        f"{kind.name}: {count} left out, because most projects have the same values {sharing}"
        "(more than half of them)."
    )
    if projects < FEWEST_PROJECTS:
        sentence += " With a single project, nothing shows which values were changed."
    if kind.name == "RateLimit":
        sentence += " --all-limits writes them too."
    return sentence


def usual_values(objects: Iterable[LiveObject]) -> dict[tuple[str, str], Any]:
    """By kind and field: the API's choice for more than half of at least two objects."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    totals: Counter[str] = Counter()
    for live in objects:
        totals[live.kind.name] += 1
        for declared in live.kind.fields:
            value = live.value(declared.name)
            if is_chosen_by_api(declared) and isinstance(value, str):
                counts[live.kind.name, declared.name][value] += 1
    usual: dict[tuple[str, str], Any] = {}
    for key, values in counts.items():
        value, count = values.most_common(1)[0]
        if count > 1 and count * 2 > totals[key[0]]:
            usual[key] = value
    return usual


def key_comments(reading: Reading) -> dict[str, str]:
    """By service account: a comment about its keys."""
    keys: dict[str, list[str]] = defaultdict(list)
    for live in reading.objects("ServiceAccountKey"):
        keys[str(live.value("service_account_id"))].append(live.id)
    comments = {}
    for account, ids in keys.items():
        number = f"the key {ids[0]}" if len(ids) == 1 else f"{len(ids)} keys ({', '.join(ids)})"
        comments[account] = (
            f"The account has {number}, whose value cannot be read again. To rotate: declare a "
            "ServiceAccountKey with `key: {write_to: …}`, use the new key, and delete the old one."
        )
    return comments


def ambiguous(reading: Reading, objects: Mapping[Address, LiveObject]) -> frozenset[Address]:
    """The objects that only their id identifies, so that manifests must name it."""
    # With a unique key, no second object can be like it.
    kinds = {address.kind for address in objects if not KINDS[address.kind].unique_key}
    alike: Counter[tuple[Any, ...]] = Counter()
    for kind in kinds:
        alike.update(map(_identity_key, reading.objects(kind)))
    only_by_id = set()
    for address, live in objects.items():
        if address.kind in kinds:
            key = _identity_key(live)
            if len(key) == _KIND_AND_PROJECT or alike[key] > 1:
                only_by_id.add(address)
    return frozenset(only_by_id)


_KIND_AND_PROJECT = 2


def _identity_key(live: LiveObject) -> tuple[Any, ...]:
    """The natural key with kind and project; kind and project alone if there is none."""
    identity = live.kind.identity(live.attributes) or {}
    return (live.kind.name, live.project, *identity.items())


# --- names


def project_names(
    projects: Iterable[LiveObject], known: Mapping[ObjectKey, Address], named: Mapping[str, str]
) -> dict[str, str]:
    """The name of each project in the configuration, by its id. `named` are those of the stack."""
    kept: dict[ObjectKey, Address] = {}
    for name, id in named.items():
        kept["Project", None, id] = Address("Project", name)
    unnamed = []
    for live in projects:
        label = str(live.value("name") or "")
        unnamed.append(Unnamed("Project", None, live.id, label))
    return _names_by_id(addresses(unnamed, {**kept, **known}))


def addresses_of(
    objects: Collection[LiveObject], known: Mapping[ObjectKey, Address]
) -> dict[ObjectKey, Address]:
    """An address for each object. Names use the addresses of the objects that they refer to."""
    first = [live for live in objects if not _refers_by_name(live.kind)]
    chosen = addresses([_unnamed(live, {}) for live in first], known)
    names = _names_by_id(chosen)
    rest = [_unnamed(live, names) for live in objects if _refers_by_name(live.kind)]
    return chosen | addresses(rest, known)


def _names_by_id(chosen: Mapping[ObjectKey, Address]) -> dict[str, str]:
    return {id: address.name for (_, _, id), address in chosen.items()}


def _refers_by_name(kind: Kind) -> bool:
    return any(name.endswith("_id") for name in chain(kind.natural_key, *kind.other_keys))


def _unnamed(live: LiveObject, names: Mapping[str, str]) -> Unnamed:
    label, parent = _label(live, names)
    return Unnamed(live.kind.name, live.project, live.id, label, parent)


def _label(live: LiveObject, names: Mapping[str, str]) -> tuple[str, str]:
    """The label of an object for people, and the text that tells equal labels apart."""
    kind = live.kind
    if kind.calls.singleton:
        return live.project or "organization", ""
    identity = kind.identity(live.attributes) or {}
    parts = [names.get(str(value), str(value)) for value in identity.values()]
    if kind.name == "SpendAlert":
        return f"alert {' '.join(parts)}", ""
    if kind.name in ("User", "Invite", "ProjectKey") or identity.keys() == {"email"}:
        return _label_of_person(live, identity)
    if kind.name == "ProjectUser":
        # A user who is not exported has no name here, and an id says nothing to a reader.
        email = live.value("email")
        is_named = str(identity.get("user_id")) in names
        if not is_named and isinstance(email, str):
            return _by_mail(email)
    is_below = kind.parents and kind.name not in ("GroupMember", "RoleAssignment")
    if is_below and len(parts) > 1:
        return "-".join(parts[1:]), parts[0]
    return "-".join(parts), ""


def _label_of_person(live: LiveObject, identity: Mapping[str, Any]) -> tuple[str, str]:
    email = str(identity.get("email") or identity.get("owner") or "")
    label, domain = _by_mail(email)
    name = identity.get("name")
    return (f"{name} {label}" if name and live.kind.name == "ProjectKey" else label), domain


def _by_mail(email: str) -> tuple[str, str]:
    local, _, domain = email.partition("@")
    return local, domain
