"""What each key may do, found by reading one entry of each list.

A key that is refused everywhere may be of the other class; one read of that class shows it.
Only a write shows whether a key may write, so that stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

from msgspec.structs import replace

from reconciler.api.keys import Key
from reconciler.api.probes import ProbeAnswer, ReadProbe, ask
from reconciler.app.session import Session
from reconciler.errors import CredentialError, OrganizationError, ReconcilerError
from reconciler.kinds import KINDS
from reconciler.manifests import Configuration, check_credentials
from reconciler.model.calls import is_of_project, parent_fields
from reconciler.model.doctor import (
    DoctorFinding,
    FindingStatus,
    KeyReport,
    ListAccess,
    ReadPermission,
)
from reconciler.model.kind import Kind, ScopeType

AUDIT_LOG = "/organization/audit_logs"
_PROJECTS = "/organization/projects"
_MODELS = "/models"
_COSTS = "/organization/costs"
_DAY_SECONDS = 86_400
_MISSING_SCOPES = re.compile(r"[Mm]issing scopes?: ([A-Za-z0-9_.:, -]*[A-Za-z0-9])")
_REFUSED = (401, 403)
_GONE = (404, 410)
_MOST_NAMED = 8


class KeyExaminer:
    """Examines the keys of a session. Results are in its attributes once `examine` has ended."""

    def __init__(self, session: Session, configuration: Configuration | None) -> None:
        self._session = session
        self._configuration = configuration
        self._keys = session.keys
        self.reports: list[KeyReport] = []
        self.models: dict[str, Sequence[Mapping[str, object]]] = {}
        """The models that each project key can use, by the source of the key."""
        self.wrong_organization: OrganizationError | None = None
        self.is_reachable = True
        self.calls = 0

    def examine(self) -> list[DoctorFinding]:
        """A finding for each present or missing key."""
        findings: list[DoctorFinding] = []
        try:
            findings += self._missing()
            for key in self._present():
                if self.is_reachable:
                    findings += self._examined(key)
        except OrganizationError as error:
            self.wrong_organization = error
        if self.reports:
            findings.append(_writing())
        self.calls = self._session.client.calls
        return findings

    # --- which keys there are

    def _present(self) -> Iterator[Key]:
        """The keys that are set, each once, however many projects use it."""
        keys: dict[str, Key] = {}
        with suppress(CredentialError):
            admin = self._keys.admin()
            keys[admin.source] = admin
        for name in (None, *self._session.stack.credentials.projects):
            with suppress(CredentialError):
                key = self._project_key(name)
                keys.setdefault(key.source, key)
        yield from keys.values()

    def _project_key(self, name: str | None) -> Key:
        key = self._keys.for_project(name)
        return replace(key, project_id=None if name is None else self._project_id(name))

    def _project_id(self, name: str) -> str | None:
        known = self._session.stack.projects.get(name)
        if known:
            return known
        try:
            records = self._session.store.records()
        except ReconcilerError:  # a finding of the state says so
            return None
        for address, record in records.items():
            kind = KINDS.get(address.kind)
            if address.name == name and kind is not None and kind.defines_project:
                return record.id
        return None

    def _missing(self) -> Iterator[DoctorFinding]:
        """An error for each missing key that manifests need; a warning where there is no key."""
        diagnostics = check_credentials(self._configuration) if self._configuration else []
        for diagnostic in diagnostics:
            sentence = f"{diagnostic.summary.rstrip('.')}."
            yield DoctorFinding("keys", FindingStatus.ERROR, sentence, diagnostic.detail)
        credentials = self._session.stack.credentials
        if not diagnostics and not any(entry.secret or entry.file for entry in credentials.all()):
            yield DoctorFinding(
                "keys",
                FindingStatus.ERROR,
                "There is no key.",
                "Set OPENAI_ADMIN_KEY for the organization, and OPENAI_API_KEY for a project.",
            )
        for name, entry in credentials.projects.items():
            if entry.file and not self._has_project(name):
                yield DoctorFinding(
                    "keys",
                    FindingStatus.WARNING,
                    f"The key of the project {name} is not there yet: {entry.source}.",
                    "An apply that creates its service account writes the file.",
                )

    def _has_project(self, name: str) -> bool:
        with suppress(CredentialError):
            return self._keys.has_project(name)
        return False

    # --- one key

    def _examined(self, key: Key) -> Iterator[DoctorFinding]:
        first = self._ask(_first_probe(key))
        if first.error is not None and first.status is None:
            self.is_reachable = False
            yield DoctorFinding(
                "network", FindingStatus.ERROR, _text(first.error), first.error.hint
            )
            return
        if first.status == 401:  # the key itself, where 403 is one of its permissions
            yield DoctorFinding(
                "keys", FindingStatus.ERROR, _text(first.error), getattr(first.error, "hint", "")
            )
            return
        if key.is_admin:
            access = self._admin_access(key, first)
        else:
            access = self._project_access(key, first)
        self.reports.append(
            KeyReport(
                key.source,
                key.is_admin,
                project=key.project,
                organization=first.organization,
                access=access,
            )
        )
        yield from self._findings_of(key, access)

    def _admin_access(self, key: Key, first: ProbeAnswer) -> list[ListAccess]:
        project_id = _active_project(first)
        uses = _uses(is_admin=True)
        uses[AUDIT_LOG] = ["audit log"]
        uses[_COSTS] = ["costs"]
        access = [_access(_PROJECTS, uses.pop(_PROJECTS), first)]
        if not project_id:
            # Lists inside a project need the id of one.
            uses = {path: names for path, names in uses.items() if not is_of_project(path)}
        return access + self._access_to(uses, key, project_id)

    def _project_access(self, key: Key, first: ProbeAnswer) -> list[ListAccess]:
        data = first.body.get("data")
        self.models[key.source] = data if isinstance(data, list) else ()
        access = self._access_to(_uses(is_admin=False), key, None)
        return [_access(_MODELS, ["models"], first), *access]

    def _access_to(
        self, uses: Mapping[str, Sequence[str]], key: Key, project_id: str | None
    ) -> list[ListAccess]:
        """Read one entry of each list. `uses` maps the path of a list to the kinds that need it."""

        def probe(use: tuple[str, Sequence[str]]) -> ListAccess:
            path, names = use
            return _access(path, names, self._ask(_probe(path, key, names, project_id)))

        with ThreadPoolExecutor(max_workers=self._session.parallelism) as pool:
            return list(pool.map(probe, uses.items()))

    def _findings_of(self, key: Key, access: Sequence[ListAccess]) -> Iterator[DoctorFinding]:
        name = _name_of(key)
        lists: dict[ReadPermission, list[ListAccess]] = {each: [] for each in ReadPermission}
        for entry in access:
            lists[entry.readable].append(entry)
        readable, refused = lists[ReadPermission.YES], lists[ReadPermission.NO]
        if refused and not readable:
            yield self._useless_key(key, refused)
            return
        answered = len(access) - len(lists[ReadPermission.ABSENT])
        sentence = f"{name} can read {len(readable)} of {answered} lists."
        yield DoctorFinding("keys", FindingStatus.OK, sentence)
        kinds = self._needed_kinds(key)
        needed, others = _by_need(refused, kinds)
        if needed:
            sentence = _refusal(name, needed, "which the manifests declare")
            yield DoctorFinding("keys", FindingStatus.ERROR, sentence, _cure(key, needed))
        if others:
            sentence = _refusal(name, others, "which no manifest declares")
            yield DoctorFinding("keys", FindingStatus.WARNING, sentence, _cure(key, others))
        for entry in lists[ReadPermission.UNKNOWN]:
            yield DoctorFinding("keys", FindingStatus.UNKNOWN, f"{name}: {entry.reason}")
        absent, _ = _by_need(lists[ReadPermission.ABSENT], kinds)
        if absent:
            yield DoctorFinding(
                "keys",
                FindingStatus.ERROR,
                f"The server has no {_listed(absent)} objects, which the manifests declare.",
                "Remove them from the manifests, or name a server that has them with --base-url.",
            )
        if key.is_admin:
            yield _audit(access)

    def _useless_key(self, key: Key, refused: Sequence[ListAccess]) -> DoctorFinding:
        """A finding for a key that may read nothing: it may be of the other class."""
        name = _name_of(key)
        path = _MODELS if key.is_admin else _PROJECTS
        # Refused everywhere: it may be a key of the other class, in the wrong variable.
        swapped = replace(key, is_admin=not key.is_admin, project_id=None)
        if self._ask(ReadProbe(path, swapped, query=_limit(path))).error is None:
            have, need = "a project's key", "an admin key"
            if not key.is_admin:
                have, need = need, have
            return DoctorFinding(
                "keys",
                FindingStatus.ERROR,
                f"{key.source} holds {have}, and {need} is needed there.",
                "Swap the keys: OPENAI_ADMIN_KEY is for the organization, OPENAI_API_KEY for the data "
                "of a project.",
            )
        return DoctorFinding(
            "keys", FindingStatus.ERROR, f"{name} cannot read any list.", _cure(key, refused)
        )

    def _needed_kinds(self, key: Key) -> set[str]:
        """The kinds that manifests declare in the scopes of a key."""
        names = set()
        for resource in self._configuration.resources if self._configuration else ():
            kind, project = resource.kind, resource.address.project
            if kind.scope is not ScopeType.PROJECT_KEY:
                source = self._source(None, is_admin=True)
            else:
                source = self._source(project, is_admin=False)
            if source == key.source:
                names.add(kind.name)
        return names

    def _source(self, project: str | None, *, is_admin: bool) -> str | None:
        with suppress(CredentialError):
            key = self._keys.admin() if is_admin else self._keys.for_project(project)
            return key.source
        return None

    def _ask(self, probe: ReadProbe) -> ProbeAnswer:
        return ask(self._session.client, probe)


def _by_need(
    lists: Sequence[ListAccess], kinds: Collection[str]
) -> tuple[list[ListAccess], list[ListAccess]]:
    """The lists that some kinds need, and the others."""
    needed: list[ListAccess] = []
    others: list[ListAccess] = []
    for entry in lists:
        group = others if set(entry.needs).isdisjoint(kinds) else needed
        group.append(entry)
    return needed, others


def _uses(*, is_admin: bool) -> dict[str, list[str]]:
    """The kinds in each list that a class of keys can read, by the path of the list."""
    uses: dict[str, list[str]] = {}
    for kind in KINDS.values():
        if (kind.scope is not ScopeType.PROJECT_KEY) is is_admin:
            for path in _flat_collections(kind):
                uses.setdefault(path, []).append(kind.name)
    return uses


def _flat_collections(kind: Kind) -> Iterator[str]:
    """The collections that can be listed without knowing an object."""
    if kind.calls.listable or kind.calls.singleton:
        yield from (path for path in kind.collections if not parent_fields(path))


def _probe(path: str, key: Key, names: Sequence[str], project_id: str | None) -> ReadProbe:
    kinds = [KINDS[name] for name in names if name in KINDS]
    query: dict[str, str | int] = {}
    if path == _COSTS:
        # The API refuses a request for costs without a start.
        today = datetime.now(UTC).timestamp() // _DAY_SECONDS * _DAY_SECONDS
        query = {"start_time": int(today - _DAY_SECONDS), "limit": 1}
    elif not any(kind.calls.singleton for kind in kinds):
        query = {"limit": 1}
        for kind in kinds:
            query |= kind.list_query
    ids = {"project": project_id} if project_id and is_of_project(path) else {}
    beta = kinds[0].beta if kinds else None
    return ReadProbe(path, key, ids, query, beta)


def _first_probe(key: Key) -> ReadProbe:
    path = _PROJECTS if key.is_admin else _MODELS
    return ReadProbe(path, key, query=_limit(path))


def _limit(path: str) -> dict[str, int]:
    # The first active project is the one whose lists are tried.
    return {"limit": 100} if path == _PROJECTS else {}


def _active_project(answer: ProbeAnswer) -> str | None:
    entries = answer.body.get("data")
    if not isinstance(entries, list):
        return None
    for entry in entries:
        if isinstance(entry, dict) and entry.get("status") == "active":
            id = entry.get("id")
            return id if isinstance(id, str) else None
    return None


def _access(path: str, names: Sequence[str], answer: ProbeAnswer) -> ListAccess:
    return ListAccess(path, tuple(names), _readable(names, answer), _text(answer.error))


def _readable(names: Sequence[str], answer: ProbeAnswer) -> ReadPermission:
    status = answer.status
    if status == 200:
        return ReadPermission.YES
    if status in _REFUSED:
        return ReadPermission.NO
    if status in _GONE:
        # A setting that was never made answers 404.
        is_setting = any(name in KINDS and KINDS[name].calls.singleton for name in names)
        return ReadPermission.YES if is_setting else ReadPermission.ABSENT
    return ReadPermission.UNKNOWN


def _refusal(name: str, refused: Sequence[ListAccess], use: str) -> str:
    return f"{name} may not read {_listed(refused)}, {use}."


def _cure(key: Key, refused: Sequence[ListAccess]) -> str:
    scopes: set[str] = set()
    for entry in refused:
        for match in _MISSING_SCOPES.finditer(entry.reason):
            scopes.update(scope.strip() for scope in match[1].split(","))
    owner = "an admin key" if key.is_admin else "a key of the project"
    if scopes:
        return f"Use {owner} with {', '.join(sorted(scopes))}, or give its owner a role with that."
    return f"Use {owner} with permission to read them. The API named none that is missing."


def _listed(entries: Sequence[ListAccess]) -> str:
    names = list(dict.fromkeys(chain.from_iterable(entry.needs for entry in entries)))
    left = len(names) - _MOST_NAMED
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {left} more" if left > 0 else shown


def _audit(access: Sequence[ListAccess]) -> DoctorFinding:
    entry = next(entry for entry in access if entry.path == AUDIT_LOG)
    if entry.readable is ReadPermission.YES:
        return DoctorFinding("audit log", FindingStatus.OK, "The audit log can be read.")
    return DoctorFinding(
        "audit log",
        FindingStatus.WARNING,
        "The audit log cannot be read, so every plan reads all lists and drift has no author.",
        "An owner switches it on in the organization's settings. An admin key needs the permission "
        "to read it.",
    )


def _writing() -> DoctorFinding:
    return DoctorFinding(
        "permissions",
        FindingStatus.UNKNOWN,
        "What the keys may write was not tested: only a write shows it. A plan needs to read, an "
        "apply also to write. OpenAI does not publish which permission each call needs; a refusal "
        "names the missing one.",
        "Give CI on pull requests a read-only key, and only the apply job a key that may write.",
    )


def _name_of(key: Key) -> str:
    name = "The admin key" if key.is_admin else "The project key"
    return f"{name} from {key.source}"


def _text(error: ReconcilerError | None) -> str:
    return "" if error is None else f"{str(error).rstrip('.')}."
