"""What each key may do, found by reading one entry of each list.

A key that is refused everywhere may be of the other class: then one read of that class shows it.
Whether a key may write shows only in a write, so it stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

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
        """A finding for each key that is there or missing."""
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
        seen: set[str] = set()
        wanted = [None, *self._session.stack.credentials.projects]
        for find in [
            self._keys.admin,
            *(lambda name=name: self._project_key(name) for name in wanted),
        ]:
            try:
                key = find()
            except CredentialError:
                continue
            if key.source not in seen:
                seen.add(key.source)
                yield key

    def _project_key(self, name: str | None) -> Key:
        key = self._keys.for_project(name)
        return replace(key, project_id=None if name is None else self._project_id(name))

    def _project_id(self, name: str) -> str | None:
        known = self._session.stack.projects.get(name)
        if known:
            return known
        try:
            records = self._session.store.records()
        except ReconcilerError:  # the state's own finding
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
        try:
            return self._keys.has_project(name)
        except CredentialError:
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
        if first.status == 401:
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
        yield from self._judged(key, access)

    def _admin_access(self, key: Key, first: ProbeAnswer) -> list[ListAccess]:
        project_id = _active_project(first)
        uses: dict[str, list[str]] = {}
        for kind in KINDS.values():
            if kind.scope is not ScopeType.PROJECT_KEY:
                for path in _flat_collections(kind):
                    uses.setdefault(path, []).append(kind.name)
        uses[AUDIT_LOG] = ["audit log"]
        uses[_COSTS] = ["costs"]
        probes = [
            _probe(path, key, names, project_id)
            for path, names in uses.items()
            if path != _PROJECTS and (project_id or not is_of_project(path))
        ]
        answers = [first, *self._ask_all(probes)]
        paths = [_PROJECTS, *(probe.path for probe in probes)]
        return [
            _access(path, uses[path], answer) for path, answer in zip(paths, answers, strict=True)
        ]

    def _project_access(self, key: Key, first: ProbeAnswer) -> list[ListAccess]:
        data = first.body.get("data")
        self.models[key.source] = data if isinstance(data, list) else ()
        uses: dict[str, list[str]] = {}
        for kind in KINDS.values():
            if kind.scope is ScopeType.PROJECT_KEY:
                for path in _flat_collections(kind):
                    uses.setdefault(path, []).append(kind.name)
        probes = [_probe(path, key, names, None) for path, names in uses.items()]
        answers = self._ask_all(probes)
        access = [
            _access(probe.path, uses[probe.path], answer)
            for probe, answer in zip(probes, answers, strict=True)
        ]
        return [_access(_MODELS, ["models"], first), *access]

    def _judged(self, key: Key, access: Sequence[ListAccess]) -> Iterator[DoctorFinding]:
        name = _name_of(key)
        answered = [entry for entry in access if entry.readable is not ReadPermission.ABSENT]
        refused = [entry for entry in answered if entry.readable is ReadPermission.NO]
        readable = [entry for entry in answered if entry.readable is ReadPermission.YES]
        if refused and not readable:
            yield self._of_no_use(key, refused)
            return
        sentence = f"{name} can read {len(readable)} of {len(answered)} lists."
        yield DoctorFinding("keys", FindingStatus.OK, sentence)
        needed = self._needed_kinds(key)
        for group, status in (
            ([entry for entry in refused if needed & set(entry.needs)], FindingStatus.ERROR),
            ([entry for entry in refused if not needed & set(entry.needs)], FindingStatus.WARNING),
        ):
            if group:
                use = "which no manifest declares"
                if status is FindingStatus.ERROR:
                    use = "which the manifests declare"
                yield DoctorFinding("keys", status, _refusal(name, group, use), _cure(key, group))
        for entry in answered:
            if entry.readable is ReadPermission.UNKNOWN:
                yield DoctorFinding("keys", FindingStatus.UNKNOWN, f"{name}: {entry.reason}")
        absent = [
            entry
            for entry in access
            if entry.readable is ReadPermission.ABSENT and needed & set(entry.needs)
        ]
        if absent:
            yield DoctorFinding(
                "keys",
                FindingStatus.ERROR,
                f"The server has no {_listed(absent)} objects, which the manifests declare.",
                "Remove them from the manifests, or name a server that has them with --base-url.",
            )
        if key.is_admin:
            yield _audit(access)

    def _of_no_use(self, key: Key, refused: Sequence[ListAccess]) -> DoctorFinding:
        """A key that may read nothing: perhaps it is of the other class."""
        name = _name_of(key)
        path = _MODELS if key.is_admin else _PROJECTS
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
        try:
            return (self._keys.admin() if is_admin else self._keys.for_project(project)).source
        except CredentialError:
            return None

    # --- calls

    def _ask(self, probe: ReadProbe) -> ProbeAnswer:
        return ask(self._session.client, probe)

    def _ask_all(self, probes: Sequence[ReadProbe]) -> list[ProbeAnswer]:
        with ThreadPoolExecutor(max_workers=self._session.parallelism) as pool:
            return list(pool.map(self._ask, probes))


def _flat_collections(kind: Kind) -> Iterator[str]:
    """The collections that can be listed without knowing an object."""
    if kind.calls.listable or kind.calls.singleton:
        yield from (path for path in kind.collections if not parent_fields(path))


def _probe(path: str, key: Key, names: Sequence[str], project_id: str | None) -> ReadProbe:
    kinds = [KINDS[name] for name in names if name in KINDS]
    query: dict[str, str | int] = {}
    if path == _COSTS:
        today = datetime.now(UTC).timestamp() // _DAY_SECONDS * _DAY_SECONDS
        query = {"start_time": int(today - _DAY_SECONDS), "limit": 1}
    elif not any(kind.calls.singleton for kind in kinds):
        query = {"limit": 1}
        for kind in kinds:
            query |= kind.list_query
    ids = {"project": project_id} if project_id and is_of_project(path) else {}
    return ReadProbe(path, key, ids, query, next((kind.beta for kind in kinds), None))


def _first_probe(key: Key) -> ReadProbe:
    path = _PROJECTS if key.is_admin else _MODELS
    return ReadProbe(path, key, query=_limit(path))


def _limit(path: str) -> dict[str, int]:
    # The first active project is the one whose lists are tried.
    return {"limit": 100} if path == _PROJECTS else {}


def _active_project(answer: ProbeAnswer) -> str | None:
    entries = answer.body.get("data")
    for entry in entries if isinstance(entries, list) else ():
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
        # A setting that nobody has made answers 404.
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
    names = list(dict.fromkeys(name for entry in entries for name in entry.needs))
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
    return f"{'The admin key' if key.is_admin else 'The project key'} from {key.source}"


def _text(error: ReconcilerError | None) -> str:
    return "" if error is None else f"{str(error).rstrip('.')}."
